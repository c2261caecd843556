"""What workers ask of one PostgreSQL server: 1 to 1,000 of them, in a study of 10,000 trials.

    python -m benchmarks scale

The workers of the study are rows: registered on other machines, each with a running trial of five reports.
This process then does what workers do beside training, step by step, in the name of workers that join: alone
for the milliseconds of each step, and eight at once for the rates. Milliseconds are CPU time of this process
and of the server, because the clock also counts what else runs on the machine.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import psutil
import sqlalchemy as sa
from optuna.trial import TrialState

from benchmarks.common import postgres_server, save, table
from benchmarks.overhead import prefill
from bloodsearch.search import env
from bloodsearch.search.database.storage import Storage, open_storage
from bloodsearch.search.database.tables import workers_table
from bloodsearch.search.database.trial_cache import with_trial_cache
from bloodsearch.search.sampling.draw import suggest_at_once
from bloodsearch.search.study import info, load
from bloodsearch.search.workers.leases import Claim, Leases
from bloodsearch.search.workers.liveness import Identity, own_identity

N_TRIALS = 10_000
N_WORKERS = (1, 8, 64, 1_000)
N_CALLS, N_READS, N_TOGETHER, N_EPOCHS = 30, 10, 8, 5
HEARTBEAT_S = 5.0
POOLED = "heartbeat, pooled"
OPTUNA_LIST = "list trials, Optuna's cache"

ADD_WORKERS = """
INSERT INTO trials (number, study_id, state, datetime_start)
    SELECT :first + i, :study, 'RUNNING', now() FROM generate_series(0, :n - 1) i;
INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json)
    SELECT t.trial_id, p.param_name, p.param_value, p.distribution_json FROM trials t, trial_params p
    WHERE t.study_id = :study AND t.number >= :first AND p.trial_id = 1;
INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type)
    SELECT t.trial_id, r.step, r.intermediate_value, r.intermediate_value_type
    FROM trials t, trial_intermediate_values r
    WHERE t.study_id = :study AND t.number >= :first AND r.trial_id = 1;
INSERT INTO bloodsearch_leases (trial_id, study_id, worker_id, deaths)
    SELECT trial_id, study_id, 'w' || trial_id, 0 FROM trials
    WHERE study_id = :study AND number >= :first;
INSERT INTO bloodsearch_workers (worker_id, study_id, host, pid, pid_started, boot_id, device, beat, drain)
    SELECT 'w' || trial_id, study_id, 'node-' || trial_id % 125, 1, 0, 'boot/1', 'cpu',
        extract(epoch FROM clock_timestamp()), false
    FROM trials WHERE study_id = :study AND number >= :first
