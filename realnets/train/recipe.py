"""How a network is trained: the optimiser, its learning rate at every step, and what of the network it moves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from realnets.batchnorm import POLICIES
from theory.errors import InvalidInput

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"cross-entropy": nn.functional.cross_entropy, "squared": nn.functional.mse_loss}
"""Mean losses over a batch: outputs (b, c) with classes (b,), or outputs with real targets of the same shape."""

OPTIMISERS = ("sgd", "adamw")
SCHEDULES = ("constant", "cosine", "step")
PRECISIONS = ("full", "bf16", "fp16")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Plain SGD by default: the kernel theory of displacement is about gradient descent, and Adam has no output-space kernel.

    Parameters
    ----------
    epochs : int ≥ 0
    batch_size : int ≥ 2
        Samples a step. A set of `n` takes `n // batch_size` steps an epoch, of as many samples each as is even, so that no step
        has fewer than this, unless the whole set has.
    lr : float > 0
        Largest learning rate.
    momentum : float in [0, 1)
        Of SGD; AdamW's β₁.
    weight_decay : float ≥ 0
        Towards zero, of all weights that are trained; decoupled from the gradient in AdamW. Zero by default: decay moves weights
        for reasons of its own.
    loss : "cross-entropy" or "squared"
    batch_norm : "frozen" or "re-estimated"
        As in `realnets.batchnorm`.
    optimiser : "sgd" or "adamw"
    beta2 : float in [0, 1)
        AdamW's β₂.
    schedule : "cosine", "constant" or "step"
        After the warm-up: half a cosine that falls to zero at the last step; `lr` throughout; or `lr` times `drop` for each of
        `drops` that has passed.
    drops : tuple of floats in (0, 1)
        Shares of the steps after the warm-up.
    drop : float in (0, 1)
    warmup_steps : int ≥ 0
        Step `k` before this one has the learning rate `lr·(k + 1)/(warmup_steps + 1)`.
    accumulation : int ≥ 1
        Parts, of two samples or more, that a step's samples pass through the network in, to save memory. The gradient is that
        of the mean over all of them; only batch norm sees each part by itself, where it is re-estimated.
    precision : "full", "bf16" or "fp16"
        "full" computes in the weights' own precision, the others in half of it where that is safe, with weights, gradients and
        loss in float32; fp16 scales the loss, and leaves out steps at which its gradients overflow.
    trained : "all", "head", the name of a layer, or int ≥ 0
        What is trained: all; the classifier, that is the last linear layer; the named layer and all that come after it; or all but
        that many of the first layers with weights. Layers are in the order in which a forward pass first calls them. The
        frozen part keeps its weights, is in evaluation mode, and normalises by the statistics that it has.

    Raises
    ------
    InvalidInput
        For a value outside these ranges.
    """

    epochs: int = 10
    batch_size: int = 32
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 0.0
    loss: str = "cross-entropy"
    batch_norm: str = "re-estimated"
    optimiser: str = "sgd"
    beta2: float = 0.999
    schedule: str = "cosine"
    drops: tuple[float, ...] = (0.5, 0.75)
    drop: float = 0.1
    warmup_steps: int = 0
    accumulation: int = 1
    precision: str = "full"
    trained: str | int = "all"

    def __post_init__(self) -> None:
        rules = {
            "epochs": (_whole(self.epochs, 0), "a whole number ≥ 0"),
            "batch_size": (_whole(self.batch_size, 2), "a whole number ≥ 2"),
            "lr": (0 < self.lr < math.inf, "finite and above 0"),
            "momentum": (0 <= self.momentum < 1, "in [0, 1)"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "finite and ≥ 0"),
            "loss": _one_of(self.loss, LOSSES),
            "batch_norm": _one_of(self.batch_norm, POLICIES),
            "optimiser": _one_of(self.optimiser, OPTIMISERS),
            "beta2": (0 <= self.beta2 < 1, "in [0, 1)"),
            "schedule": _one_of(self.schedule, SCHEDULES),
            "drops": (all(0 < share < 1 for share in self.drops), "a tuple of shares in (0, 1)"),
            "drop": (0 < self.drop < 1, "in (0, 1)"),
            "warmup_steps": (_whole(self.warmup_steps, 0), "a whole number ≥ 0"),
            "accumulation": (_whole(self.accumulation, 1), "a whole number ≥ 1"),
            "precision": _one_of(self.precision, PRECISIONS),
            "trained": (isinstance(self.trained, str) or _whole(self.trained, 0), "'all', 'head', a layer's name or a whole number ≥ 0"),
        }
        for name, (good, allowed) in rules.items():
            if not good:
                raise InvalidInput(f"{name} is {getattr(self, name)!r}; {allowed} is allowed")

    def learning_rate(self, step: int, steps: int) -> float:
        """Learning rate of step `step` = 0, 1, … of `steps`."""
        if step < self.warmup_steps:
            return self.lr * ((step + 1) / (self.warmup_steps + 1))
        done, rest = step - self.warmup_steps, max(1, steps - self.warmup_steps)
        if self.schedule == "cosine":
            return self.lr * ((1 + math.cos(math.pi * done / rest)) / 2)
        if self.schedule == "step":
            return self.lr * self.drop ** sum(done >= share * rest for share in self.drops)
        return self.lr


def build_optimiser(recipe: Recipe, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The recipe's optimiser of `parameters`."""
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(parameters, lr=recipe.lr, betas=(recipe.momentum, recipe.beta2), weight_decay=recipe.weight_decay)
    return torch.optim.SGD(parameters, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _one_of(value: str, allowed: Iterable[str]) -> tuple[bool, str]:
    return value in allowed, f"one of {', '.join(map(repr, allowed))}"
