"""What the kernel theory rules out: transfer through a fresh output head, and flatter minima after pretraining.

Of what the paper reports of real networks, better generalisation, shorter moves, a smoother landscape, suppressed gradient components
and a best length of pretraining need the head to be kept for the kernel to explain them; flatter minima it never explains. What real
networks with new classes gain beyond that is the change of the kernel: feature learning.
"""

from __future__ import annotations

import math

from theory.arrays import Array, as_float, namespace
from theory.errors import InvalidInput
from theory.numeric.gram import relu_gram
from theory.numeric.kernels.closed import LeakyReLU
from theory.numeric.kernels.composed import Kernel
from theory.numeric.spectrum import GramSpectrum

_RELU = Kernel(activation=LeakyReLU(0.0))


def fresh_head_energy(X_P: Array, coefficients: Array, X_Q: Array) -> Array:
    """`m E u'(x)²` of what pretraining adds to the outputs of a fresh head; `u'` has mean zero and vanishes like `m^{-1/2}`.

    Pretraining moves neuron `r` by `Δw_r = m^{-1/2} a_r v(w_r)`, `v(w) = Σ_p α_p x_p 1{w·x_p ≥ 0}`. A head `a'` of new independent
    signs sees `u'(x) = m^{-1} Σ_r a'_r a_r v(w_r)·x 1{w_r·x ≥ 0}`, so `E u' = 0` and
    `m E u'(x)² = Σ_pq α_p α_q (x_p·x)(x_q·x) P(w·x ≥ 0, w·x_p ≥ 0, w·x_q ≥ 0)`, the last being `½ − (θ_xp + θ_xq + θ_pq)/(4π)` with
    `θ` the angles. Hence `E ‖ỹ‖² = ‖y_Q‖² + m^{-1} Σ_x m E u'(x)²`: with a fresh head there is no transfer.

    Parameters
    ----------
    X_P : (n_P, d) array
        Source inputs.
    coefficients : (n_P,) or (n_P, c) array
        `α = φ_k(H_P) y_P`. The old head's `c` outputs are independent: each adds its own.
    X_Q : (n_Q, d) array

    Returns
    -------
    (n_Q,) array, for each output of the fresh head alike.

    Raises
    ------
    InvalidInput
        For malformed arrays or numbers of rows that do not match.

    Source: independence of the signs; the probability of three half-spaces by inclusion and exclusion.
    """
    X_P, X_Q, alpha = as_float(X_P, "X_P"), as_float(X_Q, "X_Q"), as_float(coefficients, "coefficients")
    if alpha.ndim not in (1, 2) or X_P.ndim != 2 or alpha.shape[0] != X_P.shape[0]:
        raise InvalidInput(
            f"coefficients have shape {tuple(alpha.shape)} and X_P {tuple(X_P.shape)}; (n_P,) or (n_P, c) and (n_P, d) are allowed"
        )
    xp = namespace(X_P, X_Q, alpha)
    across, within, inner = relu_gram(X_P, X_Q), _RELU.derivative_dual(X_P), X_P @ X_Q.T
    columns = [alpha] if alpha.ndim == 1 else [alpha[:, j] for j in range(alpha.shape[1])]
    # P(three) = (p_xp + p_xq + p_pq − ½)/2 of the pairs' probabilities, and x·x_p p_xp is the kernel.
    parts = []
    for column in columns:
        z = column[:, None] * inner
        moved, outputs = xp.sum(z, axis=0), xp.sum(column[:, None] * across, axis=0)
        parts.append(moved * outputs + (xp.sum(z * (within @ z), axis=0) - moved * moved / 2) / 2)
    return xp.clip(sum(parts[1:], parts[0]), 0.0, math.inf)


def hessian_eigenvalues(W: Array, a: Array, X: Array) -> Array:
    """The non-zero eigenvalues of the Hessian of `½‖u(W) − y‖²` in the weights of a two-layer ReLU net, ascending, whatever `y`.

    Outputs are linear in `W` between the kinks, so the Hessian is `ZᵀZ` almost everywhere, `Z` the derivative of the outputs, and
    its non-zero eigenvalues are those of the Gram matrix `ZZᵀ = H(W)`. Training moves `H(W)` by as little as `m^{-1/2}`: from a
    pretrained and from a random start the minima are equally flat.

    Parameters
    ----------
    W : (m, d) array
    a : (m,) or (m, c) array
        Readouts.
    X : (n, d) array
        Training inputs, none on a kink.

    Returns
    -------
    (n·c,) array, zeros included.

    Raises
    ------
    InvalidInput
        For malformed arrays or shapes that do not match.

    Source: the Gauss-Newton matrix of a piecewise linear model.
    """
    W, a, X = as_float(W, "W"), as_float(a, "a"), as_float(X, "X")
    shapes = tuple(W.shape), tuple(a.shape), tuple(X.shape)
    if W.ndim != 2 or X.ndim != 2 or a.ndim not in (1, 2) or a.shape[0] != W.shape[0] or W.shape[1] != X.shape[1]:
        raise InvalidInput(
            f"W, a and X have shapes {shapes[0]}, {shapes[1]} and {shapes[2]}; (m, d), (m,) or (m, c), and (n, d) are allowed"
        )
    xp = namespace(W, a, X)
    active = xp.astype(X @ W.T > 0, W.dtype)
    inner = X @ X.T / W.shape[0]
    heads = [a] if a.ndim == 1 else [a[:, p] for p in range(a.shape[1])]
    rows = [xp.concat([inner * ((active * (p * q)[None, :]) @ active.T) for q in heads], axis=1) for p in heads]
    return GramSpectrum.of(xp.concat(rows, axis=0)).values
