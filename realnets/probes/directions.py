"""Directions in weight space: a tensor for each parameter that moves, by name, in float64.

A filter is what one index of a weight's first dimension holds: the weights of one output channel of a convolution, one row of a
linear layer. Parameters of at most one dimension, biases and those of batch norm, have no filters and go by a convention of their own:

"zero"    they do not move: the setting of all figures of Li et al. (`--xignore biasbn` of their code)
"scaled"  their direction is scaled, as a whole, to the norm of the parameter

Their code without that option puts the parameter itself in place of a random direction; that is not offered.

Source: Li, Xu, Taylor, Studer and Goldstein 2018 (1712.09913), section 4, and the code of its authors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from realnets.probes.batches import chosen_parameters
from sim.rng import generator
from theory.errors import InvalidInput
from theory.ranges import check_count

Direction = Mapping[str, Tensor]
"""Parameter names and tensors of their shapes; a parameter that is not named does not move."""

BIASES = ("zero", "scaled")


def random_direction(
    model: nn.Module, *, layers: Iterable[str] | None = None, biases: str = "zero", seed: int = 0, index: int = 0
) -> dict[str, Tensor]:
    """Gaussian direction, each filter scaled to the norm of the model's own.

    Parameters
    ----------
    layers : iterable of str, optional
        Names of modules or parameters; by default all parameters that require a gradient. A parameter's direction depends on
        its name, `seed` and `index` only, not on what else is chosen.
    biases : "zero" or "scaled"
        Convention for parameters of at most one dimension.
    seed, index : int ≥ 0
        Directions of one seed and several indices are independent.

    Returns
    -------
    dict of str to float64 tensor, on the device of the model.

    Raises
    ------
    InvalidInput
        For a value outside these, weights that are not finite, or a direction that is zero everywhere.
    """
    for name, value in (("seed", seed), ("index", index)):
        check_count(name, value, 0)
    chosen = chosen_parameters(model, layers)
    drawn = {}
    for name, w in chosen.items():
        draw = generator(f"direction in weight space: {name}", seed, index).standard_normal(tuple(w.shape))
        drawn[name] = torch.as_tensor(draw, dtype=torch.float64, device=w.device)
    return filter_normalised(model, drawn, biases=biases)


def filter_normalised(model: nn.Module, direction: Direction, *, biases: str = "zero") -> dict[str, Tensor]:
    """`direction` with each filter scaled to the norm of the model's own: `d_ij ← d_ij ‖w_ij‖_F/‖d_ij‖_F`.

    A filter of zero norm, the model's or the direction's, has direction zero.

    Raises
    ------
    InvalidInput
        For an unknown convention, a direction that does not fit the model, weights that are not finite, or a result that is zero.
    """
    if biases not in BIASES:
        raise InvalidInput(f"biases is {biases!r}; one of {', '.join(map(repr, BIASES))} is allowed")
    named = dict(model.named_parameters())
    result = {name: _scaled(named[name].detach().double(), d, biases, name) for name, d in checked(model, direction).items()}
    if not any(bool(d.any()) for d in result.values()):
        raise InvalidInput(f"the filter-normalised direction is zero (biases={biases!r}); weights with filters of non-zero norm are needed")
    return result


def towards(model: nn.Module, after: nn.Module | Mapping[str, Tensor], *, layers: Iterable[str] | None = None) -> dict[str, Tensor]:
    """Direction `W_after − W` from the model to another state of it, which is at coordinate 1.

    Parameters
    ----------
    after : Module or state dict
    layers : iterable of str, optional
        By default all parameters, also those that require no gradient.

    Raises
    ------
    InvalidInput
        For a layer that does not exist, a state that lacks a parameter or has another shape, or no difference at all.
    """
    chosen = dict(model.named_parameters()) if layers is None else chosen_parameters(model, layers)
    state = dict(after.named_parameters()) if isinstance(after, nn.Module) else after
    for name in chosen:
        if name not in state:
            raise InvalidInput(f"the other state lacks {name!r}; a state of the same network is allowed")
    other = checked(model, {name: state[name] for name in chosen})
    result = {name: other[name] - w.detach().double() for name, w in chosen.items()}
    if not any(bool(d.any()) for d in result.values()):
        raise InvalidInput("the two states are equal; states that differ are needed for a direction")
    return result


def from_vector(model: nn.Module, vector: Tensor, *, layers: Iterable[str] | None = None) -> dict[str, Tensor]:
    """Direction of a flat vector, (n,), over the chosen parameters in the order of `named_parameters`.

    Raises
    ------
    InvalidInput
        If the vector has not as many entries as there are weights.
    """
    chosen = chosen_parameters(model, layers)
    sizes = [w.numel() for w in chosen.values()]
    if vector.shape != (sum(sizes),):
        raise InvalidInput(f"a direction has shape {tuple(vector.shape)}; ({sum(sizes)},), one entry a chosen weight, is allowed")
    parts = torch.split(vector.detach(), sizes)
    return checked(model, {name: part.reshape(w.shape) for (name, w), part in zip(chosen.items(), parts, strict=True)})


def checked(model: nn.Module, direction: Direction) -> dict[str, Tensor]:
    """A copy of `direction` in float64 beside the weights; `InvalidInput` unless it fits the model and is finite."""
    named = dict(model.named_parameters())
    result = {}
    for name, d in direction.items():
        if name not in named:
            raise InvalidInput(f"a direction holds {name!r}, which is no parameter; {', '.join(list(named)[:12])} … are allowed")
        if not isinstance(d, Tensor) or d.shape != named[name].shape:
            what = tuple(d.shape) if isinstance(d, Tensor) else type(d).__name__
            raise InvalidInput(f"a direction holds {what} for {name!r}; a tensor of shape {tuple(named[name].shape)} is allowed")
        result[name] = d.detach().to(device=named[name].device, dtype=torch.float64, copy=True)
        if not bool(torch.isfinite(result[name]).all()):
            raise InvalidInput(f"a direction holds NaN or infinity for {name!r}; finite numbers are allowed")
    return result


def inner(first: Direction, second: Direction) -> float:
    """Inner product `Σ d·e` over the parameters in both."""
    return math.fsum(float((d * second[name]).sum()) for name, d in first.items() if name in second)


def _scaled(w: Tensor, d: Tensor, biases: str, name: str) -> Tensor:
    if w.ndim <= 1 and biases == "zero":
        return torch.zeros_like(d)
    rows = 1 if w.ndim <= 1 else w.shape[0]
    own, drawn = (torch.linalg.vector_norm(x.reshape(rows, -1), dim=1, keepdim=True) for x in (w, d))
    if not bool(torch.isfinite(own).all()):
        raise InvalidInput(f"{name!r} holds NaN, infinity or weights whose norm overflows; finite weights are allowed")
    scale = torch.where(drawn > 0, own / drawn, 0.0)
    return (d.reshape(rows, -1) * scale).reshape(d.shape)
