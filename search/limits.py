"""Limits on a model's size and latency."""

from __future__ import annotations

from optuna.trial import FrozenTrial

from ..models.config import CNNConfig, MLPConfig
from .records import trial_record


class TooCostly(Exception):
    """A sampled model exceeds a limit of its study."""


def within(
    trial: FrozenTrial, max_params: int | None, max_latency_ms: float | None, *, unknown: float
) -> bool:
    """Return whether a trial's model keeps to the limits; `unknown` replaces a cost that was not stored."""
    record = trial_record(trial)
    costs = ((record.n_parameters, max_params), (record.latency_ms, max_latency_ms))
    return all(
        limit is None or (unknown if cost is None else cost) <= limit for cost, limit in costs
    )


def check_size(model: MLPConfig | CNNConfig, max_params: int | None) -> None:
    """Raise TooCostly if the model has more than `max_params` weights."""
    from .training.cost import n_parameters

    if max_params is None:
        return
    n_weights = n_parameters(model)
    if n_weights > max_params:
        raise TooCostly(f"{n_weights} parameters, at most {max_params}")


def check_latency(model: MLPConfig | CNNConfig, max_latency_ms: float | None) -> float | None:
    """Measure the model's latency on one core and return it in milliseconds per image.

    Returns None without a limit. Raises TooCostly if the latency exceeds the limit.
    """
    from .training.cost import latency_ms

    if max_latency_ms is None:
        return None
    measured = latency_ms(model)
    if measured > max_latency_ms:
        raise TooCostly(f"{measured:.3g} ms per image, at most {max_latency_ms:g}")
    return measured
