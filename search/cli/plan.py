"""`bloodsearch plan`: say what a search will cost before it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..api.placement import Placement
from . import output
from .options import (
    Arch,
    DataRootOption,
    DevicesOption,
    JsonOption,
    MaxParamsOption,
    NameOption,
    NoBaselinesOption,
    OptionalDatasetOption,
    PerDeviceOption,
    SetOption,
    StorageOption,
    StoredStudyArgument,
    WorkersOption,
)
from .suggest import command, data_option, next_line, where

if TYPE_CHECKING:
    from ..api.plan import Plan


def plan(
    study: StoredStudyArgument = None,
    trials: Annotated[
        int | None,
        typer.Option("--trials", min=1, max=1_000_000, help="The search's number of trials."),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes", metavar="M", min=0.1, help="Say how many trials fit into M minutes."
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, help="Epochs per searched trial.")
    ] = None,
    arch: Annotated[Arch | None, typer.Option("--arch", help="Search one family alone.")] = None,
    max_params: MaxParamsOption = None,
    no_baselines: NoBaselinesOption = False,
    set_: SetOption = None,
    dataset: OptionalDatasetOption = None,
    data_root: DataRootOption = None,
    workers: WorkersOption = "auto",
    devices: DevicesOption = "auto",
    workers_per_device: PerDeviceOption = 1,
    storage: StorageOption = None,
    name: NameOption = None,
    json: JsonOption = False,
) -> None:
    """Say what a search will cost: time some of its configurations here, and write nothing.

    The forecast is of this machine with as many workers as the search would have.

    Example: bloodsearch plan --trials 100
    """
    from ..api.plan import plan as forecast
    from ..api.request import SearchRequest

    request = SearchRequest(
        study=study,
        trials=trials,
        storage=storage,
        name=name,
        dataset=dataset,
        data_root=data_root,
        overrides=set_,
        epochs=epochs,
        arch=None if arch is None else arch.value,
        max_params=max_params,
        baselines=not no_baselines,
        placement=Placement(devices, workers, workers_per_device),
    )
    if not json:
        output.message("timing some configurations of the space, with all workers at once")
    found = forecast(request, minutes=minutes)
    if json:
        output.as_json(found.as_dict())
        return
    _show(found)
    words = where(study, storage, name) + data_option(data_root)
    words += [] if dataset is None else ["--dataset", dataset]
    words += [] if epochs is None else ["--epochs", str(epochs)]
    words += [] if arch is None else ["--arch", arch.value]
    words += [] if max_params is None else ["--max-params", str(max_params)]
    words += ["--no-baselines"] * no_baselines
    words += [word for override in set_ or () for word in ("--set", override)]
    next_line(command("optimize", *words, "--trials", found.n_trials))


def _show(plan: Plan) -> None:
    from ..api.final_stages import numbered

    n = plan.n_workers
    workers = f"{n} worker{'s' * (n > 1)}"
    output.line(f"{plan.study} on {plan.dataset}: {plan.n_trials} trials, {workers}")
    output.wrapped(f"configurations: {_space(plan)}", "  ")
    if plan.families:
        output.line()
        output.cut_table(
            ["family", "drawn#", "weights", "epochs#", "s/epoch#", "from .. to", "trial#"],
            [
                (
                    f.family,
                    f"{f.share:.0%}",
                    f"{f.weights[0]:,} .. {f.weights[1]:,}",
                    f.epochs,
                    f"{f.epoch_s:.2f}",
                    f"{f.epoch_s_range[0]:.2f} .. {f.epoch_s_range[1]:.2f} (n={f.n_timed})",
                    output.duration(f.trial_s),
                )
                for f in plan.families
            ],
        )
        output.line()
    for baseline in plan.baselines:
        output.line(
            f"baseline {baseline.name}: up to {baseline.epochs} epochs, "
            f"{output.duration(baseline.epochs * baseline.epoch_s)}"
        )
    low, high = plan.search_s
    output.line(f"search: {output.duration(low)} to {output.duration(high)}")
    if plan.trials_in_time is not None:
        most, least = plan.trials_in_time
        output.line(f"in the minutes given: {least} to {most} trials")
    for family, stages in plan.stages.items():
        output.line(f"final evaluation, if a {family} wins:")
        for line in numbered(stages):
            output.line(f"  {line}")
    output.line(_memory(plan))
    for line in plan.does_not_fit:
        output.line(f"does not fit: {line}")


def _space(plan: Plan) -> str:
    if not plan.continuous:
        return f"{plan.n_configurations:,}"
    names = ", ".join(plan.continuous)
    return f"{plan.n_configurations:,} times any value of {names}"


def _memory(plan: Plan) -> str:
    text = (
        f"memory: {plan.worker_mb:,.0f} MiB a worker, {plan.worker_mb * plan.n_workers:,.0f} MiB in all, "
        f"{plan.available_mb:,.0f} MiB free"
    )
    return text + (f"; {plan.gpu_mb:,.0f} MiB on the GPU" if plan.gpu_mb else "")
