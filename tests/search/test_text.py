"""Text from others does nothing on a screen, in a browser or in a spreadsheet."""

from __future__ import annotations

import pytest

from bloodsearch.search.text import csv_cell, lines, markdown, one_line

HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31m\u202egnp.exe\u2066\r\n\u2028\x00\udcff"


def test_one_line_is_printable_and_says_what_was_there() -> None:
    shown = one_line(HOSTILE)
    assert shown.isprintable()
    assert shown == (r"\x1b]0;title\x07\x1b[2J\x9b31m\u202egnp.exe\u2066\r\n\u2028\x00\udcff")


@pytest.mark.parametrize("text", ["", "0.98 ± 0.01", "Zellbild größer Ω 細胞", r"C:\x1b"])
def test_plain_text_stays(text: str) -> None:
    assert one_line(text) == lines(text) == text


def test_lines_keeps_line_breaks_only() -> None:
    assert lines("a\n\x1b[2Jb\tc\n") == "a\n\\x1b[2Jb    c"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>x</script>", "&lt;script>x&lt;/script>"),
        ("``<img src=x>`", "``&lt;img src=x>`"),
        ("[here](javascript:x)", "[here]\\(javascript:x)"),
        ("![](http://x/beacon)", "![]\\(http://x/beacon)"),
        ("**bold** `code` 1 > 0", "**bold** `code` 1 > 0"),
        ("a\n# b", r"a\n# b"),
    ],
)
def test_markdown(text: str, shown: str) -> None:
    assert markdown(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "=1+1", "+cmd|' /C calc'!A0", "-2+3+cmd", "@SUM(A1)", " =1+1", "\t=1+1", "\r=1", "\uff1d1+1",
        '=HYPERLINK("http://x")', "--1",
    ],
)  # fmt: skip
def test_a_formula_becomes_text(text: str) -> None:
    assert str(csv_cell(text)) == "'" + one_line(text)


@pytest.mark.parametrize(
    "value",
    [None, True, 3, -0.25, 1e-9, "-0.5", "+0.0010", "-1e-05", "1,234", "95 %", "-", "cnn", "a=b"],
)
def test_numbers_and_words_stay(value: object) -> None:
    assert csv_cell(value) == value
    assert type(csv_cell(value)) is type(value)
