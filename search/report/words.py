"""Write numbers as the reports' sentences need them."""

from __future__ import annotations

from ..results import Spread, spread_text


def times(n: int) -> str:
    """Return "once" or "3 times"."""
    return "once" if n == 1 else f"{n} times"


def plural(n: int, noun: str) -> str:
    """Return "1 replicate" or "3 replicates"."""
    return f"{n:,} {noun}{'s' * (n != 1)}"


def score(spread: Spread) -> str:
    """Return a test score's mean, its spread over seeds and its interval."""
    return f"{four(spread.mean)}, {spread_text(spread)}"


def four(value: float | None) -> str:
    """Return `value` with four decimals, "-" if it is unknown."""
    return "-" if value is None else f"{value:.4f}"
