"""Commands that messages suggest to the user."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable


def command(*words: object) -> str:
    """Return `bloodsearch WORDS`, quoted so it can be pasted into a shell."""
    return shlex.join(["bloodsearch", *(str(word) for word in words)])


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'X'?)" for the name that is closest to a misspelt one, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""
