"""A real browser and a dashboard of made-up studies for it. All of it is on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser_support import PAYLOADS, Seen, Served, Tab, plant, served
from optuna.trial import TrialState, create_trial
from playwright.sync_api import Browser, ConsoleMessage, Dialog, sync_playwright
from report_support import fake_trial
from tests_support import tiny

from benchmarks.browser import CHROMIUM, FLAGS
from bloodsearch.search.dashboard.publish import publish
from bloodsearch.search.database.storage import open_storage

# a foreign name points to this machine, as a rebinding attacker's does
RULES = "MAP evil.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for one file: while Playwright runs, no other test can use asyncio.run in its process."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine; Debian's package is chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*FLAGS, f"--host-resolver-rules={RULES}"]
        )
        yield launched
        launched.close()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(15_000)
    page, seen = context.new_page(), Seen()

    def dismiss(dialog: Dialog) -> None:
        seen.errors.append("a dialog")
        dialog.dismiss()

    def console(message: ConsoleMessage) -> None:
        if message.type == "error":
            seen.errors.append(message.text)

    page.on("console", console)
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.on("dialog", dismiss)
    own = ("http://127.0.0.1:", "data:", "blob:", "file:", "about:")
    page.on(
        "request",
        lambda request: (
            seen.outside.append(request.url) if not request.url.startswith(own) else None
        ),
    )
    page.on(
        "requestfailed",
        lambda request: seen.outside.remove(request.url) if request.failure == "csp" else None,
    )
    yield Tab(page, seen)
    context.close()


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A dashboard of one search, published as its owner does."""
    url = f"sqlite:///{tmp_path_factory.mktemp('clean') / 'x.db'}"
    storage = open_storage(url, create=True)
    study = tiny(storage)
    study.set_user_attr("n_trials", 12)
    for number in range(12):
        fake_trial(study, number, None if number % 4 == 3 else 0.5 + number / 100)
    publish(storage, study)
    storage.close()
    with served(url) as dashboard:
        yield dashboard


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A dashboard of studies in which everything that can hold text holds markup and scripts."""
    url = f"sqlite:///{tmp_path_factory.mktemp('hostile') / 'x.db'}"
    storage = open_storage(url, create=True)
    study = tiny(storage)
    for number, payload in enumerate(PAYLOADS):
        fake_trial(
            study, number, 0.5 + number / 100, baseline=payload, worst_class=payload, worst_f1=0.1
        )
        study.set_user_attr(f"{payload}{number}", payload)
    study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={"detail": " ".join(PAYLOADS)}))
    publish(storage, study)
    plant(storage.optuna)
    storage.close()
    with served(url) as dashboard:
        yield dashboard
