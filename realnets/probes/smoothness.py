"""Smoothness of the loss along the gradient: its range, the gradient's change and the effective smoothness over step sizes.

The loss is one function of the weights `w`, and `g` its full gradient over all samples; `w` moves to `w − ηg`. What that function does
with batch norm is named:

"frozen"        the statistics that the model holds, at every point; `realnets.batchnorm.prepare` sets them on a training set
"re-estimated"  they move with the weights: each batch is normalised by itself, and the gradient flows through its statistics, as in
                training. The loss then depends on how samples are cut into batches.

Statistics measured anew at each point, with a gradient that holds them, are not offered: that is the gradient of no function.

Source: Santurkar, Tsipras, Ilyas and Madry 2018 (1805.11604), section 3.1; their batch norm is in training mode.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from realnets import batchnorm
from realnets.probes.batches import Batches, Loss, batch_loss, chosen_parameters
from realnets.probes.borrowed import borrowed
from theory.errors import InvalidInput, TooLarge
from theory.numeric.solvers.plan import free_memory
from theory.ranges import check_count


@dataclass(frozen=True, kw_only=True, eq=False)
class AlongGradient:
    """The loss and its gradient at `w − ηg`, over `s` step sizes `η`.

    Where a loss overflowed or was undefined it is infinity or NaN, the gradient there is NaN, and so is what is computed from it.

    Attributes
    ----------
    step_sizes : (s,) float64 array
        `η > 0`, as given.
    losses : (s,) float64 array
        `L(w − ηg)`.
    gradient_norms : (s,) float64 array
        `‖∇L(w − ηg)‖`.
    gradient_change : (s,) float64 array
        `‖∇L(w − ηg) − ∇L(w)‖`, which Santurkar et al. call gradient predictiveness.
    centre : float
        `L(w)`.
    gradient_norm : float
        `‖g‖`.
    batch_norm : "frozen" or "re-estimated"
    """

    step_sizes: np.ndarray
    losses: np.ndarray
    gradient_norms: np.ndarray
    gradient_change: np.ndarray
    centre: float
    gradient_norm: float
    batch_norm: str

    @property
    def loss_range(self) -> float:
        """Largest less least loss over the step sizes and the centre, `η = 0`, which counts as in `sim` and `theory`."""
        return float(np.ptp(np.append(self.losses, self.centre)))

    @property
    def smoothness(self) -> np.ndarray:
        """`‖∇L(w − ηg) − ∇L(w)‖/(η‖g‖)`, (s,): the gradient's change per distance. On a quadratic it is `‖Hg‖/‖g‖` at every `η`."""
        return self.gradient_change / (self.step_sizes * self.gradient_norm)

    @property
    def effective_smoothness(self) -> float:
        """The largest `smoothness`: a lower bound of the gradient's Lipschitz constant on the segment (effective β-smoothness)."""
        return float(np.max(self.smoothness))

    @property
    def lipschitzness(self) -> float:
        """The largest `‖∇L‖` over the step sizes and the centre: a lower bound of the loss's Lipschitz constant on the segment."""
        return float(np.max(np.append(self.gradient_norms, self.gradient_norm)))

    @property
    def not_finite(self) -> int:
        """Number of step sizes at which the loss or its gradient is not finite."""
        return int(np.count_nonzero(~(np.isfinite(self.losses) & np.isfinite(self.gradient_change))))

    def row(self) -> dict[str, Any]:
        """Everything, JSON-ready, `None` for what is not finite."""
        derived = {name: getattr(self, name) for name in ("loss_range", "smoothness", "effective_smoothness", "lipschitzness")}
        return {name: _plain(value) for name, value in ({f.name: getattr(self, f.name) for f in fields(self)} | derived).items()}


