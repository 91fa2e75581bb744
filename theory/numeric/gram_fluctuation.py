"""How far the Gram matrix of a finite net's random weights is from its mean, exactly.

One neuron with weights `w ~ N(0, κ²I)` contributes `A = D G D` to the Gram matrix: `G = XXᵀ` between the points it is active on,
`D = diag(1{w·xᵢ ≥ 0})`. `H(W(0))` is the mean of `m` such contributions with `E A = H`, so every second moment of the sampling error
is that of one neuron divided by the number of independent ones.
"""

from __future__ import annotations

from numbers import Integral

from theory.arrays import Array, as_float, namespace, scalar
from theory.errors import InvalidInput
from theory.numeric.gram import relu_gram
from theory.numeric.kernels.closed import LeakyReLU
from theory.numeric.kernels.composed import Kernel

_RELU = Kernel(activation=LeakyReLU(0.0))


def gram_entry_variance(X: Array, Z: Array | None = None) -> Array:
    """Variance of one neuron's contribution to each entry, `(xᵢ·zⱼ)² pᵢⱼ (1 − pᵢⱼ)` with `p = (π − θ)/(2π)`.

    Divided by the number of independent neurons it is the variance of the entries of `H(W(0))`.

    Parameters
    ----------
    X, Z : (n, d), (n', d) arrays
        Rows of any norm; `Z` is `X` when absent.

    Returns
    -------
    (n, n') array, without a cancellation: it is `H (x·z − H)`, and `p ≤ 1/2`.

    Raises
    ------
    InvalidInput
        As `relu_gram`.

    Source: a Bernoulli variable of probability `p`, times `x·z`.
    """
    H = relu_gram(X, Z)
    return H * (inner_products(X, Z) - H)


def independent_neurons(width: int, antisymmetric: bool) -> int:
    """`m`, or `m/2` where neurons come in pairs with the same weights and opposite readouts.

    Raises
    ------
    InvalidInput
        For a width that is no positive whole number, or odd where neurons are paired.
    """
    least = 2 if antisymmetric else 1
    if isinstance(width, bool) or not isinstance(width, Integral) or width < least or (antisymmetric and width % 2):
        what = "an even whole number ≥ 2 (neurons come in pairs)" if antisymmetric else "a whole number ≥ 1"
        raise InvalidInput(f"width is {width!r}; {what} is allowed")
    return int(width) // least


def expected_gram_error(X: Array, width: int, antisymmetric: bool = False) -> float:
    """`E‖H(W(0)) − H‖_F² = (1/m) Σᵢⱼ (xᵢ·xⱼ)² pᵢⱼ (1 − pᵢⱼ)`; twice that for an antisymmetric net.

    Parameters
    ----------
    X : (n, d) array
    width : int
        Number `m` of neurons, all counted.
    antisymmetric : bool
        Whether neurons come in pairs, of which only `m/2` are independent.

    Raises
    ------
    InvalidInput
        As `relu_gram`, and for a width that does not fit.
    """
    neurons = independent_neurons(width, antisymmetric)
    variance = gram_entry_variance(X)
    return scalar(namespace(variance).sum(variance)) / neurons


def gram_matrix_variance(X: Array) -> Array:
    """Matrix variance `E(A − H)²` of one neuron's contribution `A = D XXᵀ D`; that of `H(W(0))` is this divided by `m`.

    `E[A²]ᵢⱼ = Σ_k Gᵢₖ Gₖⱼ Pᵢₖⱼ` with `P = ½ − (θᵢⱼ + θⱼₖ + θᵢₖ)/(4π)` the probability that all three are active, which is
    `½(HG + GH) − ¼G² + ½ p∘G²`: three products of matrices.

    Parameters
    ----------
    X : (n, d) array

    Returns
    -------
    (n, n) array, symmetric, positive semi-definite but for rounding.

    Raises
    ------
    InvalidInput
        As `relu_gram`.

    Source: inclusion and exclusion, and `w → −w`; its norm is the variance statistic of matrix concentration (Tropp 2015,
    arXiv 1501.01571, chapter 6).
    """
    G, H, p = inner_products(X), relu_gram(X), _RELU.derivative_dual(X)
    square, product = G @ G, H @ G
    second = (product + product.T) / 2 - square / 4 + p * square / 2
    variance = second - H @ H
    # BLAS may round the two triangles differently.
    return (variance + variance.T) / 2


def inner_products(X: Array, Z: Array | None = None) -> Array:
    """`x·z` for all pairs of rows, (n, n'); exactly symmetric when `Z` is absent."""
    X = as_float(X, "X")
    if Z is not None:
        return X @ as_float(Z, "Z").T
    G = X @ X.T
    return (G + G.T) / 2
