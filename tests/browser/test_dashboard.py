"""The dashboard in a real browser: what a person sees, and what planted text or a foreign page cannot do."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest
from browser_support import Served, Tab
from playwright.sync_api import Locator, expect

LOADED = "image => image.complete && image.naturalWidth > 0"


def assert_drawn(image: Locator) -> None:
    """The image is visible and its file was a picture."""
    expect(image).to_be_visible()
    image.scroll_into_view_if_needed()
    image.page.wait_for_function(LOADED, arg=image.element_handle())


def test_study_list_has_the_study_and_no_buttons_for_changes(tab: Tab, clean: Served) -> None:
    tab.page.goto(clean.url)
    expect(tab.page.get_by_text("tiny")).to_be_visible()
    expect(tab.page.get_by_role("button", name="Reload")).to_be_visible()
    for name in ("Create", "rename study", "delete study"):
        expect(tab.page.get_by_role("button", name=name)).to_have_count(0)
    assert tab.seen.errors == tab.seen.outside == []


def test_study_page_has_curves_and_figures(tab: Tab, clean: Served) -> None:
    tab.page.goto(f"{clean.url}/dashboard/studies/1")
    expect(tab.page.locator(".js-plotly-plot").first).to_be_visible()
    drawn = "History", "Timeline", "Intermediate values", "Trial 10, the best: validation images"
    tab.page.wait_for_function(
        "texts => texts.every(text => document.body.textContent.includes(text))", arg=list(drawn)
    )
    assert tab.seen.errors == tab.seen.outside == []


def test_note_says_where_the_search_stands_and_shows_the_curve(tab: Tab, clean: Served) -> None:
    tab.page.goto(f"{clean.url}/dashboard/studies/1/note")
    expect(tab.page.get_by_text("Finished: 12 of 12 trials")).to_be_visible()
    expect(tab.page.get_by_text("SYNTHETIC DATA")).to_be_visible()
    assert_drawn(tab.page.get_by_alt_text("Curve of the best trial"))
    tab.page.get_by_role("link", name="trial 10").first.click()
    expect(tab.page.get_by_role("heading", name="Trial 10")).to_be_visible()
    assert tab.seen.errors == tab.seen.outside == []


def test_best_trial_has_its_note_and_its_pictures(tab: Tab, clean: Served) -> None:
    tab.page.goto(f"{clean.url}/dashboard/studies/1/trials?numbers=10")
    expect(tab.page.get_by_text("rank 1: all epochs trained")).to_be_visible()
    for name in ("curve.png", "confusion.png", "f1-by-class.png"):
        expect(tab.page.get_by_text(name)).to_be_visible()
    pictures = tab.page.locator("img[src^='/artifacts/']")
    expect(pictures).to_have_count(3)
    for i in range(3):
        assert_drawn(pictures.nth(i))
    tab.page.goto(f"{clean.url}/dashboard/studies/1/trials?numbers=3")
    expect(tab.page.get_by_text("pruned: below its peers").first).to_be_visible()
    assert tab.seen.errors == tab.seen.outside == []


def test_analytics(tab: Tab, clean: Served) -> None:
    tab.page.goto(f"{clean.url}/dashboard/studies/1/analytics")
    expect(tab.page.get_by_text("Slice", exact=True)).to_be_visible()
    expect(tab.page.locator(".js-plotly-plot").first).to_be_visible()
    assert tab.seen.errors == tab.seen.outside == []


def content(served: Served) -> list[str]:
    with contextlib.closing(sqlite3.connect(served.database.removeprefix("sqlite:///"))) as db:
        return list(db.iterdump())


def test_scripts_of_the_page_itself_cannot_write(tab: Tab, clean: Served) -> None:
    before = content(clean)
    tab.page.goto(clean.url)
    requests = [
        ["DELETE", "/api/studies/1"], ["POST", "/api/studies"], ["PUT", "/api/studies/1/note"],
        ["POST", "/api/studies/1/rename"], ["POST", "/api/artifacts/1/1"], ["PATCH", "//api/studies/1"],
    ]  # fmt: skip
    statuses = tab.page.evaluate(
        """async requests => Promise.all(requests.map(async ([method, path]) =>
        (await fetch(location.origin + path, {method, body: "{}"})).status))""",
        requests,
    )
    assert statuses == [405] * len(requests)
    assert content(clean) == before


def test_a_foreign_page_reaches_nothing(tab: Tab, clean: Served) -> None:
    """The name of the page points to this machine, as a rebinding attacker's does."""
    answer = tab.page.goto(f"http://evil.example:{clean.port}/dashboard")
    assert answer is not None
    assert answer.status == 403
    tried = tab.page.evaluate(
        """async url => {
        const kinds = [{method: "GET"}, {method: "DELETE"}, {method: "POST", mode: "no-cors"}];
        return Promise.all([url, location.origin].flatMap(base => kinds.map(kind =>
        fetch(base + "/api/studies/1", kind).then(answer => answer.status, () => "blocked")))) }""",
        clean.url,
    )
    assert tried == ["blocked", "blocked", 0, 403, 403, 403]


PAGES = ("", "/note", "/analytics", "/trials", "/smartSelection")
SHOWS = ("/dashboard", "/note", "/trials")
"""Pages that show planted text outside graphics, of every study."""


@pytest.mark.parametrize("study", [1, 2])
def test_planted_text_runs_nowhere(tab: Tab, hostile: Served, study: int) -> None:
    """Names, attributes, notes, parameters and categorical values, in bloodsearch's study and another's."""
    for path in ("/dashboard", *(f"/dashboard/studies/{study}{page}" for page in PAGES)):
        tab.page.goto(hostile.url + path)
        expect(tab.page.locator("header")).to_be_visible()
        if path.endswith(SHOWS):
            tab.page.wait_for_function("document.body.innerText.includes('window.pwned')")
        tab.page.wait_for_load_state("networkidle")
        for frame in tab.page.frames:
            assert frame.evaluate("window.pwned") is None, path
        for link in tab.page.locator("a[href^='javascript:']").all():
            assert (link.get_attribute("href") or "").startswith("javascript:throw"), path
    assert tab.seen.outside == []
