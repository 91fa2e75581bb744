"""Batch-norm statistics, always by name: they are part of every statement about a network.

"frozen"        the pretrained statistics, never touched, in training neither
"re-estimated"  training normalises each batch by itself; before every evaluation and every kernel the statistics are measured
                again on the training set

A randomly started network has no statistics worth freezing, and is always re-estimated.
"""

from __future__ import annotations

from collections.abc import Iterator
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
    totals: dict[nn.Module, list[Tensor]] = {}
    for chunk in chunks:
        with ExitStack() as hooks:
            for layer in _layers(model):
                # Sets the statistics just before they are used, so that each layer sees what training on this chunk would show it.
                hooks.callback(layer.register_forward_pre_hook(_measure(totals, len(chunk))).remove)
            model(chunk)
    for layer, (first, second) in totals.items():
        assert isinstance(layer, nn.BatchNorm2d)
        assert layer.running_mean is not None
        assert layer.running_var is not None
        mean = first / len(inputs)
        if len(chunks) > 1:
            layer.running_mean.copy_(mean)
            layer.running_var.copy_(second / len(inputs) - mean**2)


def _measure(totals: dict[nn.Module, list[Tensor]], size: int):  # type: ignore[no-untyped-def]
    def hook(layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        variance, mean = torch.var_mean(arguments[0], dim=(0, 2, 3), correction=0)
        assert isinstance(layer, nn.BatchNorm2d)
        assert layer.running_mean is not None
        assert layer.running_var is not None
        layer.running_mean.copy_(mean)
        layer.running_var.copy_(variance)
        sums = totals.setdefault(layer, [torch.zeros_like(mean), torch.zeros_like(mean)])
        sums[0] += size * mean
        sums[1] += size * (variance + mean**2)

    return hook


def _layers(model: nn.Module) -> Iterator[nn.BatchNorm2d]:
    return (layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d))
