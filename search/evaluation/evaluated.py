"""The trained replicates of a final evaluation that has a result."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from ..database.storage import Storage
from ..errors import DataError, RefusedError
from ..study import load
from ..trial.weights_files import places, with_weights
from .folder import read_result
from .selection import replicates_home, trials_of, weights_missing

_SAME = ("evaluation", "study", "trial", "seeds", "data_hash", "test_macro_f1")
"""What the ledger's result and a folder's result.json have in common if they are one evaluation's."""


def evaluated_replicates(
    storage: Storage, study_name: str, result: dict[str, Any]
) -> list[FrozenTrial]:
    """Return the replicates that `result` is about, each with the path of its weights on this machine.

    The weights are looked for beside the database, and in the folder of the final evaluation. Raises
    RefusedError when some are in neither.
    """
    study = load(storage, replicates_home(storage, study_name, result["trial"]))
    complete = [
        trial for trial in trials_of(study, result["trial"]) if trial.state is TrialState.COMPLETE
    ]
    by_seed = _evaluated(with_weights(study, complete), result)
    folders = list(_folders(storage, study_name, result))
    own = [folder for folder in folders if _is_of(folder, result)]
    replicates = []
    for i, seed in enumerate(result["seeds"]):
        if seed not in by_seed:
            continue
        kept = (folder / f"replicate-{i}.pt" for folder in own)
        if not weights_missing(by_seed[seed]):
            replicates.append(by_seed[seed])
        elif path := next((path for path in kept if _is_replicate(path, result, seed)), None):
            replicates.append(_with_path(by_seed[seed], path))
    n_missing = len(result["seeds"]) - len(replicates)
    if n_missing:
        raise RefusedError(
            f"{n_missing} of the {len(result['seeds'])} weight files of {study.study_name} are not on this "
            f"machine; looked in {', '.join(map(str, (*places(study), *folders)))}; copy one of these "
            "folders from where the final evaluation ran, or export there"
        )
    return replicates


def _evaluated(complete: list[FrozenTrial], result: dict[str, Any]) -> dict[Any, FrozenTrial]:
    """Return the trial of each seed whose weights were evaluated.

    A later trial with the same seed was trained because the weights were lost. It is the same training if it
    has the same validation value; on another processor it may be another, which has no test score.
    """
    values = (result.get("val_macro_f1") or {}).get("values") or []
    evaluated = dict(zip(result["seeds"], values, strict=False))
    latest_first: defaultdict[Any, list[FrozenTrial]] = defaultdict(list)
    for trial in reversed(complete):
        latest_first[trial.user_attrs.get("seed")].append(trial)

    def misfit(trial: FrozenTrial) -> tuple[float, bool]:
        expected = evaluated.get(trial.user_attrs.get("seed"))
        distance = 0.0 if expected is None else round(abs((trial.value or 0.0) - expected), 9)
        return distance, weights_missing(trial)

    return {seed: min(trials, key=misfit) for seed, trials in latest_first.items()}


def _folders(storage: Storage, study_name: str, result: dict[str, Any]) -> Iterator[Path]:
    """Yield the folders that may hold the final evaluation: as stored, here, and beside the database."""
    database = storage.sqlite_path
    bases = [Path.cwd(), *([] if database is None else [database.absolute().parent])]
    relative = [Path("final") / study_name]
    if out := result.get("out"):
        stored = Path(str(out))
        relative = [
            stored,
            *([Path(*stored.parts[-2:])] if stored.is_absolute() else []),
            *relative,
        ]
    yield from dict.fromkeys(base / path for path in relative for base in bases)


def _is_of(folder: Path, result: dict[str, Any]) -> bool:
    stored = read_result(folder)
    return bool(stored) and all(stored.get(key) == result.get(key) for key in _SAME)


def _is_replicate(path: Path, result: dict[str, Any], seed: int) -> bool:
    """Return whether a file holds the replicate with `seed` of this evaluation.

    Files of earlier versions hold no identifier.
    """
    from ..training import checkpoint  # imports torch

    try:
        payload = checkpoint.load(path)
    except (OSError, DataError):
        return False
    expected = {"evaluation": result.get("evaluation") or "", "seed": seed}
    return all(payload.get(key, value) == value for key, value in expected.items())


def _with_path(trial: FrozenTrial, path: Path) -> FrozenTrial:
    located = copy.copy(trial)
    located.user_attrs = trial.user_attrs | {"weights": str(path)}
    return located
