"""What the view in place costs: CPU time of the process that shows it and trains nothing.

    python -m benchmarks live

Two simulated workers report an epoch a second each, in studies with 100 and 10,000 finished trials. "lines"
is the same with TERM=dumb, where nothing is drawn.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import psutil

from benchmarks.common import save, shown, spread, sqlite_urls, table
from benchmarks.overhead import prefill
from benchmarks.terminal import Terminal
from bloodsearch.search.api import training
from bloodsearch.search.api.placement import Placement
from bloodsearch.search.cli.progress import Screen
from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.errors import Interrupted
from bloodsearch.search.study import load
from bloodsearch.search.workers import launch

WORKER = Path(__file__).with_name("simulated_worker.py")
SECONDS = float(os.environ.get("LIVE_SECONDS", "60"))
N_RUNS = int(os.environ.get("LIVE_RUNS", "3"))
FINISHED = (100, 10_000)
TERMINALS = {"in place": "xterm-256color", "lines": "dumb"}


def child(url: str, n_trials: int) -> None:
    """Run simulated workers on the prefilled study and show them as `optimize` does."""
    setattr(launch, "PROGRAM", ("-P", str(WORKER)))  # noqa: B010
    storage = open_storage(url, create=False)
    screen = Screen(quiet=False)
    training.run_workers(
        storage,
        load(storage, "bench"),
        n_trials,
        Placement(devices="cpu", workers=2),
        data_root=None,
        on_progress=screen,
        snapshots=screen.draws,
        owns_process=True,
    )


def cpu_share(url: str, n_finished: int, terminal: str) -> float:
    """Return the percentage of a core that the process uses while its workers train."""
    command = [sys.executable, "-m", "benchmarks.live", url, str(n_finished + 500)]
    environment = {"SIM_EPOCHS": "5", "SIM_EPOCH_S": "1", "TERM": terminal}
    with Terminal(command, environment=environment) as running:
        running.wait_for("trial ", seconds=120)
        running.read(5)
        process = psutil.Process(running.process.pid)
        before = process.cpu_times()
        running.watch(SECONDS)
        after = process.cpu_times()
        running.press_ctrl_c()
        running.wait()
    share: float = 100 * (after.user - before.user + after.system - before.system) / SECONDS
    return share


def run() -> None:
    """Measure each case N_RUNS times, in turns."""
    cases: dict[str, list[float]] = {}
    with sqlite_urls() as fresh:
        for n_finished in FINISHED:
            for _ in range(N_RUNS):
                for name, terminal in TERMINALS.items():
                    url = fresh()
                    prefill(url, n_finished)
                    case = f"{n_finished:,} finished trials, {name}"
                    cases.setdefault(case, []).append(cpu_share(url, n_finished, terminal))
                    print(case, cases[case], flush=True)
    result: dict[str, Any] = {name: spread(values) for name, values in cases.items()}
    rows = [[name, shown(value, " %", 2)] for name, value in result.items()]
    table("share of a core that the command itself uses", ["", "CPU time"], rows)
    save("live", result | {"seconds": SECONDS})


if __name__ == "__main__":
    try:
        child(sys.argv[1], int(sys.argv[2]))
    except Interrupted:
        sys.exit(Interrupted.exit_code)
