"""The moving average of a training's weights, which is validated and kept in their place.

The average forgets with a decay of at most `decay`. Over the first steps the decay is (1 + t) / (10 + t), so
that a short training does not validate its random start (as in TensorFlow's ExponentialMovingAverage).
"""

from __future__ import annotations

import copy

import torch


class WeightAverage:
    """An exponential moving average of a model's weights and of its BatchNorm statistics."""

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        self.decay, self.n_steps = decay, 0
        self.model = copy.deepcopy(model).eval()
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)
        self._pairs = list(
            zip(
                self.model.state_dict(keep_vars=True).values(),
                model.state_dict(keep_vars=True).values(),
                strict=True,
            )
        )

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the weights as they are after a training step."""
        self.n_steps += 1
        decay = min(self.decay, (1 + self.n_steps) / (10 + self.n_steps))
        floats = [pair for pair in self._pairs if pair[0].is_floating_point()]
        averages, current = [a for a, _ in floats], [c for _, c in floats]
        torch._foreach_lerp_(averages, current, 1 - decay)
        for average, counter in self._pairs:
            if not average.is_floating_point():
                average.copy_(counter)

    def state_dict(self) -> dict[str, object]:
        return {"model": self.model.state_dict(), "n_steps": self.n_steps}

    def load_state_dict(self, state: dict[str, object]) -> None:
        self.model.load_state_dict(state["model"])  # type: ignore[arg-type]
        self.n_steps = int(state["n_steps"])  # type: ignore[call-overload]
