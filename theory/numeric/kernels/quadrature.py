"""Any activation by quadrature, with an error estimate, refused where it does not converge."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from numbers import Real
from typing import NamedTuple

import array_api_compat as compat
import numpy as np

from theory.arrays import Array, as_float, namespace, scalar
from theory.errors import InvalidInput, NotConverged
from theory.numeric.kernels.base import Activation, Correlated

# The normal density beyond this radius is exp(−72) of the whole; what an activation may grow to is seen by moving it.
_REACH = 12.0

# Nodes along the angle and along the radius of each piece, coarse to fine; each answer is held against the one before.
_LEVELS = ((10, 16), (15, 24), (22, 36), (34, 54), (50, 80), (75, 120), (110, 180))

# Function values at once: bounds the working memory.
_CHUNK = 1 << 20


class Expectation(NamedTuple):
    """Values, and how far they may be off."""

    value: Array
    error: Array


@dataclass(frozen=True)
class Quadrature(Activation):
    """An activation given as a function of arrays; its expectations are integrals in polar coordinates, whose pieces hold no kink.

    Attributes
    ----------
    function : function of an array
        `σ`, elementwise, for arrays of the library it will be used with.
    derivative : function of an array, optional
        `σ'`; without it there is a dual, but no tangent kernel.
    kinks : tuple of float
        Where `σ` or `σ'` jumps. 0 is always taken as one; an unnamed kink costs convergence, not correctness.
    tolerance : float
        Error allowed, relative to `√(E[σ(u)²] E[σ(v)²])`.
    label : str
    """

    function: Callable[[Array], Array]
    derivative: Callable[[Array], Array] | None = None
    kinks: tuple[float, ...] = ()
    tolerance: float = 1e-10
    label: str = ""

    def __post_init__(self) -> None:
        for given, what in ((self.function, "function"), (self.derivative, "derivative")):
            if not callable(given) and not (what == "derivative" and given is None):
                raise InvalidInput(f"{what} is {given!r}; a function of an array is allowed")
        if not isinstance(self.kinks, Sequence) or not all(isinstance(k, Real) and math.isfinite(k) for k in self.kinks):
            raise InvalidInput(f"kinks are {self.kinks!r}; a tuple of finite numbers is allowed")
        object.__setattr__(self, "kinks", tuple(map(float, self.kinks)))
        if not isinstance(self.tolerance, float) or not 0 < self.tolerance < 1:
            raise InvalidInput(f"tolerance is {self.tolerance!r}; a number in (0, 1) is allowed")

    @property
    def name(self) -> str:
        """The label, or the function's own name."""
        return self.label or getattr(self.function, "__name__", "an activation")

    def dual(self, pair: Correlated) -> Array:
        """`E[σ(u) σ(v)]`."""
        return self._converged(gaussian_product, self.function, pair, "dual").value

    def derivative_dual(self, pair: Correlated) -> Array:
        """`E[σ'(u) σ'(v)]`."""
        if self.derivative is None:
            raise InvalidInput(f"{self.name} was given without its derivative; derivative=… is needed for a tangent kernel")
        return self._converged(gaussian_product, self.derivative, pair, "dual of its derivative").value

    def output_apart(self, pair: Correlated, correlation: Array) -> Array:
        """`1 − ρ'` as half the mean square of a difference: of two nearly parallel inputs, the next layer needs its digits."""
        return self._converged(_gaussian_gap, self.function, pair, "difference of outputs").value

    def _converged(self, rule: Callable[..., Expectation], function: Callable[[Array], Array], pair: Correlated, what: str) -> Expectation:
        try:
            return rule(function, pair, self.kinks, self.tolerance)
        except NotConverged as error:
            raise NotConverged(f"{self.name}, {what}: {error}") from None


def gaussian_product(
    function: Callable[[Array], Array], pair: Correlated, kinks: Sequence[float] = (), tolerance: float = 1e-10
) -> Expectation:
    """`E[g(u) g(v)]` for jointly normal `u` and `v`, to a tolerance relative to `√(E[g(u)²] E[g(v)²])`.

    With `u = s r sin(β − φ)`, `v = t r sin φ`, `β = π − θ`, both are positive for `0 < φ < β`, both negative at the opposite points, and
    the two wedges of opening `θ` have `u` and `v` of different sign. The integral over `r` is split where `|u|` or `|v|` passes a
    kink, that over `φ` where two of those places meet; each piece is done by Gauss-Legendre quadrature. Wedges as narrow as they like
    cost nothing: there is no ridge of the density, as there would be in Cartesian coordinates for nearly parallel inputs.

    Parameters
    ----------
    function : function of an array
        `g`, elementwise.
    pair : Correlated
    kinks : sequence of float
        Where `g` jumps or bends, besides 0.
    tolerance : float

    Returns
    -------
    Expectation
        The values and for each the difference from the rule before, which used about two thirds of the nodes.

    Raises
    ------
    NotConverged
        If the finest rule has not reached the tolerance; the message holds the largest error and what to do.
    InvalidInput
        If `g` does not return finite real numbers in its argument's shape and library.
    """
    xp = namespace(pair.cosine)
    own = _own_energies(function, pair, kinks, tolerance)
    scale = _flat(xp.sqrt(own[0]) * xp.sqrt(own[1]), pair)
    points = _Points.of(pair)
    value, error = _refined(lambda u, v, _: _checked(function, u) * _checked(function, v), points, kinks, tolerance, lambda _: scale)
    return Expectation(xp.reshape(value, pair.cosine.shape), xp.reshape(error, pair.cosine.shape))


