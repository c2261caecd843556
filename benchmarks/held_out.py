"""What recipes of long trainings are worth on images that chose nothing: held-out folds.

    python -m benchmarks held_out              # continues where it stopped
    python -m benchmarks.held_out --hours 1    # starts no training after so long

A search of 20 minutes found one of the recipes on the validation split, whose 1,712 images favour it. So the
training and the validation split are divided into eight folds: a training has about as many images as the
training split. The first of them are held out in turn, and each is predicted with the last weights.
Long trainings of CNNs take about the same time, 220 to 260 s of a processor with AVX2. Differences are
paired by fold. The test split stays closed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.common import in_own_process, in_parallel, result_path, save, table
from benchmarks.long_training import RECIPES as LONG_RECIPES
from benchmarks.whole_searches import HAND_MADE
from bloodsearch.search.evaluation.intervals import paired_difference
from bloodsearch.search.sampling.space import Params

N_PARTS, FOLDS, MORE_FOLDS = 8, 3, 6
SEED = 0
FOUND: Params = HAND_MADE | {
    "lr": 0.0144, "weight_decay": 0.0078, "label_smoothing": 0.088, "cnn_head": "mean",
    "cnn_dropout": 0.022,
}  # fmt: skip
MLP: Params = LONG_RECIPES["mlp"] | {"ema": 0.998}
TURNED = 2 / 3
SHORT, REFERENCE = "CNN of 16 filters, 5 epochs", "CNN of 32 filters, 25 epochs"
NARROW, WIDE = "CNN of 16 filters, 62 epochs", "CNN of 48 filters, 14 epochs"
CASES: dict[str, tuple[Params, int, tuple[float, ...]]] = {
    SHORT: (FOUND | {"cnn_width": 16}, 5, (0.0, TURNED)),
    NARROW: (FOUND | {"cnn_width": 16}, 62, (0.0, TURNED)),
    REFERENCE: (FOUND | {"cnn_width": 32}, 25, (0.0, TURNED, 1.0)),
    WIDE: (FOUND | {"cnn_width": 48}, 14, (0.0, TURNED)),
    "CNN by hand of 32 filters, 25 epochs": (HAND_MADE | {"cnn_width": 32}, 25, (TURNED,)),
    "MLP, 60 epochs": (MLP, 60, (0.0, TURNED)),
}
"""Name: parameters, epochs, and the shares of images that are turned by any angle. CNNs have the recipe that
was found, but for the one by hand."""
SKIPPED: list[tuple[str, float, tuple[float, ...]]] = [
    (REFERENCE, 0.75, (TURNED,)),
    (REFERENCE, 0.9, (TURNED,)),
    (NARROW, 0.75, (TURNED,)),
    (WIDE, 0.75, (TURNED,)),
    (SHORT, 0.75, (0.0, TURNED)),
    ("MLP, 60 epochs", 0.75, (0.0,)),
]
"""Cases that are also trained with easy images left out: name, `skip_easy`, shares of turned images."""


def skipping(of: str, skip: float) -> str:
    """Return the name of a case with easy images left out."""
    return f"{of}, skip_easy {skip:g}"


CASES |= {
    skipping(of, skip): (CASES[of][0] | {"skip_easy": skip}, CASES[of][1], shares)
    for of, skip, shares in SKIPPED
}
COMPARED = [
    REFERENCE,
    "CNN by hand of 32 filters, 25 epochs",
    NARROW,
    WIDE,
]
"""Cases that are compared with REFERENCE, all with rotations."""
IN_MORE_FOLDS = (REFERENCE, skipping(REFERENCE, 0.75))


def child(case: str, share: float, fold: int) -> None:
    """Train once and print the macro-F1 of the fold that was held out, and the processor's seconds."""
    import torch

    from bloodsearch.search.data.load import load_dataset
    from bloodsearch.search.sampling.space import to_config
    from bloodsearch.search.training import augment
    from bloodsearch.search.training.device import to_device
    from bloodsearch.search.training.fit import fit
    from bloodsearch.search.training.folds import make_folds

    torch.set_num_threads(1)
    augment.ROTATED = share
    data = to_device(load_dataset("bloodmnist"), torch.device("cpu"))
    params, epochs, _ = CASES[case]
    config = to_config(params | {"rotate": 180.0 * (share > 0)}, epochs=epochs, patience=0)
    started = time.process_time()
    result = fit(config, make_folds(data, N_PARTS, SEED)[fold], seed=fold)
    seconds = time.process_time() - started
    print(json.dumps({"macro_f1": result.history[-1].val_macro_f1, "cpu_seconds": seconds}))


