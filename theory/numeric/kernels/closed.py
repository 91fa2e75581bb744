"""Activations whose Gaussian expectations have a closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real

import array_api_compat as compat

from theory.arrays import Array, namespace
from theory.errors import InvalidInput
from theory.numeric.kernels.base import Activation, Correlated
from theory.numeric.pairs import two_product


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """`σ(x) = x` for `x > 0`, `slope · x` below; slope 0 is the ReLU, the arc-cosine kernel of degree 1.

    Source: Cho and Saul 2009; `σ` is `(1 + slope)/2 · x + (1 − slope)/2 · |x|`.
    """

    slope: float = 0.01

    def __post_init__(self) -> None:
        object.__setattr__(self, "slope", _finite(self.slope, "slope"))

    @property
    def name(self) -> str:
        """Short name."""
        return f"leaky ReLU of slope {self.slope:g}" if self.slope else "ReLU"

    @property
    def degree(self) -> int:
        """Homogeneous of degree 1."""
        return 1

    @property
    def homogeneous(self) -> bool:
        """At every slope."""
        return True

    @property
    def odd(self) -> bool:
        """At slope 1, where it is linear."""
        return self.slope == 1

    def dual(self, pair: Correlated) -> Array:
        """`(1 − a)²(sin θ + (π − θ) cos θ)/(2π) + a cos θ`, over `s t`."""
        a = self.slope
        if a >= 0:
            return (1 - a) ** 2 / (2 * math.pi) * _first_arc(pair.beyond) + a * pair.cosine
        # The same with both terms of one sign: even and odd part of σ, as π − θ = π/2 + arcsin(cos θ).
        xp = namespace(pair.cosine)
        even = pair.sine + xp.atan2(pair.cosine, pair.sine) * pair.cosine
        return (1 - a) ** 2 / (2 * math.pi) * even + (1 + a) ** 2 / 4 * pair.cosine

    def derivative_dual(self, pair: Correlated) -> Array:
        """`(1 − a)²(π − θ)/(2π) + a`."""
        a = self.slope
        if a >= 0:
            return (1 - a) ** 2 / (2 * math.pi) * pair.beyond + a
        xp = namespace(pair.cosine)
        return (1 - a) ** 2 / (2 * math.pi) * xp.atan2(pair.cosine, pair.sine) + (1 + a) ** 2 / 4

    def output_apart(self, pair: Correlated, correlation: Array) -> Array:
        """`1 − ρ' = (1 − ρ) − (1 − a)²/(1 + a²) (sin θ − θ cos θ)/π`."""
        a = self.slope

        def apart(one: Correlated) -> Array:
            return one.apart - (1 - a) ** 2 / (1 + a * a) / math.pi * _first_arc(one.angle)

        if a != -1:
            return apart(pair)
        # |x| does not tell opposite inputs apart: the difference near them is that near equal ones.
        return namespace(pair.cosine).where(pair.cosine < 0, apart(pair.opposite), apart(pair))


@dataclass(frozen=True)
class Step(Activation):
    """`σ(x) = 1{x > 0}`, the arc-cosine kernel of degree 0. Its derivative is a delta: no layer below it can be trained."""

    @property
    def name(self) -> str:
        """Short name."""
        return "step (arc-cosine degree 0)"

    @property
    def homogeneous(self) -> bool:
        """Of degree 0."""
        return True

    def dual(self, pair: Correlated) -> Array:
        """`(π − θ)/(2π)`."""
        return pair.beyond / (2 * math.pi)

    def derivative_dual(self, pair: Correlated) -> Array:
        """There is none."""
        raise InvalidInput(
            "the step activation (arc-cosine degree 0) was given; its derivative is a delta, so its first layer has no gradient and no "
            "tangent kernel: its dual is allowed here, or an activation with a derivative"
        )

    def output_apart(self, pair: Correlated, correlation: Array) -> Array:
        """`1 − ρ' = θ/π`."""
        return pair.angle / math.pi


@dataclass(frozen=True)
class SquaredReLU(Activation):
    """`σ(x) = x²` for `x > 0`, else 0: the arc-cosine kernel of degree 2.

    Source: Cho and Saul 2009, whose kernel is twice this dual.
    """

    @property
    def name(self) -> str:
        """Short name."""
        return "squared ReLU (arc-cosine degree 2)"

    @property
    def degree(self) -> int:
        """Homogeneous of degree 2."""
        return 2

    @property
    def derivative_degree(self) -> int:
        """`σ'(x) = 2x` for `x > 0`."""
        return 1

    @property
    def homogeneous(self) -> bool:
        """Of degree 2."""
        return True

    def dual(self, pair: Correlated) -> Array:
        """`(3 sin θ cos θ + (π − θ)(1 + 2 cos²θ))/(2π)`, over `(s t)²`."""
        return _second_arc(pair.beyond) / (2 * math.pi)

    def derivative_dual(self, pair: Correlated) -> Array:
        """`4 (sin θ + (π − θ) cos θ)/(2π)`, over `s t`: four times that of degree 1."""
        return _first_arc(pair.beyond) * (2 / math.pi)

    def output_apart(self, pair: Correlated, correlation: Array) -> Array:
        """`1 − ρ' = 2 sin²θ/3 + (θ(1 + 2 cos²θ) − 3 sin θ cos θ)/(3π)`."""
        return 2 / 3 * pair.apart * pair.together + _second_arc(pair.angle) / (3 * math.pi)


@dataclass(frozen=True)
class Monomial(Activation):
    """`σ(x) = x^power`, from 1 to 20.

    Dual and Gram function are within 4 ulp of their natural scale up to power 6, within about 6 at power 20.
    """

    power: int = 2

    def __post_init__(self) -> None:
        # Beyond 20 a dual at unit norm passes 10^20 while its coefficients still fit a float.
        if isinstance(self.power, bool) or not isinstance(self.power, Integral) or not 1 <= self.power <= 20:
            raise InvalidInput(f"power is {self.power!r}; a whole number from 1 to 20 is allowed")
        object.__setattr__(self, "power", int(self.power))

    @property
    def name(self) -> str:
        """Short name."""
        return f"monomial of power {self.power}"

    @property
    def degree(self) -> int:
        """Homogeneous of its power."""
        return self.power

    @property
    def derivative_degree(self) -> int:
        """One power less."""
        return self.power - 1

    @property
    def homogeneous(self) -> bool:
        """Of its power."""
        return True

    @property
    def odd(self) -> bool:
        """For odd powers."""
        return self.power % 2 == 1

    def dual(self, pair: Correlated) -> Array:
        """`Σ_k a_k² k! ρ^k` over `(s t)^p`, `a_k = p!/(k! ((p − k)/2)! 2^((p−k)/2))` the coefficients of `x^p` in Hermite polynomials."""
        return _dual_series(_hermite_weights(self.power), pair)

    def derivative_dual(self, pair: Correlated) -> Array:
        """`p²` times the dual of `x^(p−1)`."""
        return self.power**2 * _dual_series(_hermite_weights(self.power - 1), pair)

    def output_apart(self, pair: Correlated, correlation: Array) -> Array:
        """`1 − ρ' = (1 − ρ) Σ_k w_k (1 + ρ + … + ρ^(k−1))` with `w_k` the shares of the dual's coefficients; `1 − ρ²` is factored out where
        all `k` are even.
        """
        weights = _hermite_weights(self.power)
        rest = [math.fsum(weights[k + 1 :]) for k in range(len(weights) - 1)]
        if self.odd:
            return pair.apart * _series(rest, pair.cosine) / math.fsum(weights)
        return pair.apart * pair.together * _series(rest[1::2], pair.cosine**2) / math.fsum(weights)


@dataclass(frozen=True)
class Erf(Activation):
    """`σ(x) = erf(x)`.

    Source: Williams 1997, "Computing with infinite networks".
    """

    @property
    def name(self) -> str:
        """Short name."""
        return "erf"

    @property
    def odd(self) -> bool:
        """Always."""
        return True

    def dual(self, pair: Correlated) -> Array:
        """`(2/π) arcsin(2c/√((1 + 2s²)(1 + 2t²)))`, `c = s t ρ`."""
        soft = _Softened.of(pair, doubled=True)
        # π/2 is rounded less than 2/π.
        return namespace(pair.cosine).atan2(soft.cosine, soft.sine) / (math.pi / 2)

    def derivative_dual(self, pair: Correlated) -> Array:
        """`(4/π)/√((1 + 2s²)(1 + 2t²) − 4c²)`."""
        soft = _Softened.of(pair, doubled=True)
        return 4 / math.pi * (soft.left * (soft.right / soft.sine))


@dataclass(frozen=True)
class GELU(Activation):
    """`σ(x) = x Φ(x)`, exact, `Φ` the normal distribution function.

    Source: derived in `theory.symbolic.gelu_kernel`; the dual agrees with Tsuchida, Pearce, van der Heide, Roosta and Gallagher 2021.
    """

    @property
    def name(self) -> str:
        """Short name."""
        return "GELU"

    @property
    def degree(self) -> int:
        """The dual goes as `s t` at both ends."""
        return 1

    def dual(self, pair: Correlated) -> Array:
        """`(ρ(π/2 + arcsin r) + R √(1 − r²) + ρ²R/((1 + s²)(1 + t²)√(1 − r²)))/(2π)` over `s t`, with `R = s t/√((1 + s²)(1 + t²))` and
        `r = ρR`.
        """
        soft = _Softened.of(pair)
        both = 0.25 + namespace(pair.cosine).atan2(soft.cosine, soft.sine) / (2 * math.pi)
        tail = (soft.left * soft.right) * (soft.left * (soft.right / soft.sine))
        return pair.cosine * both + soft.share * (soft.sine + pair.cosine**2 * tail) / (2 * math.pi)

    def derivative_dual(self, pair: Correlated) -> Array:
        """`(π/2 + arcsin r + (1/(1 + s²) + 1/(1 + t²) + 1/((1 + s²)(1 + t²)(1 − r²))) r/√(1 − r²))/(2π)`."""
        soft = _Softened.of(pair)
        both = 0.25 + namespace(pair.cosine).atan2(soft.cosine, soft.sine) / (2 * math.pi)
        left, right = soft.left / soft.sine, soft.right / soft.sine
        tail = soft.left * left + soft.right * right + (soft.left * right) * (left * right)
        return both + soft.cosine * tail / (2 * math.pi)


@dataclass(frozen=True, eq=False)
class _Softened:
    """The pair, of variance doubled on request, after independent noise of variance 1 is added to each: `Φ(x) = P(noise < x)`.

    Attributes
    ----------
    left, right : (n, 1) and (1, n') arrays
        Standard deviations of the noise over those of the noisy `u` and `v`.
    share : (n, n') array
        Standard deviations of `u` and `v` over those of the noisy ones, multiplied.
    cosine, sine : (n, n') arrays
        `r = ρ · share`, the noisy correlation, and `√(1 − r²)` without a cancellation.
    """

    left: Array
    right: Array
    share: Array
    cosine: Array
    sine: Array

    @classmethod
    def of(cls, pair: Correlated, doubled: bool = False) -> _Softened:
        xp = namespace(pair.cosine)
        (left, s_share, s_rest), (right, t_share, t_rest) = (
            _share(d, rest, doubled) for d, rest in ((pair.s, pair.s_rest), (pair.t, pair.t_rest))
        )
        share = s_share * t_share
        share = share + share * (s_rest + t_rest)
        # 1 − share² is 1 − s_share² and s_share²(1 − t_share²); by hypot, since the squares underflow when s is large.
        apart = xp.hypot(left + 0 * right, s_share * right)
        return cls(left, right, share, share * pair.cosine, xp.hypot(apart, share * pair.sine))


def _share(s: Array, rest: Array | float, doubled: bool) -> tuple[Array, Array, Array]:
    """`1/√(1 + f s²)` and `√f s/√(1 + f s²)`, `f` 1 or 2, the latter with what rounding took from it, relative to it.

    A standard deviation enters both factors of a product: its roundings would cost a small kernel more than four ulp.
    """
    xp = namespace(s)
    left = 1 / xp.hypot(xp.hypot(s, s) if doubled else s, xp.ones_like(s))
    # Beyond this the share is 1 to the last digit, and squares stay in range.
    s = xp.clip(s, 0.0, float(xp.finfo(s.dtype).eps) ** -0.75)
    root = xp.asarray(math.sqrt(2) if doubled else 1.0, dtype=s.dtype, device=compat.device(s))
    factor, factor_rest = two_product(root, root)
    root_rest = ((2 if doubled else 1) - factor - factor_rest) / (2 * factor)
    square, square_rest = two_product(s, s)
    square, square_rest = ((2 if doubled else 1) * part for part in (square, square_rest + 2 * square * rest))
    total = 1 + square
    total_rest = (1 - (total - square)) + (square - (total - (total - square))) + square_rest
    # One Newton step in twice the digits: g ≈ 1/√total, g² total − 1 is twice its relative error.
    g = 1 / xp.sqrt(total)
    g_square, g_rest = two_product(g, g)
    product, product_rest = two_product(g_square, total)
    error = ((product - 1) + product_rest + g_rest * total + g_square * total_rest) / 2
    part, part_rest = two_product(s, g)
    share, share_rest = two_product(part, root)
    positive = xp.where(share > 0, share, xp.ones_like(share))
    return left, share, (share_rest + root * part_rest) / positive + (rest + root_rest - error)


def _finite(value: float, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise InvalidInput(f"{name} is {value!r}; a finite number is allowed")
    return float(value)


def _hermite_weights(p: int) -> list[float]:
    """`E[x^p y^p] = Σ_k w_k ρ^k` for standard normal `x, y` of correlation `ρ`; all `w_k ≥ 0`."""
    weights = []
    for k in range(p + 1):
        half, odd = divmod(p - k, 2)
        weights.append(0.0 if odd else math.factorial(p) ** 2 / (math.factorial(k) * math.factorial(half) ** 2 * 4**half))
    return weights


def _series(coefficients: Sequence[float], x: Array) -> Array:
    """`Σ_k c_k x^k`."""
    xp = namespace(x)
    total = xp.zeros_like(x)
    for c in reversed(coefficients):
        total = total * x + c
    return total


def _dual_series(weights: Sequence[float], pair: Correlated) -> Array:
    """`Σ_k w_k ρ^k`, with what rounding took from `ρ` near ±1, where a high power would show it: `1 ∓ ρ` has all its digits there."""
    xp = namespace(pair.cosine)
    rest = xp.where(pair.cosine > 0, (1 - pair.cosine) - pair.apart, pair.together - (1 + pair.cosine))
    slope = _series([k * w for k, w in enumerate(weights)][1:], pair.cosine)
    return _series(weights, pair.cosine) + slope * rest


# Taylor coefficients in t² after the leading power; below 1 they reach the last digit.
_FIRST = [(-1) ** k * 2 * (k + 1) / math.factorial(2 * k + 3) for k in range(10)]
_SECOND = [(-1) ** k * 4 ** (k + 2) * 2 * (k + 1) / math.factorial(2 * k + 5) for k in range(14)]


def _first_arc(t: Array) -> Array:
    """`sin t − t cos t`, which is `sin θ + (π − θ) cos θ` for `t = π − θ`; by its series, from `t³/3`, below 1."""
    xp = namespace(t)
    return xp.where(t < 1, t**3 * _series(_FIRST, t * t), xp.sin(t) - t * xp.cos(t))


def _second_arc(t: Array) -> Array:
    """`t(1 + 2 cos²t) − 3 sin t cos t`, which is `3 sin θ cos θ + (π − θ)(1 + 2 cos²θ)` for `t = π − θ`; from `4t⁵/15`."""
    xp = namespace(t)
    return xp.where(t < 1, t**5 * _series(_SECOND, t * t), t * (2 + xp.cos(2 * t)) - 1.5 * xp.sin(2 * t))
