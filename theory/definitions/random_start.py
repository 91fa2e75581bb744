"""A random start from first principles: Gaussian integrals over weights, sums over signs, gradient descent run for every outcome."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import mpmath as mp

from theory.definitions.gates import directional_mean
from theory.definitions.gaussian import dot
from theory.definitions.linear_model import gradient, matrix, train, zeros
from theory.formula import Case, Values

Row = Sequence[float]
_GUARD = 40


def output_entry(x: Row, z: Row, kappa: float) -> Any:
    """`E[σ(w·x) σ(w·z)]` for `w ~ N(0, κ²I)`.

    Given the component `w₁` of `w` along `x`, the other activation is the positive part of a normal variable, whose mean is known; the
    integral over `w₁ ≥ 0` is done by Gauss-Legendre quadrature.
    """
    with mp.workdps(mp.mp.dps + _GUARD):
        inner, xx, zz = dot(x, z), dot(x, x), dot(z, z)
        along, across = inner / mp.sqrt(xx), mp.sqrt(max(zz - inner * inner / xx, mp.mpf(0)))
    scale = mp.mpf(kappa)
    bend = scale * min(1, across / max(abs(along), mp.sqrt(zz) / 10**30))
    points = sorted({mp.mpf(0), bend, 6 * bend, 20 * bend, *(f * scale for f in (2, 6, 18))})

    def integrand(w: Any) -> Any:
        mean, spread = along * w, across * scale
        positive = max(mean, mp.mpf(0)) if not spread else mean * mp.ncdf(mean / spread) + spread * mp.npdf(mean / spread)
        return mp.npdf(w, 0, scale) * w * positive

    return mp.sqrt(xx) * mp.quad(integrand, points, method="gauss-legendre")


def output_covariance(case: Case) -> Values:
    """E[σ(w·x) σ(w·z)] for w ~ N(0, κ²I): an integral over the component of w along x, of a normal density times that component times
    the mean positive part of a normal variable, by quadrature in Cartesian coordinates.
    """
    return [output_entry(x, z, case["kappa"]) for x in case["X"] for z in case["Z"]]


def _left(case: Case, activations: list[Any]) -> list[Any]:
    """`z = σ_Q − A σ_P` of one neuron."""
    n_P, A = len(case["source_inputs"]), case["transfer"]
    return [q - mp.fsum(mp.mpf(a) * p for a, p in zip(row, activations, strict=False)) for row, q in zip(A, activations[n_P:], strict=True)]


def neuron_moment(case: Case, orders: Sequence[int]) -> Any:
    """`E[Π_i z_i^{order_i}]` of one neuron at `κ = 1`: an integral over directions; the length of `w` has known moments."""
    rows = [*case["source_inputs"], *case["target_inputs"]]
    total = sum(orders)

    def integrand(activations: list[Any]) -> Any:
        return mp.fprod(z**order for z, order in zip(_left(case, activations), orders, strict=True))

    # E‖w‖^k in two dimensions.
    return directional_mean(rows, integrand) * mp.mpf(2) ** (mp.mpf(total) / 2) * mp.gamma(mp.mpf(total) / 2 + 1)


def start_covariance(case: Case) -> Values:
    """E[z zᵀ] of one neuron, z = σ(wᵀX_Q) − Aσ(wᵀX_P), w ~ N(0, I) in two dimensions: integrals over the direction of w, between the
    directions where a gate switches.
    """
    n = len(case["target_inputs"])
    return [neuron_moment(case, [int(k == i) + int(k == j) for k in range(n)]) for i in range(n) for j in range(n)]


def fourth_moment(case: Case) -> Any:
    """`E(zᵀz)²` of one neuron at `κ = 1`."""
    n = len(case["target_inputs"])
    pairs = [[2 * int(k == i) + 2 * int(k == j) for k in range(n)] for i in range(n) for j in range(n)]
    return mp.fsum(neuron_moment(case, orders) for orders in pairs)


def finite_width(case: Case) -> Values:
    """Mean and variance of ‖ỹ − v‖², v = m^{-1/2} Σ a_r z_r over m neurons: multiplied out, and every product of up to four neurons'
    parts averaged over all signs and over the neurons' weights.
    """
    y = [mp.mpf(row[0]) for row in case["remaining"]]
    m, kappa, n = case["width"], mp.mpf(case["kappa"]), len(case["target_inputs"])
    moments: dict[tuple[int, ...], Any] = {}

    def mean(factors: Sequence[tuple[int, int]]) -> Any:
        """Mean of a product of `a_r z_{r,i}` over neurons `r` and points `i`."""
        value = mp.mpf(1)
        for r in {r for r, _ in factors}:
            orders = tuple(sum(1 for s, i in factors if s == r and i == k) for k in range(n))
            signs = mp.fsum(mp.mpf(a) ** sum(orders) for a in (-1, 1)) / 2
            if not signs:
                return mp.mpf(0)
            if orders not in moments:
                moments[orders] = neuron_moment(case, orders) * kappa ** sum(orders)
            value *= signs * moments[orders]
        return value

    factors = list(product(range(m), range(n)))
    root = mp.sqrt(m)
    # ‖ỹ − v‖² = ‖ỹ‖² − 2 ỹ·v + v·v, as a list of (coefficient, factors).
    terms: list[tuple[Any, tuple[tuple[int, int], ...]]] = [(mp.fsum(v * v for v in y), ())]
    terms += [(-2 * y[i] / root, ((r, i),)) for r, i in factors]
    terms += [(mp.mpf(1) / m, ((r, i), (s, i))) for r, i in factors for s in range(m)]
    first = mp.fsum(c * mean(f) for c, f in terms)
    second = mp.fsum(c * d * mean((*f, *g)) for c, f in terms for d, g in terms)
    return [first, second - first**2]


def outcomes(case: Case) -> Values:
    """Mean and variance of gradient energy, squared gradient and squared displacement on the target over Gaussian initial outputs, whose
    covariance is an integral over the direction of w: all 3ⁿ points of a Gauss-Hermite rule, exact for fourth powers, each trained
    literally on both stages.
    """
    n_P = len(case["source_inputs"])
    rows = [*case["source_inputs"], *case["target_inputs"]]
    n = len(rows)
    covariance = mp.matrix(n, n)
    for i in range(n):
        for j in range(i + 1):
            both = directional_mean([rows[i], rows[j]], mp.fprod)
            # E‖w‖² = 2κ² in the plane.
            covariance[i, j] = covariance[j, i] = 2 * mp.mpf(case["kappa"]) ** 2 * both
    L = mp.cholesky(covariance)
    nodes = list(product(((mp.mpf(0), mp.mpf(2) / 3), (mp.sqrt(3), mp.mpf(1) / 6), (-mp.sqrt(3), mp.mpf(1) / 6)), repeat=n))
    g = mp.matrix([[node[i][0] for node in nodes] for i in range(n)])
    u = L * g
    weights = [mp.fprod(w for _, w in node) for node in nodes]
    F_P, F_Q = matrix(case["source_features"]), matrix(case["target_features"])

    def labels(name: str, rows: slice) -> Any:
        given = case[f"{name}_labels"]
        return mp.matrix([[given[i][0] - u[i + rows.start, k] for k in range(len(nodes))] for i in range(len(given))])

    # Outputs are the initial ones and those of a linear model: as if it had to learn the labels less the initial outputs.
    Y_P, Y_Q = labels("source", slice(0, n_P)), labels("target", slice(n_P, n))
    W_P = train(F_P, Y_P, zeros(F_P, Y_P), case["source_lr"], case["source_steps"])
    W_Q = train(F_Q, Y_Q, W_P, case["target_lr"], case["target_steps"])
    values: Values = []
    for A in (Y_Q - F_Q * W_P, gradient(F_Q, Y_Q, W_P), W_Q - W_P):
        squares = [mp.fsum(A[i, k] ** 2 for i in range(A.rows)) for k in range(len(nodes))]
        mean = mp.fsum(w * s for w, s in zip(weights, squares, strict=True))
        values += [mean, mp.fsum(w * (s - mean) ** 2 for w, s in zip(weights, squares, strict=True))]
    return values
