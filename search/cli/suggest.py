"""Commands that are suggested to the user: each can be pasted into a shell."""

from __future__ import annotations

from pathlib import Path

from ...studies import DEFAULT_STUDY
from ..suggest import command
from .output import line

__all__ = ["command", "data_option", "next_line", "shown_url", "where"]


def where(study: str | Path | None, storage: str | None, name: str | None = None) -> list[str]:
    """Return the arguments that name a study in the next command, as the user named it.

    A `name` that the command assumes anyway is left out.
    """
    source = DEFAULT_STUDY if study is None else str(study)
    words = [] if source == DEFAULT_STUDY else [source]
    words += [] if storage is None else ["--storage", shown_url(storage)]
    return words + ([] if name in (None, source) else ["--name", str(name)])


def data_option(data_root: Path | None) -> list[str]:
    """Return the option that names the folder of the data, as the user named it."""
    return [] if data_root is None else ["--data-root", str(data_root)]


def next_line(*commands: str) -> None:
    """Print what the user may run next, one command a line."""
    for i, text in enumerate(commands):
        line(("next: " if i == 0 else "      ") + text)


def shown_url(storage: str) -> str:
    """Return a storage's URL as it may be printed: with its password hidden."""
    from ..database.passwords import shown
    from ..database.storage import parse_url

    url = parse_url(storage)
    return storage if url.get_backend_name() == "sqlite" else shown(url)
