"""The reason for which a trial was pruned, in a few words. `bloodsearch show` has the whole of it."""

from __future__ import annotations

import re

MAX_LENGTH = 60

_CHANCE = re.compile(
    r"(?P<chance>[\d.]+)% (chance of reaching|to reach) .*?"
    r"(rank|number) (?P<rank>\d+) of (?P<n>\d+)"
)
_QUANTILE = re.compile(r"below [\d.]+, the (?P<share>\d+)% quantile of (?P<n>\d+) (?P<family>\w+)")


def short_reason(detail: str) -> str:
    """Return what decided, such as "1.4 % chance of the top 10 %", or the first words of `detail`.

    Knows the sentences of both rules, and those of earlier versions.
    """
    if match := _CHANCE.search(detail):
        share = int(match["rank"]) / max(1, int(match["n"]))
        return f"{match['chance']} % chance of the top {100 * share:.0f} %"
    if match := _QUANTILE.search(detail):
        bar = "median" if match["share"] == "50" else f"{match['share']} % quantile"
        return f"below the {bar} of {match['n']} {match['family']} trials"
    return detail if len(detail) <= MAX_LENGTH else detail[: MAX_LENGTH - 4] + " ..."
