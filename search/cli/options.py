"""Options that several commands share, and the study that they name."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...studies import DEFAULT_STUDY
from ..api.placement import Placement
from ..cluster.request import RayCluster
from ..env import DEFAULT_STORAGE
from ..errors import UsageError
from . import completion
from .output import message

if TYPE_CHECKING:
    import optuna

    from ..database.storage import Storage


class Arch(StrEnum):
    """A model family."""

    mlp = "mlp"
    cnn = "cnn"


StudyArgument = Annotated[
    str,
    typer.Argument(
        metavar="STUDY",
        help="A shipped study file, the path of one, or a study's name in the storage.",
        autocompletion=completion.studies,
    ),
]
StoredStudyArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="STUDY",
        help=f"A shipped study file or the path of one; default: {DEFAULT_STUDY}.",
        autocompletion=completion.studies,
    ),
]
TrialArgument = Annotated[
    int, typer.Argument(min=0, help="The trial's number.", autocompletion=completion.trials)
]
StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        help=f"A database; default $BLOODSEARCH_STORAGE, else {DEFAULT_STORAGE}.",
    ),
]
NameOption = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="NAME",
        help="The study's name in the storage; default: its file's.",
        autocompletion=completion.stored_studies,
    ),
]
OptionalDatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME|FILE",
        autocompletion=completion.datasets,
        help="A MedMNIST set such as bloodmnist (the default) or pathmnist@64, your own .npz file, or "
        "synthetic, which needs no file.",
    ),
]
DatasetOption = Annotated[
    str,
    typer.Option(
        "--dataset",
        metavar="NAME|FILE",
        autocompletion=completion.datasets,
        help="A MedMNIST set such as dermamnist or pathmnist@64, your own .npz file, or synthetic.",
    ),
]
DataRootOption = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        metavar="DIR",
        readable=False,  # the loader reports what is wrong with it, with the exit code for data
        help="Folder with the data files; default $BLOODSEARCH_DATA, else ~/.medmnist.",
    ),
]
WorkersOption = Annotated[
    str,
    typer.Option(
        "--workers", metavar="auto|N", help="Worker processes; auto: one per device slot or core."
    ),
]
DevicesOption = Annotated[
    str, typer.Option("--devices", help="auto, cpu, mps, or a list like cuda:0,cuda:1.")
]
PerDeviceOption = Annotated[
    int,
    typer.Option(
        "--workers-per-device", metavar="K", min=1, max=512, help="Workers that share a device."
    ),
]
ClusterOption = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="ADDRESS",
        help="Let Ray place the workers: auto (this machine's cluster), ray://HOST:10001, or local.",
    ),
]
GpusPerWorkerOption = Annotated[
    float,
    typer.Option(
        "--gpus-per-worker",
        metavar="X",
        help="With --cluster: each worker's share of a GPU, 0 to 1.",
    ),
]
CpusPerWorkerOption = Annotated[
    float | None,
    typer.Option(
        "--cpus-per-worker",
        metavar="Y",
        help="With --cluster: CPUs per worker; default: the study's training.threads.",
    ),
]
MaxParamsOption = Annotated[
    int | None, typer.Option("--max-params", min=1, help="No larger models.")
]
NoBaselinesOption = Annotated[
    bool, typer.Option("--no-baselines", help="Search without the study file's baselines.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a key of the study file; repeatable."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


def placement(
    devices: str,
    workers: str,
    workers_per_device: int,
    cluster: str | None,
    gpus_per_worker: float,
    cpus_per_worker: float | None,
) -> Placement:
    """Return where workers run. Raises UsageError for options that exclude each other."""
    if cluster is not None:
        on_nodes = RayCluster(cluster, cpus_per_worker, gpus_per_worker)
        return Placement(devices, workers, workers_per_device, on_nodes)
    if gpus_per_worker or cpus_per_worker is not None:
        raise UsageError(
            "--gpus-per-worker and --cpus-per-worker go with --cluster; without it: --devices and "
            "--workers-per-device"
        )
    return Placement(devices, workers, workers_per_device)


def find_study(
    study: str, storage: str | None, name: str | None, dataset: str | None = None
) -> tuple[Storage, optuna.Study]:
    """Load the stored study that STUDY and --name mean, with a notice if it is the synthetic twin."""
    from ..api.study import load_study

    stored = load_study(
        study,
        storage=storage,
        name=name,
        dataset=dataset,
        on_progress=lambda event: message(str(event)),
    )
    return stored.storage, stored.study
