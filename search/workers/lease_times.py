"""How long a lease lasts, and how often a worker renews it."""

from __future__ import annotations

from dataclasses import dataclass

from .. import env


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """The time limits by which workers judge each other, in seconds."""

    lease_s: float
    """A worker without a heartbeat for this long is stale."""
    heartbeat_s: float
    """The time between two heartbeats of a worker."""
    confirm_s: float
    """How long one observer must see no heartbeat of a stale worker before it declares the worker dead.
    Guards against jumps of the clock and against machines that were suspended."""
    n_leases_if_alive: int = 10
    """A process that is seen running on this machine may miss this many leases before it is stale."""

    @classmethod
    def of(cls, lease_s: float) -> LeaseTimes:
        """Return the times that go with a lease of `lease_s` seconds."""
        heartbeat_s = min(5.0, lease_s / 6)
        return cls(lease_s, heartbeat_s, confirm_s=1.5 * heartbeat_s)

    @classmethod
    def from_environment(cls) -> LeaseTimes:
        """Return the times for $BLOODSEARCH_LEASE_S."""
        return cls.of(env.lease_s())