"""


class Clock:
    """CPU milliseconds of this process and of a PostgreSQL server, and seconds of each call, by step."""

    def __init__(self, data: Path) -> None:
        self.server = psutil.Process(int((data / "postmaster.pid").read_text().split()[0]))
        self.cpu_ms: dict[str, tuple[float, float]] = {}
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def measure(self, step: str, calls: Sequence[Callable[[], object]]) -> list[Any]:
        """Make the calls and return what they return."""
        before = self._cpu()
        answers = [self.timed(step, call) for call in calls]
        worker, server = (1000 * (b - a) for a, b in zip(before, self._cpu(), strict=True))
        self.cpu_ms[step] = worker / len(calls), server / len(calls)
        return answers

    def timed(self, step: str, call: Callable[[], object]) -> Any:
        started = time.perf_counter()
        answer = call()
        self.seconds[step].append(time.perf_counter() - started)
        return answer

    def _cpu(self) -> tuple[float, float]:
        # sessions that have ended count as the server's children
        server = sum(self.server.cpu_times())
        for process in self.server.children():
            times = process.cpu_times()
            server += times.user + times.system
        return time.process_time(), server


class Study:
    """The study, with one worker's caches."""

    def __init__(self, url: str) -> None:
        self.storage: Storage = open_storage(url, create=False)
        self.leases = Leases(self.storage, load(self.storage, "bench"))
        self.file = info(self.leases.study).study_file
        self.leases.study.sampler = optuna.samplers.RandomSampler(seed=0)
        self.views = {
            OPTUNA_LIST: load(open_storage(url, create=False), "bench"),
            "list trials": load(with_trial_cache(open_storage(url, create=False)), "bench"),
        }
        self.n_workers = 0

    def add_workers(self, n: int) -> None:
        """Let the study have `n` workers elsewhere."""
        with self.storage.engine.begin() as db:
            first = db.execute(sa.text("SELECT count(*) FROM trials")).scalar_one()
            values = {"n": n - self.n_workers, "first": first, "study": self.leases.study_id}
            for statement in ADD_WORKERS.split(";"):
                db.execute(sa.text(statement), values)
        with self.storage.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
            db.execute(sa.text("ANALYZE"))
        self.n_workers = n

    def join(self) -> Identity:
        """Register a worker of this process."""
        own = own_identity("cpu", worker_id=os.urandom(16).hex())
        me = dataclasses.replace(own, host="another host")
        self.leases.registry.register(me)
        return me

    def claim(self, me: Identity) -> Claim:
        self.leases._reclaimed_at = -1e9  # a worker's claims are further apart than this pause
        claim = self.leases.claim(me, 10**6, may_create=True)
        assert isinstance(claim, Claim)
        return claim

    def suggest(self, trial_id: int) -> None:
        trial = optuna.Trial(self.leases.study, trial_id)
        suggest_at_once(lambda: self.storage.exclusive(self.leases.study_id), trial, self.file)

    def beat_kept_connection(self, me: Identity) -> None:
        """Store a heartbeat as the server sees it behind a pooler: without a new session."""
        with self.storage.engine.begin() as db:
            self.leases.registry.renew_or_register(db, me)
            drain = sa.select(workers_table.c.drain)
            db.execute(drain.where(workers_table.c.worker_id == me.worker_id)).scalar()

    def finish(self, me: Identity, trial_id: int) -> None:
        attrs = {"params": {}, "seconds": 60.0}
        assert self.leases.finish(me, trial_id, TrialState.COMPLETE, 0.9, attrs)


def steps_alone(study: Study, clock: Clock) -> None:
    """Measure every step of N_CALLS workers that join, one call after the other."""
    leases = study.leases
    workers = [study.join() for _ in range(N_CALLS)]
    claims = clock.measure("claim", [partial(study.claim, me) for me in workers])
    held = list(zip(workers, claims, strict=True))
    clock.measure("parameters", [partial(study.suggest, c.trial_id) for c in claims])
    clock.measure(
        "report",
        [
            partial(leases.report, me, c.trial_id, e, 0.9)
            for me, c in held
            for e in range(1, N_EPOCHS + 1)
        ],
    )
    for step, view in study.views.items():
        view.get_trials(deepcopy=False)  # the first list of a worker is not counted here
        clock.measure(step, [partial(view.get_trials, deepcopy=False)] * N_READS)
    clock.measure("finish", [partial(study.finish, me, c.trial_id) for me, c in held])
    clock.measure("heartbeat", [partial(leases.registry.heartbeat, me) for me in workers])
    clock.measure(POOLED, [partial(study.beat_kept_connection, me) for me in workers])
    for me in workers:
        leases.registry.unregister(me)


