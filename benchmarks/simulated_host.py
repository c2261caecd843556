"""Many simulated workers as threads of one process, which is how one machine plays dozens of hosts.

    python -m benchmarks.simulated_host STUDY N_WORKERS

Each thread is a whole worker, with connections, leases and heartbeats of its own. The settings are those of
simulated_worker.py.
"""

from __future__ import annotations

import os
import sys
import threading
import uuid

from benchmarks.simulated_worker import SleepingTrainer
from bloodsearch.search.errors import BloodsearchError
from bloodsearch.search.workers.shutdown import Drain
from bloodsearch.search.workers.worker import WorkerSettings, configure_logging, run_worker


def main(study: str, n_workers: str) -> int:
    """Run the workers to their end and return the largest of their exit codes."""
    url = os.environ["BLOODSEARCH_STORAGE"]
    drain = Drain()
    drain.on_signals()
    drain.on_closed_stdin()
    configure_logging(url)
    codes = [0]

    def work() -> None:
        settings = WorkerSettings(
            url, study, "cpu", "cpu", 1, data_root=None, n_trials=None, worker_id=uuid.uuid4().hex
        )
        try:
            run_worker(settings, drain, make_trainer=SleepingTrainer)
        except BloodsearchError as error:
            print(f"bloodsearch: {error}", file=sys.stderr)
            codes.append(error.exit_code)

    threads = [threading.Thread(target=work) for _ in range(int(n_workers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return max(codes)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
