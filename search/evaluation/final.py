"""The final evaluation: retrain the winner, open the test split once, and put it on the record.

    winner (validation only) -> replicates, early stopping on validation -> ledger row -> test split

Everything about the choice happens before the split is opened. The test split is predicted in float32,
whatever precision the training had.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from ..data.bloodmnist import open_test_split
from ..database.storage import Storage
from ..errors import BloodsearchError, RefusedError, StorageError, UsageError
from ..files import write_json
from ..records import trial_record
from ..study import StudyInfo, info
from . import ledger
from .averaging import PLAIN, Averaging, averaged, scored_refits
from .scoring import class_scores, confusion_of, macro_auc, predictor, spread, with_interval
from .selection import choose_winner, ended_badly, replicate_study, replicates

PUBLISHED = {
    # MedMNIST v2 (Yang et al. 2023), Table 3, 28x28, mean of at least three runs
    "ResNet-18": {"accuracy": 0.958, "auc": 0.998},
    "AutoKeras": {"accuracy": 0.961, "auc": 0.998},
    "Google AutoML Vision": {"accuracy": 0.966, "auc": 0.998},
}


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is settled before any replicate is trained."""

    winner: FrozenTrial
    study: optuna.Study
    """The replicate study."""
    seeds: list[int]


def check_opening(storage: Storage, study: optuna.Study, *, force: bool) -> None:
    """Raises RefusedError when the test split was opened for this study before and `force` is not set,
    and when the study is no search: of replicates nobody may choose the luckiest."""
    if info(study).kind != "search":
        raise RefusedError(
            f"{study.study_name!r} holds trainings with several seeds, not a search; name the search they "
            "belong to, with --baselines for its named configurations"
        )
    if not force:
        ledger.refuse_second(storage, study.study_name)


def prepare(
    storage: Storage, study: optuna.Study, *, trial: int | None, n_replicates: int
) -> Prepared:
    """Queue the replicates of trial `trial`; None: of the search's best."""
    winner = choose_winner(study, trial)
    found, seeds = replicate_study(storage, info(study), winner, n_replicates)
    return Prepared(winner, found, seeds)