def key(case: str, share: float, fold: int) -> str:
    return f"{case}, {share:.2f} turned, fold {fold}"


def show(runs: dict[str, dict[str, float]]) -> None:
    rows = []
    for case, (_, _, shares) in CASES.items():
        for share in shares if 0.0 in shares else ():
            base = (case, 0.0)
            rows += [
                [case, f"{share:.0%}", *cells] for cells in compared(runs, (case, share), base)
            ]
    columns = ["training", "images turned", "folds", "macro-F1", "gain (95 %)", "CPU s"]
    table("turned by any angle, or in the eight orientations alone; held-out folds", columns, rows)
    rows = [
        [case, *cells]
        for case in COMPARED
        for cells in compared(runs, (case, TURNED), (REFERENCE, TURNED))
    ]
    columns = ["training", "folds", "macro-F1", "difference (95 %)", "CPU s"]
    table(f"recipes and widths beside the {REFERENCE}; held-out folds", columns, rows)
    rows = []
    for of, skip, shares in SKIPPED:
        for share in shares:
            base, other = (of, share), (skipping(of, skip), share)
            for what, said in ((base, "0"), (other, f"{skip:g}")):
                cells = compared(runs, what, base, beside=other)
                rows += [[of, f"{share:.0%}", said, *row] for row in cells]
    columns = [
        "training",
        "images turned",
        "skip_easy",
        "folds",
        "macro-F1",
        "gain (95 %)",
        "CPU s",
    ]
    table("images of low loss left out of passes, in as many steps; held-out folds", columns, rows)


def compared(
    runs: dict[str, dict[str, float]],
    what: tuple[str, float],
    base: tuple[str, float],
    beside: tuple[str, float] | None = None,
) -> Iterator[list[str]]:
    """Yield the cells of `what` beside `base`, over the folds that all of them have, if there are any."""
    pairs = [
        (runs[key(*what, fold)], runs[key(*base, fold)])
        for fold in range(MORE_FOLDS)
        if all(key(*case, fold) in runs for case in (what, base, beside or base))
    ]
    if not pairs:
        return
    mean, seconds = (
        statistics.fmean(run[n] for run, _ in pairs) for n in ("macro_f1", "cpu_seconds")
    )
    told = ""
    if what != base and len(pairs) > 1:
        found = paired_difference([run["macro_f1"] - other["macro_f1"] for run, other in pairs])
        told = f"{found.mean:+.4f} ({found.low:+.4f} .. {found.high:+.4f})"
    yield [str(len(pairs)), f"{mean:.4f}", told, f"{seconds:.0f}"]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--hours", type=float, default=1e6, help="start no training after so long")
    parser.add_argument(
        "--only", nargs="*", default=list(CASES), choices=list(CASES), metavar="CASE"
    )
    parser.add_argument("--child", nargs=3)
    given = parser.parse_args(arguments)
    if given.child is not None:
        return child(given.child[0], float(given.child[1]), int(given.child[2]))
    path = result_path("held_out")
    runs: dict[str, Any] = json.loads(path.read_text())["result"] if path.exists() else {}
    tasks = [
        (case, share, fold)
        for fold in range(MORE_FOLDS)
        for case, (_, _, shares) in CASES.items()
        for share in shares
        if fold < FOLDS or (case in IN_MORE_FOLDS and share == TURNED)
    ]

    def train(task: tuple[str, float, int]) -> dict[str, float]:
        found: dict[str, float] = in_own_process("held_out", "--child", *map(str, task))
        return found

    def keep(task: tuple[str, float, int], found: dict[str, float]) -> None:
        runs[key(*task)] = found
        print(key(*task), f"{found['macro_f1']:.4f}", flush=True)
        save("held_out", runs)

    tasks.sort(key=lambda task: task[1] == 1.0)  # what decides least comes last
    missing = [task for task in tasks if key(*task) not in runs and task[0] in given.only]
    in_parallel(missing, train, keep, until=time.monotonic() + 3600 * given.hours)
    show(runs)
    save("held_out", runs)


def run() -> None:
    main([])


if __name__ == "__main__":
    main()
