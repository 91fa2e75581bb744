"""Where numbers stop being finite: the first layer, found by another forward pass or in the gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from theory.errors import NotConverged


class TrainingDiverged(NotConverged):
    """A loss, gradient or weight that is no finite number any more; the last checkpoint holds finite ones.

    Attributes
    ----------
    step, epoch : int or None
        Where it happened, from 0.
    layer : str or None
        The first layer that it shows in, if it is one.
    """

    def __init__(self, message: str, *, step: int | None = None, epoch: int | None = None, layer: str | None = None) -> None:
        super().__init__(message)
        self.step, self.epoch, self.layer = step, epoch, layer


Finding = tuple[int, str, str | None]
"""When in the forward pass (smaller is earlier), what was found in words, and the layer."""

_NOWHERE = 2**31


@torch.no_grad()
def in_forward(model: nn.Module, forward: Callable[[], Any]) -> Finding:
    """The first module in `forward()` whose input or output is not finite; buffers of the model are put back afterwards."""
    events: list[tuple[int, str, nn.Module, bool]] = []
    seen = [0]

    def look(name: str, module: nn.Module, output: bool) -> Callable[..., None]:
        def hook(_: nn.Module, *passed: Any) -> None:
            seen[0] += 1
            if not events and not all(finite(t) for t in _tensors(passed[-1])):
                events.append((seen[0], name, module, output))

        return hook

    buffers = [(b, b.clone()) for b in model.buffers()]
    try:
        with ExitStack() as hooks:
            for name, module in model.named_modules():
                hooks.callback(module.register_forward_pre_hook(look(name, module, False)).remove)
                hooks.callback(module.register_forward_hook(look(name, module, True)).remove)
            forward()
    finally:
        for b, value in buffers:
            b.copy_(value)
    if not events:
        return _NOWHERE, "every layer's output is finite, the loss of it is not", None
    when, name, module, output = events[0]
    if not output:
        return when, f"layer {name!r} is the first whose input is not finite" if name else "an input is not finite", name or None
    broken = [n for n, p in module.named_parameters() if not finite(p)]
    why = f", and its {broken[0]} is not finite either" if broken else ""
    shown = f"layer {name!r}" if name else f"the network itself ({type(module).__name__}), after its last layer,"
    return when, f"{shown} is the first with an output that is not finite{why}", name or None


def in_gradients(named: dict[str, nn.Parameter], order: Iterable[str]) -> Finding:
    """The layer next to the loss whose gradient is not finite: going back from the loss, the first.

    Parameters
    ----------
    named : dict of str to Parameter
    order : iterable of str
        Names of layers in the order of the forward pass.
    """
    rank = {layer: i for i, layer in enumerate(order)}
    bad = [name for name, p in named.items() if p.grad is not None and not finite(p.grad)]
    name = max(bad, key=lambda n: rank.get(n.rpartition(".")[0], -1))
    layer = name.rpartition(".")[0]
    return 0, f"layer {layer!r} is the first, going back from the loss, with a gradient that is not finite (of {name!r})", layer


def in_weights(named: dict[str, nn.Parameter]) -> Finding:
    """The first parameter that is not finite."""
    name = next(name for name, p in named.items() if not finite(p))
    return 0, f"{name!r} is not finite", name.rpartition(".")[0]


def finite(tensor: Tensor) -> bool:
    """Whether all numbers are finite."""
    return not (tensor.is_floating_point() or tensor.is_complex()) or bool(torch.isfinite(tensor).all())


def all_finite(tensors: Sequence[Tensor]) -> bool:
    """Whether all numbers of several tensors are finite."""
    # The norm is ten times as fast as a look at every number; it may overflow where they do not.
    return bool(torch.isfinite(torch.nn.utils.get_total_norm(tensors))) or all(map(finite, tensors))


def _tensors(thing: Any) -> list[Tensor]:
    if isinstance(thing, Tensor):
        return [thing]
    if isinstance(thing, dict):
        return [t for part in thing.values() for t in _tensors(part)]
    return [t for part in thing for t in _tensors(part)] if isinstance(thing, (list, tuple)) else []
