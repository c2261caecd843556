"""Commands that messages suggest to the user."""

from __future__ import annotations

import shlex


def command(*words: object) -> str:
    """Return `bloodsearch WORDS`, quoted so it can be pasted into a shell."""
    return shlex.join(["bloodsearch", *(str(word) for word in words)])
