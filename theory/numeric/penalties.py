"""Weight decay `½β‖W − A‖²` towards an anchor `A`, with or without momentum, exact at every step.

A stage starts at weights `W_s` and minimises `½‖u − y‖² + ½β‖W − A‖²`. After `k` steps
`W − A = ω_k (W_s − A) + Zγ_k`, `ω_k = p_k(β)`: what lies outside the span of the features is only forgotten. `y` stands for labels less
the anchor's outputs, `carried` for the start's outputs less the anchor's, `t = Zᵀ(W_s − A)`: the filters act on these two.

- Decay towards the stage's own start (on `P` towards `W(0)`; on `Q` towards `W(P)`, "L2-SP"): `A = W_s`, nothing is carried.
- Towards `W(0)` while on `Q`: `carried = H_QP α`, with the source coefficients `α`; to the end pretraining is erased.
- Towards 0 (an optimiser's `weight_decay`): the net is homogeneous in its trained weights, so the frozen model's outputs at the anchor
  are 0, and `carried` is all the start outputs. `W(0)` itself shrinks by `ω_k`: with `u(0) = 0` the outputs are those of decay towards
  `W(0)`, while the weights move by `(1 − ω_k)‖W(0)‖` besides, which grows with the width as `√m`. The gates of a ReLU net do not see
  a common factor, so what has moved counts against `ω_k W(0)`: a net of initial scale `κ` drifts as one of scale `ω_kκ` does, by
  `c/(ω_kκ√m)`. At any finite `k` the infinite width is the limit; to the end, where `W(0)` is forgotten, there is no kernel regime.

Source: Li, Grandvalet and Davoine 2018 (L2-SP); Polyak 1964 (heavy ball).
"""

from __future__ import annotations

import math

import numpy as np

from theory.arrays import Array, namespace, rows_times, scalar
from theory.numeric.checks import check_decay
from theory.numeric.optimisers import difference_filter, heavy_ball_integral_filter, heavy_ball_residual_filter
from theory.numeric.spectrum import GramSpectrum, Steps
from theory.numeric.stages import mode_energy


def decayed_integral_filter(values: Array, lr: float, steps: Steps, decay: float, momentum: float = 0.0) -> Array:
    """`(1 − p_k(λ + β))/(λ + β)`: coefficients per unit of labels, of decay towards the stage's own start.

    To the end `1/(λ + β)`; without decay the integral filter, with its convention 0 to the end at `λ = 0`.

    Parameters
    ----------
    values : (n,) array
        `λ ≥ 0`.
    lr, steps
        `η` and `k`, `None` for the end; stable for `η < 2(1 + μ)/(λ_max + β)`.
    decay : float ≥ 0
        `β`.
    momentum : float in [0, 1)
        `μ`; 0 is plain gradient descent, `p_k(λ + β) = (1 − η(λ + β))^k`.
    """
    check_decay(decay)
    return heavy_ball_integral_filter(values + decay if decay else values, lr, steps, momentum)


def decayed_residual_filter(values: Array, lr: float, steps: Steps, decay: float, momentum: float = 0.0) -> Array:
    """`(β + λ p_k(λ + β))/(λ + β)`: the share of an error that decay towards the own start leaves; to the end `β/(λ + β)`.

    Arguments as for `decayed_integral_filter`.
    """
    check_decay(decay)
    if decay == 0:
        return heavy_ball_residual_filter(values, lr, steps, momentum)
    left = heavy_ball_residual_filter(values + decay, lr, steps, momentum)
    return left + decay * decayed_integral_filter(values, lr, steps, decay, momentum)


def remembered(lr: float, steps: Steps, decay: float, momentum: float = 0.0) -> float:
    """`ω_k = p_k(β)`: the share that is left of the distance from the anchor, outside the span of the features.

    1 without decay; `(1 − ηβ)^k` without momentum; 0 to the end.
    """
    check_decay(decay)
    return 1.0 if decay == 0 else float(heavy_ball_residual_filter(np.asarray([float(decay)]), lr, steps, momentum)[0])


def coefficients(
    spectrum: GramSpectrum, y: Array, lr: float, steps: Steps, *, decay: float = 0.0, momentum: float = 0.0, carried: Array | None = None
) -> Array:
    """Dual coefficients `γ_k = (H + β)⁻¹(I − p_k(H + β)) y − H⁻¹(ω_k − p_k(H + β)) t`, with `t = carried`.

    Parameters
    ----------
    spectrum : GramSpectrum of `H`
    y : (n,) or (n, c) array
        Labels less the anchor's outputs.
    lr, steps, decay, momentum
        `η`, `k` (`None` for the end), `β`, `μ`.
    carried : array like `y`, optional
        The start's outputs less the anchor's; by default the stage starts at its anchor.

    Raises
    ------
    InvalidInput
        For `β < 0` or `μ` outside [0, 1).
    """
    return spectrum.vectors @ _coefficient_modes(spectrum, y, lr, steps, decay, momentum, carried)


