"""The Optuna objective: one claimed trial, from its parameters to its outcome.

    sample everything -> resolve the configuration -> fit -> report each epoch, maybe prune -> outcome

Endings are never confused: patience or the last epoch completes a trial with its best value, the
pruner prunes it, divergence and lack of memory prune it with a reason that the sampler learns from,
a bug fails it with its traceback, a drain or a lost lease leaves it to whoever is next.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.trial import TrialState

from ..data.bloodmnist import joined, load_dataset
from ..database.outage import is_outage
from ..errors import BloodsearchError, DataError, RefusedError, StorageError
from ..limits import TooCostly, check_latency, check_size
from ..pruning.audit import is_audited
from ..pruning.pruner import FamilyPruner
from ..sampling.space import Params
from ..seeds import trial_seed
from ..study import StudyInfo, versions
from ..training import checkpoint
from ..training.config import TrialConfig
from ..training.cost import latency_ms
from ..training.device import (
    DeviceData,
    choose_precision,
    device_name,
    parse_device,
    to_device,
)
from ..training.endings import Diverged, Drained, OutOfMemory
from ..training.fit import Checkpoint, EpochResult, FitResult, fit
from ..training.history import Keep
from ..training.metrics import scores
from .checkpoint_files import checkpoint_path
from .outcome import Hooks, LostLease, Outcome
from .resolve import parameters, resolve

MAX_TRACEBACK = 8_000
KEPT: dict[str, Keep] = {"replicates": "best", "refits": "last"}
"""The weights that trials of the final evaluation leave. Nothing is held back from a refit, so that no
epoch of it can be called the best."""


class _Pruned(Exception):
    pass


class TorchTrainer:
    """Trains trials on one device, with the data loaded once."""

    def __init__(
        self, study_info: StudyInfo, *, device: str, threads: int, data_root: Path | None
    ) -> None:
        """Raises RefusedError when the data found are not the study's, DataError without data."""
        torch.set_num_threads(threads)
        where = parse_device(device)
        data = load_dataset(study_info.fingerprint.dataset, data_root)
        if data.fingerprint.content_hash != study_info.fingerprint.content_hash:
            raise RefusedError(
                f"the study was made with data {study_info.fingerprint.content_hash}, this worker "
                f"found {data.fingerprint.content_hash}; give it the same file with --data-root"
            )
        self.info = study_info
        self.data = to_device(joined(data) if study_info.kind == "refits" else data, where)

    def __call__(
        self, trial: optuna.Trial, pruner: FamilyPruner, checkpoints: Path, hooks: Hooks
    ) -> Outcome:
        return run_trial(
            trial, self.info, self.data, checkpoints=checkpoints, pruner=pruner, hooks=hooks
        )


def run_trial(
    trial: optuna.Trial,
    study_info: StudyInfo,
    data: DeviceData,
    *,
    checkpoints: Path,
    pruner: FamilyPruner,
    hooks: Hooks,
) -> Outcome:
    """Train a claimed trial to its end.

    Raises Drained or LostLease when the trial is to be left as it is.
    """
    try:
        params = parameters(trial, study_info, hooks)
        config = resolve(params, study_info, final=study_info.kind in KEPT)
        return _Run(trial, study_info, data, config, params, checkpoints, pruner, hooks).outcome()
    except Drained as drained:
        raise drained.__cause__ or drained from None
    except (LostLease, BloodsearchError):
        raise
    except Exception as error:
        if is_outage(error):
            raise
        text = traceback.format_exc()[-MAX_TRACEBACK:]
        last = f"{type(error).__name__}: {error}"[:300]
        path = checkpoint_path(checkpoints, study_info.name, trial.number)
        return Outcome(TrialState.FAIL, None, {"stop_reason": last, "traceback": text}, path)