def evaluate(
    storage: Storage,
    study: optuna.Study,
    prepared: Prepared,
    *,
    data_root: Path | None,
    out: Path,
    forced: bool,
    averaging: Averaging = PLAIN,
    refits: optuna.Study | None = None,
    selection: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Open the test split, score the trained replicates, write `out` and the ledger.

    `selection` is the race that chose the winner, None where there was none. Returns the result as
    `result.json` holds it. Raises RefusedError when a replicate is missing, because an opening must not be
    spent on a part of them, and BloodsearchError when all diverged.
    """
    study_info = info(study)
    trained, diverged = _trained(prepared, prepared.study, "replicate")
    if not trained:
        raise BloodsearchError(
            f"every replicate of trial {prepared.winner.number} diverged; nothing was opened; choose "
            "another with --trial"
        )
    refitted = [] if refits is None else _trained(prepared, refits, "refit")[0]
    check_writable(out)
    predict = [predictor(trial) for trial in trained]
    predict_refitted = [predictor(trial) for trial in refitted]
    _keep_weights(out, trained)
    opening, images, labels = open_on_the_record(
        storage,
        study_info,
        trial=prepared.winner.number,
        n_replicates=len(trained),
        data_root=data_root,
        forced=forced,
    )
    probabilities = [p(images) for p in predict]
    result = _result(study_info, prepared, trained, probabilities, labels)
    result |= {
        "storage": storage.shown,
        "diverged_seeds": diverged,
        "declared_options": [],
        "selection": selection,
        "test_openings": len(ledger.openings(storage, study.study_name)),
        "test_openings_in_storage": len(ledger.openings(storage)),
        "ledger_row": opening,
        "out": str(out),
    }
    # the plain result first: whatever goes wrong from here on, the split was opened for something
    ledger.record_result(storage, opening, result)
    _write(out, result)
    declared = averaged(averaging, predict, images, labels)
    declared += scored_refits(predict_refitted, images, labels)
    if declared:
        result["declared_options"] = declared
        ledger.record_result(storage, opening, result)
        _write(out, result)
    try:
        study.set_user_attr("final_evaluation", _summary(result))
    except optuna.exceptions.StorageInternalError as error:
        raise StorageError(f"the result is in {out}, but not in the study: {error}") from None
    return result


def open_on_the_record(
    storage: Storage,
    study_info: StudyInfo,
    *,
    trial: int,
    n_replicates: int,
    data_root: Path | None,
    forced: bool,
) -> tuple[int, NDArray[np.uint8], NDArray[np.uint8]]:
    """Write the ledger row, then open the test split: the only way to its images.

    Returns the row's number, images (n, 28, 28, 3) and labels (n,).
    """
    opening = ledger.record_opening(
        storage,
        study_info.name,
        trial=trial,
        n_replicates=n_replicates,
        data_hash=study_info.fingerprint.content_hash,
        forced=forced,
    )
    images, labels = open_test_split(
        study_info.fingerprint.dataset, data_root, expected=study_info.fingerprint
    )
    return opening, images, labels


def _result(
    study_info: StudyInfo,
    prepared: Prepared,
    trained: list[FrozenTrial],
    probabilities: list[NDArray[np.float64]],
    labels: NDArray[np.uint8],
) -> dict[str, Any]:
    from ..training.metrics import scores

    predictions = np.stack([p.argmax(axis=1) for p in probabilities])
    confusions = np.stack([confusion_of(labels, row) for row in predictions])
    found = [scores(confusion) for confusion in confusions]
    records = [trial_record(trial) for trial in trained]
    winner, validation = prepared.winner, [float(t.value or 0.0) for t in trained]
    macro = with_interval(spread([s.macro_f1 for s in found]), labels, predictions)
    return {
        "study": study_info.name,
        "dataset": study_info.fingerprint.describe(),
        "data_hash": study_info.fingerprint.content_hash,
        "trial": winner.number,
        "params": trial_record(winner).params,
        "config": records[0].config,
        "n_parameters": records[0].n_parameters,
        "replicates": len(trained),
        "replicates_asked": len(prepared.seeds),
        "seeds": [record.seed for record in records],
        "test_macro_f1": macro,
        "test_accuracy": spread([s.accuracy for s in found]),
        "test_weighted_f1": spread([s.weighted_f1 for s in found]),
        "test_auc": spread([macro_auc(labels, p) for p in probabilities]),
        "per_class": class_scores(confusions.sum(axis=0), len(trained)),
        "confusion_matrix": confusions.sum(axis=0).tolist(),
        "confusion_matrices": confusions.tolist(),
        "val_macro_f1": spread(validation),
        "search_value": winner.value,
        "search_value_minus_replicates": float(winner.value or 0.0) - float(np.mean(validation)),
        "published_28x28": PUBLISHED,
        "train_seconds": [record.train_seconds for record in records],
        "versions": records[0].versions,
        "device": records[0].device,
        "training_precision": records[0].precision,
    }


def _summary(result: dict[str, Any]) -> dict[str, Any]:
    keys = ("trial", "test_macro_f1", "test_accuracy", "val_macro_f1", "test_openings", "out")
    return {key: result[key] for key in keys}


def check_writable(out: Path) -> None:
    """Before anything is trained or opened: a result that cannot be kept must not cost an opening.

    Raises UsageError.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise UsageError(
            f"cannot write to {out} ({error.strerror}); choose another --out"
        ) from None


def _trained(
    prepared: Prepared, study: optuna.Study, noun: str
) -> tuple[list[FrozenTrial], list[int]]:
    """The complete replicates of `study`, and the seeds that diverged.

    Raises RefusedError when any other is missing.
    """
    trained = replicates(study, prepared.seeds)
    known = {trial_record(trial).seed for trial in trained}
    diverged, lacking = ended_badly(study, [seed for seed in prepared.seeds if seed not in known])
    if lacking:
        raise RefusedError(
            f"{len(lacking)} of {len(prepared.seeds)} {noun}s of trial {prepared.winner.number} are not "
            f"trained ({'; '.join(lacking[:3])}); nothing was opened, and the same command trains them"
        )
    return trained, diverged


def _keep_weights(out: Path, trained: list[FrozenTrial]) -> None:
    """The replicates' weights, in place of an earlier evaluation's.

    Raises UsageError when they cannot be kept; the earlier ones are then still there.
    """
    parts = [out / f".replicate-{i}.pt.part" for i in range(len(trained))]
    try:
        for part, trial in zip(parts, trained, strict=True):
            shutil.copyfile(trial_record(trial).weights or "", part)
        for old in out.glob("replicate-*.pt"):
            old.unlink()
        for i, part in enumerate(parts):
            os.replace(part, out / f"replicate-{i}.pt")
    except OSError as error:
        for part in parts:
            part.unlink(missing_ok=True)
        raise UsageError(
            f"cannot keep the weights in {out} ({error.strerror}); nothing was opened; choose another --out"
        ) from None


def _write(out: Path, result: dict[str, Any]) -> None:
    write_json(out / "config.json", result["config"])
    write_json(out / "result.json", result)
