"""Draw the README's pictures: the terminal during a search, the dashboard and the report.

    python -m benchmarks.pictures FOLDER [dark]

Runs the commands of the README's first steps on the synthetic set, which takes some minutes. Writes
FOLDER/terminal.svg, FOLDER/dashboard.png and FOLDER/report.png; with "dark" the pages are in the dark theme.
Needs a Chromium, for instance Debian's package chromium.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from benchmarks.browser import CHROMIUM, FLAGS
from benchmarks.terminal import Terminal

PROGRAM = [sys.executable, "-P", "-m", "bloodsearch"]
N_TRIALS = 10
STUDY = "demo-synthetic"
SEARCH = f"optimize demo --dataset synthetic --trials {N_TRIALS} --epochs 6 --workers 2"
FINAL = f"final-eval {STUDY} --finalists 3 --rounds 2 --replicates 3"
WIDTH = 1100
"""Columns of a page's picture: wide enough for the layout of a desktop, and legible in a README."""


def draw(folder: Path, theme: str) -> list[Path]:
    """Make a study in a temporary folder, and return the pictures written to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bloodsearch-") as name:
        work = Path(name)
        (folder / "terminal.svg").write_text(_search(work), encoding="utf-8")
        for words in (FINAL, f"report {STUDY}"):
            subprocess.run([*PROGRAM, *words.split()], cwd=work, check=True)
        with sync_playwright() as playwright, _dashboard(work) as address:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
            note = f"{address}/dashboard/studies/1/note"
            report = next(work.glob("report*/**/report.html")).as_uri()
            _photograph(browser, note, folder / "dashboard.png", theme, height=1150)
            _photograph(browser, report, folder / "report.png", theme, height=1100)
            browser.close()
    return [folder / name for name in ("terminal.svg", "dashboard.png", "report.png")]


def _search(work: Path) -> str:
    """Run the search in a terminal and return a picture from its middle."""
    with Terminal([*PROGRAM, *SEARCH.split()], columns=94, rows=24, cwd=work) as terminal:
        terminal.wait_for(f"4 of {N_TRIALS} trials", seconds=600)
        terminal.wait_for("4/6", seconds=600)  # a trial that has a curve
        picture = terminal.svg(f"bloodsearch {SEARCH}")
        code = terminal.wait(seconds=600)
    if code:
        sys.exit(f"the search ended with exit code {code}")
    # Rich's fonts are on a server of others: a viewer's own monospaced font does, too
    return re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)


@contextlib.contextmanager
def _dashboard(work: Path) -> Iterator[str]:
    """Serve the dashboard of the study in `work`; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    server = subprocess.Popen(
        [*PROGRAM, "dashboard", "--port", str(port)], cwd=work, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(port, server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.1)
    sys.exit("the dashboard does not answer")


def _photograph(browser: Browser, url: str, path: Path, theme: str, *, height: int) -> None:
    """Write a picture of the upper part of a page."""
    dark = theme == "dark"
    page = browser.new_page(
        viewport={"width": WIDTH, "height": height}, color_scheme="dark" if dark else "light"
    )
    page.set_default_timeout(120_000)
    page.goto(url)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1000)  # optuna-dashboard draws after its last request
    page.screenshot(path=path)
    page.close()


if __name__ == "__main__":
    if CHROMIUM is None:
        sys.exit("no Chromium on this machine; Debian's package is chromium")
    os.environ.pop("BLOODSEARCH_STORAGE", None)
    for drawn in draw(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "light"):
        print(drawn)
