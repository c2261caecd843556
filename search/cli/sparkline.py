"""Curves and bars made of characters."""

from __future__ import annotations

from collections.abc import Sequence

from .. import text


def sparkline(values: Sequence[float], top: float, *, unicode: bool = True) -> str:
    """Return one character per value, from half of `top` (lowest) to `top` (highest).

    Lower values get the lowest character. So curves beside each other have one scale.
    """
    return text.sparkline(values, top / 2, top, unicode=unicode)


def bar(share: float, width: int, *, unicode: bool = True) -> str:
    """Return a bar of `width` characters of which `share` (0 to 1) is filled."""
    full, empty = ("━", "·") if unicode else ("#", ".")
    n_full = round(min(1.0, max(0.0, share)) * width)
    return full * n_full + empty * (width - n_full)
