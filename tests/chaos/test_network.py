"""Workers on two hosts and PostgreSQL on a third: cut links, dead hosts, wrong clocks, a server in trouble.

The hosts are network namespaces with host names of their own. Each test ends with the exact number of trials.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from faketime import clock_shifted_by
from network_hosts import Host, Network, network
from pgbouncer import pgbouncer
from tests_support import SIMULATED_WORKER, assert_exact, claims, tiny

from bloodsearch.search.database.storage import Storage
from bloodsearch.search.workers.leases import Leases

pytestmark = pytest.mark.xdist_group("network")

WORKER = (sys.executable, "-P", str(SIMULATED_WORKER), "tiny", "--device", "cpu", "--slot", "cpu")
_database = itertools.count()


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    with network() as hosts:
        yield hosts


@pytest.fixture
def storage_url(net: Network) -> str:
    """The address of an empty database for this process; workers get theirs from `start`."""
    name = f"test_{next(_database)}"
    net.server.execute(f"CREATE DATABASE {name}")
    return net.local_url(name)


@pytest.fixture(autouse=True)
def _hosts(net: Network, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave both hosts idle and connected."""
    monkeypatch.setenv("BLOODSEARCH_LEASE_S", "4")
    monkeypatch.setenv("SIM_EPOCH_S", "0.5")
    yield
    for host in net.workers:
        host.lose_power()
        net.heal(host)


def start(
    net: Network, storage: Storage, host: Host, *command: str, **env: str
) -> subprocess.Popen[str]:
    """Start a worker on a host, or another program that works there."""
    url = net.url(storage.url.database or "")
    worker = (*WORKER, "--worker-id", uuid.uuid4().hex)
    return host.start(*(command or worker), env={"BLOODSEARCH_STORAGE": url, **env})


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def claimed_by(log: Path, process: subprocess.Popen[str]) -> list[int]:
    """The trials that a process claimed, in this order."""
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return [int(number) for number, pid in lines if int(pid) == process.pid]


def told(process: subprocess.Popen[str]) -> str:
    """What a process printed, after it has done all its work."""
    code = process.wait(250)
    assert process.stderr is not None
    printed = process.stderr.read()
    assert code == 0, printed
    return printed


def budget(study: optuna.Study, n_trials: int) -> None:
    study.set_user_attr("n_trials", n_trials)


def test_link_is_cut_for_longer_than_a_lease(net: Network, storage: Storage, log: Path) -> None:
    study = tiny(storage)
    budget(study, 1_000)
    one, two = (start(net, storage, host) for host in net.workers)
    wait_until(lambda: claimed_by(log, one) and claimed_by(log, two))
    net.cut(net.workers[0])
    lost = claimed_by(log, one)[-1]
    wait_until(lambda: lost in claimed_by(log, two))
    n_before = len(claimed_by(log, one))
    net.heal(net.workers[0])
    wait_until(lambda: len(claimed_by(log, one)) > n_before)
    n_trials = max(claims(log)) + 2
    budget(study, n_trials)
    told(one)
    told(two)
    assert_exact(Leases(storage, study), n_trials)
    twice = [number for number, n in Counter(claims(log)).items() if n > 1]
    assert twice == [lost]


def test_host_is_gone_for_good(net: Network, storage: Storage, log: Path) -> None:
    """Its connections do not end by themselves. The settings are those of the guide, in seconds."""
    database = storage.url.database
    silent = ["tcp_keepalives_idle = 1", "tcp_keepalives_interval = 1", "tcp_keepalives_count = 2"]
    for setting in (*silent, "tcp_user_timeout = '3s'"):
        net.server.execute(f"ALTER DATABASE {database} SET {setting}")
    study = tiny(storage)
    budget(study, 6)
    one, two = (start(net, storage, host) for host in net.workers)
    wait_until(lambda: claimed_by(log, one) and claimed_by(log, two))
    net.cut(net.workers[0])
    net.workers[0].lose_power()
    (lost,) = claimed_by(log, one)
    told(two)
    assert_exact(Leases(storage, study), 6)
    assert Counter(claims(log)) == Counter([*range(6), lost])
    connected = f"SELECT 1 FROM pg_stat_activity WHERE datname = '{database}' AND client_port > 0"
    wait_until(lambda: not net.server.execute(connected))


def test_clocks_are_ten_minutes_apart(net: Network, storage: Storage, log: Path) -> None:
    """The database's clock alone counts: nobody is robbed, and a dead host is noticed after one lease."""
    study = tiny(storage)
    budget(study, 10)
    one = start(net, storage, net.workers[0], **clock_shifted_by("+10m"))
    two = start(net, storage, net.workers[1])
    wait_until(lambda: len(claimed_by(log, one)) == 3 and claimed_by(log, two))
    assert set(Counter(claims(log)).values()) == {1}
    net.workers[0].lose_power()
    lost = claimed_by(log, one)[-1]
    told(two)
    assert_exact(Leases(storage, study), 10)
    assert Counter(claims(log)) == Counter([*range(10), lost])


def test_server_crashes_and_starts_again(net: Network, storage: Storage, log: Path) -> None:
    study = tiny(storage)
    budget(study, 8)
    workers = [start(net, storage, host) for host in net.workers]
    wait_until(lambda: len(claims(log)) >= 3)
    net.server.stop("immediate")
    time.sleep(2)
    net.server.start()
    for worker in workers:
        assert "waiting for it" in told(worker)
    assert_exact(Leases(storage, study), 8)
    assert Counter(claims(log)) == Counter(range(8))


def test_standby_takes_over_and_reads_only_for_a_while(
    net: Network, storage: Storage, log: Path
) -> None:
    study = tiny(storage)
    budget(study, 8)
    workers = [start(net, storage, host) for host in net.workers]
    wait_until(lambda: len(claims(log)) >= 3)
    net.server.fail_over()
    time.sleep(2)
    net.server.promote()
    for worker in workers:
        told(worker)
    assert_exact(Leases(storage, study), 8)
    assert Counter(claims(log)) == Counter(range(8))


def test_pgbouncer_in_transaction_mode(net: Network, storage: Storage, log: Path) -> None:
    study = tiny(storage)
    budget(study, 8)
    url = storage.full_url
    with pgbouncer(url, "transaction", pool_size=3, host=net.database) as pooled:
        workers = [start(net, storage, host, BLOODSEARCH_STORAGE=pooled) for host in net.workers]
        assert [told(worker) for worker in workers] == ["", ""]
    assert_exact(Leases(storage, study), 8)
    assert Counter(claims(log)) == Counter(range(8))


def test_sixty_workers_share_twenty_connections(
    net: Network, storage: Storage, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait for each other. No heartbeat comes so late that a trial is taken away."""
    monkeypatch.setenv("BLOODSEARCH_LEASE_S", "30")
    monkeypatch.setenv("SIM_EPOCHS", "1")
    monkeypatch.setenv("SIM_EPOCH_S", "2")
    study = tiny(storage)
    budget(study, 60)
    storage.close()
    net.server.stop()
    net.server.start("max_connections=20")
    thirty = (sys.executable, "-m", "benchmarks.simulated_host", "tiny", "30")
    root = str(SIMULATED_WORKER.parents[1])
    try:
        hosts = [start(net, storage, host, *thirty, PYTHONPATH=root) for host in net.workers]
        for host in hosts:
            assert "too many clients already); waiting for it" in told(host)
    finally:
        net.server.stop()
        net.server.start()
    assert_exact(Leases(storage, study), 60)
    assert Counter(claims(log)) == Counter(range(60))
