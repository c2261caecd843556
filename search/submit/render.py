"""Write the files of a worker job: a Slurm script, Kubernetes manifests. No cluster is needed for that."""

from __future__ import annotations

import json
import shlex
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from ..database.passwords import shown, without_passwords
from ..database.storage import parse_url
from ..errors import UsageError
from ..text import one_line
from .job import WorkerJob, check_time, check_word


def slurm_script(
    job: WorkerJob,
    *,
    storage: str,
    time: str = "1-00:00:00",
    partition: str | None = None,
    data_root: Path | None = None,
    checkpoints: Path | None = None,
) -> str:
    """Return a script for `sbatch`: an array of workers that drain on preemption and are queued again.

    Args:
        job: The workers.
        storage: The database's URL. A password in it is left out: the script would show it to everyone.
        time: Longest run of one worker: minutes, HH:MM:SS or D-HH:MM:SS.
        partition: Slurm's partition; None for the default one.
        data_root: Folder with the data set on all nodes; None for the user's default.
        checkpoints: Folder for checkpoints on all nodes; None for one in the folder of `sbatch`.

    Raises UsageError for a database that serves one machine only, or a time that Slurm does not read.
    """
    url = parse_url(storage)
    if url.get_backend_name() == "sqlite":
        raise UsageError(
            f"{shown(url)} serves one machine, and a job runs on several: "
            "use --storage postgresql+psycopg://USER@HOST/DATABASE"
        )
    return _render(
        "slurm.sh.jinja",
        job,
        storage=without_passwords(url).render_as_string(),
        time=check_time(time),
        partition=None if partition is None else check_word("--partition", partition),
        data_root=data_root,
        checkpoints=checkpoints,
    )


def kubernetes_manifests(
    job: WorkerJob,
    *,
    trials: int,
    image: str = "bloodsearch:local",
    namespace: str = "default",
    secret: str = "bloodsearch",
    data_claim: str = "bloodsearch-data",
) -> str:
    """Return YAML: a claim for checkpoints, an Indexed Job of workers, and a dashboard with its Service.

    Args:
        job: The workers.
        trials: The study's total of finished trials, which each pod creates if it is missing.
        image: The container image.
        namespace: The namespace of all objects.
        secret: The secret with the keys url and read-only-url.
        data_claim: The claim of the volume with the data set.
    """
    return _render(
        "kubernetes.yaml.jinja",
        job,
        gpus=f", nvidia.com/gpu: {job.gpus}" if job.gpus else "",
        create=job.create_arguments(trials),
        image=check_word("--image", image),
        namespace=check_word("--namespace", namespace),
        secret=check_word("--secret", secret),
        data_claim=check_word("--data-claim", data_claim),
    )


def _render(template: str, job: WorkerJob, **values: Any) -> str:
    folder = resources.files("bloodsearch.search.submit").joinpath("templates")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    environment.filters |= {"sh": lambda value: shlex.quote(str(value)), "json": json.dumps}
    text = folder.joinpath(template).read_text(encoding="utf-8")
    return environment.from_string(text).render(
        job=job,
        study=one_line(job.study),
        name=job.scheduler_name,
        worker=job.worker_arguments(),
        # leaves room for the worker's supervisor and for the trial that is running when the limit is reached
        worker_mb=job.memory_mb * 3 // 4,
        **values,
    )
