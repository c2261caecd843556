"""Milliseconds a trial costs outside training: claim, ask, 20 reports, tell, leases.

    python -m benchmarks overhead

Each figure is a trial of the default study with 20 reported epochs, after 100, 1,000 or 10,000 finished
trials, in one process and in each of eight. The sampler's own share is measured inside and taken apart.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
import time
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.trial import TrialState, create_trial

from benchmarks.common import BACKENDS, save, shown, spread, table
from bloodsearch.search.data.info import Fingerprint
from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.pruning.pruner import FamilyPruner, make_pruner
from bloodsearch.search.sampling.draw import suggest_at_once
from bloodsearch.search.sampling.sampler import trial_sampler
from bloodsearch.search.sampling.space import suggest
from bloodsearch.search.study import create_or_resume, info, load
from bloodsearch.search.workers.leases import Claim, Leases
from bloodsearch.search.workers.liveness import own_identity
from bloodsearch.studies import load_study_file

N_EPOCHS = 20
N_MEASURED = 12
FINGERPRINT = Fingerprint("synthetic", "synthetic", "0" * 32)


def prefill(url: str, n_trials: int) -> None:
    """A study with `n_trials` finished trials, five epochs each, copied row by row in bulk."""
    storage = open_storage(url, create=True)
    file = load_study_file("bloodmnist", ["training.epochs=20", "baselines=[]"])
    study = create_or_resume(storage, "bench", file, FINGERPRINT)
    rng = random.Random(0)
    memory = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    templates = []
    for _ in range(min(n_trials, 100)):
        trial = memory.ask()
        params = suggest(trial, file)
        value = rng.random()
        templates.append(
            create_trial(
                state=TrialState.COMPLETE,
                value=value,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs={"family": params["arch"], "params": params},
                intermediate_values={e: value * e / 5 for e in range(1, 6)},
            )
        )
    study.add_trials(templates)
    _multiply(storage.engine, study._study_id, n_trials)
    storage.close()


def _multiply(engine: sa.Engine, study_id: int, n_trials: int) -> None:
    """Copy the first hundred trials until there are `n_trials`: Optuna's API takes minutes for it."""
    metadata = sa.MetaData()
    metadata.reflect(engine)
    trials = metadata.tables["trials"]
    children = [
        metadata.tables[name]
        for name in (
            "trial_params",
            "trial_values",
            "trial_intermediate_values",
            "trial_user_attributes",
        )
    ]
    with engine.begin() as db:
        base = db.execute(sa.select(trials).where(trials.c.study_id == study_id)).mappings().all()
        rows = {t: db.execute(sa.select(t)).mappings().all() for t in children}
        offset = max(row["trial_id"] for row in base)
        for copy in range(1, n_trials // len(base)):
            shift = copy * offset
            db.execute(
                sa.insert(trials),
                [
                    {
                        **r,
                        "trial_id": r["trial_id"] + shift,
                        "number": r["number"] + copy * len(base),
                    }
                    for r in base
                ],
            )
            for child, found in rows.items():
                key = next(iter(child.primary_key.columns)).name
                db.execute(
                    sa.insert(child),
                    [
                        {k: v for k, v in r.items() if k != key}
                        | {"trial_id": r["trial_id"] + shift}
                        for r in found
                    ],
                )
        if engine.dialect.name == "postgresql":
            db.execute(
                sa.text("SELECT setval('trials_trial_id_seq', (SELECT max(trial_id) FROM trials))")
            )


class _Sampling:
    """Adds up the time spent in a sampler."""

    def __init__(self, sampler: optuna.samplers.BaseSampler) -> None:
        self.seconds = 0.0
        for name in ("infer_relative_search_space", "sample_relative", "sample_independent"):
            self._wrap(sampler, name)

    def _wrap(self, sampler: optuna.samplers.BaseSampler, name: str) -> None:
        inner = getattr(sampler, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - started

        setattr(sampler, name, timed)


def one_trial(leases: Leases, me: Any, pruner: FamilyPruner, study_file: Any) -> dict[str, float]:
    """Everything a worker does for a trial but the training; milliseconds by phase."""
    study, marks = leases.study, [time.perf_counter()]
    claim = leases.claim(me, 10**9, may_create=True)
    assert isinstance(claim, Claim)
    trial_id, number = claim
    marks.append(time.perf_counter())
    study.sampler = trial_sampler(study_file, number)
    sampling = _Sampling(study.sampler)
    trial = optuna.Trial(study, trial_id)
    params = suggest_at_once(leases.storage.engine.begin, trial, study_file)
    marks.append(time.perf_counter())
    pruner.new_trial()
    values: dict[int, float] = {}
    for epoch in range(1, N_EPOCHS + 1):
        values[epoch] = 0.9
        assert leases.report(me, trial_id, epoch, 0.9)
        pruner.reason_for(study, str(params["arch"]), values)
    marks.append(time.perf_counter())
    attrs = {f"attr_{i}": [0.1] * 8 for i in range(20)} | {"params": params}
    leases.finish(me, trial_id, TrialState.COMPLETE, 0.9, attrs)
    marks.append(time.perf_counter())
    claimed, ask, reports, tell = (1000 * (b - a) for a, b in itertools.pairwise(marks))
    sampler = 1000 * sampling.seconds
    total = 1000 * (marks[-1] - marks[0])
    return {
        "claim": claimed,
        "suggest": ask - sampler,
        "reports": reports,
        "tell": tell,
        "sampler": sampler,
        "ours": total - sampler,
    }


def measure(url: str) -> list[dict[str, float]]:
    """Trials in this process, the first three not counted."""
    storage = open_storage(url, create=False)
    study = load(storage, "bench")
    leases, me = Leases(storage, study), own_identity("cpu")
    leases.registry.register(me)
    study_file = info(study).study_file
    pruner = make_pruner(study_file)
    found = []
    for _ in range(N_MEASURED + 3):
        leases.registry.heartbeat(me)  # a real worker has a thread for this
        found.append(one_trial(leases, me, pruner, study_file))
    found = found[3:]
    leases.registry.unregister(me)
    storage.close()
    return found


def measure_in_processes(url: str, n: int) -> list[dict[str, float]]:
    if n == 1:
        return measure(url)
    command = [sys.executable, "-m", "benchmarks.overhead", url]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) for _ in range(n)]
    return [row for child in children for row in json.loads(child.communicate()[0])]


def run() -> None:
    rows, results = [], []
    for backend, urls in BACKENDS.items():
        with urls() as fresh:
            for n_trials in (100, 1_000, 10_000):
                url = fresh()
                prefill(url, n_trials)
                for n_workers in (1, 8):
                    found = measure_in_processes(url, n_workers)
                    phases = {key: spread([row[key] for row in found]) for key in found[0]}
                    results.append(
                        {"backend": backend, "trials": n_trials, "workers": n_workers, **phases}
                    )
                    parts = [
                        f"{phases[k]['median']:.1f}"
                        for k in ("claim", "suggest", "reports", "tell")
                    ]
                    ours, sampler = shown(phases["ours"]), f"{phases['sampler']['median']:.0f}"
                    rows.append([backend, n_trials, n_workers, *parts, ours, sampler])
                    print(*rows[-1], flush=True)
    columns = ["back end", "trials", "workers", "claim", "suggest", "20 reports", "tell"]
    table("ms per trial outside training", [*columns, "all of these", "sampler"], rows)
    save("overhead", results)


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
