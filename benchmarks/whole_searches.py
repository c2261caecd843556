"""Whole searches against rivals in the same wall-clock, final trainings included, over several seeds.

    python -m benchmarks.whole_searches --minutes 20    # n = 3 of each; continues where it stopped
    python -m benchmarks.whole_searches --minutes 60 --only ours
    python -m benchmarks.whole_searches --hours 2                   # starts no search after so long
    python -m benchmarks.whole_searches --show                      # only prints the table

Needs a quiet machine: every search takes the given minutes on all cores. Contenders:

    ours             bloodsearch optimize --minutes M, then final-eval
    no rotations     the same, with images in their eight orientations only
    no skipping      the same as ours, with all images in each pass (`skip_easy` 0)
    random           the same as ours with random search instead of TPE
    optuna           hand-written Optuna (TPE, median pruner) with this engine and the space of `ours`
    hand-made 1/3/5  residual double blocks of 64, 128, 256 filters, without any search, as 1, 3 or 5 seeds
    recipe 5         the network that `ours` tries first, as wide and with rotations, not searched, as 5 seeds

Each search has a database of its own, and its test split is opened once, by a final evaluation on the record.
Plain Optuna with the usual loop is `python -m benchmarks plain_optuna`.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.common import in_own_process, result_path, save
from benchmarks.whole_tables import BEFORE, most_trained, show
from bloodsearch.search.api.final_stages import REPLICATES
from bloodsearch.search.api.minutes import FINAL_SHARE, fit
from bloodsearch.search.api.minutes_plan import Plan
from bloodsearch.search.api.placement import AUTO
from bloodsearch.search.sampling.space import Params, suggest, to_config, without_length
from bloodsearch.studies import StudyFile, load_study_file, parse_study

HAND_MADE: Params = {
    "arch": "cnn", "optimizer": "muon", "lr": 0.01, "weight_decay": 0.05, "batch_size": 128,
    "loss": "cross_entropy", "label_smoothing": 0.1, "schedule": "one_cycle", "augment": "dihedral",
    "shift": 2, "ema": 0.998, "cnn_blocks": 3, "cnn_width": 64, "cnn_growth": 2.0, "cnn_convs": 2,
    "cnn_residual": True, "cnn_norm": True, "cnn_head": "max", "cnn_dropout": 0.2,
}  # fmt: skip
CONTENDERS = (
    *("ours", "no rotations", "no skipping", "random", "optuna"),
    *("hand-made 1", "hand-made 3", "hand-made 5", "recipe 5"),
)
OVERRIDES: dict[str, dict[str, Any]] = {
    "ours": {},
    "no rotations": {"space.rotate": 0.0},
    "no skipping": {"minutes.space.skip_easy": 0.0},
    "random": {"search.sampler": "random"},
}
"""Contenders that `optimize` searches, and the settings that they change."""
WARM_UP_EPOCHS = 2
"""Before Optuna's median pruner prunes: with fewer it stops the best."""


def child(contender: str, minutes: float, seed: int, dataset: str) -> None:
    """Run one contender and print its result as JSON."""
    from bloodsearch.search.api.final import final_eval
    from bloodsearch.search.api.search import optimize
    from bloodsearch.search.evaluation.averaging import Averaging

    started = time.monotonic()
    rungs: dict[str, list[dict[str, Any]]] = {}
    options: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="bs-whole-") as folder:
        where: dict[str, Any] = {"storage": f"sqlite:///{folder}/search.db", "name": "whole"}
        out = Path(folder) / "final"
        if contender in OVERRIDES:
            search = optimize(
                minutes=minutes,
                seed=seed,
                dataset=dataset,
                overrides=OVERRIDES[contender],
                **where,
            )
            searched = time.monotonic() - started
            declared = Averaging(orientations=True, replicates=True)
            final = final_eval(out=out, averaging=declared, **where)
            options = [
                {"option": option.option, "test_macro_f1": option.test_macro_f1.values}
                for option in final.declared_options
            ]
            values, validation = final.test_macro_f1.values, final.val_macro_f1.values
            n_trials = search.complete + search.pruned
            winner: dict[str, Any] = final.params
            rungs = _rungs(where["storage"])
            finals = rungs["whole-finals"]
            epochs = next(r["epochs"] for r in finals if r["trial"] == most_trained(finals))
        else:
            threads, n_trials = 1, 0
            if contender == "optuna":
                winner, epochs, n_trials = _search_by_hand(folder, minutes, seed, dataset)
                n = REPLICATES
            else:
                n = int(contender.split()[-1])
                winner = _recipe(minutes, dataset) if contender.startswith("recipe") else HAND_MADE
                epochs, threads = _all_of_the_time(winner, minutes, n, dataset)
            data = {"dataset": dataset, **where}
            values, validation = _trained(winner, epochs, n, seed, out, data, threads)
            searched = time.monotonic() - started
    result = {
        "test_macro_f1": values, "val_macro_f1": validation, "search_seconds": searched,
        "seconds": time.monotonic() - started, "n_trials": n_trials, "winner": winner,
        "epochs": epochs, "rungs": rungs, "options": options,
    }  # fmt: skip
    print(json.dumps(result))


