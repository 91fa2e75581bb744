"""Gram matrices of random initial weights: how far each is from the infinite width's, and whether it breaks a bound."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.networks import initial_net
from sim.rng import generator
from sim.tasks import Task, problem_of
from theory.bounds.initial_kernel import entrywise_deviation, initial_deviation, least_eigenvalue_width, operator_norm
from theory.numeric.gram import relu_gram
from theory.numeric.gram_fluctuation import gram_matrix_variance, inner_products
from theory.numeric.spectrum import GramSpectrum


@dataclass(frozen=True, kw_only=True)
class GramSpec:
    """Nets at one width, on the target inputs of a task.

    Parameters
    ----------
    task : Task
    width : int
        Even; a multiple of 4 for several outputs.
    nets : int
    delta : float
        Probability with which each bound may be exceeded.
    outputs : int
        Of nets with several, for `directed`.
    """

    task: Task
    width: int
    nets: int
    delta: float = 0.05
    outputs: int = 3


def concentrated(spec: GramSpec) -> dict[str, Any]:
    """Distances of the Gram matrices of independent neurons, and of antisymmetric pairs, and bounds on the former.

    Returns
    -------
    dict of lists over nets: `"plain"` and `"pairs"`, `‖H(W(0)) − H‖_F²`; `"operator"`, the operator norm; `"least"`, `λ_min(H(W(0)))`;
    `"entries"`, the largest `|H(W(0)) − H|ᵢⱼ` over its bound. And of `"bounds"`: on the operator norm, on `λ_min` (`None` where none is
    promised), and Hoeffding's on every entry of unit inputs, for comparison.
    """
    X, m = problem_of(spec.task).target[0], spec.width
    G, H = inner_products(X), relu_gram(X)
    each = entrywise_deviation(X, m, spec.delta)
    # Entries of orthogonal inputs are zero, and so is their bound.
    each = np.where(each > 0, each, np.inf)
    found: dict[str, list[float]] = {name: [] for name in ("plain", "pairs", "operator", "least", "entries")}
    for seed in range(spec.nets):
        D = active(initial_net(m, X.shape[1], 1, antisymmetric=False, seed=seed)[0], X)
        own = G * (D.T @ D) / m
        gap = own - H
        found["plain"].append(float(np.sum(gap**2)))
        found["operator"].append(operator_norm(gap))
        found["least"].append(float(np.linalg.eigvalsh(own)[0]))
        found["entries"].append(float(np.max(np.abs(gap) / each)))
        D = active(initial_net(m, X.shape[1], 1, antisymmetric=True, seed=seed)[0], X)
        found["pairs"].append(float(np.sum((G * (D.T @ D) / m - H) ** 2)))
    n, smallest = len(X), GramSpectrum.of(H).smallest
    share = least_share(smallest, operator_norm(X), n, m, spec.delta)
    bounds = {
        "operator": initial_deviation(X, m, spec.delta),
        "least": None if share is None else (1 - share) * smallest,
        "hoeffding": math.sqrt(math.log(n * (n + 1) / spec.delta) / (2 * m)),
    }
    return {**found, "bounds": bounds}


def least_share(smallest: float, norm: float, points: int, neurons: int, delta: float) -> float | None:
    """The least `ε` for which `least_eigenvalue_width` is content with so many neurons; `None` if there is none below 1."""
    low, high = 0.0, 1 - 1e-9
    if least_eigenvalue_width(smallest, norm, points, high, delta) > neurons:
        return None
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (low, middle) if least_eigenvalue_width(smallest, norm, points, middle, delta) <= neurons else (middle, high)
    return high


def directed(spec: GramSpec) -> dict[str, Any]:
    """Squared distances along the direction of largest matrix variance, and of the Gram matrices of nets with several outputs.

    Returns
    -------
    dict of lists over nets: `"direction"`; `"orthogonal"` and `"independent"`, by the kind of readouts.
    """
    X, m = problem_of(spec.task).target[0], spec.width
    G, H = inner_products(X), relu_gram(X)
    top = np.linalg.eigh(gram_matrix_variance(X))[1][:, -1]
    found: dict[str, list[float]] = {"direction": [], "orthogonal": [], "independent": []}
    for seed in range(spec.nets):
        W, a = initial_net(m, X.shape[1], spec.outputs, antisymmetric=False, seed=seed)
        D = active(W, X)
        found["direction"].append(float(np.sum(((G * (D.T @ D) / m - H) @ top) ** 2)))
        signs = generator("independent readouts", m, seed).choice([-1.0, 1.0], size=a.shape)
        for name, readouts in (("orthogonal", a), ("independent", signs)):
            found[name].append(sum(_block_gaps(D, readouts, G, H)))
    return dict(found)


def active(W: np.ndarray, X: np.ndarray) -> np.ndarray:
    """`1{w_r·xᵢ > 0}`, (m, n) float32: sums of products are whole numbers, and exact."""
    return (W @ X.T > 0).astype(np.float32)


def _block_gaps(D: np.ndarray, a: np.ndarray, G: np.ndarray, H: np.ndarray) -> Iterator[float]:
    """`‖K − I ⊗ H‖_F²` of one net, block by block."""
    for p in range(a.shape[1]):
        for q in range(a.shape[1]):
            block = G * ((D * (a[:, p] * a[:, q])[:, None].astype(np.float32)).T @ D) / len(D)
            yield float(np.sum((block - H) ** 2 if p == q else block**2))
