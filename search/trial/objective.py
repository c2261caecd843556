"""The Optuna objective: one claimed trial, from its parameters to its outcome.

    sample everything -> resolve the configuration -> fit -> report each epoch, maybe prune -> outcome

Each ending has one outcome. Patience or the last epoch completes a trial with its best value. The pruner,
divergence and lack of memory prune it. A bug fails it with its traceback. A drain or a lost lease leaves it
to the next worker.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from optuna.trial import TrialState

from ..data.load import load_dataset
from ..database.outage import is_outage
from ..errors import BloodsearchError, RefusedError, UsageError
from ..limits import TooCostly, check_latency, check_size
from ..records import Ending, end_attributes
from ..sampling.space import Params
from ..seeds import trial_seed
from ..study import StudyInfo, versions
from ..training.config import TrialConfig
from ..training.cost import latency_ms, n_parameters
from ..training.device import (
    Precision,
    choose_precision,
    device_name,
    parse_device,
)
from ..training.endings import Diverged, Drained, OutOfMemory
from ..training.fit import Checkpoint, FitResult, fit
from ..training.history import Keep
from ..training.metrics import scores
from .data import TrialData
from .epochs import EpochReports, Pruned
from .outcome import LostLease, Outcome
from .resolve import parameters, resolve
from .saved_training import SavedTraining
from .session import Session

MAX_TRACEBACK = 8_000
KEPT: dict[str, Keep] = {"replicates": "best", "refits": "last"}
"""The weights that trials of the final evaluation keep. A refit trains on all data, so no epoch of it can
be called the best."""
ENDINGS = {
    TooCostly: Ending.TOO_COSTLY,
    Pruned: Ending.PRUNED,
    Diverged: Ending.DIVERGED,
    OutOfMemory: Ending.OUT_OF_MEMORY,
}
"""How a pruned trial ended, by the exception that ended it."""
WORST = 0.0
"""The value of a trial that could not be trained. No report has it, so no comparison of epochs uses it."""


class TorchTrainer:
    """Trains trials on one device, with the data loaded once."""

    def __init__(
        self, study_info: StudyInfo, *, device: str, threads: int, data_root: Path | None
    ) -> None:
        """Load the data. Raises RefusedError for data other than the study's, DataError without data."""
        torch.set_num_threads(threads)
        torch_device = parse_device(device)
        data = load_dataset(study_info.fingerprint, data_root)
        if data.fingerprint.content_hash != study_info.fingerprint.content_hash:
            raise RefusedError(
                f"the study was made with data {study_info.fingerprint.content_hash}, this worker "
                f"found {data.fingerprint.content_hash}; give it the same file with --data-root"
            )
        self.info = study_info
        self.data = TrialData.load(study_info, data, torch_device)

    def __call__(self, session: Session) -> Outcome:
        return run_trial(session, self.info, self.data)


def run_trial(session: Session, study_info: StudyInfo, data: TrialData) -> Outcome:
    """Train a claimed trial to its end.

    Raises Drained, LostLease or BloodsearchError to leave the trial as it is, and database outages.
    """
    saved = SavedTraining(session, study_info.name)
    try:
        try:
            params = parameters(session, study_info)
            config = resolve(params, study_info, final=study_info.kind in KEPT)
        except UsageError as error:  # of a point that was queued by hand: no worker can train it
            outcome = _failed(error, saved)
        else:
            outcome = _train(session, study_info, data, params, config, saved)
    except Drained as drained:
        raise drained.__cause__ or drained from None
    except optuna.exceptions.UpdateFinishedTrialError:
        raise LostLease from None  # another program has ended the trial
    except (LostLease, BloodsearchError):
        raise
    except Exception as error:
        if is_outage(error):
            raise
        outcome = _failed(error, saved)
    outcome.attrs["seconds"] = round(saved.seconds, 3)
    return outcome


def _failed(error: Exception, saved: SavedTraining) -> Outcome:
    attrs = end_attributes(Ending.FAILED, f"{type(error).__name__}: {error}"[:300])
    attrs["traceback"] = traceback.format_exc()[-MAX_TRACEBACK:]
    return Outcome(TrialState.FAIL, None, dict(attrs), saved.path)