def _rungs(url: str) -> dict[str, list[dict[str, Any]]]:
    """Return the complete trials of each study: value, epochs, and the number that each has in the search."""
    import optuna

    from bloodsearch.search.records import trial_record

    rungs = {}
    for study in optuna.get_all_study_names(storage=url):
        trials = optuna.load_study(study_name=study, storage=url).trials
        rungs[study] = [
            {"trial": trial.number if (of := trial_record(trial).replicate_of) is None else of,
             "value": trial.value, "epochs": len(trial.intermediate_values)}
            for trial in trials
            if trial.state is optuna.trial.TrialState.COMPLETE
        ]  # fmt: skip
    return rungs


def _trained(
    winner: Params, epochs: int, n: int, seed: int, out: Path, where: dict[str, Any], threads: int
) -> tuple[list[float | None], list[float | None]]:
    """Train a configuration with `n` seeds and test it once, as a study of one baseline."""
    from bloodsearch.search.api.final import final_eval_baselines
    from bloodsearch.search.api.search import optimize

    params = without_length(winner)
    study = {
        "name": "whole",
        "search": {"sampler": "baselines", "seed": seed},
        "training": {"epochs": epochs, "final_epochs": epochs, "threads": threads},
        "baselines": [{"name": "one", "params": params}],
    }
    optimize(study, only="baselines", replicates=n, **where)
    stored = {"storage": where["storage"], "name": where["name"]}
    tested = final_eval_baselines(out=out, **stored)["configurations"][0]
    return tested["test_macro_f1"]["values"], tested["val_macro_f1"]["values"]


def _plan(minutes: float, dataset: str) -> Plan:
    """Return what `optimize --minutes` searches here."""
    from bloodsearch.search.api.timing import epoch_seconds

    slots = AUTO.slots(1)
    file = load_study_file("bloodmnist")
    return fit(
        file, minutes, len(slots), lambda configs: epoch_seconds(configs, slots, dataset=dataset)
    )


def _recipe(minutes: float, dataset: str) -> Params:
    """Return the first recipe that `optimize --minutes` tries, as it trains it on the last rung."""
    file = _plan(minutes, dataset).file
    return {**file.baselines[0].params, **file.long_params()}


def _all_of_the_time(point: Params, minutes: float, n: int, dataset: str) -> tuple[int, int]:
    """Return the epochs with which `n` trainings take all of the time, and the threads of each.

    A person who trains one network, or three on two cores, gives a training all cores where that is faster.
    """
    from bloodsearch.search.api.timing import epoch_seconds

    config, budget = to_config(point, epochs=1, patience=0), 0.95 * 60 * minutes
    lengths = []
    for threads in sorted({1, len(AUTO.slots(1))}):
        slots = AUTO.slots(threads)
        epoch_s = epoch_seconds([config], slots, dataset=dataset)[0]
        lengths.append((max(1, math.floor(budget / math.ceil(n / len(slots)) / epoch_s)), threads))
    return max(lengths)


