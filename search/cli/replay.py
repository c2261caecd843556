"""`bloodsearch replay`: train a trial again from its stored seed and compare the curve."""

from __future__ import annotations

from typing import Annotated

import typer

from ...studies import DEFAULT_STUDY
from . import output
from .options import (
    DataRootOption,
    JsonOption,
    NameOption,
    StorageOption,
    StudyArgument,
    TrialArgument,
    find_study,
)


def replay(
    trial: TrialArgument,
    study: StudyArgument = DEFAULT_STUDY,
    storage: StorageOption = None,
    name: NameOption = None,
    data_root: DataRootOption = None,
    device: Annotated[str, typer.Option("--device", help="cpu, mps or cuda:N.")] = "cpu",
    json: JsonOption = False,
) -> None:
    """Train a trial again from its stored seed and compare the curve. Changes nothing."""
    from ..api.study import StoredStudy
    from ..study import info
    from ..trial.replay import replay_trial

    opened, stored = find_study(study, storage, name)
    frozen = StoredStudy(opened, stored).trial(trial)

    def show(epoch: int, now: float, then: float | None) -> None:
        if not json:
            before = "  -   " if then is None else f"{then:.4f}"
            mark = "" if now == then else "  differs"
            output.progress(f"epoch {epoch:>3}  stored {before}  again {now:.4f}{mark}")

    result = replay_trial(frozen, info(stored), data_root=data_root, device=device, on_epoch=show)
    if json:
        output.as_json(
            {
                "study": stored.study_name,
                "trial": trial,
                "identical": result.identical,
                "largest_difference": result.largest_difference,
                "stored": result.stored,
                "again": result.again,
                "differs": result.differs,
            }
        )
        return
    if result.identical:
        output.line(f"trial {trial}: the same curve, {len(result.again)} epochs, bitwise identical")
        return
    output.line(f"trial {trial}: the curves differ by up to {result.largest_difference:.4f}")
    for difference in result.differs:
        output.line(f"  {difference}")
