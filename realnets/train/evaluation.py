"""How well a network does on a set of samples."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from realnets.probes.borrowed import device_of
from realnets.train.recipe import LOSSES
from realnets.train.samples import samples_of


@torch.no_grad()
def evaluate(
    model: nn.Module,
    inputs: Tensor | Dataset[Any],
    targets: Tensor | None = None,
    loss: str = "cross-entropy",
    chunk: int = 512,
    workers: int = 0,
) -> dict[str, float]:
    """Mean `loss` over a set and, for classes, the share that is right (`accuracy`); the model is left in evaluation mode.

    Parameters
    ----------
    inputs, targets, workers
        As in `train`.
    """
    model.eval()
    samples = samples_of(inputs, targets, device_of(model), workers)
    pairs = [(model(x), y) for x, y in samples.read(torch.split(torch.arange(len(samples)), chunk))]
    outputs, wanted = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    result = {"loss": LOSSES[loss](outputs, wanted).item()}
    if wanted.dtype == torch.int64:
        result["accuracy"] = (outputs.argmax(dim=1) == wanted).double().mean().item()
    return result
