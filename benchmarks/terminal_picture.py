"""Draw pictures of the terminal while a real search runs.

    python -m benchmarks.terminal_picture FOLDER

Writes FOLDER/terminal.svg (80 columns, while the workers train), FOLDER/terminal_narrow.svg (40 columns) and
FOLDER/terminal_end.svg (what is left at the end). The search trains the demo study on the real data if
there are any, else on the synthetic set.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.terminal import Terminal
from bloodsearch.search.data.places import default_root

PROGRAM = [sys.executable, "-P", "-m", "bloodsearch"]
N_TRIALS = 10
ROWS = 24


def draw(folder: Path) -> list[Path]:
    """Run a search of N_TRIALS trials in a terminal and return the pictures written to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["optimize", "demo", "--trials", str(N_TRIALS), "--workers", "2", "--epochs", "6"]
    if not (default_root() / "bloodmnist.npz").is_file():
        words += ["--dataset", "synthetic"]
    title = "bloodsearch " + " ".join(words)
    pictures = {}
    with (
        tempfile.TemporaryDirectory() as work,
        Terminal([*PROGRAM, *words], columns=80, rows=ROWS, cwd=Path(work)) as terminal,
    ):
        terminal.wait_for(f"5 of {N_TRIALS} trials", seconds=600)
        terminal.watch(8)  # until the next trials have curves
        pictures["terminal"] = terminal.svg(title)
        terminal.resize(40, ROWS)
        terminal.watch(3)
        pictures["terminal_narrow"] = terminal.svg(title)
        terminal.resize(80, ROWS)
        code = terminal.wait(seconds=600)
        pictures["terminal_end"] = terminal.svg(title)
    if code:
        sys.exit(f"the search ended with exit code {code}")
    paths = []
    for name, svg in pictures.items():
        path = folder / f"{name}.svg"
        path.write_text(svg, encoding="utf-8")
        paths.append(path)
    return paths


if __name__ == "__main__":
    for drawn in draw(Path(sys.argv[1])):
        print(drawn)