def _gaussian_gap(
    function: Callable[[Array], Array], pair: Correlated, kinks: Sequence[float] = (), tolerance: float = 1e-10
) -> Expectation:
    """One less the correlation of `g(u)` and `g(v)`: `E[(g(u)/a − g(v)/b)²]/2`, `a² = E[g(u)²]`, `b² = E[g(v)²]`.

    As an integral of what differs it keeps its digits where the correlation is near 1. Arguments and errors as for `gaussian_product`;
    the tolerance is relative to the gap itself, down to gaps of the size of the tolerance.
    """
    xp = namespace(pair.cosine)
    sizes = [xp.sqrt(own) for own in _own_energies(function, pair, kinks, tolerance)]
    shares = [_flat(1 / xp.where(size > 0, size, xp.ones_like(size)), pair) for size in sizes]

    def gap(u: Array, v: Array, some: Array) -> Array:
        left, right = (share[some][:, None, None] for share in shares)
        return (left * _checked(function, u) - right * _checked(function, v)) ** 2 / 2

    value, error = _refined(gap, _Points.of(pair), kinks, tolerance, lambda value: xp.abs(value) + tolerance)
    return Expectation(xp.reshape(value, pair.cosine.shape), xp.reshape(error, pair.cosine.shape))


_Integrand = Callable[[Array, Array, Array], Array]
"""`h(u, v, some)` for the points that the index array `some` picks."""


@dataclass(frozen=True, eq=False)
class _Points:
    """Pairs of normal variables in one row: standard deviations, angle and `π` less it."""

    s: Array
    t: Array
    angle: Array
    beyond: Array

    @classmethod
    def of(cls, pair: Correlated) -> _Points:
        return cls(*(_flat(a, pair) for a in (pair.s, pair.t, pair.angle, pair.beyond)))

    def some(self, index: Array) -> _Points:
        return _Points(self.s[index], self.t[index], self.angle[index], self.beyond[index])


class _Rule(NamedTuple):
    """Where pieces end, nodes for each, and how far out the integral goes."""

    bends: tuple[float, ...]
    n_angle: int
    n_radius: int
    reach: float


def _flat(a: Array, pair: Correlated) -> Array:
    xp = namespace(pair.cosine)
    return xp.reshape(a + xp.zeros_like(pair.cosine), (-1,))


def _own_energies(function: Callable[[Array], Array], pair: Correlated, kinks: Sequence[float], tolerance: float) -> list[Array]:
    """`E[g(u)²]` and `E[g(v)²]`, each at its own scale and in the shape of its standard deviations."""
    xp = namespace(pair.cosine)
    energies = []
    for deviation in (pair.s, pair.t):
        d = xp.reshape(deviation, (-1,))
        points = _Points(d, d, xp.zeros_like(d), xp.zeros_like(d) + math.pi)
        value, _ = _refined(lambda u, v, _: _checked(function, u) * _checked(function, v), points, kinks, tolerance, xp.abs)
        energies.append(xp.reshape(value, deviation.shape))
    return energies


def _refined(
    integrand: _Integrand, points: _Points, kinks: Sequence[float], tolerance: float, scale: Callable[[Array], Array]
) -> tuple[Array, Array]:
    """Finer rules for the pairs that need them, until two agree."""
    xp = namespace(points.s)
    bends = tuple(sorted({abs(float(k)) for k in kinks} - {0.0}))
    allowed = max(tolerance, 16 * float(xp.finfo(points.s.dtype).eps))
    every = xp.arange(points.s.shape[0], device=compat.device(points.s))
    value = _integral(integrand, points, every, _Rule(bends, *_LEVELS[0], _REACH + 2))
    error = xp.zeros_like(value) + math.inf
    left, open_ = every, every >= 0
    for level, orders in enumerate(_LEVELS[1:]):
        # The reach moves too, so that an activation that grows beyond it is seen.
        finer = _integral(integrand, points, left, _Rule(bends, *orders, _REACH + 2 * (level % 2)))
        error[open_], value[open_] = xp.abs(finer - value[open_]), finer
        open_ = ~(error <= allowed * scale(value))
        left = every[open_]
        if left.shape[0] == 0:
            return value, error
    size = scale(value)
    worst = scalar(xp.max(xp.where(size > 0, error / xp.where(size > 0, size, xp.ones_like(size)), error)))
    broad = scalar(xp.max(xp.where(points.s > points.t, points.s, points.t)))
    raise NotConverged(
        f"the quadrature is {worst:.2g} of the kernel's scale off at {_LEVELS[-1][0]} × {_LEVELS[-1][1]} nodes a piece, {allowed:.2g} is "
        f"allowed (standard deviations up to {broad:.3g}); name the kinks, ask for a larger tolerance, or scale the inputs down"
    )


