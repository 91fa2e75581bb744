"""Loss landscapes: the loss on a line or a plane of weights through a model.

Every point is reached from the model's own weights, in float64, and rounded once to their type: steps do not add up, and the centre is
the model itself. Batch-norm statistics do not move with the weights: they are the model's own at every point ("frozen"), or
measured again on a training set before each point ("re-estimated", `realnets.batchnorm`).

Source: Li, Xu, Taylor, Studer and Goldstein 2018 (1712.09913); Goodfellow, Vinyals and Saxe 2015 (1412.6544) for lines between states.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from realnets import batchnorm
from realnets.probes.batches import Batches, Loss, chosen_parameters, mean_loss
from realnets.probes.borrowed import borrowed
from realnets.probes.directions import Direction, checked, from_vector, inner, random_direction
from theory.errors import InvalidInput, TooLarge
from theory.numeric.solvers.plan import free_memory
from theory.ranges import check_count

Given = str | Direction | Tensor
"""One direction: "random", tensors by parameter name, or a flat vector over the chosen parameters."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Landscape:
    """Losses on a line or a plane through a model.

    Attributes
    ----------
    coordinates : (points,) float64 array
        Multiples of each direction.
    losses : (points,) or (points, points) float64 array
        `losses[i, j]` belongs to `coordinates[i]` along the first direction and `coordinates[j]` along the second. As computed:
        infinity where the loss overflowed, NaN where it was undefined, such as the difference of two infinities.
    centre : float
        Loss of the model itself under the same batch-norm policy.
    directions : tuple of one or two dicts
        Float64 tensors by parameter name; a parameter that is not named did not move.
    batch_norm : "frozen" or "re-estimated"
    """

    coordinates: np.ndarray
    losses: np.ndarray
    centre: float
    directions: tuple[dict[str, Tensor], ...]
    batch_norm: str

    @property
    def not_finite(self) -> int:
        """Number of points whose loss is infinity or NaN."""
        return int(np.count_nonzero(~np.isfinite(self.losses)))

    @property
    def norms(self) -> tuple[float, ...]:
        """`‖d‖` of each direction: the distance in weights that a coordinate of 1 is."""
        return tuple(math.sqrt(inner(d, d)) for d in self.directions)

    @property
    def cosine(self) -> float | None:
        """Of the angle between the two directions, in [−1, 1]; `None` on a line."""
        if len(self.directions) == 1:
            return None
        return inner(*self.directions) / math.prod(self.norms)


