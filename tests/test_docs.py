"""The pages say what the program does: generated pages are fresh, links work, commands parse."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import reference
from benchmarks.readme import ROOT, pages

TEXTS = {page: page.read_text(encoding="utf-8") for page in pages()}


@pytest.mark.parametrize("name", reference.pages())
def test_the_reference_is_that_of_the_program(name: str) -> None:
    """`python -m benchmarks.reference` writes the pages."""
    assert (reference.FOLDER / name).read_text(encoding="utf-8") == reference.pages()[name]


def test_every_option_of_the_program_is_in_the_reference() -> None:
    text = reference.pages()["commands.md"]
    for name, command in reference.commands():
        section = text.split(f"## bloodsearch {name}\n")[1].split("\n## ")[0]
        for parameter in command.params:
            for option in (*parameter.opts, *parameter.secondary_opts):
                assert not option.startswith("--") or option in section or option in text[:400]


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken(page: Path, text: str) -> list[str]:
    """Return the relative links of a page that lead nowhere."""
    found = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            found.append(link)
    return found


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    assert broken(page, TEXTS[page]) == []


def test_a_broken_link_would_be_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    text = "[a](no.md) [b](#no) [c](page.md#a-title) [d](https://no.example)\n# A title\n"
    page.write_text(text)
    assert broken(page, text) == ["no.md", "#no"]


def test_every_page_can_be_reached_from_the_readme() -> None:
    waiting, reached = [ROOT / "README.md"], set()
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        links = re.findall(r"\]\(([^)\s:#]+)", page.read_text(encoding="utf-8"))
        waiting += [(page.parent / link).resolve() for link in links]
    assert {page.resolve() for page in pages()} <= reached


def test_every_command_is_shown_in_a_guide() -> None:
    blocks = [b for text in TEXTS.values() for b in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)]
    lines = [line for block in blocks for line in block.splitlines()]
    for name, command in reference.commands():
        if not hasattr(command, "commands"):
            assert any(f"bloodsearch {name}" in line for line in lines), name


def test_paths_in_the_pages_exist() -> None:
    roots = r"(?:search|models|studies|benchmarks|tests|docs)"
    for page, text in TEXTS.items():
        for path in re.findall(rf"`({roots}/[\w./]*\w\.(?:py|toml|csv|md))`", text):
            assert (ROOT / path).exists(), (page.name, path)


def test_decimals_have_their_zero() -> None:
    """0.977, not .977; generated reports and command lines are not prose."""
    for page, text in TEXTS.items():
        prose = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", text, flags=re.DOTALL)
        assert not re.findall(r"(?<![\d.\w])\.\d", prose), page
