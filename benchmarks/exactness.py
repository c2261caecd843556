"""N asked, N finished, no configuration twice; the same command adds none, a larger N the difference.

    python -m benchmarks exactness

1, 4 and 8 simulated workers (real processes, sleeping trials) on each back end, 20 runs each.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from pathlib import Path

from optuna.trial import TrialState

from benchmarks.common import BACKENDS, save, table
from benchmarks.simulated_search import FINGERPRINT, study_file, supervisor
from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.study import create_or_resume

N_TRIALS, N_MORE, N_RUNS = 16, 4, 20


def one_run(url: str, n_workers: int, seed: int) -> dict[str, int]:
    """Differences from what was asked for; all zero when exact."""
    log = Path(tempfile.mkstemp(prefix="bs-claims-")[1])
    os.environ |= {"SIM_LOG": str(log), "SIM_EPOCH_S": "0.005"}
    storage = open_storage(url, create=True)
    study = create_or_resume(storage, f"run-{seed}", study_file(seed), FINGERPRINT)

    def finished() -> int:
        return len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))

    supervisor(storage, study, N_TRIALS, n_workers).run()
    first = finished() - N_TRIALS
    supervisor(storage, study, N_TRIALS, n_workers).run()
    again = finished() - N_TRIALS
    supervisor(storage, study, N_TRIALS + N_MORE, n_workers).run()
    more = finished() - N_TRIALS - N_MORE
    claims = Counter(log.read_text().splitlines())
    numbers = Counter(line.split()[0] for line in claims)
    configurations = {repr(sorted(t.params.items())) for t in study.trials}
    twice = sum(n - 1 for n in numbers.values()) + sum(n - 1 for n in claims.values())
    log.unlink()
    storage.close()
    return {
        "first": first,
        "again": again,
        "more": more,
        "claimed twice": twice,
        "equal configurations": len(study.trials) - len(configurations),
    }


def run() -> None:
    rows, results = [], []
    for backend, urls in BACKENDS.items():
        with urls() as fresh:
            for n_workers in (1, 4, 8):
                url = fresh()
                found = [one_run(url, n_workers, seed) for seed in range(N_RUNS)]
                exact = sum(not any(row.values()) for row in found)
                worst = {key: max(abs(row[key]) for row in found) for key in found[0]}
                results.append(
                    {
                        "backend": backend,
                        "workers": n_workers,
                        "runs": N_RUNS,
                        "exact": exact,
                        **worst,
                    }
                )
                rows.append([backend, n_workers, f"{exact} of {N_RUNS}", *worst.values()])
                print(*rows[-1], flush=True)
    columns = ["back end", "workers", "exact runs", "off at N", "off again", "off at a larger N"]
    table(
        f"{N_TRIALS} trials asked, asked again, then {N_MORE} more",
        [*columns, "claimed twice", "equal configurations"],
        rows,
    )
    save("exactness", results)
