"""Commands that are suggested to the user: each can be pasted into a shell."""

from __future__ import annotations

from pathlib import Path

from ...studies import DEFAULT_STUDY
from ..suggest import command
from .output import line

__all__ = ["command", "next_line", "shown_url", "where"]


def where(study: str | Path | None, storage: str | None, name: str | None = None) -> list[str]:
    """Return the arguments that name a study in the next command, as the user named it."""
    words = [] if study is None or str(study) == DEFAULT_STUDY else [str(study)]
    words += [] if storage is None else ["--storage", shown_url(storage)]
    return words + ([] if name is None else ["--name", name])


def next_line(*commands: str) -> None:
    """Print what the user may run next."""
    line("next: " + "   ".join(commands))


def shown_url(storage: str) -> str:
    """Return a storage's URL as it may be printed: with its password hidden."""
    from ..database.passwords import shown
    from ..database.storage import parse_url

    url = parse_url(storage)
    return storage if url.get_backend_name() == "sqlite" else shown(url)