def steps_together(study: Study, clock: Clock) -> float:
    """Let N_TOGETHER workers at once go through trials that take no time; return trials per second."""

    def work() -> None:
        me = study.join()
        for _ in range(N_CALLS // 3):
            claim = clock.timed("claim, 8 at once", partial(study.claim, me))
            study.suggest(claim.trial_id)
            for epoch in range(1, N_EPOCHS + 1):
                report = partial(study.leases.report, me, claim.trial_id, epoch, 0.9)
                clock.timed("report, 8 at once", report)
            study.finish(me, claim.trial_id)
        study.leases.registry.unregister(me)

    threads = [threading.Thread(target=work) for _ in range(N_TOGETHER)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return N_TOGETHER * (N_CALLS // 3) / (time.perf_counter() - started)


def measured(study: Study, data: Path, n_workers: int) -> dict[str, Any]:
    """Measure everything beside `n_workers` workers."""
    study.add_workers(n_workers)
    clock = Clock(data)
    steps_alone(study, clock)
    rate = steps_together(study, clock)
    with study.storage.engine.connect() as db:
        names = ["trials", "trial_params", "trial_intermediate_values", "trial_user_attributes"]
        rows = {n: db.execute(sa.text(f"SELECT count(*) FROM {n}")).scalar_one() for n in names}
    return {
        "workers": n_workers,
        "cpu_ms": clock.cpu_ms,
        "ms": {step: percentiles(seconds) for step, seconds in clock.seconds.items()},
        "trials_per_second": rate,
        "rows": rows,
    }


def percentiles(seconds: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"p50": 1000 * cuts[49], "p99": 1000 * cuts[98], "n": len(seconds)}


def run() -> None:
    os.environ[env.LEASE_S] = "86400"  # nobody sends the heartbeats of the workers elsewhere
    results = []
    with postgres_server() as server:
        url = str(server.get_uri())
        prefill(url, N_TRIALS)
        study = Study(url)
        started = time.process_time()
        study.views["list trials"].get_trials(deepcopy=False)
        first_list_s = time.process_time() - started
        for n_workers in N_WORKERS:
            results.append(measured(study, Path(server.pgdata), n_workers))
            print(results[-1], flush=True)
    show(results, first_list_s)
    save("scale", {"first_list_s": first_list_s, "results": results})


def show(results: list[dict[str, Any]], first_list_s: float) -> None:
    steps = list(results[0]["cpu_ms"])
    table(
        f"CPU ms of worker + server per call, {N_TRIALS} finished trials, n={N_CALLS} ({N_READS} lists)",
        ["workers", *steps],
        [
            [r["workers"], *(f"{w:.1f} + {s:.1f}" for w, s in (r["cpu_ms"][k] for k in steps))]
            for r in results
        ],
    )
    together = [("claim, 8 at once", "claim"), ("report, 8 at once", "report")]
    table(
        f"{N_TOGETHER} workers at once, trials of no length, by the clock of a machine with other work",
        ["workers", "trials/s", *(f"{name} p50 / p99, ms" for _, name in together)],
        [
            [
                r["workers"],
                f"{r['trials_per_second']:.0f}",
                *(f"{r['ms'][k]['p50']:.0f} / {r['ms'][k]['p99']:.0f}" for k, _ in together),
            ]
            for r in results
        ],
    )
    most, rows = results[-1], results[-1]["rows"]
    # Optuna's cache gives every running trial again
    again, once = (most["cpu_ms"][step][1] for step in (OPTUNA_LIST, "list trials"))
    read_ms = (again - once) / most["workers"]
    table(
        "what one core of the server can serve, by the CPU times above",
        [
            "workers",
            "heartbeats take",
            "behind PgBouncer",
            "trials/s beside these",
            "mean trial at least",
        ],
        [[r["workers"], *capacity(r, read_ms)] for r in results],
    )
    per_trial = (sum(rows.values()) - rows["trials"]) / rows["trials"]
    table(
        "a worker that joins",
        ["finished trials", "rows per trial, five reports", "CPU s until it has read them"],
        [[N_TRIALS, f"{per_trial:.0f}", f"{first_list_s:.1f}"]],
    )


def capacity(result: dict[str, Any], read_ms: float) -> list[str]:
    """Return the server's load by heartbeats, and the trials of five epochs that fit beside them.

    `read_ms` is the server's time to give one finished trial to one worker.
    """
    server, n = {step: cpu[1] for step, cpu in result["cpu_ms"].items()}, result["workers"]
    beats, pooled = (n / HEARTBEAT_S * server[step] / 1000 for step in ("heartbeat", POOLED))
    # the sampler lists the trials once, the pruner after every epoch; every worker reads what has finished
    trial_ms = sum(server[step] for step in ("claim", "parameters", "finish")) + n * read_ms
    trial_ms += N_EPOCHS * server["report"] + (N_EPOCHS + 1) * server["list trials"]
    rate = (1 - pooled) * 1000 / trial_ms
    return [f"{beats:.0%}", f"{pooled:.0%}", f"{rate:.0f}", f"{n / rate:.1f} s"]
