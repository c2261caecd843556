"""`bloodsearch stop`: drain every worker of a study."""

from __future__ import annotations

from typing import Annotated

import typer

from ...studies import DEFAULT_STUDY
from . import output
from .options import (
    NameOption,
    StorageOption,
    StudyArgument,
    find_study,
)


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
    n_asked = leases.registry.request_drain()
    if reclaim:
        n_back = leases.reclaim(foreign=True)
        output.line(f"put back {n_back} trial{'s' * (n_back != 1)} that no worker holds")
    output.line(
        f"asked {n_asked} worker{'s' * (n_asked != 1)} of {stored.study_name} to stop, "
        "and all that are starting; they stop within seconds"
    )
