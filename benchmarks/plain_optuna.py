"""What a page of hand-written Optuna finds in the same time: TPE, MedianPruner, the standard loop.

    python -m benchmarks plain_optuna      # as long as `end_to_end` took for its search and second stage

Two processes of one thread share a study in SQLite until the time is over (trials that are then running
are finished). The space is the course reports': one hidden layer or several, three convolutions of a width,
Adam, AdamW or SGD at a constant learning rate, both losses, no augmentation, early stopping with a
patience of 5. The best trial is trained again with five seeds, each keeping its best epoch on validation,
and these five are tested, as `bloodsearch final-eval` does it.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, save, shown, spread, table

MAX_EPOCHS, PATIENCE = 40, 5
N_WORKERS, N_SEEDS = 2, 5
STUDY = "plain"


def suggest(trial: Any) -> dict[str, Any]:
    params: dict[str, Any] = {
        "arch": trial.suggest_categorical("arch", ["mlp", "cnn"]),
        "optimizer": trial.suggest_categorical("optimizer", ["adam", "adamw", "sgd"]),
        "lr": trial.suggest_float("lr", 1e-4, 1e-1, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True),
        "batch_size": trial.suggest_categorical("batch_size", [64, 128, 256]),
        "loss": trial.suggest_categorical("loss", ["cross_entropy", "weighted_cross_entropy"]),
        "schedule": "constant",
        "augment": "none",
    }
    if params["optimizer"] == "sgd":
        params |= {"sgd_lr": params["lr"], "sgd_momentum": 0.9}
    if params["arch"] == "mlp":
        params["mlp_depth"] = trial.suggest_int("mlp_depth", 1, 3)
        params["mlp_width"] = trial.suggest_int("mlp_width", 256, 1024, log=True)
        params["mlp_dropout"] = trial.suggest_float("mlp_dropout", 0.0, 0.5)
    else:
        params["cnn_blocks"] = 3
        params["cnn_width"] = trial.suggest_categorical("cnn_width", [16, 32])
        params["cnn_hidden"] = "128"
        params["cnn_dropout"] = trial.suggest_float("cnn_dropout", 0.0, 0.5)
    return params


def fit(params: dict[str, Any], splits: Any, seed: int, trial: Any = None) -> tuple[float, Any]:
    """Best validation macro-F1 and the model of that epoch."""
    import optuna

    from benchmarks.standard_loop import StandardLoop
    from bloodsearch.search.sampling.space import to_config

    config = to_config(params, epochs=MAX_EPOCHS, patience=0)
    loop = StandardLoop(config, splits, seed=seed)
    best, best_epoch, best_state = -1.0, 0, None
    for epoch in range(MAX_EPOCHS):
        value = loop.epoch().val_macro_f1
        if value > best:
            best, best_epoch = value, epoch
            best_state = copy.deepcopy(loop.model.state_dict())
        if trial is not None:
            trial.report(value, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        if epoch - best_epoch >= PATIENCE:
            break
    assert best_state is not None
    loop.model.load_state_dict(best_state)
    return best, loop.model


def search(url: str, seconds: float, number: int) -> None:
    import optuna
    import torch

    from bloodsearch.search.data.load import load_dataset

    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    splits = load_dataset("bloodmnist")

    def objective(trial: Any) -> float:
        params = suggest(trial)
        trial.set_user_attr("params", params)
        return fit(params, splits, seed=trial.number, trial=trial)[0]

    study = optuna.load_study(
        study_name=STUDY,
        storage=url,
        sampler=optuna.samplers.TPESampler(seed=number),
        pruner=optuna.pruners.MedianPruner(),
    )
    study.optimize(objective, timeout=seconds)


def replicate(params: dict[str, Any], seed: int, weights: Path) -> float:
    """One more training: its weights in a file, its validation macro-F1."""
    import torch

    from bloodsearch.search.data.load import load_dataset

    torch.set_num_threads(1)
    best, model = fit(params, load_dataset("bloodmnist"), seed)
    torch.save(model.state_dict(), weights)
    return best


def test_scores(
    params: dict[str, Any], files: list[Path], url: str, trial: int
) -> tuple[list[float], dict[str, int]]:
    """Return each replicate's test macro-F1, with one opening on the record, and the counts of openings."""
    import torch
    from sklearn.metrics import f1_score

    from benchmarks.standard_loop import Images
    from bloodsearch.models import build_model
    from bloodsearch.search.data.load import load_dataset
    from bloodsearch.search.database.storage import open_storage
    from bloodsearch.search.evaluation.opening import count_openings, open_on_the_record
    from bloodsearch.search.sampling.space import to_config

    expected = load_dataset("bloodmnist").fingerprint
    storage = open_storage(url, create=False)
    _, images, labels = open_on_the_record(
        storage,
        STUDY,
        expected,
        trial=trial,
        n_replicates=len(files),
        data_root=None,
        forced=False,
    )
    counts = count_openings(storage, STUDY, expected, None)
    storage.close()
    test = Images(images, labels)
    pixels = torch.stack([test[i][0] for i in range(len(test))])
    model = build_model(to_config(params, epochs=1, patience=0).model).eval()
    found = []
    for file in files:
        model.load_state_dict(torch.load(file, weights_only=True))
        with torch.no_grad():
            predicted = torch.cat([model(part).argmax(dim=1) for part in pixels.split(256)])
        found.append(float(f1_score(labels, predicted, average="macro")))
    return found, counts


