"""The page: trials named under the pointer, phones, dark screens, and what the browser forbids."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from report_support import MakeStudy

from bloodsearch.search.database.storage import Storage
from bloodsearch.search.report import style
from bloodsearch.search.report.embed import embed, hover
from bloodsearch.search.report.gather import ReportTrial, gather
from bloodsearch.search.report.page import write
from bloodsearch.search.report.parts import Picture, Report, Section
from bloodsearch.search.report.points import MANY, SCALE, Drawing, places, scatter

VALUES: list[float | None] = [0.6, 0.9, None, 0.92, 0.7, 0.91, 0.93]


@pytest.fixture
def trials(storage: Storage, make_study: MakeStudy) -> list[ReportTrial]:
    return gather(storage, make_study(VALUES), None).trials


def drawn(trials: list[ReportTrial]) -> Drawing:
    figure, axes = style.one("trials by number")
    scatter(axes, trials, [t.number for t in trials], [t.best or 0.0 for t in trials], c=style.BLUE)
    axes.set_xlim(0, 6)
    axes.set_ylim(0, 1)
    return figure


def svg_of(uri: str) -> str:
    return base64.b64decode(uri.removeprefix("data:image/svg+xml;base64,")).decode()


def test_points_are_where_the_picture_shows_their_trials(trials: list[ReportTrial]) -> None:
    with style.styled():
        figure = drawn(trials)
        figure.draw_without_rendering()
    at = {number: (x, y) for x, y, number in places(figure)}
    assert sorted(at) == [t.number for t in trials]
    assert at[0][0] < at[3][0] < at[6][0] < SCALE
    assert at[3][0] == pytest.approx((at[0][0] + at[6][0]) / 2, abs=2)
    assert at[6][1] < at[0][1]  # y runs down, and trial 6 is the better one
    (box,) = (axes.get_position() for axes in figure.axes)
    assert at[0][0] == pytest.approx(SCALE * box.x0, abs=2)


def test_points_outside_the_axes_are_not_named(trials: list[ReportTrial]) -> None:
    with style.styled():
        figure = drawn(trials)
        figure.axes[0].set_ylim(0.8, 1)
        figure.draw_without_rendering()
    assert {number for _, _, number in places(figure)} == {1, 3, 5, 6}


def test_a_phone_gets_a_narrow_picture_and_a_dark_screen_light_ink(
    trials: list[ReportTrial],
) -> None:
    picture = Picture("history", "t", lambda: drawn(trials))
    with style.styled():
        one = embed(picture, "<svg/>", drawn(trials))
    phone = svg_of(one.phone)
    assert f'width="{72 * style.PHONE_WIDTH:.1f}pt"' in phone
    assert "prefers-color-scheme:dark" in phone
    body = phone[phone.index("</style>") :]
    assert style.INK.lower() not in body
    assert style.PAPER.lower() not in body
    assert len(one.points["phone"]) == len(one.points["wide"]) == len(trials)
    assert not style.is_phone()


def test_many_points_are_pixels(trials: list[ReportTrial]) -> None:
    sizes = []
    for n in (MANY, MANY + 1):
        many = [trials[0]] * n
        with style.styled():
            one = embed(Picture("p", "t", lambda many=many: drawn(many)), "<svg/>", drawn(many))  # type: ignore[misc]
        sizes.append(len(one.phone))
    assert sizes[1] < sizes[0] / 2


def test_the_script_gets_each_trials_parameters_once(trials: list[ReportTrial]) -> None:
    with style.styled():
        one = embed(Picture("p", "t", lambda: drawn(trials)), "<svg/>", drawn(trials))
    data: Any = json.loads(json.dumps(hover(trials, {"p": one, "q": one})))
    title, values = data["trials"]["3"]
    assert title == "trial 3: CNN, 0.9200"
    assert dict(zip(data["names"], values, strict=True))["lr"] == f"{trials[3].params['lr']:.3g}"
    assert data["trials"]["2"][0] == "trial 2: MLP, 0.3000, pruned after 3 epochs"
    assert hover(trials, {}) is None


def test_the_browser_runs_the_pages_own_script_alone(
    trials: list[ReportTrial], tmp_path: Path
) -> None:
    picture = Picture("p", "t", lambda: drawn(trials))
    write(Report("r", [], [Section("s", pictures=[picture])], trials=trials), tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert policy is not None
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy[1]
    assert "default-src 'none'" in policy[1]
    assert not re.search(r"https?://(?!www\.w3\.org|doi\.org)", script)
    sources = re.findall(r'(?:src|srcset|href)="([^"]+)"', html)
    assert all(s.startswith(("data:image/svg+xml;base64,", "#")) for s in sources)


def test_a_parameters_value_cannot_end_the_script(
    storage: Storage, make_study: MakeStudy, tmp_path: Path
) -> None:
    study = make_study(VALUES)
    gathered = gather(storage, study, None)
    gathered.trials[3].record.sampled["lr"] = "</script><img src=x onerror=alert(1)>"
    picture = Picture("p", "t", lambda: drawn(gathered.trials))
    report = Report("r", [], [Section("s", pictures=[picture])], trials=gathered.trials)
    write(report, tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<img src=x" not in html
    assert r"\u003c/script\u003e" in html
