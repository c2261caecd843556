"""`bloodsearch stop`: drain every worker of a study."""

from __future__ import annotations

from ...studies import DEFAULT_STUDY
from . import output
from .options import (
    DebugOption,
    NameOption,
    StorageOption,
    StudyArgument,
    find_study,
)


def stop(
    study: StudyArgument = DEFAULT_STUDY,
    storage: StorageOption = None,
    name: NameOption = None,
    debug: DebugOption = False,
) -> None:
    """Drain every worker of a study, wherever it runs. Their trials go back, resumable."""
    from ..workers.leases import Leases

    opened, found = find_study(study, storage, name)
    n_asked = Leases(opened, found).registry.request_drain()
    output.line(
        f"asked {n_asked} worker{'s' * (n_asked != 1)} of {found.study_name} to stop, "
        "and all that are starting; they do within seconds"
    )