def _train(
    session: Session,
    study_info: StudyInfo,
    data: TrialData,
    params: Params,
    config: TrialConfig,
    saved: SavedTraining,
) -> Outcome:
    """Train and describe a trial. Return its outcome, complete or pruned."""
    session.pruner.new_trial()
    epochs = EpochReports(session, study_info, config)
    seed = trial_seed(study_info.study_file, session.trial)
    device, data_of_trial = data.splits.device, data.of(seed)
    precision = choose_precision(device)
    attrs: dict[str, Any] = {
        "family": config.family,
        "params": params,
        "config": config.model_dump(mode="json"),
        "seed": seed,
        "data_hash": study_info.fingerprint.content_hash,
        "versions": versions(),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
    }
    # a kept model is exported and tested in float32: its stored value is what the file gives
    val_precision: Precision | None = "float32" if study_info.kind in KEPT else None
    if val_precision is not None:
        attrs["val_precision"] = val_precision

    def train(checkpoint: Checkpoint | None) -> FitResult:
        # the worker that began the trial may have had another processor
        attrs["precision"] = (checkpoint or {}).get("precision", precision)
        epochs.begin(checkpoint)
        return fit(
            config,
            data_of_trial,
            seed=seed,
            on_epoch=epochs,
            should_stop=session.should_stop,
            save_checkpoint=saved.save,
            resume=checkpoint,
            keep=_kept(study_info),
            precision=attrs["precision"],
            val_precision=val_precision,
            cuda_graph=study_info.study_file.training.cuda_graph,
        )

    try:
        latency = _check_cost(study_info, config) if epochs.prunable else None
        if study_info.kind in KEPT:
            saved.wait_for_space(n_parameters(config.model))
        result = saved.resume(train, started=lambda: epochs.last is not None)
    except (TooCostly, Pruned, Diverged, OutOfMemory) as error:
        if epochs.last is None:
            epochs.keep({})
        attrs |= end_attributes(ENDINGS[type(error)], str(error)[:300])
        attrs["epochs"] = epochs.last.epoch if epochs.last else 0
        value = None if isinstance(error, Pruned) else WORST
        return Outcome(TrialState.PRUNED, value, attrs, saved.path)
    attrs |= _end_attrs(result, study_info.dataset.classes)
    attrs["latency_ms"] = round(latency_ms(config.model) if latency is None else latency, 4)
    if result.state is not None:
        weights = {"state_dict": result.state, "config": config.model_dump_json()}
        attrs["weights"] = saved.save_weights(weights)
    return Outcome(TrialState.COMPLETE, result.best_value, attrs, saved.path)


def _kept(study_info: StudyInfo) -> Keep | None:
    keep = KEPT.get(study_info.kind)
    # few validation images choose no epoch either
    return "last" if keep and study_info.study_file.search.folds else keep


def _check_cost(study_info: StudyInfo, config: TrialConfig) -> float | None:
    """Return the latency if the study limits it. Raise TooCostly for a model over the limits."""
    limits = study_info.study_file.search
    check_size(config.model, limits.max_params)
    return check_latency(config.model, limits.max_latency_ms)


def _end_attrs(result: FitResult, classes: Sequence[str]) -> dict[str, Any]:
    best = scores(result.best_confusion)
    last = result.history[-1]
    ending = Ending.EARLY_STOPPED if result.reason == "patience" else Ending.COMPLETED
    worst = int(np.argmin(np.where(result.best_confusion.sum(axis=1) > 0, best.f1, np.inf)))
    return end_attributes(ending) | {
        "worst_class": classes[worst],
        "worst_f1": round(float(best.f1[worst]), 4),
        "epochs": last.epoch,
        "best_epoch": result.best_epoch,
        "n_parameters": result.n_parameters,
        "train_seconds": round(result.seconds, 3),
        "val_accuracy": best.accuracy,
        "per_class_f1": [round(float(f1), 6) for f1 in best.f1],
        "confusion": result.best_confusion.tolist(),
        "train_losses": [round(epoch.train_loss, 6) for epoch in result.history],
        "val_losses": [round(epoch.val_loss, 6) for epoch in result.history],
    }