class _Run:
    def __init__(
        self,
        trial: optuna.Trial,
        study_info: StudyInfo,
        data: DeviceData,
        config: TrialConfig,
        params: Params,
        checkpoints: Path,
        pruner: FamilyPruner,
        hooks: Hooks,
    ) -> None:
        self.trial, self.info, self.data, self.config = trial, study_info, data, config
        self.pruner, self.hooks = pruner, hooks
        self.last: EpochResult | None = None
        self.seed = trial_seed(study_info.study_file, trial)
        self.precision = choose_precision(data.device)
        # a resumed trial has some reports
        stored = hooks.persist(lambda: trial.storage.get_trial(trial._trial_id))
        self.reported = dict(stored.intermediate_values)
        self.has_family = "family" in stored.user_attrs
        self.checkpoint_path = checkpoint_path(checkpoints, study_info.name, trial.number)
        self.audited = is_audited(study_info.study_file, trial.number)
        self.audit: str | None = stored.user_attrs.get("audit")
        self.latency_ms: float | None = None
        self.prunable = study_info.kind == "search" and "baseline" not in trial.user_attrs
        self.start = {
            "family": config.family,
            "params": params,
            "config": config.model_dump(mode="json"),
            "seed": self.seed,
            "data_hash": data.fingerprint.content_hash,
            "versions": versions(),
            "device": device_name(data.device),
            "threads": torch.get_num_threads(),
            "precision": self.precision,
        }

    def outcome(self) -> Outcome:
        self.pruner.new_trial()
        if not self.has_family:
            # before the end, because the pruner of other workers reads it; the rest with the end
            self.hooks.persist(lambda: self.trial.set_user_attr("family", self.config.family))
        try:
            self._check_cost()
            result = self._fit()
        except TooCostly as error:
            self._report_worst()
            return self._pruned(f"too costly: {error}")
        except _Pruned as reason:
            return self._pruned(f"pruned: {reason}")
        except Diverged as error:
            self._report_worst()
            return self._pruned(f"diverged: {error}")
        except OutOfMemory as error:
            self._report_worst()
            return self._pruned(f"out of memory: {error}"[:300])
        if self.latency_ms is None:
            self.latency_ms = latency_ms(self.config.model)
        attrs = self._attrs(_end_attrs(result) | {"latency_ms": round(self.latency_ms, 4)})
        if result.state is not None:
            attrs["weights"] = str(self._keep_weights(result))
        return Outcome(TrialState.COMPLETE, result.best_value, attrs, self.checkpoint_path)

    def _fit(self) -> FitResult:
        resume = self._resume()
        while True:
            try:
                return fit(
                    self.config,
                    self.data,
                    seed=self.seed,
                    on_epoch=self._on_epoch,
                    should_stop=self.hooks.should_stop,
                    save_checkpoint=self._save,
                    resume=resume,
                    keep=KEPT.get(self.info.kind),
                    precision=self.precision,
                )
            except (ValueError, TypeError, LookupError, AttributeError, RuntimeError) as error:
                # a checkpoint of another training, or one that lacks something: no epoch was run
                if resume is None or self.last is not None:
                    raise
                reason = f"{type(error).__name__}: {error}".split("\n")[0][:200]
                self.hooks.warn(
                    f"trial {self.trial.number} starts afresh: "
                    f"{self.checkpoint_path} cannot be resumed ({reason})"
                )
                resume = None

    def _on_epoch(self, result: EpochResult) -> None:
        self.last = result
        try:
            if result.epoch not in self.reported:
                self.hooks.report(result.epoch, result.val_macro_f1)
                self.reported[result.epoch] = result.val_macro_f1
            # an epoch that was reported before an interruption may not have been judged, or not to its end
            if self.prunable and result.epoch < self.config.epochs:
                self._judge(result)
        except StorageError as away:  # past its time limit: keep the epoch for whoever goes on
            raise Drained from away

    def _judge(self, result: EpochResult) -> None:
        values = {e: value for e, value in self.reported.items() if e <= result.epoch}
        losses = result.train_loss, result.val_loss
        reason = self.hooks.persist(
            lambda: self.pruner.reason_for(self.trial.study, self.config.family, values, losses)
        )
        if reason is not None and not self.audited:
            raise _Pruned(reason)
        if reason is not None and self.audit is None:
            self.audit = reason
            # now, not with the end: whoever goes on after an interruption may find nothing to object to
            self.hooks.persist(lambda: self.trial.set_user_attr("audit", reason))

    def _report_worst(self) -> None:
        """Rank a trial that could not be trained last: the sampler then keeps away from it."""
        step = max(self.reported, default=0) + 1
        self.hooks.report(step, 0.0)

    def _pruned(self, reason: str) -> Outcome:
        end = {"stop_reason": reason, "epochs": self.last.epoch if self.last else 0}
        return Outcome(TrialState.PRUNED, None, self._attrs(end), self.checkpoint_path)

    def _attrs(self, end: dict[str, Any]) -> dict[str, Any]:
        return {**self.start, **end}

    def _save(self, payload: Checkpoint) -> None:
        try:
            checkpoint.save(self.checkpoint_path, payload)
        except OSError as error:  # a full disk costs the resume, not the trial
            self.hooks.warn(f"no checkpoint for trial {self.trial.number}: {error}")

    def _check_cost(self) -> None:
        """Raise TooCostly for a sampled model over the study's limits; baselines are wanted as they are."""
        if not self.prunable:
            return
        limits, model = self.info.study_file.search, self.config.model
        check_size(model, limits.max_params)
        self.latency_ms = check_latency(model, limits.max_latency_ms)

    def _resume(self) -> Checkpoint | None:
        try:
            payload = checkpoint.load(self.checkpoint_path)
        except FileNotFoundError:
            return None
        except DataError as error:
            self.hooks.warn(f"trial {self.trial.number} starts afresh: {error}")
            return None
        return payload

    def _keep_weights(self, result: FitResult) -> Path:
        """The kept weights and the configuration they belong to, in one file."""
        path = self.checkpoint_path.with_suffix(".weights.pt")
        payload = {"state_dict": result.state, "config": self.config.model_dump_json()}
        checkpoint.save(path, payload)
        return path


def _end_attrs(result: FitResult) -> dict[str, Any]:
    found = scores(result.best_confusion)
    last = result.history[-1]
    return {
        "stop_reason": "patience" if result.reason == "patience" else "all epochs trained",
        "epochs": last.epoch,
        "best_epoch": result.best_epoch,
        "n_parameters": result.n_parameters,
        "train_seconds": round(result.seconds, 3),
        "val_accuracy": found.accuracy,
        "per_class_f1": [round(float(f1), 6) for f1 in found.f1],
        "confusion": result.best_confusion.tolist(),
        "train_losses": [round(epoch.train_loss, 6) for epoch in result.history],
        "val_losses": [round(epoch.val_loss, 6) for epoch in result.history],
    }
