"""What an activation has to say of two jointly normal inputs, and the kernel of a net made of it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from numbers import Real

from theory.arrays import Array, namespace
from theory.errors import InvalidInput
from theory.numeric.pairs import ScaledRows, inner_and_cosine, near_parallel, powers


@dataclass(frozen=True, eq=False, kw_only=True)
class Correlated:
    """Pairs of jointly normal variables `u, v` of mean 0.

    Attributes
    ----------
    s, t : (n, 1) and (1, n') arrays
        Standard deviations of `u` and of `v`.
    cosine : (n, n') array
        Their correlation `ρ = cos θ`.
    apart, together : (n, n') arrays
        `1 − ρ` and `1 + ρ`, each with all its digits.
    s_rest, t_rest : (n, 1) and (1, n') arrays, or 0
        What rounding took from the deviations, relative to them.
    """

    s: Array
    t: Array
    cosine: Array
    apart: Array
    together: Array
    s_rest: Array | float = 0.0
    t_rest: Array | float = 0.0

    @classmethod
    def of(cls, X: ScaledRows, Z: ScaledRows, init_scale: float, exact: bool) -> tuple[Correlated, Array]:
        """`u = w·x`, `v = w·z` for `w ~ N(0, κ²I)`, and the inner products of the scaled rows."""
        inner, cosine = inner_and_cosine(X, Z)
        cosine = cosine - cosine * (X.excess[:, None] + Z.excess[None, :])
        apart, together = 1 - cosine, 1 + cosine
        for block, near, gap in near_parallel(X, Z, cosine, exact):
            xp = namespace(gap)
            same = cosine[block, :][near] > 0
            for array, value in (
                (apart, xp.where(same, gap, 2 - gap)),
                (together, xp.where(same, 2 - gap, gap)),
                (cosine, xp.where(same, 1 - gap, gap - 1)),
            ):
                part = array[block, :]
                part[near] = value
                array[block, :] = part
        (s, s_rest), (t, t_rest) = (_deviation(rows, init_scale) for rows in (X, Z))
        pair = cls(
            s=s[:, None], t=t[None, :], s_rest=s_rest[:, None], t_rest=t_rest[None, :], cosine=cosine, apart=apart, together=together
        )
        return pair, inner

    @classmethod
    def identical(cls, s: Array) -> Correlated:
        """`u = v` with standard deviations `s`; where that is 0, `u` and `v` are constants and count as uncorrelated."""
        xp = namespace(s)
        cosine = xp.where(s > 0, xp.ones_like(s), xp.zeros_like(s))
        return cls(s=s, t=s, cosine=cosine, apart=1 - cosine, together=1 + cosine)

    @property
    def opposite(self) -> Correlated:
        """`u` and `−v`."""
        return replace(self, cosine=-self.cosine, apart=self.together, together=self.apart)

    @property
    def sine(self) -> Array:
        """`sin θ`."""
        return namespace(self.apart).sqrt(self.apart * self.together)

    @property
    def angle(self) -> Array:
        """`θ`."""
        xp = namespace(self.apart)
        return 2 * xp.atan2(xp.sqrt(self.apart), xp.sqrt(self.together))

    @property
    def beyond(self) -> Array:
        """`π − θ`."""
        return self.opposite.angle


def _deviation(X: ScaledRows, init_scale: float) -> tuple[Array, Array]:
    """`κ‖x‖`, and what rounding took from it, relative to it; what overflows is cut off, far beyond where an activation still changes."""
    xp = namespace(X.rows)
    size, rest = powers(X, init_scale, 1)
    # 2^-4 of the largest power of two leaves room for a norm of up to 2^3 after scaling, and sums of two.
    room = float(xp.finfo(X.rows.dtype).max) * 2.0**-4
    return xp.where(size > room / xp.maximum(X.scale, xp.ones_like(X.scale)), room * xp.ones_like(size), size * X.scale), rest


@dataclass(frozen=True)
class Activation(ABC):
    """An activation `σ`, by its expectations over jointly normal inputs.

    A subclass takes powers of the standard deviations out of what it returns, so that rows of any norm are within range.
    At a kink or a jump, `σ` and `σ'` are the mean of both sides.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name."""

    @property
    def degree(self) -> int:
        """Power of `s` and of `t` taken out of the dual."""
        return 0

    @property
    def derivative_degree(self) -> int:
        """Power of `s` and of `t` taken out of the derivative's dual."""
        return 0

    @property
    def homogeneous(self) -> bool:
        """Whether nothing but those powers depends on `s` and `t`."""
        return False

    @property
    def odd(self) -> bool:
        """Whether `σ(−x) = −σ(x)`."""
        return False

    @abstractmethod
    def dual(self, pair: Correlated) -> Array:
        """`E[σ(u) σ(v)]` over `(s t)^degree`."""

    @abstractmethod
    def derivative_dual(self, pair: Correlated) -> Array:
        """`E[σ'(u) σ'(v)]` over `(s t)^derivative_degree`."""

    def output_apart(self, pair: Correlated, correlation: Array) -> Array:
        """One less the correlation of `σ(u)` and `σ(v)`, which is given.

        The difference loses digits near 1; a subclass whose derivative's dual is steep there overrides this.
        """
        return 1 - correlation


def check_scale(value: float, name: str) -> float:
    """`value` if it is a positive finite number.

    Raises
    ------
    InvalidInput
        If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value < math.inf:
        raise InvalidInput(f"{name} is {value!r}; a finite number above 0 is allowed")
    return float(value)
