"""Curves and bars made of characters."""

from __future__ import annotations

from collections.abc import Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII = "_.-~=+*#"


def sparkline(values: Sequence[float], top: float, *, unicode: bool = True) -> str:
    """Return one character per value, from half of `top` (lowest) to `top` (highest).

    Lower values get the lowest character. So curves beside each other have one scale.
    """
    blocks = _BLOCKS if unicode else _ASCII
    bottom = top / 2
    span = top - bottom or 1.0
    levels = [(value - bottom) / span * (len(blocks) - 1) for value in values]
    return "".join(blocks[round(min(len(blocks) - 1, max(0, level)))] for level in levels)


def bar(share: float, width: int, *, unicode: bool = True) -> str:
    """Return a bar of `width` characters of which `share` (0 to 1) is filled."""
    full, empty = ("━", "·") if unicode else ("#", ".")
    n_full = round(min(1.0, max(0.0, share)) * width)
    return full * n_full + empty * (width - n_full)
