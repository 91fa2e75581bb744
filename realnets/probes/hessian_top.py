"""Leading eigenvalues of the Hessian of the mean loss, each with a bound on its error.

Rayleigh–Ritz in a Krylov space with full reorthogonalisation, stopped as soon as the bounds allow, restarted where memory is short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from realnets.probes.batches import Batches, Loss
from realnets.probes.hvp import Hessian, hessian_operator, mebibytes
from realnets.probes.krylov import Krylov, Ritz
from sim.rng import generator
from theory.errors import InvalidInput, NotConverged, TooLarge

WHICH = ("largest", "smallest", "magnitude")

ASYMMETRY = 0.01
"""Relative asymmetry of the products above which the loss is not one fixed function; rounding is far below it."""


@dataclass(frozen=True, kw_only=True)
class HessianTop:
    """Leading eigenpairs `(λᵢ, vᵢ)`.

    Attributes
    ----------
    values : (k,) float64 array
        Leading one first.
    residuals : (k,) float64 array
        Bound on the error of each value: the smaller of `‖H vᵢ − λᵢ vᵢ‖` and `‖R‖²/gap` (of a group of neighbours, see
        `krylov.Ritz.bounds`), plus the products' rounding. The first bounds the distance to some eigenvalue without condition;
        the second takes it that no eigenvalue in the gap was missed.
    residual_norms : (k,) float64 array
        `‖H vᵢ − λᵢ vᵢ‖`; over the gap it bounds the sine of the angle between `vᵢ` and the eigenvector.
    vectors : (k, p) tensor
        Unit vectors over the chosen parameters, of their dtype, on their device.
    products : int
        Hessian-vector products used.
    which : str
    shapes : dict
        Shape of each chosen parameter by name, in the order of the vectors.
    """

    values: np.ndarray
    residuals: np.ndarray
    residual_norms: np.ndarray
    vectors: Tensor
    products: int
    which: str
    shapes: dict[str, tuple[int, ...]]

    def direction(self, index: int) -> dict[str, Tensor]:
        """`v_index` as one tensor a parameter, by name; views of `vectors`."""
        sizes = [int(np.prod(shape)) for shape in self.shapes.values()]
        parts = torch.split(self.vectors[index], sizes)
        return {name: part.reshape(shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}


def hessian_top(
    model: nn.Module,
    loss_fn: Loss,
    batches: Iterable[tuple[Tensor, Tensor]] | Batches,
    k: int = 5,
    tol: float = 1e-5,
    *,
    which: str = "largest",
    layers: Iterable[str] | None = None,
    block: int | None = None,
    seed: int = 0,
    max_products: int | None = None,
    memory: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> HessianTop:
    """The `k` leading eigenvalues of the Hessian of the mean loss over all samples, in evaluation mode.

    Parameters
    ----------
    model, loss_fn, batches, layers, memory
        As in `hessian_operator`.
    k : int
        At most the number of weights.
    tol : float
        Relative error of each value, in (0, 1). Where the products' rounding is larger, values end at that rounding, and
        `residuals` says so.
    which : str
        "largest": algebraically, the paper's measure of flatness; "smallest": most negative first; "magnitude".
    block : int, optional
        Vectors to begin with. An eigenvalue that is repeated exactly is found at most so many times. Default: 1, but `k` if
        all chosen parameters have one first dimension (one layer, or a linear model), where squared loss repeats every value
        once an output.
    seed : int
        Of the vectors to begin with.
    max_products : int, optional
        Default `20 k + 200`.
    progress : callable, optional
        Called with 1 after each product.

    Raises
    ------
    InvalidInput
        For arguments outside these ranges, an unknown layer, a loss or product that is not finite, or products that are not symmetric.
    NotConverged
        If a value has not reached `tol` after `max_products`; with the values and bounds that were reached.
    TooLarge
        If the vectors do not fit into the memory.

    Source: Lanczos 1950; Wu and Simon 2000 (thick restart); Mathias 1998 (bounds).
    """
    _check(k, tol, which, block, max_products)
    with hessian_operator(model, loss_fn, batches, layers=layers, memory=memory) as H:
        p = H.size
        if k > p:
            raise InvalidInput(f"k is {k}; at most {p}, the number of chosen weights, is allowed")
        limit = 20 * k + 200 if max_products is None else max_products
        room = min(p, _room(H, k), limit)
        rng = generator("realnets.probes.hessian_top", seed)

        def draw() -> Tensor:
            return torch.as_tensor(rng.standard_normal(p)).to(H.device)

        space = Krylov(H, p, H.dtype, H.device, draw, min(p, _block(H, k) if block is None else block))
        while True:
            space.step()
            if progress is not None:
                progress(1)
            found = space.ritz()
            scale = float(np.abs(found.values).max())
            if found.rounding > ASYMMETRY * scale and found.rounding > 32 * float(torch.finfo(H.dtype).eps) * scale:
                raise InvalidInput(
                    f"products with the Hessian are not symmetric, by {found.rounding / scale:.1e} of its norm; a loss that is the same "
                    "function of the weights at each pass is allowed (no random augmentation, no randomness in evaluation mode)"
                )
            full = space.basis.count == p
            leading = _order(found.values, which)
            if len(leading) >= k and (full or _converged(found, leading, k, tol, which)):
                return _result(H, space, found, leading[:k], which)
            if H.products >= limit:
                raise NotConverged(_shortfall(found, leading[:k], k, tol, which, H.products))
            if space.basis.count == room:
                space.restart(np.sort(leading[: max(k + 1, min(room - 2, k + room // 3))]))


def _check(k: int, tol: float, which: str, block: int | None, max_products: int | None) -> None:
    if k < 1:
        raise InvalidInput(f"k is {k}; at least 1 is allowed")
    if not 0 < tol < 1:
        raise InvalidInput(f"tol is {tol!r}; a number in (0, 1) is allowed")
    if which not in WHICH:
        raise InvalidInput(f"which is {which!r}; one of {', '.join(map(repr, WHICH))} is allowed")
    if block is not None and block < 1:
        raise InvalidInput(f"block is {block}; at least 1 is allowed")
    if max_products is not None and max_products < k:
        raise InvalidInput(f"max_products is {max_products}; at least k = {k} is allowed")


def _block(H: Hessian, k: int) -> int:
    return k if len({shape[:1] for shape in H.shapes.values()}) == 1 else 1


def _room(H: Hessian, k: int) -> int:
    """How many basis vectors fit, beside the results, the candidates and what a product takes."""
    each = H.size * torch.finfo(H.dtype).bits // 8
    beside = 3 * k + 6
    least = min(H.size, 2 * k + 4)
    room = H.memory // each - beside
    if room < least:
        raise TooLarge(
            f"{k} eigenvectors of {H.size:,} weights need {mebibytes((least + beside) * each)}, and {mebibytes(H.memory)} are left; "
            "a smaller k, fewer layers= or more memory= is allowed"
        )
    return room


def _order(values: np.ndarray, which: str) -> np.ndarray:
    key = {"largest": -values, "smallest": values, "magnitude": -np.abs(values)}[which]
    return np.argsort(key, kind="stable")


def _converged(found: Ritz, leading: np.ndarray, k: int, tol: float, which: str) -> bool:
    """Whether the `k` leading values are exact to `tol` and no other Ritz value may still overtake them."""
    theta, bounds = found.values, found.bounds(which)
    allowed = np.maximum(tol * np.abs(theta[leading[:k]]), found.rounding)
    if (bounds[leading[:k]] - found.rounding > allowed).any():
        return False
    if len(leading) == k:
        return False
    key = {"largest": theta, "smallest": -theta, "magnitude": np.abs(theta)}[which]
    others = leading[k:]
    return bool((key[others] + found.residuals[others] <= key[leading[k - 1]] + allowed[-1]).all())


def _result(H: Hessian, space: Krylov, found: Ritz, chosen: np.ndarray, which: str) -> HessianTop:
    vectors = space.basis.combine(found.coefficients[:, chosen])
    return HessianTop(
        values=found.values[chosen],
        residuals=found.bounds(which)[chosen],
        residual_norms=found.residuals[chosen] + found.rounding,
        vectors=vectors,
        products=H.products,
        which=which,
        shapes=H.shapes,
    )


def _shortfall(found: Ritz, leading: np.ndarray, k: int, tol: float, which: str, products: int) -> str:
    bounds = found.bounds(which)[leading]
    reached = ", ".join(f"{value:.6g} ± {bound:.1g}" for value, bound in zip(found.values[leading], bounds, strict=True))
    return f"after {products} products {len(leading)} of {k} eigenvalues are {reached}; tol is {tol:g}; more max_products are needed"