def loss_along_gradient(
    model: nn.Module,
    loss_fn: Loss,
    batches: Iterable[tuple[Tensor, Tensor]] | Batches,
    step_sizes: Sequence[float] | np.ndarray,
    *,
    layers: Iterable[str] | None = None,
    batch_norm: str = "frozen",
    progress: Callable[[int], object] | None = None,
) -> AlongGradient:
    """Loss and gradient along minus the gradient, `L(w − ηg)` and `∇L(w − ηg)` with `g = ∇L(w)`, the mean over all samples.

    It takes `1 + s` gradients. In a training loop call it on one batch or a few (`SmoothnessTrace`).

    Parameters
    ----------
    model : Module
        Evaluated in evaluation mode, but for batch norm under "re-estimated", and given back as it was, bit for bit.
    loss_fn : callable
        `loss_fn(outputs, labels)`, the mean over a batch.
    batches : iterable of (inputs, labels)
        Possibly ragged.
    step_sizes : (s,) of float > 0
        Santurkar et al. take a learning rate and multiples of it. A step of which rounding would lose more than half is refused: in
        float32 that is one shorter than about `1e-7 ‖w‖`.
    layers : iterable of str, optional
        Modules or parameters whose weights move, and whose gradient it is; by default all parameters that require a gradient.
    batch_norm : "frozen" or "re-estimated"
        See the module.
    progress : callable, optional
        Called with 1 after each step size.

    Raises
    ------
    InvalidInput
        For step sizes outside these; an unknown policy or layer; at the model itself, a loss that is no finite scalar or a gradient that
        is zero or not finite.
    TooLarge
        If the gradients and copies of the weights do not fit in free memory.

    Source: Santurkar et al. 2018 (1805.11604), section 3.1.
    """
    sizes = _checked(step_sizes)
    batchnorm.check_policy(batch_norm)
    own_statistics = batchnorm.layers(model)
    chosen = chosen_parameters(model, layers)
    _check_memory(chosen)
    data, weights = Batches.of(batches, model), list(chosen.values())
    losses, norms, changes = (np.empty(len(sizes)) for _ in range(3))
    with borrowed(model, weights=True), torch.inference_mode(False):
        for layer in own_statistics:
            layer.train(batch_norm == "re-estimated")
        for p in model.parameters():
            p.requires_grad_(False)
        for w in weights:
            w.requires_grad_(True)
        start = [w.detach().clone() for w in weights]
        centre, direction = _loss_and_gradient(model, loss_fn, data, weights, checked=True)
        length = _checked_norm(chosen, direction)
        for index, size in enumerate(sizes.tolist()):
            _move(weights, start, direction, size, length)
            losses[index], gradient = _loss_and_gradient(model, loss_fn, data, weights, checked=False)
            norms[index] = _norm(gradient)
            changes[index] = _norm([after.sub_(before) for after, before in zip(gradient, direction, strict=True)])
            if progress is not None:
                progress(1)
    for array in (sizes, losses, norms, changes):
        array.setflags(write=False)
    return AlongGradient(
        step_sizes=sizes,
        losses=losses,
        gradient_norms=norms,
        gradient_change=changes,
        centre=centre,
        gradient_norm=length,
        batch_norm=batch_norm,
    )


class SmoothnessTrace:
    """A callback of any training loop that records the loss along the gradient: `trace(step, model)`.

    Training goes on as if it had not been called. The model's statistics are those it has at that moment.

    Parameters
    ----------
    loss_fn, batches, step_sizes, layers, batch_norm
        As in `loss_along_gradient`; an iterator of batches is used up once and kept.
    every : int ≥ 1
        Steps between two that are recorded; step 0 is the first.

    Attributes
    ----------
    found : dict of int to AlongGradient
        By step.
    """

    def __init__(
        self,
        loss_fn: Loss,
        batches: Iterable[tuple[Tensor, Tensor]],
        step_sizes: Sequence[float] | np.ndarray,
        *,
        every: int = 1,
        layers: Iterable[str] | None = None,
        batch_norm: str = "frozen",
    ) -> None:
        check_count("every", every, 1)
        batchnorm.check_policy(batch_norm)
        self.found: dict[int, AlongGradient] = {}
        self._loss, self._batches, self._sizes, self._every = loss_fn, batches, _checked(step_sizes), every
        self._layers = layers if layers is None or isinstance(layers, str) else list(layers)
        self._batch_norm = batch_norm

    def __call__(self, step: int, model: nn.Module) -> None:
        """Record, if it is a step to record."""
        if step % self._every == 0:
            self._batches = data = Batches.of(self._batches, model)
            self.found[step] = loss_along_gradient(model, self._loss, data, self._sizes, layers=self._layers, batch_norm=self._batch_norm)

    def rows(self) -> list[dict[str, Any]]:
        """Everything recorded, by step, JSON-ready."""
        return [{"step": step, **self.found[step].row()} for step in sorted(self.found)]