def _search_by_hand(
    folder: str, minutes: float, seed: int, dataset: str
) -> tuple[Params, int, int]:
    """Search with Optuna's own sampler and pruner in as many processes as there are workers."""
    import optuna

    plan = _plan(minutes, dataset)
    path = Path(folder) / "plan.json"
    path.write_text(plan.file.model_dump_json())
    url = f"sqlite:///{folder}/optuna.db"
    study = optuna.create_study(study_name="hand", storage=url, direction="maximize")
    seconds = (1 - FINAL_SHARE - 0.05) * 60 * minutes
    commands = [
        [sys.executable, "-m", "benchmarks.whole_searches", "--worker", url, str(path),
         str(seconds), str(seed + 1000 * number), dataset]
        for number in range(plan.n_workers)
    ]  # fmt: skip
    workers = [subprocess.Popen(command, stdout=sys.stderr) for command in commands]
    for worker in workers:
        worker.wait()
    best = study.best_trial.user_attrs["params"]
    epochs = plan.file.training.final_epochs_of(best["arch"])
    return best, epochs, len(study.trials)


def work(url: str, path: str, seconds: float, seed: int, dataset: str) -> None:
    """Search for so many seconds, as a person writes it with Optuna."""
    import optuna
    import torch

    from bloodsearch.search.data.load import load_dataset
    from bloodsearch.search.training.device import to_device
    from bloodsearch.search.training.endings import Diverged
    from bloodsearch.search.training.fit import EpochResult
    from bloodsearch.search.training.fit import fit as train

    torch.set_num_threads(1)
    file: StudyFile = parse_study(json.loads(Path(path).read_text()), "plan")
    data = to_device(load_dataset(dataset), torch.device("cpu"))

    def objective(trial: optuna.Trial) -> float:
        params = suggest(trial, file)
        trial.set_user_attr("params", params)
        config = to_config(params, epochs=file.training.epochs_of(params["arch"]), patience=0)

        def on_epoch(result: EpochResult) -> None:
            trial.report(result.val_macro_f1, result.epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        try:
            return train(config, data, seed=trial.number, on_epoch=on_epoch).best_value
        except Diverged:
            raise optuna.TrialPruned from None

    study = optuna.load_study(
        study_name="hand",
        storage=url,
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_warmup_steps=WARM_UP_EPOCHS),
    )
    study.optimize(objective, timeout=seconds)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--searches", type=int, default=3, help="seeds of each contender")
    parser.add_argument("--only", default="", help="contenders, separated by commas")
    parser.add_argument("--hours", type=float, default=1e6, help="start no search after so long")
    parser.add_argument("--show", action="store_true", help="print what is stored, search nothing")
    parser.add_argument("--dataset", default="bloodmnist")
    parser.add_argument("--results", type=Path, help="another folder for whole_searches.json")
    parser.add_argument("--child", nargs=4)
    parser.add_argument("--worker", nargs=5)
    given = parser.parse_args(arguments)
    if given.child is not None:
        contender, minutes, one, dataset = given.child
        return child(contender, float(minutes), int(one), dataset)
    if given.worker is not None:
        url, plan, seconds, one, dataset = given.worker
        return work(url, plan, float(seconds), int(one), dataset)
    if given.results is None and given.dataset != "bloodmnist":
        parser.error("other data need another folder: --results")
    if given.results is not None:
        common.RESULTS = given.results
    path = result_path("whole_searches", by_processor=True)
    runs: dict[str, dict[str, Any]] = {}
    if path.exists():
        runs = json.loads(path.read_text())["result"]
    wanted = list(filter(None, given.only.split(","))) or list(CONTENDERS)
    until = time.monotonic() + 3600 * given.hours
    for seed in range(given.searches):
        for contender in wanted:
            key = f"{contender}, {given.minutes:g} minutes, seed {seed}"
            if given.show or key in runs or time.monotonic() >= until:
                continue
            task = ("--child", contender, str(given.minutes), str(seed), given.dataset)
            result = in_own_process("whole_searches", *task)
            runs[key] = {"contender": contender, "minutes": given.minutes, **result}
            print(key, result["test_macro_f1"], flush=True)
            save("whole_searches", runs, by_processor=True)
    show(runs, (*CONTENDERS, BEFORE))
    if not given.show:
        save("whole_searches", runs, by_processor=True)


def run() -> None:
    main([])


if __name__ == "__main__":
    main()
