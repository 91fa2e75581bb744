"""The straight line between two solutions, and the barrier of the loss on it.

Weights, and whatever else the network holds in floating point, are `(1 − t)A + tB`. With "frozen" statistics that includes those of
batch norm: each end then has its own, and is the solution itself. Between the ends such statistics fit no network (the variance of
a mean is not the mean of variances), which can make a barrier where there is none; hence "re-estimated" is the default here.

Source: Frankle, Dziugaite, Roy and Carbin 2020 (1912.05671); Entezari, Sedghi, Saukh and Neyshabur 2022 (2110.06296); for the statistics,
Jordan, Sedghi, Saukh, Entezari and Neyshabur 2023 (2211.08403).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from realnets import batchnorm
from realnets.probes.batches import Loss
from realnets.probes.borrowed import borrowed
from realnets.probes.landscape import LossUnderPolicy
from theory.errors import InvalidInput
from theory.ranges import check_count


@dataclass(frozen=True, kw_only=True, eq=False)
class Interpolation:
    """Losses on the line between two solutions.

    Attributes
    ----------
    coordinates : (points,) float64 array
        `t` from 0, the first solution, to 1, the second.
    losses : (points,) float64 array
        Infinity where the loss overflowed, NaN where it was undefined.
    batch_norm : "frozen" or "re-estimated"
        "frozen": statistics are interpolated as weights are.
    """

    coordinates: np.ndarray
    losses: np.ndarray
    batch_norm: str

    @property
    def barrier(self) -> float:
        """`max_t [L(t) − (1 − t)L(0) − tL(1)]` over the points, ≥ 0: how far the loss rises above the line between its ends.

        A lower bound of the maximum over all of the line; NaN if a loss is.

        Source: Entezari et al. 2022 (2110.06296).
        """
        return float(np.max(self._excess))

    @property
    def barrier_at(self) -> float:
        """`t` of `barrier`; the first, if there are several."""
        return float(self.coordinates[np.argmax(self._excess)])

    @property
    def barrier_over_mean(self) -> float:
        """`max_t L(t) − (L(0) + L(1))/2` over the points, which two unequal ends alone make positive.

        Source: Frankle et al. 2020 (1912.05671), who take the error rate for `L`.
        """
        return float(np.max(self.losses) - (self.losses[0] + self.losses[-1]) / 2)

    @property
    def not_finite(self) -> int:
        """Number of points whose loss is infinity or NaN."""
        return int(np.count_nonzero(~np.isfinite(self.losses)))

    @property
    def _excess(self) -> np.ndarray:
        t = self.coordinates
        return self.losses - ((1 - t) * self.losses[0] + t * self.losses[-1])


def interpolation(
    before: nn.Module,
    after: nn.Module | Mapping[str, Tensor],
    loss_fn: Loss,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    points: int = 21,
    batch_norm: str = "re-estimated",
    training_set: Iterable[tuple[Tensor, Tensor]] | None = None,
    chunk: int = batchnorm.CHUNK,
    progress: Callable[[int], object] | None = None,
) -> Interpolation:
    """Loss `L((1 − t)A + tB)` between two solutions of one network, for `t` in [0, 1].

    Parameters
    ----------
    before : Module
        The first solution; it is evaluated in evaluation mode, and given back as it was, bit for bit.
    after : Module or state dict
        The second one.
    loss_fn : callable
        `loss_fn(outputs, labels)`, the mean over a batch; an error rate will do.
    batches : iterable of (inputs, labels)
        The loss is the mean over all samples.
    points : int ≥ 3
        Evenly spaced, both ends included; an odd number has the midpoint.
    batch_norm : "re-estimated" or "frozen"
        Statistics measured at each point, ends included, or interpolated.
    training_set : iterable of (inputs, labels), optional
        What statistics are re-estimated on; default `batches`.
    chunk : int ≥ 2
        Samples that pass at once while statistics are measured, as for `landscape`.
    progress : callable, optional
        Called with the number of points done.

    Raises
    ------
    InvalidInput
        For a value outside these, states of different networks or with whole-number buffers that differ, or a loss at an end that is
        no finite scalar.
    """
    check_count("points", points, 3)
    loss = LossUnderPolicy.of(before, loss_fn, batches, batch_norm, training_set, chunk)
    pairs = _pairs(before, after, batch_norm)
    coordinates, losses = np.arange(points) / (points - 1), np.empty(points)
    with borrowed(before, weights=True), torch.no_grad():
        for index, t in enumerate(coordinates):
            for moving, start, end in pairs:
                # Exact at both ends, and where start and end agree.
                moving.copy_(torch.lerp(start.double(), end.double(), float(t)))
            losses[index] = loss.finite() if index in (0, points - 1) else loss.as_computed()
            if progress is not None:
                progress(1)
    for array in (coordinates, losses):
        array.setflags(write=False)
    return Interpolation(coordinates=coordinates, losses=losses, batch_norm=batch_norm)


def _pairs(before: nn.Module, after: nn.Module | Mapping[str, Tensor], batch_norm: str) -> list[tuple[Tensor, Tensor, Tensor]]:
    """(what moves, where it starts, where it ends): parameters and buffers in floating point."""
    named = {**dict(before.named_parameters()), **dict(before.named_buffers())}
    if isinstance(after, nn.Module):
        other: Mapping[str, Tensor] = {**dict(after.named_parameters()), **dict(after.named_buffers())}
        known = set(named)
    else:
        other, known = after, set(named) | set(before.state_dict())
    for name in other:
        if name not in known:
            raise InvalidInput(f"the second state holds {name!r}, which the first lacks; two states of one network are allowed")
    statistics = {id(b) for layer in batchnorm.layers(before) for b in layer.buffers()}
    optional = set(named) - set(before.state_dict())
    pairs = []
    for name, value in named.items():
        counter = id(value) in statistics and not value.is_floating_point()
        if counter or (id(value) in statistics and batch_norm == "re-estimated"):
            continue
        if name not in other:
            if name in optional:
                continue
            raise InvalidInput(f"the second state lacks {name!r} (batch_norm={batch_norm!r}); two states of one network are allowed")
        end = other[name]
        if not isinstance(end, Tensor) or end.shape != value.shape:
            what = tuple(end.shape) if isinstance(end, Tensor) else type(end).__name__
            raise InvalidInput(f"the second state holds {what} for {name!r}; a tensor of shape {tuple(value.shape)} is allowed")
        end = end.detach().to(value.device)
        if value.is_floating_point():
            if not bool(torch.isfinite(end).all() & torch.isfinite(value).all()):
                raise InvalidInput(f"{name!r} holds NaN or infinity; finite weights are allowed")
            pairs.append((value, value.detach().clone(), end.clone()))
        elif not torch.equal(value, end):
            raise InvalidInput(f"the whole numbers {name!r} differ between the states; only floating-point values can be interpolated")
    return pairs
