"""A worker whose trials sleep instead of training: real claims, leases, reports and signals.

Takes the arguments of `worker-process`, so that the supervisor can start it, and its settings from the
environment: SIM_EPOCHS, SIM_EPOCH_S (seconds each), SIM_LOG (a file that gets one line per claim),
SIM_POISON (the number of a trial that kills its worker), SIM_CRASH (one that ends it with a traceback),
SIM_BUG (one that fails), SIM_DEAF (set: trials do not hear that they should stop), SIM_START_S (seconds
before the first claim), SIM_HOST (the machine's name), SIM_CLOCK (a file with the
seconds by which the clock is wrong), SIM_NO_DATA (set: there are no data).
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import time
import zlib
from pathlib import Path

import sqlalchemy as sa
from optuna.trial import TrialState

from bloodsearch.search.database.storage import Storage
from bloodsearch.search.errors import BloodsearchError, DataError
from bloodsearch.search.records import Ending, end_attributes
from bloodsearch.search.study import StudyInfo
from bloodsearch.search.training.endings import Drained
from bloodsearch.search.trial.outcome import Outcome
from bloodsearch.search.trial.session import Session
from bloodsearch.search.workers.shutdown import Drain
from bloodsearch.search.workers.worker import (
    EXIT_RECYCLE,
    Recycle,
    WorkerSettings,
    configure_logging,
    run_worker,
)


class SleepingTrainer:
    """Reports a curve that depends on the parameters alone, one value per `SIM_EPOCH_S`."""

    def __init__(self, study_info: StudyInfo, settings: WorkerSettings) -> None:
        self.study_file = study_info.study_file
        self.n_epochs = int(os.environ.get("SIM_EPOCHS", "3"))
        self.epoch_s = float(os.environ.get("SIM_EPOCH_S", "0.01"))
        self.deaf = "SIM_DEAF" in os.environ
        self.log = os.environ.get("SIM_LOG")
        if "SIM_NO_DATA" in os.environ:
            raise DataError("no data here")
        time.sleep(float(os.environ.get("SIM_START_S", "0")))

    def __call__(self, session: Session) -> Outcome:
        trial = session.trial
        self._note(f"{trial.number} {os.getpid()}")
        if os.environ.get("SIM_POISON") == str(trial.number):
            os.kill(os.getpid(), signal.SIGKILL)
        if os.environ.get("SIM_CRASH") == str(trial.number):
            raise MemoryError("a bug of the worker's own")
        if os.environ.get("SIM_BUG") in (str(trial.number), "all"):
            told = f"ValueError: a bug with {os.environ['BLOODSEARCH_STORAGE']} in hand"
            attrs = end_attributes(Ending.FAILED, told) | {"traceback": told}
            return Outcome(TrialState.FAIL, None, dict(attrs))
        stored = session.persist(trial.storage.get_trial, trial._trial_id)
        reported = set(stored.intermediate_values)
        params = stored.user_attrs.get("point") or session.suggest(
            self.study_file, lambda params: True
        )
        # crc32, not hash(): a string's hash differs from process to process
        best = 0.5 + zlib.crc32(repr(sorted(params.items())).encode()) % 1000 / 2500
        for epoch in range(1, self.n_epochs + 1):
            deadline = time.monotonic() + self.epoch_s
            while (left := deadline - time.monotonic()) > 0:
                if not self.deaf and session.should_stop():
                    raise Drained
                time.sleep(min(left, 0.02))
            if epoch not in reported:
                session.report(epoch, best * (1 - 0.5**epoch))
        return Outcome(TrialState.COMPLETE, best, {"params": params, "epochs": self.n_epochs})

    def _note(self, line: str) -> None:
        if self.log:
            with open(self.log, "a") as file:
                file.write(line + "\n")


def shift_clock(file: Path) -> None:
    """Let the database's clock, as this process reads it, be wrong by the number in `file`."""
    now = Storage.now

    def shifted(self: Storage) -> sa.ColumnElement[float]:
        return now(self) + float(file.read_text())

    setattr(Storage, "now", shifted)  # noqa: B010


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("study_name")
    parser.add_argument("--device")
    parser.add_argument("--slot")
    parser.add_argument("--worker-id")
    parser.add_argument("--node", default="")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--trials", type=int)
    parser.add_argument("--data-root", type=Path)
    args = parser.parse_args()
    if host := os.environ.get("SIM_HOST"):
        socket.gethostname = lambda: host
    if clock := os.environ.get("SIM_CLOCK"):
        shift_clock(Path(clock))
    drain = Drain()
    drain.on_signals()
    drain.on_closed_stdin()
    configure_logging(os.environ["BLOODSEARCH_STORAGE"])
    settings = WorkerSettings(
        storage_url=os.environ["BLOODSEARCH_STORAGE"],
        study_name=args.study_name,
        device=args.device,
        slot=args.slot,
        threads=args.threads,
        data_root=args.data_root,
        n_trials=args.trials,
        worker_id=args.worker_id,
        node=args.node,
    )
    try:
        run_worker(settings, drain, make_trainer=SleepingTrainer)
    except Recycle:
        sys.exit(EXIT_RECYCLE)
    except BloodsearchError as error:
        print(f"bloodsearch: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
