"""Batch-norm statistics, always by name: they are part of every statement about a network.

"frozen"        the pretrained statistics, never touched, not even in training
"re-estimated"  training normalises each batch by itself; before every evaluation and every kernel the statistics are measured
                again on the training set

A randomly started network has no statistics worth freezing, and is always re-estimated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from theory.errors import InvalidInput

POLICIES = ("frozen", "re-estimated")

CHUNK = 1024
"""Pictures that pass at once while statistics are measured; in one chunk they are those of training on the whole set."""


def check_policy(policy: str, start: str) -> None:
    """`InvalidInput` for an unknown policy, or frozen statistics of a random start."""
    if policy not in POLICIES:
        raise InvalidInput(f"batch_norm is {policy!r}; one of {', '.join(map(repr, POLICIES))} is allowed")
    if policy == "frozen" and start == "random":
        raise InvalidInput("batch_norm is 'frozen' for a random start, which has no statistics; 're-estimated' is allowed")


def set_training(model: nn.Module, policy: str) -> None:
    """Put `model` in training mode; batch norm stays in evaluation mode where its statistics are frozen."""
    model.train()
    if policy == "frozen":
        for layer in _layers(model):
            layer.eval()


@torch.no_grad()
def prepare(model: nn.Module, inputs: Tensor, policy: str) -> None:
    """Put `model` in evaluation mode, with the statistics that `policy` names; `inputs` is the training set, (n, …)."""
    model.eval()
    if policy == "frozen":
        return
    chunks = torch.chunk(inputs, -(-len(inputs) // CHUNK))
    totals: dict[nn.BatchNorm2d, list[Tensor]] = {}
    for chunk in chunks:
        with ExitStack() as hooks:
            for layer in _layers(model):
                # Sets the statistics just before they are used, so that each layer sees what training on this chunk would show it.
                hooks.callback(layer.register_forward_pre_hook(_measure(totals, len(chunk))).remove)
            model(chunk)
    if len(chunks) > 1:
        for layer, (first, second) in totals.items():
            mean = first / len(inputs)
            _set(layer, mean, second / len(inputs) - mean**2)


def _measure(totals: dict[nn.BatchNorm2d, list[Tensor]], size: int) -> Callable[[nn.BatchNorm2d, tuple[Tensor, ...]], None]:
    def hook(layer: nn.BatchNorm2d, arguments: tuple[Tensor, ...]) -> None:
        variance, mean = torch.var_mean(arguments[0], dim=(0, 2, 3), correction=0)
        _set(layer, mean, variance)
        sums = totals.setdefault(layer, [torch.zeros_like(mean), torch.zeros_like(mean)])
        sums[0] += size * mean
        sums[1] += size * (variance + mean**2)

    return hook


def _set(layer: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    if layer.running_mean is None or layer.running_var is None:
        raise InvalidInput("a batch-norm layer keeps no statistics (track_running_stats=False); one that does is allowed")
    layer.running_mean.copy_(mean)
    layer.running_var.copy_(variance)


def _layers(model: nn.Module) -> Iterator[nn.BatchNorm2d]:
    return (layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d))
