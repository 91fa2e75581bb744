"""Curvature of the loss along filter-normalised random directions: a flatness that no rescaling of filters changes.

A filter before batch norm may be scaled by `s > 0` and the network stays the same function, while its block of the Hessian is scaled by
`1/s²`: eigenvalues and trace say nothing by themselves. Along `d`, Gaussian with each filter as long as the model's own, `dᵀ H d` stays,
and `E dᵀ H d = Σ_f ‖w_f‖²/|f| · tr H_ff` over filters `f` of `|f|` weights.

Source: the directions of Li, Xu, Taylor, Studer and Goldstein 2018 (1712.09913); the invariance, Dinh et al. 2017 (1703.04933).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from realnets.probes.batches import Batches, Loss
from realnets.probes.directions import random_direction
from realnets.probes.hvp import hessian_operator
from sim.estimate import estimate
from theory.ranges import check_count


@dataclass(frozen=True, kw_only=True)
class FilterCurvature:
    """Mean of `dᵀ H d` over directions, its standard error, and the Hessian-vector products used, one a direction."""

    mean: float
    standard_error: float
    products: int


def filter_curvature(
    model: nn.Module,
    loss_fn: Loss,
    batches: Iterable[tuple[Tensor, Tensor]] | Batches,
    directions: int = 20,
    *,
    layers: Iterable[str] | None = None,
    biases: str = "zero",
    seed: int = 0,
    memory: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> FilterCurvature:
    """Mean second derivative of the loss along filter-normalised random directions, in evaluation mode.

    Parameters
    ----------
    model, loss_fn, batches, layers, memory
        As in `hessian_operator`.
    directions : int ≥ 2
    biases : "zero" or "scaled"
        As in `realnets.probes.directions`.
    seed : int ≥ 0
        Of the directions.
    progress : callable, optional
        Called with 1 after each product.

    Raises
    ------
    InvalidInput
        For arguments outside these ranges, an unknown layer, or a loss or product that is not finite.
    TooLarge
        If the graph of one batch does not fit into the memory.
    """
    check_count("directions", directions, 2)
    values = []
    with hessian_operator(model, loss_fn, batches, layers=layers, memory=memory) as H:
        for index in range(directions):
            drawn = random_direction(model, layers=layers, biases=biases, seed=seed, index=index)
            # In the order of the operator's own flat vectors.
            flat = torch.cat([drawn[name].reshape(-1) for name in H.shapes])
            values.append(math.fsum((flat * H(flat).double()).tolist()))
            if progress is not None:
                progress(1)
    found = estimate(values)
    return FilterCurvature(mean=found.mean, standard_error=found.standard_error, products=directions)
