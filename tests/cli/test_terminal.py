"""`optimize` on real pseudo-terminals: what is on the screen, after a resize, and what is left at the end."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from benchmarks.terminal import Terminal

pytestmark = pytest.mark.slow

COMMAND = Path(__file__).parents[1] / "support" / "simulated_command.py"
HEADING = re.compile(r"^worker +trial ", re.MULTILINE)
BEST = re.compile(r"^best 0", re.MULTILINE)
COLOR = re.compile(rb"\x1b\[[0-9;]*m")


def optimize(
    tmp_path: Path, trials: int, columns: int = 80, rows: int = 24, **environment: str
) -> Terminal:
    """Start a search with two workers, four epochs of 0.3 s a trial."""
    command = [sys.executable, "-P", str(COMMAND), "optimize", "demo", "--workers", "2"]
    command += ["--dataset", "synthetic", "--trials", str(trials), "--name", "mine"]
    environment = {"SIM_EPOCHS": "4", "SIM_EPOCH_S": "0.3", **environment}
    return Terminal(command, columns=columns, rows=rows, environment=environment, cwd=tmp_path)


def assert_one_view(text: str) -> None:
    for part in (HEADING, BEST, re.compile(r"^\d+ of \d+ trials", re.MULTILINE)):
        assert len(part.findall(text)) == 1, text


def test_in_place_through_a_resize_to_a_clean_end(tmp_path: Path) -> None:
    with optimize(tmp_path, 24) as terminal:
        terminal.wait_for("images/s")
        text = terminal.wait_for("new best")
        assert_one_view(text)
        assert re.search(
            r"\d+ of 24 trials finished: \d+ complete, 0 pruned, 0 failed  .* left", text
        )
        assert re.search(r"best 0\.\d{4}  trial \d+ (cnn|mlp)  \d+ s ago", text)
        row = re.compile(r"^cpu \d+ +\d+  (cnn|mlp) .* \d/\d .*[▁▂▃▄▅▆▇█]$", re.MULTILINE)
        for _ in range(50):  # a moment ago all trials may have been new
            if row.search(terminal.text()):
                break
            terminal.read(0.2)
        assert row.search(terminal.text()), terminal.text()
        terminal.resize(40, 24)
        terminal.read(2.5)
        text = terminal.text()
        assert_one_view(text)
        assert "images/s" not in text
        assert all(len(line) <= 40 for line in text.split("\n"))
        terminal.resize(80, 24)
        assert terminal.wait() == 0
    text = terminal.text()
    assert not HEADING.search(text)
    assert text.count("24 complete, 0 pruned, 0 failed in ") == 1
    assert "\nnext: bloodsearch leaderboard" in text
    assert not HEADING.search(terminal.scrolled())
    assert not terminal.screen.cursor.hidden


def test_ctrl_c_leaves_no_garbage_at_40_columns_without_colors(tmp_path: Path) -> None:
    with optimize(tmp_path, 60, 40, NO_COLOR="1") as terminal:
        assert_one_view(terminal.wait_for("best "))
        terminal.press_ctrl_c()
        assert terminal.wait(seconds=20) == 130
    text = terminal.text()
    assert not HEADING.search(text)
    assert "━" not in text
    assert "interrupted" in text
    assert "2 wait; one" in text.replace("\n", ""), text
    assert not terminal.screen.cursor.hidden
    assert COLOR.sub(b"", terminal.raw).count(b"\x1b[3") == 0
    assert not [c for c in COLOR.findall(terminal.raw) if re.search(rb"[34]\d", c)]


def test_a_dumb_terminal_gets_lines(tmp_path: Path) -> None:
    with optimize(tmp_path, 2, TERM="dumb") as terminal:
        assert terminal.wait() == 0
    assert b"\x1b" not in terminal.raw
    assert terminal.text().count("trial    ") == 2
    assert not HEADING.search(terminal.text())


def test_words_of_workers_stay_above_the_view(tmp_path: Path) -> None:
    with optimize(tmp_path, 4, SIM_BUG="1") as terminal:
        assert_one_view(terminal.wait_for("best "))
        assert terminal.wait() == 0
    text = terminal.text()
    assert text.count("bloodsearch: trial 1 failed: ValueError") == 1
    assert not HEADING.search(text)


def test_status_watch_shows_the_same_from_elsewhere(tmp_path: Path) -> None:
    with optimize(tmp_path, 40) as search:
        search.wait_for("best ")
        command = [sys.executable, "-P", "-m", "bloodsearch", "status", "mine", "--watch"]
        with Terminal(command, cwd=tmp_path) as watching:
            text = watching.wait_for("images/s")
            assert "Ctrl-C ends this view, not the search" in text
            assert_one_view(text)
            assert "of 40 trials finished" in text
            watching.press_ctrl_c()
            assert watching.wait(seconds=20) == 130
        text = watching.text()
        assert "images/s" not in text
        assert "of 40 trials finished" in text, "the last picture stays"
        search.press_ctrl_c()
        assert search.wait(seconds=20) == 130
