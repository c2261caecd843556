"""Checks of the CUDA path: what each expects and what it saw, in one table (`make gpu`)."""

from __future__ import annotations

from collections.abc import Callable, Generator

import pytest
import torch
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

ROWS: dict[str, list[str]] = {}
"""Check, expected, seen, ok, by test."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    absent = pytest.mark.skip(reason="needs a CUDA device: torch sees none")
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.slow)
            if not torch.cuda.is_available():
                item.add_marker(absent)


@pytest.fixture
def seen(request: pytest.FixtureRequest) -> Callable[[object], None]:
    """Note what a check saw. It stands in the table also when the check fails."""

    def note(what: object) -> None:
        request.node.user_properties.append(("seen", str(what)))

    return note


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    marker = item.get_closest_marker("gpu")
    if marker and (report.when == "call" or report.outcome != "passed"):
        expected = str(marker.kwargs.get("expected", ""))
        what = "; ".join(str(value) for name, value in item.user_properties if name == "seen")
        ok = {"passed": "yes", "failed": "NO", "skipped": "skipped"}[report.outcome]
        name = item.name.removeprefix("test_").replace("_", " ")
        ROWS[item.nodeid] = [name, expected, what, ok]
    return report


def pytest_terminal_summary() -> None:
    if not ROWS:
        return
    table = Table(box=box.SIMPLE, title="checks of the CUDA path", title_justify="left")
    for column in ("check", "expected", "seen", "ok"):
        table.add_column(column)
    for row in ROWS.values():
        table.add_row(*map(escape, row))
    Console().print(table)