def landscape(
    model: nn.Module,
    loss_fn: Loss,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    directions: Given | Sequence[Given] = "random",
    extent: float | tuple[float, float] = 1.0,
    points: int = 51,
    batch_norm: str = "frozen",
    training_set: Iterable[tuple[Tensor, Tensor]] | None = None,
    chunk: int = batchnorm.CHUNK,
    layers: Iterable[str] | None = None,
    biases: str = "zero",
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> Landscape:
    """Loss `L(w + αd)` or `L(w + αd + βe)` around the weights `w` of a model.

    Parameters
    ----------
    model : Module
        Evaluated in evaluation mode, and given back as it was, bit for bit.
    loss_fn : callable
        `loss_fn(outputs, labels)`, the mean over a batch.
    batches : iterable of (inputs, labels)
        The loss is the mean over all samples, however they are cut into batches.
    directions : one direction, or a sequence of one or two
        "random": Gaussian and filter-normalised (`random_direction`). Tensors by parameter name: `towards(model, fine_tuned)`, or any
        others. A flat vector over the chosen parameters, such as an eigenvector of the Hessian. What is given is not
        scaled (see `filter_normalised`).
    extent : float > 0 or (low, high)
        Coordinates go from `−extent` to `extent`, or from `low` to `high`, evenly.
    points : int ≥ 2
        Along each direction; an odd number has the model itself in the middle. Default: the 51 of Li et al.'s code, which on a
        plane are 2601 passes over the batches.
    batch_norm : "frozen" or "re-estimated"
        "re-estimated" costs a second pass at each point.
    training_set : iterable of (inputs, labels), optional
        What statistics are re-estimated on; default `batches`.
    chunk : int ≥ 2
        Samples that pass at once while statistics are measured, however they come in batches. Of a training set that fits in one
        chunk they are those of training on the whole set; see `realnets.batchnorm.prepare` for larger ones.
    layers : iterable of str, optional
        What random directions and flat vectors are over: names of modules or parameters. Default: all parameters that require a gradient.
    biases : "zero" or "scaled"
        How random directions treat parameters of at most one dimension (`realnets.probes.directions`).
    seed : int ≥ 0
        Of random directions.
    progress : callable, optional
        Called with the number of points done.

    Raises
    ------
    InvalidInput
        For a value outside these, directions that do not fit the model, are zero or parallel, or a loss at the model itself that is no
        finite scalar.
    TooLarge
        If directions and a copy of the weights do not fit in free memory.

    Source: Li et al. 2018 (1712.09913), sections 3 and 4.
    """
    loss = LossUnderPolicy.of(model, loss_fn, batches, batch_norm, training_set, chunk)
    coordinates = _coordinates(extent, points)
    given = _listed(directions)
    # Directions by name may move what requires no gradient; all others are over what is chosen.
    by_name = layers is None and all(isinstance(d, Mapping) for d in given)
    chosen = (by_name and dict(model.named_parameters())) or chosen_parameters(model, layers)
    _check_memory(chosen, len(given))
    axes = tuple(_direction(model, d, list(chosen), biases, seed, index) for index, d in enumerate(given))
    _check_plane(axes)
    with borrowed(model, weights=True), torch.no_grad():
        centre = loss.finite()
        named = dict(model.named_parameters())
        start = {name: named[name].detach().clone() for name in {name for d in axes for name in d}}
        losses = np.empty((points,) * len(axes))
        for index in np.ndindex(losses.shape):
            place = [float(coordinates[i]) for i in index]
            if any(place):
                _move(named, start, axes, place)
                losses[index] = loss.as_computed()
            else:
                losses[index] = centre
            if progress is not None:
                progress(1)
    for array in (coordinates, losses):
        array.setflags(write=False)
    return Landscape(coordinates=coordinates, losses=losses, centre=centre, directions=axes, batch_norm=batch_norm)


@dataclass(frozen=True, kw_only=True)
class LossUnderPolicy:
    """Mean loss of a borrowed model as it stands, with the batch-norm statistics that a policy names."""

    model: nn.Module
    loss_fn: Loss
    batches: Batches
    batch_norm: str
    training_set: Batches
    chunk: int

    @staticmethod
    def of(
        model: nn.Module,
        loss_fn: Loss,
        batches: Iterable[tuple[Tensor, Tensor]],
        batch_norm: str,
        training_set: Iterable[tuple[Tensor, Tensor]] | None,
        chunk: int,
    ) -> LossUnderPolicy:
        """The loss, its arguments checked: `InvalidInput` for a policy that does not fit them or the model."""
        batchnorm.check_policy(batch_norm)
        batchnorm.layers(model)
        if batch_norm == "frozen" and training_set is not None:
            raise InvalidInput("training_set is given and batch_norm is 'frozen'; with a training set 're-estimated' is allowed")
        check_count("chunk", chunk, 2)
        data = Batches.of(batches, model)
        training = data if training_set is None else Batches.of(training_set, model)
        return LossUnderPolicy(model=model, loss_fn=loss_fn, batches=data, batch_norm=batch_norm, training_set=training, chunk=chunk)

    def finite(self) -> float:
        """The loss; `InvalidInput` unless it is a finite scalar."""
        self._prepare()
        return mean_loss(self.model, self.loss_fn, self.batches)

    @torch.no_grad()
    def as_computed(self) -> float:
        """The loss far from where the network was trained: infinity and NaN are values here, not errors."""
        self._prepare()
        parts = [len(labels) * float(self.loss_fn(self.model(inputs), labels)) for inputs, labels in self.batches]
        try:
            return math.fsum(parts) / self.batches.samples
        except (OverflowError, ValueError):  # a sum beyond floats; infinities of both signs
            return sum(parts) / self.batches.samples

    def _prepare(self) -> None:
        inputs = (inputs for inputs, _ in self.training_set)
        samples = self.training_set.samples
        batchnorm.prepare(self.model, batchnorm.regrouped(inputs, samples, self.chunk), self.batch_norm)


def _coordinates(extent: float | tuple[float, float], points: int) -> np.ndarray:
    check_count("points", points, 2)
    try:
        low, high = (float(v) for v in ((-extent, extent) if isinstance(extent, (int, float)) else extent))
    except (TypeError, ValueError):
        raise InvalidInput(f"extent is {extent!r}; a number > 0 or a pair (low, high) is allowed") from None
    if not (low < high and math.isfinite(high - low)):
        raise InvalidInput(f"extent is {extent!r}; a finite number > 0, or a pair of such with low < high, is allowed")
    # Symmetric in the two ends, so that the middle of (−r, r) is exactly zero.
    step = np.arange(points) / (points - 1)
    return low * step[::-1] + high * step


def _listed(directions: Given | Sequence[Given]) -> list[Given]:
    single = isinstance(directions, (str, Mapping)) or (isinstance(directions, Tensor) and directions.ndim < 2)
    given = [directions] if single else directions
    if not isinstance(given, (Sequence, Tensor)) or len(given) not in (1, 2):
        what = f"{len(given)} of them" if isinstance(given, (Sequence, Tensor)) else f"a {type(given).__name__}"
        raise InvalidInput(f"directions is {what}; one or two are allowed")
    return list(given)


def _direction(model: nn.Module, given: Given, names: list[str], biases: str, seed: int, index: int) -> dict[str, Tensor]:
    if isinstance(given, str):
        if given != "random":
            raise InvalidInput(f"a direction is {given!r}; 'random', tensors by parameter name or a flat vector is allowed")
        return random_direction(model, layers=names, biases=biases, seed=seed, index=index)
    if isinstance(given, Tensor):
        return from_vector(model, given, layers=names)
    if not isinstance(given, Mapping):
        raise InvalidInput(f"a direction is a {type(given).__name__}; 'random', tensors by parameter name or a flat vector is allowed")
    return checked(model, given)


def _check_plane(axes: tuple[dict[str, Tensor], ...]) -> None:
    squares = [inner(d, d) for d in axes]
    for index, square in enumerate(squares):
        if square == 0:
            raise InvalidInput(f"direction {index} is zero; a direction that moves some weight is needed")
    if len(axes) == 2:
        cosine = inner(*axes) / math.sqrt(math.prod(squares))
        if abs(cosine) > 1 - 16 * np.finfo(float).eps:
            raise InvalidInput(f"the two directions have cosine {cosine}; two that span a plane are needed")


def _check_memory(chosen: Mapping[str, nn.Parameter], count: int) -> None:
    """Directions in float64, two copies of the weights, and the sums of the largest parameter."""
    sizes = [w.numel() for w in chosen.values()]
    need = sum(w.numel() * (8 * count + 2 * w.element_size()) for w in chosen.values()) + 24 * max(sizes)
    free = free_memory(next(iter(chosen.values())))
    if need > free:
        raise TooLarge(
            f"{count} directions over {sum(sizes)} weights need {need / 2**30:.1f} GiB beside what the network's passes take; "
            f"{free / 2**30:.1f} GiB are free: choose fewer layers"
        )


def _move(
    named: Mapping[str, nn.Parameter], start: Mapping[str, Tensor], axes: tuple[dict[str, Tensor], ...], place: Sequence[float]
) -> None:
    for name, w in start.items():
        moved = w.double()
        for coordinate, d in zip(place, axes, strict=True):
            if name in d:
                moved = moved + coordinate * d[name]
        named[name].copy_(moved)
