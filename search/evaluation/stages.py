"""The stages of a final evaluation, and the time that each will take: forecast before the first begins."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...studies import StudyFile
from . import ladder
from .finalists import places_with_kept


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration that a stage may train."""

    family: str
    epoch_s: float
    """Seconds of a trial's epoch, of all folds together, with all workers busy."""
    final_epoch_s: float
    """Seconds of an epoch of a final training, which knows no folds."""
    baseline: str | None = None
    """Its name, if it is a baseline."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Trainings of one length."""

    name: str
    n_trainings: int
    """The largest number that it takes."""
    epochs: tuple[int, ...]
    """Epochs of a training, one number for each family among the candidates."""
    seconds: float
    """Of wall clock, with all workers."""

    def left(self, n_done: int) -> Stage:
        """Return what is left of the stage after `n_done` of its trainings."""
        n = max(0, self.n_trainings - n_done)
        return replace(self, n_trainings=n, seconds=self.seconds * n / self.n_trainings)

    def __str__(self) -> str:
        epochs = " or ".join(map(str, self.epochs))
        s = "" if self.n_trainings == 1 else "s"
        return f"{self.name}: {self.n_trainings} training{s} of {epochs} epochs"


def ladder_stages(
    file: StudyFile, candidates: Sequence[Candidate], *, n_replicates: int, n_workers: int
) -> list[Stage]:
    """Return the rungs of the study's ladder and its final trainings, for candidates that are best first.

    The winner's replicates are among the final trainings.
    """
    assert file.ladder is not None
    stages = []
    for number, rung in enumerate(file.rungs(), start=2):
        candidates = _entering(candidates, rung.trials, file.ladder.keep)
        lengths = [rung.epochs_of(c.family) for c in candidates]
        seconds = [length * c.epoch_s for length, c in zip(lengths, candidates, strict=True)]
        stages.append(_stage(f"rung {number}", lengths, seconds, [len(candidates)], n_workers))
    finalists = _entering(candidates, file.ladder.finalists, file.ladder.keep)
    in_rounds = ladder.rounds(len(finalists), n_replicates)
    return [*stages, _final(file, finalists, in_rounds, n_workers)]


def _entering(candidates: Sequence[Candidate], n: int, keep: Sequence[str]) -> list[Candidate]:
    return [
        candidates[place] for place in places_with_kept([c.baseline for c in candidates], n, keep)
    ]


def race_stages(
    file: StudyFile,
    candidates: Sequence[Candidate],
    *,
    rounds: int,
    n_replicates: int,
    n_workers: int,
) -> list[Stage]:
    """Return the second stage, at the search's own length, and the winner's replicates."""
    stages = []
    if len(candidates) > 1:
        lengths = [file.training.epochs_of(c.family) for c in candidates]
        seconds = [length * c.epoch_s for length, c in zip(lengths, candidates, strict=True)]
        in_rounds = [len(candidates)] * rounds
        stages.append(_stage("second stage, at most", lengths, seconds, in_rounds, n_workers))
    return [*stages, _final(file, candidates, [n_replicates], n_workers)]


def n_in_a_row(in_rounds: Sequence[int], n_workers: int) -> int:
    """Return how many trainings follow one another where each round waits for the one before."""
    return sum(-(-n // n_workers) for n in in_rounds)


def _final(
    file: StudyFile, candidates: Sequence[Candidate], in_rounds: Sequence[int], n_workers: int
) -> Stage:
    lengths = [file.training.final_epochs_of(c.family) for c in candidates]
    seconds = [length * c.final_epoch_s for length, c in zip(lengths, candidates, strict=True)]
    return _stage("final trainings", lengths, seconds, in_rounds, n_workers)


def _stage(
    name: str,
    lengths: Sequence[int],
    seconds: Sequence[float],
    in_rounds: Sequence[int],
    n_workers: int,
) -> Stage:
    """Return a stage whose trainings each take the mean of the candidates' `seconds`."""
    epochs = tuple(sorted(set(lengths)))
    total = n_in_a_row(in_rounds, n_workers) * statistics.fmean(seconds)
    return Stage(name, sum(in_rounds), epochs, total)
