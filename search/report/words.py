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


def short(value: object) -> str:
    """Return a parameter's value with at most three digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share as "80.2 %", "-" if it is unknown."""
    return "-" if share is None else f"{100 * share:.{digits}f} %"
