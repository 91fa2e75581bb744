"""Batches of (inputs, labels), possibly ragged, and exact means over their samples.

A mean-reduced loss of a batch counts with the batch's size: a short last batch does not count as much as a full one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from realnets.probes.borrowed import device_of
from theory.errors import InvalidInput

Loss = Callable[[Any, Tensor], Tensor]
"""`loss_fn(outputs, labels)`: the mean over a batch, a scalar."""


class Batches:
    """Batches that can be passed over several times, checked, on one device.

    Parameters
    ----------
    batches : iterable of (inputs, labels)
        Tensors with as many rows in both. An iterator, which is used up by one pass, is kept as a list; anything else, such as
        a `DataLoader`, is passed over anew each time and must give the same samples.
    device : torch.device

    Raises
    ------
    InvalidInput
        If there is no batch, or one is no such pair; while it is passed over.
    """

    def __init__(self, batches: Iterable[tuple[Tensor, Tensor]], device: torch.device) -> None:
        if not isinstance(batches, Iterable) or isinstance(batches, Tensor):
            raise InvalidInput(f"batches is a {type(batches).__name__}; an iterable of (inputs, labels) is allowed")
        self._source = list(batches) if isinstance(batches, Iterator) else batches
        self._device = device
        self._samples: int | None = None

    @staticmethod
    def of(batches: Iterable[tuple[Tensor, Tensor]] | Batches, model: nn.Module) -> Batches:
        """`batches` on the device of `model`."""
        return batches if isinstance(batches, Batches) else Batches(batches, device_of(model))

    @property
    def samples(self) -> int:
        """Number of samples in all batches."""
        if self._samples is None:
            self._samples = sum(len(labels) for _, labels in self)
        return self._samples

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        index = -1
        for index, batch in enumerate(self._source):
            yield self._checked(index, batch)
        if index < 0:
            raise InvalidInput("batches is empty; at least one batch of (inputs, labels) is needed")

    def _checked(self, index: int, batch: Any) -> tuple[Tensor, Tensor]:
        if not isinstance(batch, (tuple, list)) or len(batch) != 2 or not all(isinstance(part, Tensor) and part.ndim for part in batch):
            raise InvalidInput(f"batch {index} is a {type(batch).__name__}; a pair of tensors (inputs, labels) is allowed")
        inputs, labels = batch
        if len(inputs) != len(labels) or len(inputs) == 0:
            raise InvalidInput(f"batch {index} has {len(inputs)} inputs and {len(labels)} labels; equally many, at least one, are allowed")
        return inputs.to(self._device), labels.to(self._device)


def batch_loss(loss_fn: Loss, outputs: Any, labels: Tensor, index: int) -> Tensor:
    """`loss_fn(outputs, labels)`, checked: `InvalidInput` unless it is a finite scalar."""
    loss = loss_fn(outputs, labels)
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        what = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
        raise InvalidInput(f"loss_fn gave {what}; the mean over the batch, a scalar tensor, is allowed")
    if not math.isfinite(loss.item()):
        raise InvalidInput(f"the loss of batch {index} is {loss.item()}; a finite one is allowed")
    return loss.reshape(())


@torch.no_grad()
def mean_loss(model: nn.Module, loss_fn: Loss, batches: Batches) -> float:
    """Mean loss over all samples, summed in float64; the model is evaluated in the mode it is in."""
    parts = [len(labels) * batch_loss(loss_fn, model(inputs), labels, i).item() for i, (inputs, labels) in enumerate(batches)]
    return math.fsum(parts) / batches.samples


def chosen_parameters(model: nn.Module, layers: Iterable[str] | None = None) -> dict[str, nn.Parameter]:
    """Parameters by name: all that are trained (`requires_grad`), or all of the given layers.

    Parameters
    ----------
    layers : iterable of str, optional
        Names of modules or of parameters, as in `named_modules` and `named_parameters`.

    Raises
    ------
    InvalidInput
        For a layer that does not exist, or if nothing is left.
    """
    # A tied parameter has several names, any of which may be asked for; it is one parameter all the same.
    named = dict(model.named_parameters(remove_duplicate=False))
    if layers is None:
        chosen = {name: p for name, p in named.items() if p.requires_grad}
    else:
        wanted = [layers] if isinstance(layers, str) else list(layers)
        for layer in wanted:
            if not any(name == layer or name.startswith(f"{layer}.") for name in named):
                known = sorted({name.rpartition(".")[0] for name in named} - {""}) or sorted(named)
                shown = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
                raise InvalidInput(f"there is no layer {layer!r} with weights; {shown} are allowed")
        chosen = {name: p for name, p in named.items() if any(name == layer or name.startswith(f"{layer}.") for layer in wanted)}
    if not chosen:
        raise InvalidInput("no parameter of the model requires a gradient; at least one, or layers=, is needed")
    first: dict[nn.Parameter, str] = {}
    for name, p in chosen.items():
        first.setdefault(p, name)
    return {name: p for p, name in first.items()}
