"""The checkpoint of one trial: saved after each epoch, resumed by the next worker."""

from __future__ import annotations

import errno
import shutil
import time
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
_BYTES_PER_PARAMETER = 4 * 11
"""In float32: a checkpoint of five (weights of the last and of the best epoch, their average, and an
optimizer's state of up to twice their size), the same again while its successor is written, and the file of
kept weights."""


class SavedTraining:
    """The checkpoint file of one trial."""

    def __init__(self, session: Session, study_name: str) -> None:
        self.session = session
        self.path = checkpoint_path(session.checkpoints, study_name, session.trial.number)
        self._started = time.monotonic()
        self._earlier_seconds = 0.0

    @property
    def seconds(self) -> float:
        """Monotonic seconds spent on the trial, those before its checkpoint included."""
        return self._earlier_seconds + time.monotonic() - self._started

    def save(self, payload: Checkpoint) -> None:
        """Write a checkpoint. A failure is only a warning: it costs the resume, not the trial."""
        try:
            checkpoint.save(self.path, payload | {"seconds": self.seconds})
        except OSError as error:
            self.session.warn(f"no checkpoint for trial {self.session.trial.number}: {error}")

    def resume(
        self, train: Callable[[Checkpoint | None], FitResult], started: Callable[[], bool]
    ) -> FitResult:
        """Return the result of `train`, called with the checkpoint if there is one that fits.

        A checkpoint that does not fit raises before `started` returns True. Then `train` is called
        without it.
        """
        payload = self._load()
        if payload is None:
            return train(None)
        try:
            self._earlier_seconds = float(payload.get("seconds", 0.0))
            return train(payload)
        except _DOES_NOT_FIT as error:
            if started():
                raise
            reason = f"{type(error).__name__}: {error}".split("\n")[0][:200]
            self._warn_restart(f"{self.path} cannot be resumed ({reason})")
        self._earlier_seconds = 0.0
        return train(None)

    def wait_for_space(self, n_parameters: int) -> None:
        """Wait until the disk has room for a model's weights and checkpoint.

        Raises StorageError when it stays full for as long as an outage may last.
        """
        self.session.persist(self._require_space, _BYTES_PER_PARAMETER * n_parameters + 2**20)

    def save_weights(self, payload: dict[str, Any]) -> str:
        """Write the weights that a final training keeps, and return the path that the trial stores.

        While the disk is full the weights stay in memory. Raises StorageError as `wait_for_space` does.
        """
        path = self.path.with_suffix(".weights.pt")
        self.session.persist(checkpoint.save, path, payload)
        return stored_path(self.session.trial.study, path)

    def _require_space(self, n_bytes: int) -> None:
        folder = self.path.parent
        folder.mkdir(parents=True, exist_ok=True)
        n_free = shutil.disk_usage(folder).free
        if n_free < n_bytes:
            missing = (n_bytes - n_free) / 2**20
            raise OSError(errno.ENOSPC, f"disk full: {folder} needs {missing:.1f} MiB more")

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
