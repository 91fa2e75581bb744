"""A real network beside its own linearisation: what the empirical kernel predicts of training, and how far it can be trusted.

Full-batch gradient descent on `½‖f − y‖²` from the present weights `W₀`, with outputs `f₀` there and the empirical kernel `K`:
`r_k = (I − ηK)^k (y − f₀)`, `W_k = W₀ + Jᵀα_k` with `α_k = φ_k(K)(y − f₀)`. The closed forms are those of `theory.numeric.stages`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from realnets.ntk import outputs, outputs_at, transposed_product
from realnets.train import TrainingDiverged
from theory.errors import InvalidInput
from theory.numeric import stages
from theory.numeric.spectrum import GramSpectrum

TOLERANCE = 0.05
"""What the validity reading allows, and what is claimed of the displacement where it does."""


@dataclass(frozen=True)
class Descent:
    """Loss `½‖f − y‖²` and displacement `‖W − W₀‖` after 0, 1, … steps."""

    loss: list[float]
    displacement: list[float]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the true network at the predicted weights `W₀ + Jᵀα_k` differs from the linear prediction of its outputs.

    With `e = f(W₀ + Jᵀα_k) − f₀ − Kα_k`:

    Attributes
    ----------
    step : int
    deviation : float
        `δ = ‖e‖/‖Kα_k‖`.
    stretch : float
        `ρ = αᵀe/αᵀKα`: to make up for `e` by a movement along `Jᵀα` the weights would go `−ρ` of their way. The scale of the
        displacement's relative error, not the error: before the end a run need not make up for `e`, and the sign may differ.
    detour : float
        `ω = √(eᵀφ_kKφ_ke/αᵀKα)`: how far the kernel's own descent would move to make up for `e`, over the predicted displacement.
        An `e` that is small, but in a slow mode, moves weights far.
    valid : bool
        `|ρ| ≤ τ`, and `ω² ≤ τ`, that is what the first order leaves out is small as well; `τ = TOLERANCE`. It looks at the
        starting point only, never at a training run.
    """

    step: int
    deviation: float
    stretch: float
    detour: float
    valid: bool


def predict(kernel: np.ndarray, initial: np.ndarray, y: np.ndarray, lr: float, steps: int) -> Descent:
    """Loss and displacement that the kernel predicts, at every step to `steps`.

    Parameters
    ----------
    kernel : (n·c, n·c) array
    initial, y : (n, c) arrays
        Outputs at the start, and labels.

    Raises
    ------
    UnstableStep
        For `lr > 2/λ_max`.
    """
    spectrum, remaining = GramSpectrum.of(kernel), (y - initial).ravel()
    spectrum.check_step(lr, steps, "lr")
    return Descent(
        loss=[stages.loss(spectrum, remaining, lr, k) for k in range(steps + 1)],
        displacement=[stages.displacement(spectrum, remaining, lr, k) for k in range(steps + 1)],
    )


def descend(
    model: nn.Module, inputs: Tensor, y: np.ndarray, lr: float, steps: int, progress: Callable[[int], object] | None = None
) -> Descent:
    """Really train a copy of `model`, in evaluation mode throughout: batch-norm statistics stay what they are.

    Raises
    ------
    InvalidInput
        If the labels do not have the outputs' shape.
    TrainingDiverged
        If the loss becomes NaN or infinite; the message names the step.
    """
    net = copy.deepcopy(model).eval()
    weights = [w for w in net.parameters() if w.requires_grad]
    start = [w.detach().clone() for w in weights]
    targets = torch.as_tensor(y, dtype=inputs.dtype, device=inputs.device)
    losses, distances = [], []
    for k in range(steps + 1):
        f = net(inputs)
        if f.shape != targets.shape:
            raise InvalidInput(f"labels have shape {tuple(targets.shape)}; that of the outputs, {tuple(f.shape)}, is allowed")
        loss = ((f - targets) ** 2).sum() / 2
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise TrainingDiverged(f"the loss is {losses[-1]} after {k} steps of size {lr:.3g}; try a smaller one")
        distances.append(math.sqrt(math.fsum(float(((w.detach() - s).double() ** 2).sum()) for w, s in zip(weights, start, strict=True))))
        if k < steps:
            gradients = torch.autograd.grad(loss, weights)
            with torch.no_grad():
                for w, g in zip(weights, gradients, strict=True):
                    w.sub_(lr * g)
        if progress is not None:
            progress(1)
    return Descent(losses, distances)


def validity(model: nn.Module, inputs: Tensor, kernel: np.ndarray, y: np.ndarray, lr: float, steps: Sequence[int]) -> list[Reading]:
    """Readings at the given steps (≥ 1): each costs one backward pass, for `Jᵀα_k`, and one forward pass."""
    spectrum, initial = GramSpectrum.of(kernel), outputs(model, inputs)
    readings = []
    for k in steps:
        alpha = stages.coefficients(spectrum, (y - initial).ravel(), lr, k)
        linear = kernel @ alpha
        moved = outputs_at(model, inputs, transposed_product(model, inputs, alpha.reshape(initial.shape))) - initial
        error = moved.ravel() - linear
        deviation = float(np.linalg.norm(error) / np.linalg.norm(linear))
        squared = float(alpha @ linear)
        stretch = float(alpha @ error) / squared
        detour = stages.displacement(spectrum, error, lr, k) / math.sqrt(squared)
        valid = abs(stretch) <= TOLERANCE and detour**2 <= TOLERANCE
        readings.append(Reading(step=k, deviation=deviation, stretch=stretch, detour=detour, valid=valid))
    return readings


def valid_to(readings: Sequence[Reading]) -> int:
    """The last step up to which every reading is valid; 0 if the first is not."""
    last = 0
    for reading in sorted(readings, key=lambda r: r.step):
        if not reading.valid:
            break
        last = reading.step
    return last
