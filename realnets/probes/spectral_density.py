"""Spectral density of the Hessian of the mean loss, with a standard error at each point of its grid.

`φ(t) = (1/p) Σᵢ N(t; λᵢ, σ²)`. A random vector's spectral measure is unbiased for the eigenvalues' distribution, and `m` steps of
Lanczos give its Gauss quadrature. Eigenvectors that the first vector's Lanczos has found are taken out of all later vectors, and count
exactly, `1/p` each.

Source: Lin, Saad and Yang 2016 (stochastic Lanczos quadrature); Ghorbani, Krishnan and Xiao 2019.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from realnets.probes.batches import Batches, Loss
from realnets.probes.hvp import Hessian, hessian_operator, mebibytes
from realnets.probes.krylov import NOTHING, Basis
from sim.rng import generator
from theory.errors import InvalidInput, TooLarge

MARGIN = 4.0
"""Standard deviations of the Gaussian by which the grid goes beyond the outermost nodes."""


@dataclass(frozen=True, kw_only=True)
class SpectralDensity:
    """`φ(t)`, the eigenvalues' density smoothed by a Gaussian; its integral over the line is 1.

    Attributes
    ----------
    grid : (g,) array
        Points `t`.
    density : (g,) array
        `φ(t)`, 1/units of the loss.
    standard_error : (g,) array
        Of `density`, over random vectors (Student's t with `probes − 1` degrees of freedom); 0 where all eigenvalues were computed.
        What `steps` steps cannot resolve within `width` is not in it.
    width : float
        Standard deviation `σ` of the Gaussian.
    nodes, weights : (q,) arrays
        The quadrature itself, ascending: the distribution without smoothing; the weights sum to 1.
    deflated : int
        Eigenvalues that count exactly.
    products : int
        Hessian-vector products used.
    """

    grid: np.ndarray
    density: np.ndarray
    standard_error: np.ndarray
    width: float
    nodes: np.ndarray
    weights: np.ndarray
    deflated: int
    products: int


def spectral_density(
    model: nn.Module,
    loss_fn: Loss,
    batches: Iterable[tuple[Tensor, Tensor]] | Batches,
    *,
    probes: int = 10,
    steps: int = 100,
    broadening: float = 0.02,
    grid: int | np.ndarray = 400,
    layers: Iterable[str] | None = None,
    seed: int = 0,
    memory: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> SpectralDensity:
    """The spectral density of the Hessian of the mean loss over all samples, in evaluation mode.

    Parameters
    ----------
    model, loss_fn, batches, layers, memory
        As in `hessian_operator`.
    probes : int
        Random vectors, at least 3.
    steps : int
        Of Lanczos for each, at least 2. If `probes · steps` is at least the number of weights, all eigenvalues are computed
        instead, which is exact and takes no more products.
    broadening : float
        `σ` over the span of the spectrum and zero, in (0, 1). A Hessian that is zero has no scale; its span is taken as 1.
    grid : int or (g,) array
        Number of evenly spaced points over the spectrum, or the points.
    seed : int
        Of the random vectors.
    progress : callable, optional
        Called with 1 after each product.

    Raises
    ------
    InvalidInput
        For arguments outside these ranges, an unknown layer, or a loss or product that is not finite.
    TooLarge
        If the vectors do not fit into the memory.
    """
    points = _checked(probes, steps, broadening, grid)
    with hessian_operator(model, loss_fn, batches, layers=layers, memory=memory) as H:
        p = H.size
        if probes * steps >= p and 3 * 8 * p * p <= H.memory:
            exact = _eigenvalues(H, progress)
            return _smoothed(H, exact, np.full(p, 1 / p), [], broadening, points)
        each = p * torch.finfo(H.dtype).bits // 8
        most = min(2 * steps, p) + 6
        if most * each > H.memory:
            raise TooLarge(
                f"{steps} steps with {p:,} weights need {mebibytes(most * each)} for their vectors, and {mebibytes(H.memory)} are left; "
                "fewer steps or layers, or more memory= is allowed"
            )
        rng = generator("realnets.probes.spectral_density", seed)

        def start() -> Tensor:
            return torch.as_tensor(rng.standard_normal(p)).to(H.device)

        found = _lanczos(H, start(), steps, None, progress)
        sure = found.residuals <= math.sqrt(torch.finfo(H.dtype).eps) * np.abs(found.nodes).max()
        exact = found.nodes[sure]
        known = Basis(p, H.dtype, H.device)
        for row in found.basis.combine(found.coefficients[:, sure]):
            known.append(row)
        measures = []
        # What is left of the first vector is as random in the complement as any; nothing is left where all of its nodes are exact.
        if (rest := found.weights[~sure].sum()) > math.sqrt(torch.finfo(H.dtype).eps):
            measures.append((found.nodes[~sure], found.weights[~sure] / rest))
        del found
        for _ in range(probes - 1):
            if known.count == p:
                break
            other = _lanczos(H, start(), steps, known, progress)
            measures.append((other.nodes, other.weights))
        share = (p - len(exact)) / p
        return _smoothed(
            H, exact, np.full(len(exact), 1 / p), [(nodes, share * weights) for nodes, weights in measures], broadening, points
        )


def _checked(probes: int, steps: int, broadening: float, grid: int | np.ndarray) -> int | np.ndarray:
    if probes < 3:
        raise InvalidInput(f"probes is {probes}; at least 3 are allowed, for a standard error")
    if steps < 2:
        raise InvalidInput(f"steps is {steps}; at least 2 are allowed")
    if not 0 < broadening < 1:
        raise InvalidInput(f"broadening is {broadening!r}; a number in (0, 1) is allowed")
    if isinstance(grid, int):
        if grid < 2:
            raise InvalidInput(f"grid is {grid}; at least 2 points are allowed")
        return grid
    points = np.asarray(grid, dtype=float)
    if points.ndim != 1 or not len(points) or not np.isfinite(points).all():
        raise InvalidInput(f"grid has shape {points.shape}; finite points (g,), or their number, are allowed")
    return points


@dataclass(frozen=True)
class _Quadrature:
    nodes: np.ndarray
    weights: np.ndarray
    residuals: np.ndarray
    coefficients: np.ndarray
    basis: Basis


def _lanczos(H: Hessian, start: Tensor, steps: int, known: Basis | None, progress: Callable[[int], object] | None) -> _Quadrature:
    """Gauss quadrature of the measure of `start`, in the complement of the `known` rows."""
    basis = Basis(H.size, H.dtype, H.device)
    eps = float(torch.finfo(H.dtype).eps)
    alpha: list[float] = []
    beta: list[float] = []
    vector = start
    if known is not None:
        known.remove(vector)
    vector /= vector.norm()
    while True:
        basis.append(vector)
        image = H(basis.row(basis.count - 1)).double()
        if progress is not None:
            progress(1)
        if known is not None:
            known.remove(image)
        alpha.append(float(basis.remove(image)[-1]))
        norm = float(image.norm())
        scale = max(abs(a) for a in alpha) + max(beta, default=0.0)
        if basis.count == min(steps, H.size - (known.count if known is not None else 0)) or norm <= NOTHING * eps * (scale + norm):
            break
        beta.append(norm)
        vector = image / norm
    theta, S = np.linalg.eigh(np.diag(alpha) + np.diag(beta, 1) + np.diag(beta, -1))
    return _Quadrature(theta, S[0] ** 2, norm * np.abs(S[-1]), S, basis)


def _eigenvalues(H: Hessian, progress: Callable[[int], object] | None) -> np.ndarray:
    matrix = torch.empty(H.size, H.size, dtype=torch.float64)
    unit = torch.zeros(H.size, dtype=H.dtype, device=H.device)
    for index in range(H.size):
        unit[index] = 1
        matrix[index] = H(unit).double().cpu()
        unit[index] = 0
        if progress is not None:
            progress(1)
    return torch.linalg.eigvalsh((matrix + matrix.T) / 2).numpy()


def _smoothed(
    H: Hessian,
    exact: np.ndarray,
    exact_weights: np.ndarray,
    measures: list[tuple[np.ndarray, np.ndarray]],
    broadening: float,
    points: int | np.ndarray,
) -> SpectralDensity:
    nodes = np.concatenate([exact, *(nodes for nodes, _ in measures)])
    weights = np.concatenate([exact_weights, *(weights / len(measures) for _, weights in measures)])
    low, high = float(nodes.min()), float(nodes.max())
    width = broadening * ((max(high, 0.0) - min(low, 0.0)) or 1.0)
    grid = np.linspace(low - MARGIN * width, high + MARGIN * width, points) if isinstance(points, int) else points

    def smooth(at: np.ndarray, share: np.ndarray) -> np.ndarray:
        total = np.zeros(len(grid))
        for part in range(0, len(at), 256):
            z = (grid[:, None] - at[None, part : part + 256]) / width
            total += np.exp(-0.5 * z**2) @ share[part : part + 256]
        return total / (math.sqrt(2 * math.pi) * width)

    each = np.array([smooth(*measure) for measure in measures])
    certain = smooth(exact, exact_weights)
    density = certain + each.mean(axis=0) if len(each) else certain
    error = each.std(axis=0, ddof=1) / math.sqrt(len(each)) if len(each) > 1 else np.zeros(len(grid))
    order = np.argsort(nodes, kind="stable")
    return SpectralDensity(
        grid=grid,
        density=density,
        standard_error=error,
        width=width,
        nodes=nodes[order],
        weights=weights[order],
        deflated=len(exact),
        products=H.products,
    )
