"""`bloodsearch final-eval`: choose on validation, retrain with several seeds, test once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...studies import DEFAULT_STUDY
from . import output
from .final_tables import show_baselines, show_race, show_result
from .options import (
    DataRootOption,
    DebugOption,
    DevicesOption,
    JsonOption,
    NameOption,
    PerDeviceOption,
    StorageOption,
    StudyArgument,
    WorkersOption,
    find_part,
    find_study,
)

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from ..database.storage import Storage
    from ..evaluation.finalists import Raced


class Preference(StrEnum):
    best = "best"
    small = "small"
    fast = "fast"


@dataclass(frozen=True, slots=True)
class Choice:
    """How the winner is chosen."""

    finalists: int = 8
    rounds: int = 5
    prefer: Preference = Preference.best
    max_params: int | None = None
    max_latency_ms: float | None = None

    def candidates(self, study: optuna.Study) -> list[FrozenTrial]:
        """The trials to choose among, best first. Raises RefusedError when there are none."""
        from ..evaluation.finalists import candidates

        return candidates(
            study, self.finalists, max_params=self.max_params, max_latency_ms=self.max_latency_ms
        )


def final_eval(
    study: StudyArgument = DEFAULT_STUDY,
    trial: Annotated[
        int | None, typer.Option("--trial", min=0, help="Evaluate this trial, not the best one.")
    ] = None,
    replicates: Annotated[
        int, typer.Option("--replicates", min=1, max=100, help="Trainings, each with its own seed.")
    ] = 5,
    baselines: Annotated[
        bool,
        typer.Option(
            "--baselines", help="Test every baseline's replicates, with one opening for all."
        ),
    ] = False,
    finalists: Annotated[
        int,
        typer.Option(
            "--finalists",
            min=1,
            max=100,
            help="Trials that are trained again with fresh seeds before one is chosen; 1: none.",
        ),
    ] = 8,
    rounds: Annotated[
        int, typer.Option("--rounds", min=1, max=100, help="Fresh seeds at most for a finalist.")
    ] = 5,
    prefer: Annotated[
        Preference,
        typer.Option("--prefer", help="Among those within a standard error of the best mean."),
    ] = Preference.best,
    max_params: Annotated[
        int | None, typer.Option("--max-params", min=1, help="Choose among smaller models.")
    ] = None,
    max_latency: Annotated[
        float | None,
        typer.Option("--max-latency", min=0.0, help="Choose among faster ones: MS an image."),
    ] = None,
    tta: Annotated[
        bool,
        typer.Option("--tta", help="Also score averages over the eight orientations; shown apart."),
    ] = False,
    ensemble: Annotated[
        bool,
        typer.Option("--ensemble", help="Also score the average of all replicates; shown apart."),
    ] = False,
    train_val: Annotated[
        bool,
        typer.Option(
            "--train-val",
            help="Also train the winner on train and validation together; shown apart.",
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Open the test split again; it is counted.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for result.json and weights; default final/NAME."),
    ] = None,
    storage: StorageOption = None,
    name: NameOption = None,
    data_root: DataRootOption = None,
    workers: WorkersOption = "auto",
    devices: DevicesOption = "auto",
    workers_per_device: PerDeviceOption = 1,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Choose the winner on validation, retrain it with several seeds, open the test split once.

    An interrupted evaluation goes on with the same command; the split is opened only at the end.
    """
    if baselines:
        _baselines(study, storage, name, force=force, out=out, data_root=data_root, json=json)
        return
    opened, found = find_study(study, storage, name)
    result = evaluate_winner(
        opened,
        found,
        trial=trial,
        n_replicates=replicates,
        force=force,
        out=out,
        data_root=data_root,
        slots=(devices, workers, workers_per_device),
        quiet=json,
        choice=Choice(finalists, rounds, prefer, max_params, max_latency),
        averaging=(tta, ensemble),
        train_val=train_val,
    )
    if json:
        output.as_json(result)
    else:
        show_result(result)
        where = found.study_name
        where += "" if storage is None else f" --storage {opened.shown}"
        output.line(f"next: bloodsearch report {where}   bloodsearch export {where}")


