"""Random starts: weights drawn from one stream of the seed, never from the global one."""

from __future__ import annotations

import math

import torch
from torch import nn


def draw_weights(net: nn.Module, seed: int) -> None:
    """Draw every convolution and linear layer, in place, from one stream; batch norm starts at the identity.

    Weights are uniform on `±1/√fan_in`, PyTorch's default and so the reference package's; biases are zero. Layers draw in
    reverse order, so that the classifier depends on the seed alone.
    """
    stream = torch.Generator().manual_seed(seed)
    for layer in reversed(list(net.modules())):
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            _draw(layer, stream)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()


def draw_classifier(layer: nn.Linear, seed: int) -> None:
    """Draw a classifier in place, as `draw_weights` does: it depends on its shape and the seed alone, whatever lies below it."""
    _draw(layer, torch.Generator().manual_seed(seed))


def _draw(layer: nn.Conv2d | nn.Linear, stream: torch.Generator) -> None:
    bound = 1 / math.sqrt(layer.weight[0].numel())
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=stream)
        if layer.bias is not None:
            layer.bias.zero_()