def residual(
    spectrum: GramSpectrum, y: Array, lr: float, steps: Steps, *, decay: float = 0.0, momentum: float = 0.0, carried: Array | None = None
) -> Array:
    """`y − u(k) = p_k(H + β)(y − t) + β(H + β)⁻¹(I − p_k(H + β)) y`; to the end `β(H + β)⁻¹y`. Arguments as for `coefficients`."""
    return spectrum.vectors @ _residual_modes(spectrum, y, lr, steps, decay, momentum, carried)


def loss(
    spectrum: GramSpectrum, y: Array, lr: float, steps: Steps, *, decay: float = 0.0, momentum: float = 0.0, carried: Array | None = None
) -> float:
    """`½‖y − u(k)‖²`, the penalty not counted. Arguments as for `coefficients`."""
    xp = namespace(spectrum.values)
    if carried is None:
        q = decayed_residual_filter(spectrum.values, lr, steps, decay, momentum)
        return scalar(xp.sum(mode_energy(spectrum, y) * q * q)) / 2
    r = _residual_modes(spectrum, y, lr, steps, decay, momentum, carried)
    return scalar(xp.sum(r * r)) / 2


def displacement(
    spectrum: GramSpectrum,
    y: Array,
    lr: float,
    steps: Steps,
    *,
    decay: float = 0.0,
    momentum: float = 0.0,
    carried: Array | None = None,
    distance: float = 0.0,
) -> float:
    """`‖W(k) − W_s‖_F = √(γᵀHγ − 2(1 − ω_k)γᵀt + (1 − ω_k)²‖W_s − A‖²)`; `√(γᵀHγ)` where the stage starts at its anchor.

    To the end this is not `√(yᵀ(H + β)⁻¹y)`, which would be the square root of twice the penalised loss, but
    `√(yᵀ(H + β)⁻¹H(H + β)⁻¹y)`.

    Parameters
    ----------
    distance : float ≥ 0
        `‖W_s − A‖_F`; needed with `carried` only. Other arguments are those of `coefficients`.
    """
    xp = namespace(spectrum.values)
    if carried is None:
        phi = decayed_integral_filter(spectrum.values, lr, steps, decay, momentum)
        return scalar(xp.sqrt(xp.sum(mode_energy(spectrum, y) * phi * phi * spectrum.values)))
    gamma = _coefficient_modes(spectrum, y, lr, steps, decay, momentum, carried)
    forgotten = 1 - remembered(lr, steps, decay, momentum)
    moved = scalar(xp.sum(rows_times(spectrum.values, gamma) * gamma))
    along = scalar(xp.sum(gamma * spectrum.project(carried)))
    # Rounding can take the square of a movement that all but vanishes below zero.
    return math.sqrt(max(0.0, moved - 2 * forgotten * along + (forgotten * distance) ** 2))


def _coefficient_modes(
    spectrum: GramSpectrum, y: Array, lr: float, steps: Steps, decay: float, momentum: float, carried: Array | None
) -> Array:
    xp = namespace(spectrum.values)
    inside = spectrum.values > 0
    zero = xp.zeros_like(spectrum.values)
    # The rows h(x) have no component along null vectors: what the filters make of the rounding there is left out.
    phi = xp.where(inside, decayed_integral_filter(spectrum.values, lr, steps, decay, momentum), zero)
    gamma = rows_times(phi, spectrum.project(y))
    if carried is None:
        return gamma
    psi = xp.where(inside, difference_filter(spectrum.values, decay, lr, steps, momentum), zero)
    return gamma - rows_times(psi, spectrum.project(carried))


def _residual_modes(
    spectrum: GramSpectrum, y: Array, lr: float, steps: Steps, decay: float, momentum: float, carried: Array | None
) -> Array:
    projected = spectrum.project(y)
    if carried is None:
        return rows_times(decayed_residual_filter(spectrum.values, lr, steps, decay, momentum), projected)
    check_decay(decay)
    left = heavy_ball_residual_filter(spectrum.values + decay, lr, steps, momentum)
    held = decay * decayed_integral_filter(spectrum.values, lr, steps, decay, momentum)
    return rows_times(left, projected - spectrum.project(carried)) + rows_times(held, projected)
