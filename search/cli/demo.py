"""`bloodsearch demo`: a search and a final evaluation in about two minutes, on any machine."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from ..errors import DataError
from ..study_names import default_name
from . import output
from .final import Choice, evaluate_winner
from .final_tables import show_result
from .optimize import Request, search
from .options import DataRootOption, DebugOption, study_file

N_TRIALS = 12
N_REPLICATES = 2
DOWNLOAD_TIMEOUT_S = 5.0


def demo(data_root: DataRootOption = None, debug: DebugOption = False) -> None:
    """A search and a final evaluation in about two minutes, in a folder of their own."""
    started = time.monotonic()
    dataset, root = _choose_data(data_root)
    folder = Path(tempfile.mkdtemp(prefix="bloodsearch-demo-"))
    storage = f"sqlite:///{folder / 'demo.db'}"
    name = default_name("demo", dataset)
    output.line(f"1. a search of {N_TRIALS} small trials")
    opened, study = search(
        Request(study_file("demo"), N_TRIALS, storage, dataset=dataset, data_root=root),
        as_json=False,
        command=f" demo --name {name} --storage {storage}",
    )
    output.line()
    output.line(
        f"2. the final evaluation: the winner retrained with {N_REPLICATES} seeds, tested once"
    )
    result = evaluate_winner(
        opened,
        study,
        trial=None,
        n_replicates=N_REPLICATES,
        force=False,
        out=folder / "final",
        data_root=root,
        slots=("auto", "auto", 1),
        quiet=False,
        choice=Choice(finalists=1),  # two minutes leave no time for a second stage
    )
    show_result(result)
    output.line()
    output.line(
        f"demo finished in {output.duration(time.monotonic() - started)}. What to type next:"
    )
    where = f"demo --name {name} --storage {storage}"
    output.line(f"  bloodsearch leaderboard {where}")
    output.line(f"  bloodsearch show {result['trial']} {where}")
    output.line(f"  bloodsearch report {where}")
    output.line(f"  bloodsearch dashboard --storage {storage}")
    extra = "--dataset synthetic " if dataset == "synthetic" else ""
    extra += f"--data-root {root} " if root is not None and dataset == "bloodmnist" else ""
    output.line(
        f"  bloodsearch optimize {extra}--trials 20     # the real search, then: bloodsearch final-eval"
    )


def _choose_data(root: Path | None) -> tuple[str, Path | None]:
    """BloodMNIST if it is at hand or can be downloaded, else the synthetic set, said aloud."""
    from ..data.bloodmnist import FILE_NAME, default_root, load_dataset
    from ..data.download import fetch

    folder = root or default_root()
    if not os.path.exists(folder / FILE_NAME):
        output.message(f"{FILE_NAME} is not in {folder}; trying to download it")
        try:
            fetch(folder, timeout_s=DOWNLOAD_TIMEOUT_S)
        except DataError as error:
            output.message(str(error))
            _banner()
            return "synthetic", root
    load_dataset("bloodmnist", root)  # an unusable file is an error, not a reason to switch
    return "bloodmnist", root


def _banner() -> None:
    rule = "*" * 78
    output.line(rule)
    output.line(
        "* SYNTHETIC DATA: drawings of cells, not blood cells. The scores below say that the"
    )
    output.line("* program works; they say nothing about blood. Real data: bloodsearch data fetch")
    output.line(rule)
