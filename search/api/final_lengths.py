"""How many finalists, how wide and how long: what `--minutes` makes of the time for final trainings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from ...models.fields import MAX_EPOCHS
from ...studies import Ladder, StudyFile
from ..errors import UsageError
from ..evaluation.ladder import rounds
from ..evaluation.stages import n_in_a_row
from .final_stages import REPLICATES

FEWEST_FINALISTS = 2
SHORTEST_FINAL, LONGEST_FINAL = 0.3, 5 / 3
"""Of the study's own final epochs: 18 to 100 where a CNN has 60. In the same time, and with easy images
left out, two held-out folds had 0.9763 with 25 epochs of 32 filters, 0.9748 with 14 of 48 and 0.9710 with 62
of 16 (`python -m benchmarks held_out`)."""
LONGEST_MLP = 3 / 2
MLP = None
"""Stands for the MLP among the widths of CNNs."""

Width = int | None


def waves(n_finalists: int, n_workers: int) -> int:
    """Return how many final trainings follow one another on each worker."""
    return n_in_a_row(rounds(n_finalists, REPLICATES), n_workers)


def check_lengths(file: StudyFile, families: Iterable[str]) -> None:
    """Raise UsageError if trials are as long as the longest final training, whatever the time."""
    for family in families:
        trial, longest = file.training.epochs_of(family), _longest(file)[family]
        if trial >= longest:
            raise UsageError(
                f"trials of {trial} epochs ({family}) are not shorter than the longest final training that "
                f"--minutes gives, of {longest}; lower --epochs or raise training.final_epochs"
            )


def last_rung(
    file: StudyFile, cost: Mapping[Width, float], seconds: float, n_workers: int
) -> tuple[int, Width, dict[str, int]] | None:
    """Return the finalists, the widest CNN's filters and the final epochs that take `seconds` at most.

    A training of twice the length gains more than a choice among twice the finalists. So there are more than
    two only where that costs no time, or where all of them reach the longest length.
    """
    most = (file.ladder or Ladder()).finalists
    fewest = min(FEWEST_FINALISTS, most)
    found = None
    for n in range(fewest, most + 1):
        n_waves = waves(n, n_workers)
        lengths = _lengths(file, cost, seconds / n_waves)
        if lengths is None:
            break
        width, final = lengths
        widest = max((w for w in cost if w is not MLP), default=MLP)
        is_longest = width == widest and all(
            final[family] == longest
            for family, longest in _longest(file).items()
            if family in final
        )
        if n == fewest or is_longest or n_waves == waves(fewest, n_workers):
            found = n, width, final
    return found


def _longest(file: StudyFile) -> dict[str, int]:
    shares = {"mlp": LONGEST_MLP, "cnn": LONGEST_FINAL}
    return {
        family: min(MAX_EPOCHS, round(share * file.training.final_epochs_of(family)))
        for family, share in shares.items()
    }


def _lengths(
    file: StudyFile, cost: Mapping[Width, float], seconds: float
) -> tuple[Width, dict[str, int]] | None:
    """Return the widest CNN's filters (MLP without CNNs) and final epochs that take `seconds` at most."""
    final: dict[str, int] = {}
    if MLP in cost:
        final["mlp"] = min(_longest(file)["mlp"], math.floor(seconds / cost[MLP]))
    widths = [width for width in cost if width is not MLP]
    own = file.training.final_epochs_of("cnn")
    fitting = [width for width in widths if seconds / cost[width] >= SHORTEST_FINAL * own]
    width = max(fitting, default=min(widths, default=MLP))
    if width is not MLP:
        final["cnn"] = min(_longest(file)["cnn"], math.floor(seconds / cost[width]))
    long_enough = all(n > file.training.epochs_of(family) for family, n in final.items())
    return (width, final) if long_enough else None
