"""Where workers run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..cluster.request import RayCluster
from ..errors import UsageError

if TYPE_CHECKING:
    from ..database.storage import Storage
    from ..study import StudyInfo
    from ..workers.launch import Launcher, LocalLauncher
    from ..workers.slots import Slot


@dataclass(frozen=True, slots=True)
class Placement:
    """The devices that train and the number of worker processes on them."""

    devices: str = "auto"
    """"auto", "cpu", "mps" or a list like "cuda:0,cuda:1"."""
    workers: str | int = "auto"
    """Worker processes; "auto" starts one per device slot, on a CPU one per core."""
    per_device: int = 1
    """Workers that share a device."""
    cluster: RayCluster | None = None
    """The cluster that places the workers; None: this machine. It decides about devices."""

    def __post_init__(self) -> None:
        if self.cluster is None:
            return
        for option, is_given in (
            ("--devices", self.devices != "auto"),
            ("--workers-per-device", self.per_device != 1),
        ):
            if is_given:
                raise UsageError(
                    f"{option} does not go with --cluster: Ray assigns devices, see --gpus-per-worker"
                )

    def slots(self, threads: int) -> list[Slot]:
        """Return one slot per worker, each with `threads` CPU threads.

        Connects to the cluster if there is one. Raises UsageError for devices or counts that do not exist.
        """
        from ..workers.slots import plan_slots

        if self.cluster is not None:
            return self.cluster.slots(str(self.workers), threads)
        return plan_slots(self.devices, str(self.workers), self.per_device, threads=threads)

    def prepare(self, slots: list[Slot], *, collects: bool) -> LocalLauncher | None:
        """Return a launcher whose workers import already, before their study is known; None in a cluster.

        It has to be closed. `collects` is that of `launcher`.
        """
        from ..workers.launch import LocalLauncher

        if self.cluster is not None:
            return None
        launcher = LocalLauncher(collects=collects)
        launcher.prepare(slots)
        return launcher

    def launcher(self, storage: Storage, study: StudyInfo, *, collects: bool) -> Launcher:
        """Return what starts workers on `slots`. Connects to the cluster if there is one.

        Args:
            storage: The open storage. Raises StorageError for SQLite in a cluster of several nodes.
            study: The stored study.
            collects: Whether workers of this machine print into `Launcher.lines`, as those of a cluster do.
        """
        from ..workers.launch import LocalLauncher

        if self.cluster is None:
            return LocalLauncher(collects=collects)
        from ..cluster.connection import check_storage, connect
        from ..cluster.launcher import ClusterLauncher

        connect(self.cluster.address)  # callers need not have asked for `slots` before
        check_storage(storage)
        cpus = self.cluster.cpus(study.study_file.training.threads)
        return ClusterLauncher(study.fingerprint, cpus, self.cluster.gpus_per_worker)


AUTO = Placement()
