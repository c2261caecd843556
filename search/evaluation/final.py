"""The final evaluation: retrain the winner, open the test split once, and put it on the record.

    winner (validation only) -> replicates, early stopping on validation -> ledger row -> test split

Everything about the choice happens before the split is opened. The test split is predicted in float32,
whatever precision the training had.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from search.errors import BloodsearchError, DataError, RefusedError, StorageError, UsageError
from search.evaluation import ledger
from search.evaluation.selection import choose_winner, replicate_study, replicates
from search.storage import Storage
from search.study import StudyInfo, info
from search.training.data import CLASS_NAMES, open_test_split

N_BOOTSTRAP = 1000
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
    earlier_openings: int


def prepare(
    storage: Storage,
    study: optuna.Study,
    *,
    trial: int | None,
    n_replicates: int,
    force: bool,
) -> Prepared:
    """Choose the winner and queue its replicates.

    Raises RefusedError when the test split was opened for this study before and `force` is not set.
    """
    earlier = ledger.openings(storage, study.study_name)
    if earlier and not force:
        last = earlier[-1]
        raise RefusedError(
            f"the test split was already opened for {study.study_name!r} (trial {last.trial}, "
            f"{last.opened_at}, by {last.opened_by}); another look is counted in every later "
            "result: --force"
        )
    winner = choose_winner(study, trial)
    found, seeds = replicate_study(storage, info(study), winner, n_replicates)
    return Prepared(winner, found, seeds, len(earlier))


def evaluate(
    storage: Storage,
    study: optuna.Study,
    prepared: Prepared,
    *,
    data_root: Path | None,
    out: Path,
    forced: bool,
) -> dict[str, Any]:
    """Open the test split, score the trained replicates, write `out` and the ledger.

    Returns the result as `result.json` holds it. Raises BloodsearchError when no replicate is complete.
    """
    study_info = info(study)
    trained = replicates(prepared.study, prepared.seeds)
    if not trained:
        raise BloodsearchError(
            f"no replicate of trial {prepared.winner.number} was trained to its end; "
            f"`bloodsearch show 0 --name {prepared.study.study_name}` says why"
        )
    check_writable(out)
    predict = [_predictor(trial) for trial in trained]
    opening = ledger.record_opening(
        storage,
        study.study_name,
        trial=prepared.winner.number,
        n_replicates=len(trained),
        data_hash=study_info.fingerprint.content_hash,
        forced=forced,
    )
    images, labels = open_test_split(
        study_info.fingerprint.dataset, data_root, expected=study_info.fingerprint
    )
    probabilities = [p(images) for p in predict]
    result = _result(study_info, prepared, trained, probabilities, labels)
    result |= {
        "storage": storage.shown,
        "test_openings": len(ledger.openings(storage, study.study_name)),
        "test_openings_in_storage": len(ledger.openings(storage)),
        "ledger_row": opening,
        "out": str(out),
    }
    _write(out, result, trained)
    ledger.record_result(storage, opening, result)
    try:
        study.set_user_attr("final_evaluation", _summary(result))
    except optuna.exceptions.StorageInternalError as error:
        raise StorageError(f"the result is in {out}, but not in the study: {error}") from None
    return result


def _predictor(trial: FrozenTrial) -> Callable[[NDArray[np.uint8]], NDArray[np.float64]]:
    """A function from uint8 images (n, 28, 28, 3) to class probabilities (n, 8).

    Raises DataError when the trial's weights are not its own.
    """
    import torch

    from models import build_model
    from search.training.checkpoint import load
    from search.training.config import TrialConfig
    from search.training.predict import predict_logits

    path = Path(trial.user_attrs["weights"])
    config = TrialConfig.model_validate(trial.user_attrs["config"])
    model = build_model(config.model)
    try:
        model.load_state_dict(load(path)["state_dict"])
    except (DataError, LookupError, TypeError, AttributeError, RuntimeError):
        raise DataError(
            f"{path} does not hold the weights of replicate {trial.number}; move it away and run "
            "`bloodsearch final-eval` again, which trains it anew"
        ) from None

    def predict(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        logits = predict_logits(model, torch.from_numpy(images), torch.float32)
        probabilities: NDArray[np.float64] = logits.double().softmax(dim=1).numpy()
        return probabilities

    return predict


def _result(
    study_info: StudyInfo,
    prepared: Prepared,
    trained: list[FrozenTrial],
    probabilities: list[NDArray[np.float64]],
    labels: NDArray[np.uint8],
) -> dict[str, Any]:
    from sklearn.metrics import roc_auc_score

    from search.training.metrics import scores

    n_classes = len(CLASS_NAMES)
    predictions = np.stack([p.argmax(axis=1) for p in probabilities])
    confusions = np.stack([_confusion(labels, row) for row in predictions])
    found = [scores(confusion) for confusion in confusions]
    pooled = scores(confusions.sum(axis=0))
    aucs = [
        roc_auc_score(labels, p, multi_class="ovr", average="macro", labels=range(n_classes))
        for p in probabilities
    ]
    winner, validation = prepared.winner, [float(t.value or 0.0) for t in trained]
    macro = spread([s.macro_f1 for s in found])
    macro["interval_95"] = bootstrap_interval(labels, predictions)
    return {
        "study": study_info.name,
        "dataset": study_info.fingerprint.describe(),
        "data_hash": study_info.fingerprint.content_hash,
        "trial": winner.number,
        "params": winner.user_attrs["params"],
        "config": trained[0].user_attrs["config"],
        "n_parameters": trained[0].user_attrs.get("n_parameters"),
        "replicates": len(trained),
        "replicates_asked": len(prepared.seeds),
        "seeds": [t.user_attrs["seed"] for t in trained],
        "test_macro_f1": macro,
        "test_accuracy": spread([s.accuracy for s in found]),
        "test_weighted_f1": spread([s.weighted_f1 for s in found]),
        "test_auc": spread([float(auc) for auc in aucs]),
        "per_class": [
            {
                "name": name,
                "precision": float(pooled.precision[i]),
                "recall": float(pooled.recall[i]),
                "f1": float(pooled.f1[i]),
                "n": int(confusions[0, i].sum()),
            }
            for i, name in enumerate(CLASS_NAMES)
        ],
        "confusion_matrix": confusions.sum(axis=0).tolist(),
        "val_macro_f1": spread(validation),
        "search_value": winner.value,
        "search_value_minus_replicates": float(winner.value or 0.0) - float(np.mean(validation)),
        "published_28x28": PUBLISHED,
        "train_seconds": [t.user_attrs.get("train_seconds") for t in trained],
        "versions": trained[0].user_attrs["versions"],
        "device": trained[0].user_attrs["device"],
        "training_precision": trained[0].user_attrs["precision"],
    }


def spread(values: list[float]) -> dict[str, Any]:
    """Mean, standard deviation over replicates (n - 1; 0 for one) and the values themselves."""
    std = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"mean": float(np.mean(values)), "std": std, "n": len(values), "values": values}


def bootstrap_interval(
    labels: NDArray[np.uint8], predictions: NDArray[np.int64]
) -> tuple[float, float]:
    """95 % percentile interval of the replicates' mean macro-F1 over resampled test images.

    labels (n,), predictions (r, n). It holds the finite test split's share of the uncertainty;
    the standard deviation over replicates holds the seeds'.
    """
    from scipy.stats import bootstrap

    from search.training.metrics import scores

    def mean_macro_f1(index: NDArray[np.int64]) -> float:
        rows = [_confusion(labels[index], row[index]) for row in predictions]
        return float(np.mean([scores(confusion).macro_f1 for confusion in rows]))

    found = bootstrap(
        (np.arange(len(labels)),),
        mean_macro_f1,
        n_resamples=N_BOOTSTRAP,
        vectorized=False,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)


def _confusion(labels: NDArray[np.uint8], predictions: NDArray[np.int64]) -> NDArray[np.int64]:
    n = len(CLASS_NAMES)
    cells = labels.astype(np.int64) * n + predictions
    return np.bincount(cells, minlength=n * n).reshape(n, n)


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


def _write(out: Path, result: dict[str, Any], trained: list[FrozenTrial]) -> None:
    for i, trial in enumerate(trained):
        shutil.copyfile(trial.user_attrs["weights"], out / f"replicate-{i}.pt")
    (out / "config.json").write_text(json.dumps(result["config"], indent=2) + "\n")
    temporary = out / ".result.json.part"
    temporary.write_text(json.dumps(result, indent=2) + "\n")
    os.replace(temporary, out / "result.json")
