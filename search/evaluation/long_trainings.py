"""What trainings above the search have that its short trials lack: the parameters of the study's ladder.

Some choices show only in a long training. Images that are shifted by two pixels harm an MLP of ten epochs and
help one of two hundred (`python -m benchmarks lengths`). A search of short trials would choose wrongly.
"""

from __future__ import annotations

from optuna.trial import FrozenTrial

from ...studies import PARAMETERS, StudyFile, parse_study
from ..records import trial_record
from ..sampling.space import Params


def long_file(file: StudyFile) -> StudyFile:
    """Return `file` with the ladder's parameters in its space, for a study of longer trainings."""
    params = file.long_params()
    if not params or not file.space:  # a study of baselines has no space
        return file
    data = file.model_dump(mode="json")
    data["space"] |= params
    return parse_study(data, file.name)


def long_point(file: StudyFile, trial: FrozenTrial) -> Params:
    """Return the parameters with which a trial of the search is trained for longer.

    Args:
        file: The search's settings, or `long_file` of them.
        trial: The search's trial.
    """
    record, ladder = trial_record(trial), file.ladder
    point = record.params or {}
    if ladder is None or (record.baseline is not None and record.baseline not in ladder.keep):
        return point
    fixed = {name: file.space.get(name, value) for name, value in ladder.params.items()}
    return point | {
        name: value
        for name, value in fixed.items()
        if isinstance(value, str | int | float) and PARAMETERS[name].is_of(point.get("arch"))
    }
