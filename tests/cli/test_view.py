"""The picture of a snapshot at several sizes, and what strangers wrote into the database."""

from __future__ import annotations

import datetime
import io
from dataclasses import replace

import pyte
import pytest
from rich.console import Console

from bloodsearch.search.cli.live import LiveView
from bloodsearch.search.cli.sparkline import bar, sparkline
from bloodsearch.search.cli.view import StudyView
from bloodsearch.search.watch.snapshot import Best, Happening, Snapshot, WorkerRow

NOW = datetime.datetime(2026, 1, 1, 12)
PLANTED = "\x1b]0;owned\x07\x1b[2J\u202ex\n"
WORKER = WorkerRow(
    "node1", 31242, "cuda:1", 2.0, 25, family="cnn", epochs=5, curve=(0.5, 0.8, 0.9), images_per_s=2110.4
)  # fmt: skip
SNAPSHOT = Snapshot(
    study="bloodmnist", kind="search", storage="sqlite:///x.db", data="BloodMNIST", n_trials=100,
    complete=19, pruned=5, failed=0, running=2, waiting=0, seconds_left=1925.0,
    best=Best(24, 0.9501, "cnn", (0.939, 0.96), NOW - datetime.timedelta(minutes=3)), mean=None,
    workers=(WORKER, replace(WORKER, device="cuda:0", trial=None, curve=(), images_per_s=None)),
    held_by_another_program=(), happenings=(Happening(NOW, "new best 0.9501: trial 24 cnn"),),
    silent_s=None, at=NOW,
)  # fmt: skip


def drawn(snapshot: Snapshot, width: int, height: int = 24, *, in_place: bool = True) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height)
    view = StudyView(snapshot, elapsed_s=725.0, last="trial   23  mlp", in_place=in_place)
    return [line.plain for line in view.lines(console)]


def test_80_columns() -> None:
    assert drawn(SNAPSHOT, 80) == [
        "bloodmnist on BloodMNIST                                             12 min 05 s",
        "24 of 100 trials finished: 19 complete, 5 pruned, 0 failed     about 32 min left",
        "━" * 19 + "·" * 61,
        "best 0.9501 (95 % 0.9390 .. 0.9600)  trial 24 cnn  3 min ago",
        "",
        "worker              trial  family  epoch  macro-F1  images/s  curve",
        "node1 cuda:1 31242     25  cnn       3/5    0.9000     2,110  ▁▆▇",
        "node1 cuda:0 31242      -  cnn       0/5         -         -  ",
        "",
        "12:00:00 new best 0.9501: trial 24 cnn",
        "trial   23  mlp",
    ]


def test_40_columns() -> None:
    lines = drawn(SNAPSHOT, 40)
    assert max(map(len, lines)) <= 40
    assert lines[1:3] == [
        "24 of 100 trials       about 32 min left",
        "19 complete, 5 pruned, 0 failed",
    ]
    assert "node1 cud~     25    3/5  0.9000  ▁▆▇" in lines


@pytest.mark.parametrize("height", [1, 2, 5, 7, 9, 11, 12, 24])
@pytest.mark.parametrize("n_workers", [0, 1, 2, 64])
def test_a_low_terminal_shows_what_fits(height: int, n_workers: int) -> None:
    lines = drawn(replace(SNAPSHOT, workers=(WORKER,) * n_workers), 80, height)
    assert len(lines) <= max(height, 5)
    if n_workers == 64 and height > 6:
        assert any(line.startswith("... and ") for line in lines)


def test_a_silent_worker_and_a_silent_database_are_told() -> None:
    silent = replace(WORKER, beat_age_s=47.2)
    text = "\n".join(drawn(replace(SNAPSHOT, workers=(silent,), silent_s=12.0), 80))
    assert "silent 47 s" in text
    assert "the database has not answered for 12 s" in text


def test_replicates_show_their_mean_and_the_trial_they_repeat() -> None:
    row = replace(WORKER, trial=3, of_trial=85)
    final = replace(SNAPSHOT, kind="replicates", best=None, mean=0.9313, complete=2, workers=(row,))
    text = "\n".join(drawn(final, 80))
    assert "mean so far 0.9313 (n = 2)" in text
    assert "replicates" in text
    assert " 85  cnn" in text
    assert "best" not in text.split("12:00:00")[0]


def test_a_picture_that_a_narrower_terminal_wrapped_is_removed() -> None:
    """It was drawn for 80 columns when the terminal had 40 already."""
    screen = pyte.HistoryScreen(40, 24)
    stream = pyte.Stream(screen)

    class Wire(io.StringIO):
        def write(self, text: str) -> int:
            stream.feed(text.replace("\n", "\r\n"))
            return len(text)

    console = Console(file=Wire(), force_terminal=True, width=80, height=24, soft_wrap=True)
    console.print("before")
    view = LiveView(console)
    view.show(SNAPSHOT)
    assert "".join(screen.display).count("of 100 trials") == 1
    console.width = 40
    view.show(replace(SNAPSHOT, complete=20))
    rows = [row.rstrip() for row in screen.display]
    assert rows[0] == "before"
    assert rows[1].startswith("bloodmnist on BloodMNIST")
    assert rows[2] == "25 of 100 trials       about 32 min left"
    assert "".join(rows).count("of 100 trials") == 1
    view.stop()
    assert [row.rstrip() for row in screen.display if row.strip()] == ["before"]


@pytest.mark.parametrize("width", [40, 80])
def test_planted_escapes_are_shown_not_obeyed(width: int) -> None:
    row = replace(WORKER, host=PLANTED, device=PLANTED, name=PLANTED, family=PLANTED)
    best = replace(SNAPSHOT.best, family=PLANTED)  # type: ignore[type-var]
    hostile = replace(
        SNAPSHOT, study=PLANTED, data=PLANTED, best=best, workers=(row,),
        happenings=(Happening(NOW, PLANTED),),
    )  # fmt: skip
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system="256")
    console.print(StudyView(hostile, last=PLANTED, in_place=True))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert r"\x1b]0;owned" in text
    assert "\x1b]" not in text
    assert "\x1b[2J" not in text
    assert "\u202e" not in text
    assert "\x07" not in text


def test_sparklines_share_a_scale() -> None:
    assert sparkline([0.2, 0.5, 0.75, 1.0], 1.0) == "▁▁▅█"
    assert sparkline([1.0], 1.0, unicode=False) == "#"
    assert sparkline([], 0.0) == ""
    assert sparkline([0.0], 0.0) == "▁"
    assert [bar(share, 4, unicode=False) for share in (-1, 0.5, 9)] == ["....", "##..", "####"]


def test_a_terminal_without_blocks() -> None:
    console = Console(file=io.TextIOWrapper(io.BytesIO(), "ascii"), width=80)
    for line in StudyView(SNAPSHOT, in_place=True).lines(console):
        assert line.plain.isascii()
