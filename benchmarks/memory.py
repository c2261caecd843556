"""Resident memory of a process that trains one mixed trial after the other, as a worker does.

    python -m benchmarks memory

Trials are drawn at random from the default study's space and train for one epoch on the first 1,024
images, with all of BloodMNIST loaded. Goals: 700 MB after 20 trials, no growth over 200.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from statistics import median

from benchmarks.common import in_own_process, save, table

N_TRIALS = 200
N_IMAGES = 1024
WINDOW = 20


def child() -> None:
    import optuna
    import psutil
    import torch

    from bloodsearch.search.data.load import load_dataset
    from bloodsearch.search.sampling.space import suggest, to_config
    from bloodsearch.search.training.device import to_device
    from bloodsearch.search.training.endings import Diverged
    from bloodsearch.search.training.fit import fit
    from bloodsearch.studies import load_study_file

    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    whole = to_device(load_dataset("bloodmnist"), torch.device("cpu"))
    part = replace(
        whole,
        train_images=whole.train_images[:N_IMAGES],
        train_labels=whole.train_labels[:N_IMAGES],
    )
    study_file = load_study_file("bloodmnist")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    process, found = psutil.Process(), []
    for number in range(N_TRIALS):
        config = to_config(suggest(study.ask(), study_file), epochs=1, patience=0)
        with contextlib.suppress(Diverged):  # as random learning rates do
            fit(config, part, seed=number)
        found.append(process.memory_info().rss / 1e6)
    print(json.dumps(found))


def run() -> None:
    found = in_own_process("memory")
    early, late = found[WINDOW : 2 * WINDOW], found[-WINDOW:]
    result = {
        "mb_after_20_trials": found[19],
        "mb_at_most": max(found),
        "mb_median_of_trials_21_to_40": median(early),
        "mb_median_of_the_last_20": median(late),
        "n": len(found),
    }
    rows = [[key.replace("_", " "), f"{value:.0f}"] for key, value in result.items()]
    table("resident memory of a worker", ["", "MB"], rows)
    save(
        "memory",
        result | {"mb_after_each_trial": [round(value, 1) for value in found]},
        by_processor=True,
    )


if __name__ == "__main__":
    child()
