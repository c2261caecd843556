"""The final evaluation: retrain the winner, open the test split once, and put it on the record.

    winner (validation only) -> replicates, early stopping on validation -> ledger row -> test split

Everything about the choice happens before the split is opened. The test split is predicted in float32,
whatever precision the training had.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from ..data.load import check_same, load_dataset
from ..database.storage import Storage
from ..errors import BloodsearchError, DataError, RefusedError, StorageError
from ..records import trial_record
from ..results import final_result
from ..study import info, load
from . import ledger
from .averaging import PLAIN, Averaging, averaged, scored_refits
from .calibration import calibration
from .final_scores import final_scores, macro_f1
from .folder import (
    check_writable,
    holds,
    keep_predictions,
    keep_weights,
    read_result,
    remove_other_weights,
    room_for_results,
    write_result,
)
from .opening import count_openings, open_on_the_record
from .scoring import predictor
from .selection import (
    choose_winner,
    ended_badly,
    replicate_study,
    replicates,
    replicates_home,
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The winner, and its replicates before any of them is trained."""

    winner: FrozenTrial
    study: optuna.Study
    """The replicate study."""
    seeds: list[int]


def check_opening(storage: Storage, study: optuna.Study, *, force: bool) -> None:
    """Raise RefusedError when the test split was opened for this study before and `force` is not set.

    Also if the study is not a search: picking the best replicate would bias the test score.
    """
    if info(study).kind != "search":
        raise RefusedError(
            f"{study.study_name!r} holds trainings with several seeds, not a search; name the search they "
            "belong to, with --baselines for its named configurations"
        )
    if not force:
        ledger.refuse_second(storage, study.study_name)


def prepare(
    storage: Storage, study: optuna.Study, *, trial: int | None, n_replicates: int
) -> Prepared:
    """Queue the replicates of trial `trial`; None: of the search's best."""
    winner = choose_winner(study, trial)
    replicated, seeds = replicate_study(storage, info(study), winner, n_replicates)
    return Prepared(winner, replicated, seeds)


def check_trained(prepared: Prepared) -> None:
    """Raise RefusedError when a replicate is missing that did not diverge."""
    _trained(prepared, prepared.study, "replicate")