def _baselines(
    study: str,
    storage: str | None,
    name: str | None,
    *,
    force: bool,
    out: Path | None,
    data_root: Path | None,
    json: bool,
) -> None:
    from ..evaluation.baselines import evaluate_baselines

    opened, found = find_part(study, storage, name, "baselines")
    folder = out or Path("final") / found.study_name
    result = evaluate_baselines(opened, found, data_root=data_root, out=folder, force=force)
    if json:
        output.as_json(result)
        return
    show_baselines(result)


def evaluate_winner(
    storage: Storage,
    study: optuna.Study,
    *,
    trial: int | None,
    n_replicates: int,
    force: bool,
    out: Path | None,
    data_root: Path | None,
    slots: tuple[str, str, int],
    quiet: bool,
    choice: Choice,
    averaging: tuple[bool, bool] = (False, False),
    train_val: bool = False,
) -> dict[str, Any]:
    """The whole final evaluation, with progress on standard error; returns the result."""
    from ..evaluation.averaging import Averaging
    from ..evaluation.final import check_opening, check_writable, evaluate, prepare
    from ..evaluation.refits import refit_study
    from ..evaluation.selection import choose_winner, replicates
    from ..study import info

    folder = out or Path("final") / study.study_name
    check_opening(storage, study, force=force)
    found = [choose_winner(study, trial)] if trial is not None else choice.candidates(study)
    check_writable(folder)
    trial, selection = found[0].number, None
    if len(found) > 1:
        raced = second_stage(storage, study, found, choice, data_root, slots, quiet=quiet)
        trial, selection = raced.winner, raced.as_dict()
    prepared = prepare(storage, study, trial=trial, n_replicates=n_replicates)
    if not quiet:
        winner = prepared.winner
        output.message(
            f"retraining trial {winner.number} (search value {winner.value:.4f}) "
            f"with {n_replicates} seeds as study {prepared.study.study_name}"
        )
    train_replicates(storage, prepared.study, data_root=data_root, slots=slots, quiet=quiet)
    refits = None
    if train_val and (plain := replicates(prepared.study, prepared.seeds)):
        refits = refit_study(storage, info(study), prepared.winner, plain, prepared.seeds)
        if not quiet:
            output.message(
                f"the same on train and validation together as study {refits.study_name}; the "
                "validation scores of these mean nothing"
            )
        train_replicates(
            storage, refits, data_root=data_root, slots=slots, quiet=quiet, noun="refit"
        )
    return evaluate(
        storage,
        study,
        prepared,
        data_root=data_root,
        out=folder,
        forced=force,
        averaging=Averaging(*averaging),
        refits=refits,
        selection=selection,
    )


def second_stage(
    storage: Storage,
    study: optuna.Study,
    found: list[FrozenTrial],
    choice: Choice,
    data_root: Path | None,
    slots: tuple[str, str, int],
    *,
    quiet: bool,
) -> Raced:
    """The search's best, each trained with fresh seeds, and the winner among them."""
    from ..evaluation.finalists import race

    if not quiet:
        output.message(f"{len(found)} finalists are trained again with fresh seeds")
    raced = race(
        storage,
        study,
        found,
        rounds=choice.rounds,
        prefer=choice.prefer.value,
        train=lambda arena: train_replicates(
            storage, arena, data_root=data_root, slots=slots, quiet=quiet, noun="finalist"
        ),
    )
    if not quiet:
        show_race(raced.as_dict())
    return raced


def train_replicates(
    storage: Storage,
    study: optuna.Study,
    *,
    data_root: Path | None,
    slots: tuple[str, str, int],
    quiet: bool,
    noun: str = "replicate",
) -> None:
    """Train everything that is queued in a study of replicates, with progress on standard error."""
    from ..study import info
    from ..workers.leases import Leases
    from ..workers.slots import plan_slots
    from ..workers.supervisor import Supervisor
    from .progress import Progress

    places = plan_slots(*slots, threads=info(study).study_file.training.threads)
    leases = Leases(storage, study)
    # every replicate ever asked for, finished or queued: the budget of the replicate study
    n_trials = sum(n for state, n in leases.counts().items() if state.name != "FAIL")
    study.set_user_attr("n_trials", n_trials)
    with Progress(study, n_trials, quiet=quiet, noun=noun) as progress:
        Supervisor(leases, places, n_trials, data_root=data_root, on_tick=progress.update).run()
