"""A study's named configurations with replicates, and one opening of the test split for all of them.

`bloodsearch optimize STUDY --only baselines --replicates R` trains each baseline with the same R
seeds, as trials of the study `NAME-baselines`, so that any two can be compared pair by pair.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from ...studies import Baseline, StudyFile, Value, parse_study
from ..data.info import Fingerprint
from ..database.storage import Storage, options_of
from ..errors import BloodsearchError, RefusedError, UsageError
from ..files import finite, write_json
from ..records import is_lost, trial_record
from ..sampling.space import baseline_params, without_length
from ..seeds import replicate_seeds
from ..study import create_or_resume, enqueue, info
from ..study_names import baselines_name, without_part
from ..suggest import command
from ..trial.weights_files import with_weights
from . import ledger
from .folder import check_writable, room_for_results
from .opening import count_openings, open_on_the_record
from .scoring import class_scores, confusion_of, predictor, spread
from .selection import weights_missing


def baselines_part(file: StudyFile) -> StudyFile:
    """Return the study file that holds the baselines alone.

    Raises UsageError when there are none, when one has no family, or when those of a family differ in their
    number of epochs.
    """
    if not file.baselines:
        raise UsageError(f"the study {file.name} has no [[baselines]]")
    for baseline in file.baselines:
        if "arch" not in baseline.params:
            raise UsageError(f"the baseline {baseline.name} of {file.name} has no params.arch")
    data = file.model_dump(mode="json")
    training = data["training"]
    # trained as the search would train them: by their own epochs, else the study's
    training["final_patience"] = _shared(file, "patience", lambda arch: file.training.patience)
    by_family: dict[str, list[Baseline]] = {}
    for baseline in file.baselines:
        by_family.setdefault(str(baseline.params["arch"]), []).append(baseline)
    if isinstance(file.training.epochs, int) or len(by_family) == 1:
        training["final_epochs"] = _shared(file, "epochs", file.training.epochs_of)
    else:
        training["final_epochs"] = {
            family: _shared(
                file.model_copy(update={"baselines": tuple(part)}),
                "epochs",
                file.training.epochs_of,
            )
            for family, part in by_family.items()
        }
    training["min_epochs"] = 0
    data |= {"name": baselines_name(file.name), "space": {}}
    data["search"] |= {"sampler": "baselines", "trials": None}
    return parse_study(data, file.name)


def _shared(file: StudyFile, key: str, of_study: Callable[[Value], int]) -> Value:
    """Return the value of `key` that all baselines share. Raises UsageError when they differ."""
    own = {b.params.get(key, of_study(b.params["arch"])) for b in file.baselines}
    if len(own) > 1:
        raise UsageError(
            f"the baselines of {file.name} differ in {key} ({', '.join(map(str, sorted(own)))}); "
            "replicates of one study share it: split them into two study files"
        )
    return own.pop()


def queue_baselines(
    storage: Storage, name: str, part: StudyFile, fingerprint: Fingerprint, n_replicates: int
) -> tuple[optuna.Study, int]:
    """Return the study of the baselines' replicates, with all of them queued, and its number of trials.

    Existing replicates are kept. A failed one, or one without its weights, is queued again.
    """
    study = create_or_resume(storage, name, part, fingerprint, kind="replicates")
    seeds = replicate_seeds(part, n_replicates)
    with storage.lock():
        usable = {
            (record.baseline, record.seed)
            for trial in with_weights(study, study.get_trials(deepcopy=False))
            if not is_lost(trial) and not weights_missing(trial) and (record := trial_record(trial))
        }
        for i, seed in enumerate(seeds):
            for baseline in part.baselines:
                if (baseline.name, seed) not in usable:
                    point = without_length(baseline_params(baseline))
                    enqueue(study, part, point, baseline=baseline.name, seed=seed, replicate=i)
    trials = study.get_trials(deepcopy=False)
    return study, sum(trial.state is not TrialState.FAIL for trial in trials)


def by_baseline(study: optuna.Study) -> dict[str, list[FrozenTrial]]:
    """Return the complete replicates of each baseline, in the order of the study file and of replicates."""
    trials_of: dict[str, dict[int, FrozenTrial]] = {
        b.name: {} for b in info(study).study_file.baselines
    }
    for trial in with_weights(
        study, study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    ):
        record = trial_record(trial)
        if record.baseline in trials_of and record.seed is not None:
            trials_of[record.baseline][record.seed] = trial  # a later one had the weights again
    return {
        name: sorted(trials.values(), key=lambda t: trial_record(t).replicate or 0)
        for name, trials in trials_of.items()
    }


def evaluate_baselines(
    storage: Storage, study: optuna.Study, *, data_root: Path | None, out: Path, force: bool
) -> dict[str, Any]:
    """Open the test split once for all replicates of all baselines; write `out` and the ledger.

    Raises RefusedError when the split was opened for this study before and `force` is not set, or when a
    replicate is missing: an opening must not be spent on a part of them. Raises BloodsearchError when all
    diverged.
    """
    if not force:
        ledger.refuse_second(storage, study.study_name)
    trained = {name: _with_weights(study, trials) for name, trials in by_baseline(study).items()}
    if lacking := _lacking(study, trained):
        raise RefusedError(
            f"not all replicates asked for in {study.study_name} are trained ({', '.join(lacking)}); run "
            f"{_training_command(study)} to its end first, with the STUDY and N of before"
        )
    if not any(trained.values()):
        raise BloodsearchError(
            f"every replicate of {study.study_name} diverged; nothing was opened; change the baselines"
        )
    check_writable(out)
    predict = {name: [predictor(trial) for trial in trials] for name, trials in trained.items()}
    stored = info(study)
    with room_for_results(out):
        opening, images, labels = open_on_the_record(
            storage,
            stored.name,
            stored.fingerprint,
            trial=ledger.ALL,
            n_replicates=sum(len(trials) for trials in trained.values()),
            data_root=data_root,
            forced=force,
        )
    published = {b.name: b.published for b in stored.study_file.baselines}
    asked = _asked_seeds(study)
    configurations, classes = [], stored.dataset.classes
    for name, trials in trained.items():
        if not trials:
            continue
        matrices = [
            confusion_of(labels, p(images).argmax(axis=1), len(classes)) for p in predict[name]
        ]
        configurations.append(
            _scored(name, trials, matrices, classes, asked) | {"published": published[name]}
        )
    result = {
        "study": stored.name,
        "dataset": stored.fingerprint.describe(),
        "data_hash": stored.fingerprint.content_hash,
        "configurations": configurations,
        "all_diverged": [name for name, trials in trained.items() if not trials],
        "evaluation": uuid.uuid4().hex,
        **count_openings(storage, stored.name, stored.fingerprint, data_root),
        "ledger_row": opening,
        "out": str(out),
    }
    try:  # a full disk must not lose what the opening was spent on
        ledger.record_result(storage, opening, result)
    finally:
        _write(out, result)
    return result


def baselines_again(storage: Storage, study: optuna.Study, out: Path) -> dict[str, Any] | None:
    """Write the last opening's result to `out` if no result is there; opens nothing.

    Returns None if `out` holds a result, and if replicates were trained after the opening.
    """
    stored = latest_result(storage, study.study_name)
    if stored is None or (out / "baselines.json").exists():
        return None
    tested = {(row["name"], seed) for row in stored["configurations"] for seed in row["seeds"]}
    trained = by_baseline(study)
    if any(
        (n, trial_record(t).seed) not in tested for n, trials in trained.items() for t in trials
    ):
        return None
    check_writable(out)
    result = {**stored, "out": str(out)}
    _write(out, result)
    return result


def _write(out: Path, result: dict[str, Any]) -> None:
    try:
        write_json(out / "baselines.json", finite(result))
    except OSError as error:
        raise UsageError(
            f"cannot write the result to {out} ({error.strerror}), but the database holds it; the same "
            "command with another --out writes it there and opens nothing"
        ) from None


def latest_result(storage: Storage, study_name: str) -> dict[str, Any] | None:
    """Return the result of the last opening for all baselines of this study."""
    results = [o.result for o in ledger.openings(storage, study_name) if o.result]
    return next((r for r in reversed(results) if "configurations" in r), None)


def _lacking(study: optuna.Study, trained: dict[str, list[FrozenTrial]]) -> list[str]:
    """Return the baselines that have not ended with every seed that was queued for any of them."""
    asked = _asked_seeds(study)
    ended = {
        (record.baseline, record.seed)
        for trial in study.get_trials(deepcopy=False)
        if trial.state.is_finished() and not is_lost(trial) and (record := trial_record(trial))
    }
    return [
        f"{name} has {len(trials)}"
        for name, trials in trained.items()
        if not asked or any((name, seed) not in ended for seed in asked)
    ]


def _asked_seeds(study: optuna.Study) -> list[int | None]:
    """Return the seeds that were queued for any baseline, in their order."""
    records = map(trial_record, study.get_trials(deepcopy=False))
    return list(dict.fromkeys(record.seed for record in records if record.baseline is not None))


def _training_command(study: optuna.Study) -> str:
    """Return the command that trains the baselines of `study`."""
    part = ("--only", "baselines", "--replicates", "N")
    return command("optimize", "STUDY", *part, *options_of(study, without_part(study.study_name)))


def _with_weights(study: optuna.Study, trials: list[FrozenTrial]) -> list[FrozenTrial]:
    lost = [trial for trial in trials if weights_missing(trial)]
    if lost:
        raise BloodsearchError(
            f"the weights of {len(lost)} replicates are not on this machine, trial {lost[0].number}'s "
            "among them; evaluate where they were trained, or train them again with "
            f"{_training_command(study)}"
        )
    return trials


def _scored(
    name: str,
    trials: list[FrozenTrial],
    matrices: list[Any],
    classes: Sequence[str],
    asked: Sequence[int | None],
) -> dict[str, Any]:
    from ..training.metrics import scores

    scored = [scores(matrix) for matrix in matrices]
    pooled = np.sum(matrices, axis=0)
    true = np.sum(matrices[0], axis=1)
    records = [trial_record(trial) for trial in trials]
    return {
        "name": name,
        "n_parameters": records[0].n_parameters,
        "params": records[0].params,
        "seeds": (seeds := [record.seed for record in records]),
        # nothing is lacking: what has no model has diverged
        "diverged_seeds": [seed for seed in asked if seed not in seeds],
        "test_macro_f1": spread([s.macro_f1 for s in scored]),
        "test_weighted_f1": spread([s.weighted_f1 for s in scored]),
        "test_accuracy": spread([s.accuracy for s in scored]),
        "test_weighted_precision": spread(
            [float((s.precision * true).sum() / true.sum()) for s in scored]
        ),
        "val_macro_f1": spread([float(trial.value or 0.0) for trial in trials]),
        "epochs": [record.epochs for record in records],
        "train_seconds": [record.train_seconds for record in records],
        "per_class": class_scores(pooled, classes, len(trials)),
        "confusion_matrix": pooled.tolist(),
    }
