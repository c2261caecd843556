"""Ways a training ends early. Apart from `fit`, so that supervising code need not import torch."""

from __future__ import annotations


class Diverged(Exception):
    """The training loss or the logits stopped being finite."""


class OutOfMemory(Exception):
    """The model, its gradients or a batch did not fit on the device."""


class OtherTraining(ValueError):
    """A checkpoint belongs to another configuration, seed, data set or precision."""


class Drained(Exception):
    """`should_stop` said so between two batches."""
