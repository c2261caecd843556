"""`bloodsearch demo`: run a search and a final evaluation in about two minutes."""

from __future__ import annotations

import os
import shlex
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..api.events import SearchEnded
from ..env import STORAGE
from ..errors import DataError
from . import output
from .final_tables import show_result
from .options import DataRootOption
from .progress import Screen
from .search_summary import Summaries
from .suggest import command, data_option, where

if TYPE_CHECKING:
    from ..api.events import Event

N_TRIALS = 12
N_REPLICATES = 2
DOWNLOAD_TIMEOUT_S = 5.0


def demo(data_root: DataRootOption = None) -> None:
    """Run a search and a final evaluation in about two minutes, in a temporary folder."""
    from ..api.final import evaluate_winner
    from ..api.request import SearchRequest
    from ..api.search import run_search
    from ..api.study import load_study
    from ..api.winner import FinalRequest

    started = time.monotonic()
    dataset, root = _choose_data(data_root)
    folder = Path(tempfile.mkdtemp(prefix="bloodsearch-demo-"))
    storage = f"sqlite:///{folder / 'demo.db'}"
    screen = Screen(quiet=False)
    output.line(f"1. a search of {N_TRIALS} small trials")
    request = SearchRequest(
        study="demo",
        trials=N_TRIALS,
        storage=storage,
        dataset=dataset,
        data_root=root,
        owns_process=True,
        snapshots=screen.draws,
    )
    summaries = Summaries(False, "demo", storage, root, shows_next=False)

    def show(event: Event) -> None:
        screen(event)
        if isinstance(event, SearchEnded):
            summaries.add(event.result)

    name = run_search(request, show).study
    output.line()
    output.line(
        f"2. the final evaluation: the winner retrained with {N_REPLICATES} seeds, tested once"
    )
    result = evaluate_winner(
        load_study(storage=storage, name=name),
        FinalRequest(
            replicates=N_REPLICATES,
            finalists=1,  # two minutes leave no time for a second stage
            out=folder / "final",
            data_root=root,
            owns_process=True,
            snapshots=screen.draws,
        ),
        screen,
    )
    show_result(result)
    output.line()
    output.line(f"the demo finished in {output.duration(time.monotonic() - started)}")
    data = ["--dataset", "synthetic"] if dataset == "synthetic" else data_option(root)
    output.line("next, the default search and its final evaluation:")
    output.line("  " + command("optimize", *data, "--trials", 20))
    output.line("  " + command("final-eval", *data_option(root)))
    output.line("or look at this demo:")
    output.line(f"  export {STORAGE}={shlex.quote(storage)}")
    arguments = where("demo", None, name)
    output.line("  " + command("leaderboard", *arguments))
    output.line("  " + command("show", result["trial"], *arguments))
    output.line("  " + command("report", *arguments, *data_option(root)))
    output.line("  " + command("dashboard"))


def _choose_data(root: Path | None) -> tuple[str, Path | None]:
    """Return BloodMNIST if it is there or can be downloaded, else the synthetic set, with a notice."""
    from ..data import registry
    from ..data.download import fetch
    from ..data.load import load_dataset
    from ..data.places import default_root

    folder = root or default_root()
    file_name = registry.official(registry.DEFAULT).file_name
    if not os.path.exists(folder / file_name):
        output.message(f"{file_name} is not in {folder}; trying to download it")
        try:
            fetch(registry.DEFAULT, folder, timeout_s=DOWNLOAD_TIMEOUT_S)
        except DataError as error:
            output.message(str(error))
            _banner()
            return "synthetic", root
    load_dataset(registry.DEFAULT, root)  # an unusable file is an error, not a reason to switch
    return registry.DEFAULT, root


def _banner() -> None:
    rule = "*" * 78
    output.line(rule)
    output.line("* SYNTHETIC DATA: drawings of cells, not blood cells. The scores below show")
    output.line("* that the program works, and nothing about blood.")
    output.line("* Real data: bloodsearch data fetch")
    output.line(rule)
