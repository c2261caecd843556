"""The ways in which a training ends early. This module does not import torch."""

from __future__ import annotations


class Diverged(Exception):
    """The training loss or the logits stopped being finite."""


class OutOfMemory(Exception):
    """The model, its gradients or a batch did not fit on the device."""


class OtherTraining(ValueError):
    """A checkpoint belongs to another configuration, seed, data set or precision."""


class Drained(Exception):
    """`should_stop` returned True between two batches."""
