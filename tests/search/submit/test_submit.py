"""`bloodsearch submit`: what it writes, and that a Slurm script drains and queues its worker again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import kubernetes_validate
import optuna
import psycopg
import pytest
import sqlalchemy as sa
import yaml
from postgres_roles import conninfo
from tests_support import SMALL_SET, TINY_STUDY, run_command, small_set

from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.errors import UsageError
from bloodsearch.search.submit.job import WorkerJob, check_time
from bloodsearch.search.submit.render import kubernetes_manifests, slurm_script

ROOT = Path(__file__).parents[3]
URL = "postgresql+psycopg://me:pass%20word@db.example/bloodsearch"
BASH = shutil.which("bash")


def manifests(job: WorkerJob, **options: Any) -> dict[str, Any]:
    documents = list(yaml.safe_load_all(kubernetes_manifests(job, trials=50, **options)))
    assert len({document["kind"] for document in documents}) == len(documents) == 4
    return {document["kind"]: document for document in documents}


@pytest.mark.parametrize("version", ["1.31", "1.35"])
@pytest.mark.parametrize("gpus", [0, 2])
def test_manifests_fit_the_schemas_of_kubernetes(version: str, gpus: int) -> None:
    for document in manifests(WorkerJob("bloodmnist", 3, gpus=gpus)).values():
        kubernetes_validate.validate(document, version, strict=True)


def test_the_job_starts_as_many_workers_as_asked_and_creates_the_study_first() -> None:
    job = manifests(WorkerJob("bloodmnist", 3, name="night", gpus=1), image="lab/blood:2")["Job"]
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == 3
    pod = job["spec"]["template"]["spec"]
    create, worker = pod["initContainers"][0], pod["containers"][0]
    assert create["args"] == [
        "optimize",
        "bloodmnist",
        "--name",
        "night",
        "--trials",
        "50",
        "--create-only",
    ]
    assert worker["args"] == [
        "worker",
        "bloodmnist",
        "--name",
        "night",
        "--devices",
        "auto",
        "--workers",
        "auto",
    ]
    assert worker["image"] == "lab/blood:2"
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert "nvidia.com/gpu" not in create["resources"]["limits"]


def test_an_eviction_is_judged_before_the_exit_code() -> None:
    """An evicted worker drains and ends with 130, as after `bloodsearch stop`."""
    rules = manifests(WorkerJob("bloodmnist", 3))["Job"]["spec"]["podFailurePolicy"]["rules"]
    assert [rule["action"] for rule in rules] == ["Ignore", "FailIndex"]
    assert rules[1]["onExitCodes"]["values"] == [2, 5, 130]


def test_only_the_secret_holds_the_address_and_the_dashboard_gets_that_of_a_reader() -> None:
    written = manifests(WorkerJob("bloodmnist", 3), secret="vault")
    dashboard = written["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    worker = written["Job"]["spec"]["template"]["spec"]["containers"][0]
    keys = [c["env"][0]["valueFrom"]["secretKeyRef"] for c in (worker, dashboard)]
    assert keys == [{"name": "vault", "key": "url"}, {"name": "vault", "key": "read-only-url"}]
    selector = written["Service"]["spec"]["selector"]
    assert selector == written["Deployment"]["spec"]["template"]["metadata"]["labels"]


def test_the_shipped_files_are_what_the_commands_write() -> None:
    job = WorkerJob("bloodmnist", 16)
    slurm = slurm_script(job, storage="postgresql+psycopg://me@db.example/bloodsearch")
    assert (ROOT / "deploy/slurm/workers.sh").read_text() == slurm
    shipped = (ROOT / "deploy/kubernetes/search.yaml").read_text()
    assert shipped == kubernetes_manifests(job, trials=200)


def test_no_password_reaches_a_script() -> None:
    url = f"{URL}?sslmode=require&sslpassword=pass"
    text = slurm_script(WorkerJob("bloodmnist", 2), storage=url)
    assert not [word for word in ("pass word", "pass%20word", "sslpassword") if word in text]
    assert "me@db.example/bloodsearch?sslmode=require" in text


@pytest.mark.skipif(BASH is None, reason="no bash here")
def test_hostile_names_stay_data() -> None:
    job = WorkerJob("bloodmnist\ntouch /tmp/no", 2, name="a'; $(exit 3) `exit 4` \"b")
    text = slurm_script(job, storage=URL, data_root=Path("a b'c"), checkpoints=Path("$HOME/x"))
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    outside = [line for line in text.splitlines() if line.startswith("touch")]
    assert outside == [
        "touch /tmp/no' --name 'a'\"'\"'; $(exit 3) `exit 4` \"b' --devices cpu --workers 1 &"
    ]
    worker = manifests(job)["Job"]["spec"]["template"]["spec"]["containers"][0]
    assert worker["args"][1:4] == [job.study, "--name", job.name]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: WorkerJob("x", 0), "--workers 0"),
        (lambda: WorkerJob("x", 10_001), "--workers 10001"),
        (lambda: WorkerJob("x", 1, memory_mb=100), "--memory 100"),
        (lambda: WorkerJob("x", 1, job_name="Night_1"), "--job-name Night_1"),
        (lambda: check_time("a day"), "--time a day"),
        (lambda: slurm_script(WorkerJob("x", 1), storage="sqlite:///a.db"), "serves one machine"),
        (lambda: slurm_script(WorkerJob("x", 1), storage=URL, partition="a\nb"), "--partition"),
        (lambda: kubernetes_manifests(WorkerJob("x", 1), trials=1, image="a: b"), "--image"),
        (lambda: kubernetes_manifests(WorkerJob("x", 1), trials=1, secret="a\nb"), "--secret"),
    ],
)
def test_what_no_scheduler_takes_is_refused(make: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()


def test_a_name_that_the_scheduler_takes_is_made_of_the_studys() -> None:
    assert WorkerJob("my/Blood cells.toml", 1).scheduler_name == "bloodsearch-blood-cells"
    assert len(WorkerJob("x", 1, name="n" * 300).scheduler_name) <= 52


class Cluster:
    """Stands for Slurm: `srun` runs its arguments, `scontrol` writes down what it is asked."""

    def __init__(self, folder: Path, bloodsearch: str) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.command("srun", 'echo "$$" > srun.pid; exec "$@"')
        self.command("scontrol", 'echo "$@" >> scontrol.log')
        self.command("bloodsearch", bloodsearch)
        (folder / "job.sh").write_text(slurm_script(WorkerJob("bloodmnist", 2), storage=URL))

    def command(self, name: str, body: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)

    def start(self, **variables: str) -> subprocess.Popen[bytes]:
        path = f"{self.bin}{os.pathsep}{os.environ['PATH']}"
        env = {**os.environ, "PATH": path, "SLURM_JOB_ID": "7_1", **variables}
        # a session of its own: a test that fails leaves nothing behind
        return subprocess.Popen(
            ["bash", "job.sh"], cwd=self.folder, env=env, start_new_session=True
        )

    def wait_for(self, name: str) -> str:
        path = self.folder / name
        deadline = time.monotonic() + 20
        while not (path.exists() and path.read_text().strip()):
            assert time.monotonic() < deadline, f"{name} did not appear"
            time.sleep(0.01)
        return path.read_text().strip()

    def requeued(self) -> list[str]:
        log = self.folder / "scontrol.log"
        return log.read_text().splitlines() if log.exists() else []


def ended(job: subprocess.Popen[bytes]) -> int:
    try:
        return job.wait(20)
    finally:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)


DRAINS = """\
trap 'echo drained > drained; exit 130' TERM
echo "$@" > arguments
while true; do sleep 0.02; done
"""


@pytest.mark.skipif(BASH is None, reason="no bash here")
class TestSlurmScript:
    @pytest.mark.parametrize("code", [0, 4, 130])
    def test_a_worker_that_ends_by_itself_is_not_queued_again(
        self, tmp_path: Path, code: int
    ) -> None:
        """130 is that of `bloodsearch stop`: its user wants the workers gone."""
        cluster = Cluster(tmp_path, f"exit {code}")
        assert ended(cluster.start()) == code
        assert cluster.requeued() == []

    @pytest.mark.parametrize("target", ["script", "step", "both"])
    def test_a_preempted_worker_drains_and_is_queued_again(
        self, tmp_path: Path, target: str
    ) -> None:
        cluster = Cluster(tmp_path, DRAINS)
        job = cluster.start()
        assert cluster.wait_for("arguments") == "worker bloodmnist --devices cpu --workers 1"
        pids = {"script": [job.pid], "step": [int(cluster.wait_for("srun.pid"))]}
        for pid in pids.get(target) or [*pids["script"], *pids["step"]]:
            with contextlib.suppress(ProcessLookupError):  # the first signal may have ended both
                os.kill(pid, signal.SIGTERM)
        assert ended(job) == 0
        assert (tmp_path / "drained").exists()
        assert cluster.requeued() == ["requeue 7_1"]

    def test_a_worker_that_finishes_despite_a_signal_is_done(self, tmp_path: Path) -> None:
        cluster = Cluster(tmp_path, DRAINS.replace("exit 130", "exit 0"))
        job = cluster.start()
        cluster.wait_for("arguments")
        os.kill(job.pid, signal.SIGTERM)
        assert ended(job) == 0
        assert cluster.requeued() == []


@pytest.mark.slow
@pytest.mark.skipif(BASH is None, reason="no bash here")
def test_a_job_trains_the_study_to_its_budget(postgres_url: str, tmp_path: Path) -> None:
    """The script as it is written, with the real command: preempted once, then run to its end."""
    (tmp_path / "tiny.toml").write_text(TINY_STUDY)

    def bloodsearch(*words: str) -> str:
        with small_set():
            done = run_command(
                *words, "--name", "tiny", cwd=tmp_path, BLOODSEARCH_STORAGE=postgres_url
            )
        return done.stdout

    create = WorkerJob("tiny.toml", 2, name="tiny").create_arguments(2)
    bloodsearch(*create[:2], *create[4:], "--dataset", "synthetic")
    cluster = Cluster(
        tmp_path, f'echo started > started; exec "{sys.executable}" -P -m bloodsearch "$@"'
    )
    job = WorkerJob("tiny.toml", 2, name="tiny")
    (tmp_path / "job.sh").write_text(slurm_script(job, storage=postgres_url))
    first = cluster.start(**SMALL_SET)
    cluster.wait_for("started")
    os.kill(first.pid, signal.SIGTERM)
    assert ended(first) == 0
    assert cluster.requeued() == ["requeue 7_1"]
    second = cluster.start(**SMALL_SET)
    assert second.wait(90) == 0
    study = json.loads(bloodsearch("status", "--json"))
    assert study["complete"] + study["pruned"] == study["n_trials"] == 2
    assert study["running"] == study["waiting"] == 0


@pytest.mark.slow
def test_the_dashboards_role_reads_and_cannot_write(postgres_url: str) -> None:
    with contextlib.closing(open_storage(postgres_url, create=True)) as storage:
        optuna.create_study(study_name="seen", storage=storage.optuna)
    sql = (ROOT / "deploy/kubernetes/read-only-role.sql").read_text()
    admin = sa.make_url(postgres_url)
    with psycopg.connect(conninfo(admin), autocommit=True) as db:
        db.execute(sql.replace(":'password'", "'x'").encode())
        try:
            reader = admin.set(username="bloodsearch_reader", password="x")
            url = reader.render_as_string(hide_password=False)
            with contextlib.closing(open_storage(url, create=False)) as read:
                assert optuna.get_all_study_names(read.optuna) == ["seen"]
                with pytest.raises(optuna.exceptions.StorageInternalError) as refused:
                    optuna.create_study(study_name="new", storage=read.optuna)
                assert "read-only transaction" in str(refused.value.__cause__)
        finally:
            db.execute("DROP OWNED BY bloodsearch_reader")
            db.execute("DROP ROLE bloodsearch_reader")
