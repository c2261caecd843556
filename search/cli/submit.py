"""`bloodsearch submit`: write the files that start workers under Slurm or Kubernetes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...studies import DEFAULT_STUDY
from ..env import checkpoints, data_root, storage_url
from . import output
from .debug import with_debug
from .options import NameOption, StorageOption, StudyArgument

app = typer.Typer(
    help="Write the files that start workers on a cluster.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

ManyWorkersOption = Annotated[
    int, typer.Option("--workers", metavar="N", help="Workers, each in a task or pod of its own.")
]
CpusOption = Annotated[int, typer.Option("--cpus", min=1, help="Cores per worker.")]
GpusOption = Annotated[int, typer.Option("--gpus", min=0, help="GPUs per worker.")]
MemoryOption = Annotated[int, typer.Option("--memory", metavar="MIB", help="Memory per worker.")]
JobNameOption = Annotated[
    str | None,
    typer.Option("--job-name", help="The job's name; default: bloodsearch and the study's name."),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Write to FILE; default: standard output."),
]


@app.command("slurm")
@with_debug
def slurm(
    workers: ManyWorkersOption,
    study: StudyArgument = DEFAULT_STUDY,
    storage: StorageOption = None,
    name: NameOption = None,
    cpus: CpusOption = 1,
    gpus: GpusOption = 0,
    memory: MemoryOption = 2048,
    time: Annotated[
        str, typer.Option("--time", help="Longest run of one worker, as Slurm reads it.")
    ] = "1-00:00:00",
    partition: Annotated[str | None, typer.Option("--partition", help="Slurm's partition.")] = None,
    job_name: JobNameOption = None,
    out: OutOption = None,
) -> None:
    """Write a script for sbatch: an array of workers, queued again after a preemption.

    BLOODSEARCH_DATA and BLOODSEARCH_CHECKPOINTS go into it if they are set here.

    Example: bloodsearch submit slurm --workers 16 --out workers.sh
    """
    from ..submit.job import WorkerJob
    from ..submit.render import slurm_script

    job = WorkerJob(study, workers, name, cpus, gpus, memory, job_name)
    text = slurm_script(
        job,
        storage=storage_url(storage),
        time=time,
        partition=partition,
        data_root=data_root(),
        checkpoints=checkpoints(),
    )
    _write(text, out, f"sbatch {out}")


@app.command("kubernetes")
@with_debug
def kubernetes(
    workers: ManyWorkersOption,
    trials: Annotated[
        int,
        typer.Option("--trials", min=1, help="The study's total of finished trials to reach."),
    ],
    study: StudyArgument = DEFAULT_STUDY,
    name: NameOption = None,
    cpus: CpusOption = 1,
    gpus: GpusOption = 0,
    memory: MemoryOption = 2048,
    image: Annotated[str, typer.Option("--image", help="The container image.")] = (
        "bloodsearch:local"
    ),
    namespace: Annotated[
        str, typer.Option("--namespace", help="Kubernetes' namespace.")
    ] = "default",
    secret: Annotated[
        str, typer.Option("--secret", help="The secret with the database's URLs.")
    ] = "bloodsearch",
    data_claim: Annotated[
        str, typer.Option("--data-claim", help="The claim of the volume with the data set.")
    ] = "bloodsearch-data",
    job_name: JobNameOption = None,
    out: OutOption = None,
) -> None:
    """Write manifests for kubectl: an Indexed Job of workers, checkpoints, a dashboard.

    Example: bloodsearch submit kubernetes --workers 16 --trials 200 --out search.yaml
    """
    from ..submit.job import WorkerJob
    from ..submit.render import kubernetes_manifests

    job = WorkerJob(study, workers, name, cpus, gpus, memory, job_name)
    text = kubernetes_manifests(
        job,
        trials=trials,
        image=image,
        namespace=namespace,
        secret=secret,
        data_claim=data_claim,
    )
    _write(text, out, f"kubectl apply -f {out}")


def _write(text: str, out: Path | None, next_command: str) -> None:
    if out is None:
        output.block(text.rstrip("\n"))
        return
    from ..files import write_text

    write_text(out, text)
    output.line(f"wrote {out}; next: {next_command}")
