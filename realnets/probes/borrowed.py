"""A model borrowed for a measurement: in evaluation mode while it is measured, and given back as it was.

Evaluation mode makes the loss one fixed function of the weights: no dropout, and batch norm by the statistics that the model holds
(`realnets.batchnorm.prepare` sets them on a training set).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn


@contextmanager
def borrowed(model: nn.Module, *, weights: bool = False) -> Iterator[None]:
    """Put `model` in evaluation mode within the block; afterwards it is what it was, also after an error or an interrupt.

    Modes of all modules, buffers, `.grad`, `requires_grad` and the states of global random generators are put back.

    Parameters
    ----------
    weights : bool
        Put back the weights as well, bit for bit: for measurements that move them. It takes a copy of them.
    """
    modules = list(model.modules())
    modes = [module.training for module in modules]
    buffers = [(module._buffers, dict(module._buffers)) for module in modules]
    copies = [(b, b.clone()) for b in model.buffers()]
    parameters = [(p, p.grad, None if p.grad is None else p.grad.clone(), p.requires_grad) for p in model.parameters()]
    old = [(p, p.detach().clone()) for p in model.parameters()] if weights else []
    state, host, python = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002 - the state of callers, not a stream of ours
    devices = sorted({p.device for p in model.parameters() if p.is_cuda}, key=str)
    on_devices = [torch.cuda.get_rng_state(d) for d in devices]
    try:
        model.eval()
        yield
    finally:
        with torch.no_grad():
            for p, value in old:
                p.copy_(value)
            for holder, own in buffers:
                holder.update(own)
            for b, value in copies:
                b.copy_(value)
            for p, grad, kept, requires in parameters:
                p.requires_grad_(requires)
                p.grad = grad
                if grad is not None and kept is not None:
                    grad.copy_(kept)
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
        torch.set_rng_state(state)
        np.random.set_state(host)  # noqa: NPY002
        random.setstate(python)
        for device, own_state in zip(devices, on_devices, strict=True):
            torch.cuda.set_rng_state(own_state, device)


def device_of(model: nn.Module) -> torch.device:
    """Where the model's first parameter or buffer lives; the CPU if it has none."""
    first: Tensor | None = next(model.parameters(), next(model.buffers(), None))
    return torch.device("cpu") if first is None else first.device
