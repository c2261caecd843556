"""`bloodsearch final-eval`: choose on validation, retrain with several seeds, test once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from search.cli import output
from search.cli.options import (
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
from studies import DEFAULT_STUDY

if TYPE_CHECKING:
    import optuna

    from search.storage import Storage


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
    from search.evaluation.baselines import evaluate_baselines

    opened, found = find_part(study, storage, name, "baselines")
    folder = out or Path("final") / found.study_name
    result = evaluate_baselines(opened, found, data_root=data_root, out=folder, force=force)
    if json:
        output.as_json(result)
        return
    columns = ["configuration", "n#", "test macro-F1#", "sd#", "published#"]
    rows = [
        (
            c["name"], len(c["seeds"]), c["test_macro_f1"]["mean"], c["test_macro_f1"]["std"],
            c["published"].get("macro_f1"), c["test_weighted_f1"]["mean"],
            c["test_weighted_f1"]["std"], c["published"].get("weighted_f1"),
        )
        for c in result["configurations"]
    ]  # fmt: skip
    output.table([*columns, "test weighted F1#", "sd#", "published#"], rows)
    output.line(
        f"openings of the test split for {result['study']}: {result['test_openings']}; "
        f"all of it is in {result['out']}"
    )


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
) -> dict[str, Any]:
    """The whole final evaluation, with progress on standard error; returns the result."""
    from search.evaluation.final import check_writable, evaluate, prepare

    prepared = prepare(storage, study, trial=trial, n_replicates=n_replicates, force=force)
    folder = out or Path("final") / study.study_name
    check_writable(folder)
    if not quiet:
        winner = prepared.winner
        output.message(
            f"retraining trial {winner.number} (search value {winner.value:.4f}) "
            f"with {n_replicates} seeds as study {prepared.study.study_name}"
        )
    train_replicates(storage, prepared.study, data_root=data_root, slots=slots, quiet=quiet)
    return evaluate(
        storage,
        study,
        prepared,
        data_root=data_root,
        out=folder,
        forced=force,
    )


def train_replicates(
    storage: Storage,
    study: optuna.Study,
    *,
    data_root: Path | None,
    slots: tuple[str, str, int],
    quiet: bool,
) -> None:
    """Train everything that is queued in a study of replicates, with progress on standard error."""
    from search.cli.progress import Progress
    from search.leases import Leases
    from search.slots import plan_slots
    from search.workers import Supervisor

    places = plan_slots(*slots)
    leases = Leases(storage, study)
    # every replicate ever asked for, finished or queued: the budget of the replicate study
    n_trials = sum(n for state, n in leases.counts().items() if state.name != "FAIL")
    study.set_user_attr("n_trials", n_trials)
    with Progress(study, n_trials, quiet=quiet, noun="replicate") as progress:
        Supervisor(leases, places, n_trials, data_root=data_root, on_tick=progress.update).run()


def show_result(result: dict[str, Any]) -> None:
    """The final evaluation as tables."""
    n = result["replicates"]
    output.line(
        f"final evaluation of trial {result['trial']}, {n} replicates, on {result['dataset']}"
    )
    rows = [_row(label, result[key]) for label, key in _METRICS]
    output.table(["", "mean#", "sd over seeds#", "n#", "values"], rows)
    low, high = result["test_macro_f1"]["interval_95"]
    output.line(f"test macro-F1, 95 % bootstrap interval over test images: {low:.4f} .. {high:.4f}")
    output.line(
        f"search value {result['search_value']:.4f}, minus the replicates' mean on validation: "
        f"{result['search_value_minus_replicates']:+.4f}"
    )
    output.table(
        ["class", "precision#", "recall#", "F1#", "n#"],
        [(c["name"], c["precision"], c["recall"], c["f1"], c["n"]) for c in result["per_class"]],
    )
    names = [c["name"] for c in result["per_class"]]
    output.table(
        [f"true class, predicted as (sum of {n})", *(f"{name[:6]}#" for name in names)],
        [(name, *row) for name, row in zip(names, result["confusion_matrix"], strict=True)],
    )
    if "BloodMNIST" in result["dataset"]:
        output.table(
            ["28x28, test split", "accuracy#", "AUC#"],
            [
                ("this evaluation", result["test_accuracy"]["mean"], result["test_auc"]["mean"]),
                *(
                    (f"{name} (MedMNIST v2)", found["accuracy"], found["auc"])
                    for name, found in result["published_28x28"].items()
                ),
            ],
        )
    times = "once" if result["test_openings"] == 1 else f"{result['test_openings']} times"
    output.line(
        f"the test split was opened {times} for this study; all of it is in {result['out']}"
    )


_METRICS = (
    ("test macro-F1", "test_macro_f1"),
    ("test weighted F1", "test_weighted_f1"),
    ("test accuracy", "test_accuracy"),
    ("test AUC", "test_auc"),
    ("validation macro-F1", "val_macro_f1"),
)


def _row(label: str, found: dict[str, Any]) -> tuple[object, ...]:
    values = " ".join(f"{value:.4f}" for value in found["values"])
    return label, found["mean"], found["std"], found["n"], values
