"""Where workers run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

    def slots(self, threads: int) -> list[Slot]:
        """Return one slot per worker, each with `threads` CPU threads.

        Raises UsageError for devices or counts that this machine does not have.
        """
        from ..workers.slots import plan_slots

        return plan_slots(self.devices, str(self.workers), self.per_device, threads=threads)


AUTO = Placement()
