"""torch's optimizers without torch._dynamo.

torch.optim imports it at an optimizer's first call, to take its methods out of compiled graphs: 0.95 s and
71 MB of each worker, and nothing here is compiled. These classes have the same methods without that wrapper,
and the same arithmetic.
"""

from __future__ import annotations

from inspect import unwrap

import torch
from torch.optim import Optimizer


class Eager(Optimizer):
    """An optimizer that is never compiled."""

    add_param_group = unwrap(Optimizer.add_param_group)
    zero_grad = unwrap(Optimizer.zero_grad)
    state_dict = unwrap(Optimizer.state_dict)
    load_state_dict = unwrap(Optimizer.load_state_dict)


class SGD(Eager, torch.optim.SGD):
    step = torch.no_grad()(unwrap(torch.optim.SGD.step))


class Adam(Eager, torch.optim.Adam):
    step = torch.no_grad()(unwrap(torch.optim.Adam.step))


class AdamW(Eager, torch.optim.AdamW):
    step = torch.no_grad()(unwrap(torch.optim.AdamW.step))
