"""How far a net's kernel is from `H` at `W(0)`, and how far it can turn while no neuron moves by more than `R`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from theory.arrays import Array, to_numpy
from theory.bounds.chance import bernstein_deviation, check_delta, deviation_of_mean, most_successes
from theory.errors import InvalidInput
from theory.numeric.gram import relu_gram
from theory.numeric.gram_fluctuation import expected_gram_error, gram_matrix_variance


def entrywise_deviation(X: Array, neurons: int, delta: float) -> np.ndarray:
    """Matrix that `|H(W(0)) − H|` stays below, entry by entry, with probability at least `1 − δ`.

    `|xᵢ·xⱼ|` times the larger of the two deviations of a binomial share of probability `p = (π − θ)/(2π)`, each by its Chernoff bound at
    `δ/(2N)`, `N` the number of pairs that are not orthogonal (entries of orthogonal pairs are exactly zero).

    Parameters
    ----------
    X : (n, d) array
    neurons : int
        Independent ones: half the width of an antisymmetric net.
    delta : float in (0, 1)
    """
    points = to_numpy(X).astype(np.float64)
    inner = points @ points.T
    H = to_numpy(relu_gram(points))
    rows, columns = np.nonzero(np.triu(inner))
    weight = check_delta(delta) / (2 * max(1, len(rows)))
    shares: dict[float, float] = {}
    bound = np.zeros_like(inner)
    for i, j in zip(rows.tolist(), columns.tolist(), strict=True):
        p = min(0.5, max(0.0, float(H[i, j] / inner[i, j])))
        if p not in shares:
            below = 1 - most_successes(1 - p, neurons, weight)
            shares[p] = max(most_successes(p, neurons, weight) - p, p - below)
        bound[i, j] = bound[j, i] = abs(inner[i, j]) * shares[p]
    return bound


class InitialKernel:
    """What `initial_deviation` needs of the inputs, whatever the width.

    Parameters
    ----------
    X : (n, d) array
    """

    def __init__(self, X: Array) -> None:
        points = to_numpy(X).astype(np.float64)
        inner = points @ points.T
        self.points = len(points)
        self.variance = operator_norm(to_numpy(gram_matrix_variance(points)))
        self.largest = max(operator_norm(inner), operator_norm(to_numpy(relu_gram(points))))
        self.second_moment = expected_gram_error(points, 1)
        self.size = float(np.linalg.norm(inner))

    def deviation(self, neurons: int, delta: float) -> float:
        """The less of the two bounds on all entries together."""
        return min(
            bernstein_deviation(self.variance, self.largest, self.points, neurons, delta),
            deviation_of_mean(self.second_moment, self.size, neurons, delta),
        )


def initial_deviation(X: Array, neurons: int, delta: float) -> float:
    """`‖H(W(0)) − H‖`, in operator norm, is at most this with probability at least `1 − δ`.

    The less of two, each valid by itself and chosen without looking at `W(0)`: matrix Bernstein with the exact matrix variance, and
    the exact second moment with bounded differences. (The norm of `entrywise_deviation` is less where few pairs are not orthogonal.)

    Parameters
    ----------
    X : (n, d) array
    neurons : int
        Independent ones.
    delta : float in (0, 1)
    """
    return InitialKernel(X).deviation(neurons, delta)


def least_eigenvalue_width(smallest: float, operator_norm: float, points: int, share: float, delta: float) -> int:
    """Independent neurons from which on `λ_min(H(W(0))) ≥ (1 − ε) λ_min(H)` with probability at least `1 − δ`.

    `m ≥ log(n/δ) ‖X‖² / (λ ((1 − ε) log(1 − ε) + ε))`, the exact form; `2‖X‖² log(n/δ)/(ε²λ)` is larger.

    Parameters
    ----------
    smallest : float > 0
        `λ_min(H)`.
    operator_norm : float
        `‖X‖`.
    points : int
        `n`.
    share : float in (0, 1)
        `ε`.
    delta : float in (0, 1)

    Source: matrix Chernoff, Tropp 2012 (arXiv 1004.4389), theorem 1.1 and remark 5.3.
    """
    if not smallest > 0:
        raise InvalidInput(f"λ_min is {smallest!r}; a number above 0 is allowed: the Gram matrix is singular")
    if not 0 < share < 1:
        raise InvalidInput(f"share is {share!r}; a number between 0 and 1, both excluded, is allowed")
    exponent = (1 - share) * math.log1p(-share) + share
    return math.ceil(operator_norm**2 * math.log(points / check_delta(delta)) / (smallest * exponent))


def flip_probability(radius: float, init_scale: float) -> float:
    """`P(|w·x| ≤ R‖x‖) = erf(R/(κ√2))` for `w ~ N(0, κ²I)`, at most `√(2/π) R/κ`.

    At most this share of neurons, on average, can be turned at `x` by moves up to `R`.
    """
    if not radius >= 0 or not init_scale > 0:
        raise InvalidInput(f"radius is {radius!r} and init_scale {init_scale!r}; a number ≥ 0 and one above 0 are allowed")
    return math.erf(radius / (init_scale * math.sqrt(2)))


def flipped_share(radius: float, init_scale: float, neurons: int, points: int, delta: float) -> float:
    """The share of neurons within reach, `|w_r(0)·xᵢ| ≤ R‖xᵢ‖`, is at most this at each of `n` points, with probability at least `1 − δ`.

    The Chernoff bound at `δ/n` for each point. It counts from `W(0)`, and so holds for every `W` whose neurons are within `R` of theirs,
    whatever data they were trained on.
    """
    return most_successes(flip_probability(radius, init_scale), neurons, check_delta(delta) / points)


def kernel_change(X: Array, Z: Array | None, share: float) -> float:
    """`‖Z̃_A Z_Bᵀ − Z_A(0) Z_B(0)ᵀ‖ ≤ 2f ‖|X_A X_Bᵀ|‖` for any slopes in [0, 1] that differ from the first only within reach.

    Of a point with itself only its own neurons count: within one set the diagonal has `f` in place of `2f`.

    Parameters
    ----------
    X, Z : (n, d), (n', d) arrays
        `None` for `Z` when it is `X`.
    share : float
        `f`, of neurons within reach, at each point.
    """
    points = to_numpy(X)
    sizes = 2 * np.abs(points @ (points if Z is None else to_numpy(Z)).T)
    if Z is None:
        np.fill_diagonal(sizes, np.diagonal(sizes) / 2)
    return share * operator_norm(sizes)


def neuron_movement(norms: Sequence[float], paths: Sequence[float], width: int) -> float:
    """How far any neuron is from its start at most: `Σ_S ‖X_S‖ η Σ_j ‖r_S(j)‖ / √m` over the stages `S`.

    Parameters
    ----------
    norms : sequence of float
        `‖X_S‖` of each stage.
    paths : sequence of float
        `η Σ_j ‖r_S(j)‖` of each stage.
    width : int
    """
    return sum(norm * path for norm, path in zip(norms, paths, strict=True)) / math.sqrt(width)


def operator_norm(A: np.ndarray) -> float:
    """The largest singular value."""
    return float(np.linalg.norm(A, ord=2))