def _integral(integrand: _Integrand, points: _Points, index: Array, rule: _Rule) -> Array:
    """The expectation for the points that the index picks, some at a time."""
    pieces = (1 + len(rule.bends) ** 2) * rule.n_angle * (1 + 2 * len(rule.bends)) * rule.n_radius
    step = max(1, _CHUNK // pieces)
    parts = []
    for start in range(0, index.shape[0], step):
        some = index[start : min(start + step, index.shape[0])]
        here = points.some(some)
        both = _wedge(integrand, here, some, here.beyond, 1.0, rule)
        either = _wedge(integrand, here, some, here.angle, -1.0, rule)
        parts.append((both + either) / (2 * math.pi))
    return namespace(points.s).concat(parts)


def _wedge(integrand: _Integrand, points: _Points, some: Array, opening: Array, sign: float, rule: _Rule) -> Array:
    """Integral of `r exp(−r²/2) h(u, v)` over the wedge where `u` has that sign and `v > 0`, and over its opposite."""
    xp = namespace(opening)
    s, t, reach = points.s, points.t, rule.reach
    zero = xp.zeros_like(opening)
    # Where |u| = a and |v| = b at one r: sin(α − φ)/sin φ = a t/(b s).
    splits = [xp.atan2(xp.sin(opening) * b * s, a * t + xp.cos(opening) * b * s) for a in rule.bends for b in rule.bends]
    edges = [xp.minimum(xp.maximum(split, zero), opening) for split in splits]
    phi, phi_weight = _composite(xp.stack([zero, *edges, opening], axis=-1), _angular(rule.n_angle))
    across, along = sign * s[:, None] * xp.sin(opening[:, None] - phi), t[:, None] * xp.sin(phi)
    edges = [xp.zeros_like(phi)]
    for k in rule.bends:
        for size in (xp.abs(across), along):
            edges.append(xp.clip(k / xp.where(size > k / reach, size, k / reach + 0 * size), 0.0, reach))
    r, r_weight = _composite(xp.stack([*edges, reach + 0 * phi], axis=-1), _radial(rule.n_radius))
    u, v = across[:, :, None] * r, along[:, :, None] * r
    values = integrand(u, v, some) + integrand(-u, -v, some)
    return xp.sum(xp.sum(values * (r * xp.exp(-r * r / 2) * r_weight), axis=2) * phi_weight, axis=1)


def _composite(edges: Array, rule: tuple[np.ndarray, np.ndarray]) -> tuple[Array, Array]:
    """Nodes and weights of a rule on [0, 1] on each interval between edges along the last axis, which need not be in order."""
    xp = namespace(edges)
    edges = xp.sort(edges, axis=-1)
    nodes, weights = (xp.asarray(a, dtype=edges.dtype, device=compat.device(edges)) for a in rule)
    low, width = edges[..., :-1, None], (edges[..., 1:] - edges[..., :-1])[..., None]
    shape = (*edges.shape[:-1], (edges.shape[-1] - 1) * nodes.shape[0])
    return xp.reshape(low + width * nodes, shape), xp.reshape(width * weights, shape)


@cache
def _angular(order: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre after `x²(3 − 2x)`, dense at both ends: there an activation changes that is steep in `u` or in `v`."""
    x, weights = np.polynomial.legendre.leggauss(order)
    x, weights = (x + 1) / 2, weights / 2
    return x**2 * (3 - 2 * x), 6 * x * (1 - x) * weights


@cache
def _radial(order: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre after `x²`, dense at the inner end."""
    x, weights = np.polynomial.legendre.leggauss(order)
    x, weights = (x + 1) / 2, weights / 2
    return x**2, 2 * x * weights


def _checked(function: Callable[[Array], Array], x: Array) -> Array:
    xp = namespace(x)
    y = as_float(function(x), "what the activation returned")
    if namespace(y) is not xp or y.dtype != x.dtype or y.shape != x.shape:
        raise InvalidInput(
            f"the activation turned {x.dtype} of shape {tuple(x.shape)} into {y.dtype} of shape {tuple(y.shape)} "
            f"({namespace(y).__name__}); an elementwise function of {xp.__name__} arrays is allowed"
        )
    return y
