"""Filters of linear methods besides plain gradient descent: momentum, and steps that vary.

Any linear method leaves `p_k(λ)` of an error after `k` steps, a polynomial with `p_k(0) = 1`, and has moved the coefficient of a mode
by `(1 − p_k(λ))/λ`; the filters here stand wherever `residual_filter` and `integral_filter` do. Adaptive methods (Adam) divide each
weight's gradient by that weight's own history: their steps leave the span of the features, so no function of a Gram matrix follows them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real

import array_api_compat as compat

from theory.arrays import Array, namespace, scalar
from theory.errors import InvalidInput, UnstableStep
from theory.numeric.checks import check_momentum
from theory.numeric.spectrum import Steps, integral_filter, residual_filter


def heavy_ball_residual_filter(values: Array, lr: float, steps: Steps, momentum: float) -> Array:
    """`p_k(λ)` of heavy ball: `p_{k+1} = (1 + μ − ηλ) p_k − μ p_{k−1}`, `p_0 = 1`, `p_1 = 1 − ηλ`.

    The buffer starts empty, as at the start of a stage. `steps=None` gives the limit: 1 where `λ = 0`, else 0.

    Parameters
    ----------
    values : (n,) array
        `λ ≥ 0`.
    lr, steps
        `η` and `k`; stable for `ηλ < 2(1 + μ)`.
    momentum : float in [0, 1)
        `μ`.

    Notes
    -----
    In closed form, so that any `k` costs the same. With `z ≥ z'` the magnitudes of the roots of `z² − (1 + μ − ηλ)z + μ` and `s` their
    sign, `p_k = s^k (z^k + z'(1 − s z) S_{k−1})`, `S_{k−1} = Σ_j z^{k−1−j} z'^j`: every term is positive for real roots. The distance
    `1 − z` from the edge of stability is had without a difference, so a slow mode keeps its digits whatever `k` is. For complex roots
    `√μ e^{±iω}` the sum is `μ^{(k−1)/2} sin(kω)/sin ω`.

    Source: Polyak, "Some methods of speeding up the convergence of iteration methods", 1964.
    """
    check_momentum(momentum)
    if momentum == 0 or steps is None:
        return residual_filter(values, lr, steps)
    return _powers(values, lr, steps, momentum)[0]


def heavy_ball_integral_filter(values: Array, lr: float, steps: Steps, momentum: float) -> Array:
    """`(1 − p_k(λ))/λ` of heavy ball; at `λ = 0` `η(k − μ(1 − μ^k)/(1 − μ))/(1 − μ)`. `steps=None` gives the pseudo-inverse.

    Arguments as for `heavy_ball_residual_filter`.

    Notes
    -----
    A mode that has hardly begun to move, `kηλ < max(1 − μ, 1/k)`, is stepped by doubling (`k`, `2k`, …) in terms of how far it has
    moved, where `1 − p_k` would be a difference of nearly equal numbers.
    """
    check_momentum(momentum)
    if momentum == 0 or steps is None:
        return integral_filter(values, lr, steps)
    xp = namespace(values)
    positive = values > 0
    divisor = xp.where(positive, values, xp.ones_like(values))
    moved = (1 - heavy_ball_residual_filter(values, lr, steps, momentum)) / divisor
    early = values * (lr * steps) < max(1 - momentum, 1 / max(steps, 1))
    if not bool(xp.any(early)):
        return moved
    return xp.where(early, _early_integral(xp.where(early, values, xp.zeros_like(values)), lr, steps, momentum), moved)


def difference_filter(values: Array, shift: float, lr: float, steps: Steps, momentum: float = 0.0) -> Array:
    """`(p_k(β) − p_k(λ + β))/λ`, minus the divided difference of what heavy ball leaves; without a shift, the integral filter.

    It carries a start outside the span of the features: see `theory.numeric.penalties`. `steps=None` gives the limit, 0 for `β > 0`.

    Parameters
    ----------
    values : (n,) array
        `λ ≥ 0`.
    shift : float ≥ 0
        `β`.
    lr, steps, momentum
        As for `heavy_ball_residual_filter`, for `λ + β`.

    Notes
    -----
    No difference is ever taken: with `M` a step on (error, velocity), `Δ_k = (M_β^k − M_{λ+β}^k)/λ` obeys
    `Δ_{2k} = M_{λ+β}^k Δ_k + Δ_k M_β^k`, and the powers of `M` are known in closed form.
    """
    check_momentum(momentum)
    xp = namespace(values)
    if shift == 0:
        return heavy_ball_integral_filter(values, lr, steps, momentum)
    if steps is None or steps == 0:
        return xp.zeros_like(values)
    shifted, alone = values + shift, shift * xp.ones_like(values)
    zero, rate = xp.zeros_like(values), lr * xp.ones_like(values)
    first = (rate, zero, -rate, zero)
    difference, reached = (zero, zero, zero, zero), 0
    for bit in f"{steps:b}":
        above, below = _map(shifted, lr, reached, momentum), _map(alone, lr, reached, momentum)
        difference = _added(_times(above, difference), _times(difference, below))
        reached *= 2
        if bit == "1":
            one, below = _map(shifted, lr, 1, momentum), _map(alone, lr, reached, momentum)
            difference = _added(_times(one, difference), _times(first, below))
            reached += 1
    return difference[0]


def varying_residual_filter(values: Array, rates: Sequence[float], allow_unstable: bool = False) -> Array:
    """`Π_j (1 − η_j λ)`: the share of an error component that steps of sizes `η_0, η_1, …` leave.

    Parameters
    ----------
    values : (n,) array
        `λ ≥ 0`.
    rates : sequence of float > 0
        One step size a step; none gives 1.
    allow_unstable : bool
        Run steps above `2/λ_max`, each of which makes some error larger, as Chebyshev's do on their way to a small product.

    Raises
    ------
    InvalidInput, UnstableStep
        For step sizes that are not finite numbers above 0, or above `2/λ_max` unless allowed.
    """
    xp = namespace(values)
    rates = _checked_rates(values, rates, allow_unstable)
    small = values * max(rates, default=0.0) < 0.5
    slow, product = xp.zeros_like(values), xp.ones_like(values)
    for lr in rates:
        x = lr * values
        slow = slow + xp.log1p(-xp.where(small, x, xp.zeros_like(x)))
        product = product * (1 - x)
    return xp.where(small, xp.exp(slow), product)


def varying_integral_filter(values: Array, rates: Sequence[float], allow_unstable: bool = False) -> Array:
    """`(1 − Π_j (1 − η_j λ))/λ = Σ_j η_j Π_{i<j} (1 − η_i λ)`, `Σ_j η_j` at `λ = 0`; arguments as for `varying_residual_filter`."""
    xp = namespace(values)
    rates = _checked_rates(values, rates, allow_unstable)
    total, left = xp.zeros_like(values), xp.ones_like(values)
    for lr in rates:
        total = total + lr * left
        left = left - lr * (values * left)
    return total


def _checked_rates(values: Array, rates: Sequence[float], allow_unstable: bool) -> list[float]:
    given = [rates] if isinstance(rates, Real) else list(rates)
    for lr in given:
        if isinstance(lr, bool) or not isinstance(lr, Real) or not 0 < float(lr) < math.inf:
            raise InvalidInput(f"a step size is {lr!r}; finite numbers above 0 are allowed")
    largest = scalar(namespace(values).max(values))
    fastest = max(map(float, given), default=0.0)
    if fastest * largest > 2 * (1 + 4 * float(namespace(values).finfo(values.dtype).eps)) and not allow_unstable:
        raise UnstableStep(
            f"a step size is {fastest:.6g}; at most 2/λ_max = {2 / largest:.6g} is allowed (allow_unstable=True runs it all the same)"
        )
    return [float(lr) for lr in given]


_Map = tuple[Array, Array, Array, Array]
"""A matrix of order two for each mode, row by row, acting on (error, velocity)."""


def _map(values: Array, lr: float, steps: int, momentum: float) -> _Map:
    """The `k`-th power of a step `error ← (1 − ηλ) error − μ velocity`, `velocity ← ηλ error + μ velocity`."""
    xp = namespace(values)
    zero = xp.zeros_like(values)
    if steps == 0:
        return xp.ones_like(values), zero, zero, xp.ones_like(values)
    if momentum == 0:
        return residual_filter(values, lr, steps), zero, lr * values * residual_filter(values, lr, steps - 1), zero
    p, sums = _powers(values, lr, steps, momentum)
    return p, -momentum * sums, lr * values * sums, momentum * (sums - _powers(values, lr, steps - 1, momentum)[1])


def _times(A: _Map, B: _Map) -> _Map:
    return A[0] * B[0] + A[1] * B[2], A[0] * B[1] + A[1] * B[3], A[2] * B[0] + A[3] * B[2], A[2] * B[1] + A[3] * B[3]


def _added(A: _Map, B: _Map) -> _Map:
    return A[0] + B[0], A[1] + B[1], A[2] + B[2], A[3] + B[3]


def _powers(values: Array, lr: float, steps: int, momentum: float) -> tuple[Array, Array]:
    """`p_k` and `S_{k−1}`, with `S_j` the complete symmetric polynomial of degree `j` in the two roots; `μ > 0`."""
    xp = namespace(values)

    def whole(number: float) -> Array:
        return xp.asarray(float(number), dtype=values.dtype, device=compat.device(values))

    if steps == 0:
        return xp.ones_like(values), xp.zeros_like(values)
    x = lr * values
    # Seen from the edge of stability x = 2(1 + μ) the roots are those seen from x = 0, with the other sign.
    mirrored = x > 1 + momentum
    y = xp.where(mirrored, 2 * (1 + momentum) - x, x)
    sign = xp.where(mirrored, -xp.ones_like(x), xp.ones_like(x))
    root = math.sqrt(momentum)
    # 1 − √μ without a difference of nearly equal numbers.
    near = (1 - momentum) / (1 + root)
    discriminant = (near * near - y) * ((1 + root) ** 2 - y)
    real = discriminant >= 0
    gap = xp.sqrt(xp.abs(discriminant))
    # Real roots: 1 − z is the smaller root of u² − (1 − μ + y)u + y.
    b = 1 - momentum + y
    divisor = xp.where(b > 0, b + gap, xp.ones_like(b))
    slow = xp.where(b > 0, 2 * y / divisor, (b - gap) / 2)
    slow = xp.where(real, slow, xp.zeros_like(slow))
    z = 1 - slow
    log_z = xp.log1p(-slow)
    apart = xp.where(real, gap, xp.zeros_like(gap)) / z
    # Σ_{j<k} (z'/z)^j, which is k at a double root.
    log_ratio = xp.log1p(-xp.where(apart < 1, apart, xp.ones_like(apart) / 2))
    geometric = xp.where(apart > 0, -xp.expm1(steps * log_ratio) / xp.where(apart > 0, apart, xp.ones_like(apart)), whole(steps))
    real_power = xp.exp(steps * log_z)
    real_sum = xp.exp((steps - 1) * log_z) * geometric
    one_less = xp.where(mirrored, 1 + z, slow)
    real_p = real_power + momentum / z * one_less * real_sum
    # Complex roots √μ e^{±iω}, ω folded into (0, π/2].
    cosine = (1 + momentum - y) / (2 * root)
    sine = xp.where(real, xp.ones_like(gap), gap) / (2 * root)
    omega = xp.atan2(sine, cosine)
    turned = xp.sin(steps * omega) / sine
    # Not from the root: its rounding counts k times.
    power = math.exp(steps / 2 * math.log(momentum))
    complex_sum = power / root * turned
    complex_p = power * (xp.cos(steps * omega) + (cosine - sign * root) * turned)
    flip = sign if steps % 2 else xp.ones_like(sign)
    p = flip * xp.where(real, real_p, complex_p)
    return p, sign * flip * xp.where(real, real_sum, complex_sum)


def _early_integral(values: Array, lr: float, steps: int, momentum: float) -> Array:
    """`(1 − p_k)/λ` of modes that have hardly begun to move, by doubling.

    The `k`-th power of a step on (what is left, velocity) is `[[1 − λA, −B], [λC, D]]`; `A`, `B`, `C`, `D` stay positive.
    """
    xp = namespace(values)
    zero, one = xp.zeros_like(values), xp.ones_like(values)
    A, B, C, D = zero, zero, zero, one
    for bit in f"{steps:b}":
        A, B, C, D = 2 * A - values * A * A + B * C, B * (1 - values * A) + B * D, C * (1 - values * A) + D * C, D * D - values * B * C
        if bit == "1":
            A, B, C, D = (
                A + lr * (1 - values * A) + momentum * C,
                B + momentum * D - lr * values * B,
                lr * (1 - values * A) + momentum * C,
                momentum * D - lr * values * B,
            )
    return A
