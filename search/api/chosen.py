"""What a person has chosen with `--set` and `--minutes` may not replace in silence."""

from __future__ import annotations

from ...studies import Overrides, StudyFile, override_keys
from ..errors import UsageError

_FITTED = {"search.trials": "", "baselines": "minutes.baselines"}
_FITTED_WITH_LADDER = {
    **_FITTED,
    "space.cnn_width": "minutes.cnn_widths",
    "training.final_patience": "",
    "ladder.rungs": "",
    "ladder.keep": "minutes.baselines",
}
"""Keys that `--minutes` gives a value of its own, and the key that says which."""


def judged_by_folds(file: StudyFile) -> bool:
    """Return whether `--minutes` fits the number of trials alone."""
    return bool(file.search.folds) and file.search.sampler in ("tpe", "random")


def keep_chosen(file: StudyFile, overrides: Overrides | None) -> StudyFile:
    """Return `file` with those entries of [minutes] space removed that `overrides` has in [space].

    Raises UsageError for overrides that would have no effect.
    """
    keys = override_keys(overrides)
    for key in keys:
        _check_key(file, key)
    if file.minutes is None:
        return file
    names = {key.split(".")[1] for key in keys if key.startswith("space.")}
    if "space" in keys:
        names |= set(file.space)
    names -= {key.split(".")[2] for key in keys if key.startswith("minutes.space.")}
    space = {name: entry for name, entry in file.minutes.space.items() if name not in names}
    minutes = file.minutes.model_copy(update={"space": space})
    return file.model_copy(update={"minutes": minutes})


def _check_key(file: StudyFile, key: str) -> None:
    folded = judged_by_folds(file)
    if folded and key.split(".")[0] == "minutes":
        raise UsageError(
            f"--set {key} has no effect: trials are judged by folds, and --minutes chooses only their number"
        )
    for fitted, instead in (_FITTED if folded else _FITTED_WITH_LADDER).items():
        if key == fitted or key.startswith(f"{fitted}."):
            advice = f"set {instead}" if instead and not folded else "use --trials N"
            raise UsageError(f"--set {key} does not go with --minutes, which chooses it; {advice}")
