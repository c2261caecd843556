"""report.html in a real browser, on a wide and on a narrow screen."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser_support import PAYLOADS, Tab
from report_support import fake_trial
from tests_support import tiny

from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.report.build import build
from bloodsearch.search.report.page import write


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a study whose names hold markup and scripts."""
    folder = tmp_path_factory.mktemp("report")
    storage = open_storage(f"sqlite:///{folder / 'x.db'}", create=True)
    study = tiny(storage)
    for number in range(12):
        payload = PAYLOADS[number % len(PAYLOADS)]
        params = {"arch": "mlp", "optimizer": payload, payload: payload}
        fake_trial(study, number, 0.5 + number / 100, baseline=payload, params=params)
    write(build(storage, study, None), folder)
    storage.close()
    return folder / "report.html"


@pytest.mark.parametrize("width", [1400, 390])
def test_report_reads_well_and_stays_inside(tab: Tab, page: Path, width: int) -> None:
    tab.page.set_viewport_size({"width": width, "height": 900})
    tab.page.goto(page.as_uri())
    tab.page.wait_for_load_state("networkidle")
    assert tab.page.locator("h2").count() > 3
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.page.evaluate("window.pwned") is None
    assert tab.page.locator("a[href^='javascript:'], iframe[srcdoc]").count() == 0
    assert tab.seen.errors == tab.seen.outside == []