def same_time() -> float:
    """Seconds that our search and its second stage took on this machine."""
    kept = json.loads((RESULTS / "end_to_end.json").read_text())["result"]
    return 60 * float(sum(kept["minutes"].values()))


def run(seconds: float | None = None) -> None:
    import optuna

    seconds = seconds or same_time()

    me = [sys.executable, "-m", "benchmarks.plain_optuna"]
    with tempfile.TemporaryDirectory(prefix="bs-plain-") as folder:
        url = f"sqlite:///{Path(folder) / 'plain.db'}"
        optuna.create_study(study_name=STUDY, storage=url, direction="maximize")
        started = time.monotonic()
        workers = [
            subprocess.Popen([*me, "--search", url, str(i), "--seconds", str(seconds)])
            for i in range(N_WORKERS)
        ]
        if any(worker.wait() for worker in workers):
            sys.exit("a worker of the plain search failed")
        took = time.monotonic() - started
        study = optuna.load_study(study_name=STUDY, storage=url)
        best, states = study.best_trial, [t.state.name for t in study.trials]
        params = best.user_attrs["params"]
        print(f"{len(states)} trials in {took:.0f} s, best {best.value:.4f}: {params}", flush=True)
        validation: list[float] = []
        files = [Path(folder) / f"{i}.pt" for i in range(N_SEEDS)]
        for first in range(0, N_SEEDS, N_WORKERS):
            together = [
                subprocess.Popen(
                    [*me, "--replicate", json.dumps(params), str(1000 + i), str(files[i])],
                    stdout=subprocess.PIPE,
                )
                for i in range(first, min(N_SEEDS, first + N_WORKERS))
            ]
            validation += [json.loads(process.communicate()[0]) for process in together]
        test, counts = test_scores(params, files, url, best.number)
    rows = [
        ["finished trials", str(sum(state in ("COMPLETE", "PRUNED") for state in states))],
        ["pruned", str(states.count("PRUNED"))],
        ["minutes", f"{took / 60:.0f}"],
        ["best search value, validation macro-F1", f"{best.value:.4f}"],
        ["the same trained again", shown(spread(validation), digits=4)],
        ["test macro-F1", shown(spread(test), digits=4)],
        ["its mean", f"{statistics.fmean(test):.4f}"],
        ["openings of the test split, this search", str(counts["test_openings"])],
        ["openings known beside the data", str(counts["test_openings_beside_data"])],
    ]
    table("plain Optuna: TPE, MedianPruner, the standard loop", ["", "found"], rows)
    result = {"seconds": took, "states": states, "best": best.value, "params": params}
    save("plain_optuna", {**result, **counts, "validation": validation, "test": test})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--search", nargs=2)
    parser.add_argument("--replicate", nargs=3)
    given = parser.parse_args()
    if given.search:
        search(given.search[0], given.seconds, int(given.search[1]))
    elif given.replicate:
        params, seed, weights = given.replicate
        print(replicate(json.loads(params), int(seed), Path(weights)))
    else:
        run(given.seconds)
