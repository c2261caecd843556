"""List a study's best trials, each with the sampled parameters in which they differ."""

from __future__ import annotations

from .gather import Gathered, ReportTrial
from .parts import Table
from .words import short

N_TOP = 10


def leaderboard(study: Gathered) -> Table:
    """Return the table of the best complete trials; its note names what all of them share."""
    best = study.complete[:N_TOP]
    sampled = [t.record.sampled or t.params for t in best]
    alike = {
        name: value
        for name, value in (sampled[0] if len(best) > 1 else {}).items()
        if all(name in one and one[name] == value for one in sampled)
    }
    columns = [
        "trial",
        "val. macro-F1",
        "family",
        "epochs",
        "training s",
        "weights",
        "what differs",
    ]
    rows = [
        (
            t.number, t.value, f"{t.family} {t.baseline or ''}".strip(), t.epochs, seconds(t),
            t.record.n_parameters,
            " ".join(f"{k}={short(v)}" for k, v in one.items() if k not in alike),
        )
        for t, one in zip(best, sampled, strict=True)
    ]  # fmt: skip
    note = "`bloodsearch show TRIAL` lists all parameters of a trial."
    if alike:
        shared = ", ".join(f"{name} = {short(value)}" for name, value in alike.items())
        note = f"All of them have {shared}. {note}"
    title = f"The best {len(rows)} of {len(study.complete)} complete trials"
    return Table("leaderboard", title, columns, rows, note)


def seconds(trial: ReportTrial) -> int | None:
    """Return how long a trial trained, in whole seconds; None if it is unknown."""
    time = trial.record.train_seconds
    return None if time is None else round(time)
