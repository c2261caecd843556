"""`bloodsearch stop`: drain every worker of a study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ...studies import DEFAULT_STUDY
from . import output
from .options import (
    NameOption,
    StorageOption,
    StudyArgument,
    find_study,
)

if TYPE_CHECKING:
    import optuna

    from ..database.storage import Storage


def stop(
    study: StudyArgument = DEFAULT_STUDY,
    storage: StorageOption = None,
    name: NameOption = None,
    reclaim: Annotated[
        bool,
        typer.Option("--reclaim", help="Also put back running trials that another program holds."),
    ] = False,
) -> None:
    """Drain every worker of a study, wherever it runs. Their trials go back and can be resumed."""
    from ..workers.leases import Leases

    opened, stored = find_study(study, storage, name)
    leases = Leases(opened, stored)
    trained = [stored, *_longer_trainings(opened, stored.study_name)]
    n_asked = sum(Leases(opened, each).registry.request_drain() for each in trained)
    if reclaim:
        n_back = leases.reclaim(foreign=True)
        output.line(f"put back {n_back} trial{'s' * (n_back != 1)} that no worker holds")
    output.line(
        f"asked {n_asked} worker{'s' * (n_asked != 1)} of {stored.study_name} to stop, "
        "and all that are starting; they stop within seconds"
    )


def _longer_trainings(storage: Storage, name: str) -> list[optuna.Study]:
    """Return the studies with the finalists and replicates of a search: the same command trains them."""
    import optuna

    from ..records import study_record
    from ..study_names import take_apart

    studies = []
    for other in optuna.get_all_study_names(storage.optuna):
        part = take_apart(other)
        if part is None or part.base != name or part.kind in ("baselines", "grid"):
            continue
        study = optuna.load_study(study_name=other, storage=storage.optuna)
        if study_record(study).ready:
            studies.append(study)
    return studies