def _checked(step_sizes: Sequence[float] | np.ndarray) -> np.ndarray:
    try:
        sizes = np.array(step_sizes, dtype=np.float64)
    except (TypeError, ValueError):
        sizes = np.empty(0)
    if sizes.ndim != 1 or not sizes.size or not (np.isfinite(sizes) & (sizes > 0)).all():
        raise InvalidInput(f"step_sizes is {step_sizes!r}; finite numbers > 0, at least one, are allowed")
    return sizes


def _check_memory(chosen: Mapping[str, nn.Parameter]) -> None:
    """Two gradients in float64, three copies of the weights, and the sums of the largest parameter."""
    numbers = [w.numel() for w in chosen.values()]
    need = sum(w.numel() * (16 + 3 * w.element_size()) for w in chosen.values()) + 24 * max(numbers)
    free = free_memory(next(iter(chosen.values())))
    if need > free:
        raise TooLarge(
            f"gradients and copies of {sum(numbers):,} weights need {need / 2**30:.1f} GiB beside what the network's passes take; "
            f"{free / 2**30:.1f} GiB are free: choose fewer layers"
        )


def _loss_and_gradient(
    model: nn.Module, loss_fn: Loss, batches: Batches, weights: list[nn.Parameter], *, checked: bool
) -> tuple[float, list[Tensor]]:
    """Mean loss and its gradient in float64; NaN for a gradient where the loss is not finite, which is an error if `checked`."""
    samples = batches.samples
    total = [torch.zeros_like(w, dtype=torch.float64) for w in weights]
    parts = []
    for index, (inputs, labels) in enumerate(batches):
        with torch.enable_grad():
            outputs = model(inputs)
            loss = batch_loss(loss_fn, outputs, labels, index) if checked else loss_fn(outputs, labels).reshape(())
        parts.append(len(labels) * loss.item())
        if not math.isfinite(parts[-1]):
            total[0].fill_(math.nan)
        elif loss.requires_grad:
            for sum_, part in zip(total, torch.autograd.grad(loss, weights, allow_unused=True), strict=True):
                if part is not None:
                    sum_.add_(part, alpha=len(labels) / samples)
    # Infinities of both signs are no error here, but they are to fsum.
    return (math.fsum(parts) if all(map(math.isfinite, parts)) else sum(parts)) / samples, total


def _checked_norm(chosen: Mapping[str, nn.Parameter], gradient: list[Tensor]) -> float:
    length = _norm(gradient)
    if not math.isfinite(length):
        odd = next(name for name, part in zip(chosen, gradient, strict=True) if not torch.isfinite(part).all())
        raise InvalidInput(f"the gradient is not finite at {odd!r}; a loss with a finite gradient is allowed")
    if length == 0:
        raise InvalidInput(f"the gradient over {len(chosen)} parameters is zero; one that is not, and so has a direction, is needed")
    return length


def _norm(parts: Iterable[Tensor]) -> float:
    return math.hypot(*(float(torch.linalg.vector_norm(part)) for part in parts))


def _move(weights: list[nn.Parameter], start: list[Tensor], direction: list[Tensor], size: float, length: float) -> None:
    """To `w − ηg`, computed in float64 and rounded once; `InvalidInput` if more than half of the step is lost in rounding."""
    lost = []
    with torch.no_grad():
        for w, own, along in zip(weights, start, direction, strict=True):
            # Not in place: in float64 `double` gives the tensor itself.
            w.copy_(torch.sub(own.double(), along, alpha=size))
            lost.append(float(torch.linalg.vector_norm((w.double() - own.double()).add_(along, alpha=size))))
    # Infinity is no rounding: a step may be so large that weights overflow.
    if size * length / 2 < (apart := math.hypot(*lost)) < math.inf:
        raise InvalidInput(
            f"a step size is {size!r}, a step of length {size * length:.3g} of which rounding to {weights[0].dtype} loses {apart:.3g}; "
            "a larger one is allowed"
        )


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(v) for v in value.tolist()]
    return None if isinstance(value, float) and not math.isfinite(value) else value