def evaluate(
    storage: Storage,
    study: optuna.Study,
    prepared: Prepared,
    *,
    data_root: Path | None,
    out: Path,
    forced: bool,
    averaging: Averaging = PLAIN,
    refits: optuna.Study | None = None,
    selection: dict[str, Any] | None = None,
    asked: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Open the test split, score the trained replicates, write `out` and the ledger.

    `selection` is the race that chose the winner, None where there was none. `asked` says how it was to be
    chosen, and is stored with the result. Returns the result as `result.json` holds it. Raises RefusedError
    when a replicate is missing, because an opening must not be spent on a part of them, and BloodsearchError
    when all diverged.
    """
    study_info = info(study)
    trained, diverged = _trained(prepared, prepared.study, "replicate")
    if not trained:
        raise BloodsearchError(
            f"every replicate of trial {prepared.winner.number} diverged; nothing was opened; choose "
            "another with --trial"
        )
    refitted, diverged_refits = ([], []) if refits is None else _trained(prepared, refits, "refit")
    check_writable(out)
    data = load_dataset(study_info.fingerprint, data_root)
    check_same(data.fingerprint, study_info.fingerprint)
    predict = [predictor(trial) for trial in trained]
    predict_refitted = [predictor(trial) for trial in refitted]
    validation = [p(data.val_images) for p in predict]
    evaluation = uuid.uuid4().hex
    with room_for_results(out), ExitStack() as weights:
        keep_weights(weights, out, trained, evaluation)
        opening, images, labels = open_on_the_record(
            storage,
            study_info.name,
            study_info.fingerprint,
            trial=prepared.winner.number,
            n_replicates=len(trained),
            data_root=data_root,
            forced=forced,
            data=data,
        )
    # the weights have their names now: the ledger has said yes
    remove_other_weights(out, len(trained))
    probabilities = [p(images) for p in predict]
    val_scores = [macro_f1(data.val_labels, p) for p in validation]
    result = final_scores(study_info, prepared.winner, trained, probabilities, labels, val_scores)
    result |= {
        "replicates_asked": len(prepared.seeds),
        "evaluation": evaluation,
        "storage": storage.shown,
        "diverged_seeds": diverged,
        "diverged_refit_seeds": diverged_refits,
        "declared_options": [],
        "selection": selection,
        "asked": asked or {},
        **count_openings(storage, study_info.name, study_info.fingerprint, data_root),
        "ledger_row": opening,
        "out": str(out),
    }
    # the plain result first: whatever goes wrong from here on, the split was opened for something
    _keep(storage, opening, result, out)
    result["calibration"] = calibration(data.val_labels, validation, labels, probabilities)
    result["declared_options"] = [
        *averaged(averaging, predict, images, labels),
        *scored_refits(predict_refitted, images, labels),
    ]
    _keep(storage, opening, result, out)
    try:
        study.set_user_attr("final_evaluation", _summary(result))
    except optuna.exceptions.StorageInternalError as error:
        raise StorageError(f"the result is in {out}, but not in the study: {error}") from None
    keep_predictions(
        out,
        evaluation=evaluation,
        seeds=result["seeds"],
        val_labels=data.val_labels,
        val_probabilities=np.stack(validation),
        test_labels=labels,
        test_probabilities=np.stack(probabilities),
    )
    return result


def stored_again(
    storage: Storage,
    study: optuna.Study,
    *,
    trial: int | None,
    n_replicates: int,
    out: Path,
    serves: Callable[[dict[str, Any]], bool] = lambda result: True,
) -> dict[str, Any] | None:
    """Write the stored result of the last evaluation to `out` if `out` does not hold it; opens nothing.

    The replicates' weights are written, too, if they are on this machine. A result that `out` holds and the
    database lacks, because it was down after the opening, is stored there instead. Returns None if there is
    no result of this trial (None: of any) with as many replicates that `serves`, and if both hold it. Raises
    UsageError when `out` cannot be written.
    """
    is_adopted = _adopt(storage, study.study_name, out)
    results = [o.result for o in ledger.openings(storage, study.study_name)]
    evaluations = [r for r in results if final_result(r)]
    if not evaluations or evaluations[-1] is None:
        return None
    result = dict(evaluations[-1])
    asked = result.get("replicates_asked", result["replicates"])
    if trial not in (None, result["trial"]) or n_replicates != asked or not serves(result):
        return None
    if holds(out, result):
        return result if is_adopted else None
    check_writable(out)
    result["out"] = str(out)
    # the replicates' study may be gone, or a file damaged: the figures do not need them
    with suppress(StorageError, DataError):
        trained = replicates(
            load(storage, replicates_home(storage, study.study_name, result["trial"])),
            result["trial"],
            result["seeds"],
        )
        if len(trained) == len(result["seeds"]):
            with ExitStack() as weights:
                keep_weights(weights, out, trained, result.get("evaluation"))
            remove_other_weights(out, len(trained))
    write_result(out, result)
    return result


def _adopt(storage: Storage, study_name: str, out: Path) -> bool:
    """Store the result in `out` with the opening that it came from, if that has none; return whether."""
    found = read_result(out)
    for opening in ledger.openings(storage, study_name):
        row = {
            "ledger_row": opening.opening,
            "study": opening.study_name,
            "trial": opening.trial,
            "data_hash": opening.data_hash,
            "storage": storage.shown,
        }
        if opening.result is None and all(found.get(key) == row[key] for key in row):
            ledger.record_result(storage, opening.opening, found)
            return True
    return False


def _summary(result: dict[str, Any]) -> dict[str, Any]:
    keys = ("trial", "test_macro_f1", "test_accuracy", "val_macro_f1", "test_openings", "out")
    return {key: result[key] for key in keys}


def _trained(
    prepared: Prepared, study: optuna.Study, noun: str
) -> tuple[list[FrozenTrial], list[int]]:
    """Return the complete replicates of `study`, and the seeds that diverged.

    Raises RefusedError when another replicate is missing.
    """
    number = prepared.winner.number
    trained = replicates(study, number, prepared.seeds)
    trained_seeds = {trial_record(trial).seed for trial in trained}
    diverged, lacking = ended_badly(
        study, number, [seed for seed in prepared.seeds if seed not in trained_seeds]
    )
    if lacking:
        raise RefusedError(
            f"{len(lacking)} of {len(prepared.seeds)} {noun}s of trial {number} are not "
            f"trained ({'; '.join(lacking[:3])}); nothing was opened, and the same command trains them"
        )
    return trained, diverged


def _keep(storage: Storage, opening: int, result: dict[str, Any], out: Path) -> None:
    """Store the result in the ledger and in `out`; a failure of one does not cost the other."""
    try:
        ledger.record_result(storage, opening, result)
    except StorageError as error:
        raise StorageError(
            f"the result is in {out}, but not in the database: {error}; the same command stores it there "
            "and opens nothing"
        ) from None
    finally:
        write_result(out, result)
