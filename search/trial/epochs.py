"""What happens after each epoch of a trial: its value is reported, and the pruner is asked."""

from __future__ import annotations

from ..errors import StorageError
from ..pruning.audit import is_audited
from ..study import StudyInfo
from ..training.config import TrialConfig
from ..training.early_stopping import out_of_patience
from ..training.endings import Drained
from ..training.fit import Checkpoint
from ..training.history import EpochResult
from .session import Session


class Pruned(Exception):
    """The pruner ended the trial."""


class EpochReports:
    """The reported epochs of one trial. An instance is the `on_epoch` of its training."""

    def __init__(self, session: Session, study_info: StudyInfo, config: TrialConfig) -> None:
        self.session, self.config = session, config
        self.last: EpochResult | None = None
        """The last epoch of this training, reported or not."""
        trial = session.trial
        stored = session.persist(trial.storage.get_trial, trial._trial_id)
        self.values = dict(stored.intermediate_values)
        """Validation macro-F1 by epoch. A resumed trial has some already."""
        self.prunable = study_info.kind == "search" and "baseline" not in trial.user_attrs
        self.audited = is_audited(study_info.study_file, trial.number)
        self.objection: str | None = stored.user_attrs.get("audit")
        """The pruner's first reason against an audited trial."""
        self._resumed: Checkpoint | None = None
        if "family" not in stored.user_attrs:
            # now, because the pruners of other workers read it; the other attributes come at the end
            session.persist(trial.set_user_attr, "family", config.family)

    def begin(self, checkpoint: Checkpoint | None) -> None:
        """Expect the training that resumes from `checkpoint`, or one from scratch."""
        self._resumed = checkpoint

    def __call__(self, result: EpochResult) -> None:
        """Report an epoch and ask the pruner. Raises Pruned, LostLease or Drained."""
        is_first, self.last = self.last is None, result
        try:
            if is_first:
                self.keep(self._earlier(result))
            if result.epoch not in self.values:
                self.session.report(result.epoch, result.val_macro_f1)
                self.values[result.epoch] = result.val_macro_f1
            # an epoch that was reported before an interruption may not have been judged
            if self.prunable and not self._is_last(result.epoch):
                self._ask_pruner(result)
        except StorageError as outage:  # longer than the time limit; Drained keeps the epoch
            raise Drained from outage

    def keep(self, values: dict[int, float]) -> None:
        """Remove the reports that `values` does not hold, which a training before this one left."""
        if values != self.values:
            self.session.keep_reports(values)
            self.values = dict(values)

    def _earlier(self, first: EpochResult) -> dict[int, float]:
        """Return what this training reported before its first call, by its checkpoint.

        A training that died may have left other values: it ran in another precision, say.
        """
        values = {}
        if self._resumed is not None:
            history = self._resumed["history"]
            values = {row["epoch"]: row["val_macro_f1"] for row in history}
        if self.values.get(first.epoch) != first.val_macro_f1:
            values.pop(first.epoch, None)
        return values

    def _is_last(self, epoch: int) -> bool:
        """Return whether the training ends here by itself: pruned, it would only lose its value."""
        if epoch >= self.config.epochs:
            return True
        until_now = sorted(number for number in self.values if number <= epoch)
        best = max(until_now, key=self.values.__getitem__)  # the first of equals
        return out_of_patience(epoch, best, self.config.patience, self.config.min_epochs)

    def _ask_pruner(self, result: EpochResult) -> None:
        values = {epoch: value for epoch, value in self.values.items() if epoch <= result.epoch}
        losses = result.train_loss, result.val_loss
        trial, pruner = self.session.trial, self.session.pruner
        reason = self.session.persist(
            pruner.reason_for, trial.study, self.config.family, values, losses
        )
        if reason is not None and not self.audited:
            raise Pruned(reason)
        if reason is not None and self.objection is None:
            self.objection = reason
            # now, because after an interruption the pruner may not object again
            self.session.persist(trial.set_user_attr, "audit", reason)
