"""The checkpoint of one trial: saved after each epoch, resumed by the next worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import DataError
from ..training import checkpoint
from ..training.fit import Checkpoint, FitResult
from .checkpoint_files import checkpoint_path
from .session import Session
from .weights_files import stored_path

_DOES_NOT_FIT = (ValueError, TypeError, LookupError, AttributeError, RuntimeError)
"""What a training raises for a checkpoint of another training, or one that lacks something."""


class SavedTraining:
    """The checkpoint file of one trial."""

    def __init__(self, session: Session, study_name: str) -> None:
        self.session = session
        self.path = checkpoint_path(session.checkpoints, study_name, session.trial.number)

    def save(self, payload: Checkpoint) -> None:
        """Write a checkpoint. A failure is only a warning: it costs the resume, not the trial."""
        try:
            checkpoint.save(self.path, payload)
        except OSError as error:
            self.session.warn(f"no checkpoint for trial {self.session.trial.number}: {error}")

    def resume(
        self, train: Callable[[Checkpoint | None], FitResult], started: Callable[[], bool]
    ) -> FitResult:
        """Return the result of `train`, called with the checkpoint if there is one that fits.

        A checkpoint that does not fit is found out before `started` returns True. `train` is then called
        without it.
        """
        payload = self._load()
        if payload is None:
            return train(None)
        try:
            return train(payload)
        except _DOES_NOT_FIT as error:
            if started():
                raise
            reason = f"{type(error).__name__}: {error}".split("\n")[0][:200]
            self._warn_restart(f"{self.path} cannot be resumed ({reason})")
        return train(None)

    def save_weights(self, payload: dict[str, Any]) -> str:
        """Write the weights that a final training keeps, and return the path that the trial stores."""
        path = self.path.with_suffix(".weights.pt")
        checkpoint.save(path, payload)
        return stored_path(self.session.trial.study, path)

    def _load(self) -> Checkpoint | None:
        try:
            return checkpoint.load(self.path)
        except FileNotFoundError:
            return None
        except DataError as error:
            self._warn_restart(str(error))
            return None

    def _warn_restart(self, reason: str) -> None:
        self.session.warn(f"trial {self.session.trial.number} starts from scratch: {reason}")
