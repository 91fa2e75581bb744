"""Infinite-width kernels of fully connected nets: first layer trained, readout too, any depth.

The net is `f(x) = m^{-1/2} Σ_r a_r σ(h_r^L(x))` with `a_r = ±1`, `h^1 = W¹x` and `h^{l+1} = √(c/m) W^{l+1} σ(h^l)`, where the weights of
`W¹` start as `N(0, κ²)` and those of later layers as `N(0, 1)`. All hidden layers are trained, the readout `a` on request. `κ` is
`init_scale`, `c` is `weight_variance`; with depth `L = 1` this is the two-layer net of the rest of the theory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np

from theory.arrays import Array, namespace
from theory.errors import InvalidInput
from theory.numeric.gram import relu_gram
from theory.numeric.kernels.base import Activation, Correlated, check_scale
from theory.numeric.kernels.closed import LeakyReLU
from theory.numeric.pairs import ScaledRows, check_underflow, powers, scaled_pair, times_scales


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """Kernel of a net at infinite width; call it as the Gram function it is.

    Attributes
    ----------
    activation : Activation
    init_scale : float
        `κ`, the standard deviation of the first layer's weights at the start. The tangent kernel of a net of depth 1 depends on it
        unless its activation is homogeneous of degree 1.
    depth : int
        Number of hidden layers.
    weight_variance : float
        `c`, the variance of the weights between hidden layers (times their number); 2 keeps the scale of a ReLU net.
    trained_readout : bool
        Whether the readout is trained as well.
    """

    activation: Activation
    init_scale: float = 1.0
    depth: int = 1
    weight_variance: float = 1.0
    trained_readout: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.activation, Activation):
            raise InvalidInput(f"activation is {self.activation!r}; an Activation is allowed, for example one that kernel(name) holds")
        # Python numbers: NumPy's would turn a float32 result into float64.
        for name in ("init_scale", "weight_variance"):
            object.__setattr__(self, name, check_scale(getattr(self, name), name))
        if isinstance(self.depth, bool) or not isinstance(self.depth, Integral) or self.depth < 1:
            raise InvalidInput(f"depth is {self.depth!r}; a whole number of hidden layers, at least 1, is allowed")
        object.__setattr__(self, "depth", int(self.depth))

    @property
    def name(self) -> str:
        """What is in it, in words."""
        parts = [self.activation.name]
        if self.depth > 1:
            parts.append(f"{self.depth} hidden layers")
        if self.trained_readout:
            parts.append("readout trained")
        return ", ".join(parts)

    def dual(self, X: Array, Z: Array | None = None) -> Array:
        """`Σ(x, z) = E[σ(u) σ(v)]` over the inputs `u, v` of the last hidden layer; for depth 1, `u = w·x`, `v = w·z`, `w ~ N(0, κ²I)`.

        Parameters
        ----------
        X : (n, d) array
            Rows of any norm.
        Z : (n', d) array, optional
            Taken as `X` when absent; the result is then exactly symmetric.

        Returns
        -------
        (n, n') array of the same library, dtype and device.

        Raises
        ------
        InvalidInput
            For input that is not two-dimensional, finite and of matching width, or whose products overflow.
        NotConverged
            From an activation given by quadrature.
        """
        with _overflow_is_told():
            return self._last(X, Z, with_tangent=False).dual()

    def derivative_dual(self, X: Array, Z: Array | None = None) -> Array:
        """`E[σ'(u) σ'(v)]` over the inputs of the last hidden layer; arguments and errors as for `dual`."""
        with _overflow_is_told():
            return self._last(X, Z, with_tangent=False).derivative_dual()

    def gram(self, X: Array, Z: Array | None = None) -> Array:
        """Tangent kernel of the trained layers; arguments and errors as for `dual`, and `InvalidInput` where `K(x, x)` underflows.

        For depth 1 it is `H = x·z E[σ'(w·x) σ'(w·z)]`, plus `Σ(x, z)` with the readout trained: `Σ` at this `κ`, which is `κ²` times that
        at `κ = 1` for a ReLU, and for no activation that is not homogeneous of degree 1. For more layers see `next_layer`.
        """
        if self.depth == 1 and self.activation == LeakyReLU(0.0):
            H = relu_gram(X, Z)  # the same numbers in half the time
            return H + self.dual(X, Z) if self.trained_readout else H
        with _overflow_is_told():
            last = self._last(X, Z, with_tangent=True)
            K = last.tangent_kernel() + last.dual() if self.trained_readout else last.tangent_kernel()
        if last.rows is last.others:
            check_underflow(K, last.rows)
        return K

    __call__ = gram

    def _last(self, X: Array, Z: Array | None, with_tangent: bool) -> _LastLayer:
        rows, others = scaled_pair(X, Z)
        activation = self.activation
        pair, inner = Correlated.of(rows, others, self.init_scale, exact=not activation.homogeneous)
        tangent = inner if with_tangent else None
        if self.depth == 1:
            return _LastLayer(activation, pair, tangent, rows, others, self.init_scale, scaled=True)
        # Only at degree 1 do the scales of the rows go through every layer unchanged.
        scaled = activation.homogeneous and activation.degree == 1
        if scaled:
            pair = replace(pair, s=self.init_scale * rows.size[:, None], t=self.init_scale * others.size[None, :])
        elif tangent is not None:
            tangent = times_scales(tangent, rows, others, 1)
        for _ in range(self.depth - 1):
            pair, tangent = next_layer(activation, pair, tangent, self.weight_variance)
        return _LastLayer(activation, pair, tangent, rows, others, None, scaled)


def _overflow_is_told() -> np.errstate:
    """No warnings from NumPy: what is not finite in the end raises `InvalidInput`."""
    return np.errstate(over="ignore", invalid="ignore", divide="ignore")


def next_layer(
    activation: Activation, pair: Correlated, tangent: Array | None, weight_variance: float = 1.0
) -> tuple[Correlated, Array | None]:
    """Law of the inputs of layer `l + 1`, and their tangent kernel, from those of layer `l`.

    `Λ' = c E[σ(u) σ(v)]` and `T' = c (E[σ(u) σ(v)] + E[σ'(u) σ'(v)] T)`, expectations over `u, v ~ N(0, Λ)`; the recursion starts at
    `Λ = κ² x·z`, `T = x·z`, and the tangent kernel of the net with its readout fixed is `E[σ'(u) σ'(v)] T` at the last layer.

    Parameters
    ----------
    activation : Activation
    pair : Correlated
        `Λ` as standard deviations and correlations.
    tangent : (n, n') array or None
        `T`; not followed when absent.
    weight_variance : float
        `c`.

    Source: Jacot et al. 2018; Arora et al. 2019 (arXiv 1904.11955), eq. (9), for `c = 2` and `κ = 1`, whose readout has variance 1 and
    a factor `√2`: their kernel is twice this one with the readout trained.
    """
    xp = namespace(pair.cosine)
    product = activation.dual(pair)
    own = [activation.dual(Correlated.identical(deviation)) for deviation in (pair.s, pair.t)]
    s, t = (d**activation.degree * xp.sqrt(weight_variance * o) for d, o in zip((pair.s, pair.t), own, strict=True))
    zero = (s == 0) | (t == 0)
    size = xp.sqrt(own[0]) * xp.sqrt(own[1])
    correlation = xp.where(zero, xp.zeros_like(product), product / xp.where(zero, xp.ones_like(size), size))
    apart = xp.clip(activation.output_apart(pair, correlation), 0.0, 2.0)
    together = xp.clip(activation.output_apart(pair.opposite, -correlation), 0.0, 2.0) if activation.odd else 2 - apart
    apart, together = (xp.where(zero, xp.ones_like(gap), gap) for gap in (apart, together))
    cosine = xp.where(apart < 0.5, 1 - apart, xp.where(together < 0.5, together - 1, correlation))
    following = Correlated(s=s, t=t, cosine=cosine, apart=apart, together=together)
    if tangent is None:
        return following, None
    product = product * (pair.s * pair.t) ** activation.degree
    slope = activation.derivative_dual(pair) * (pair.s * pair.t) ** activation.derivative_degree
    return following, weight_variance * (product + slope * tangent)


@dataclass(frozen=True, eq=False)
class _LastLayer:
    """Inputs of the last hidden layer, their tangent kernel, and what is still to be multiplied.

    `scaled` says whether the scales of the rows are; `init_scale` is `None` where the standard deviations are those of `pair`.
    """

    activation: Activation
    pair: Correlated
    tangent: Array | None
    rows: ScaledRows
    others: ScaledRows
    init_scale: float | None
    scaled: bool

    def dual(self) -> Array:
        degree = self.activation.degree
        return self._whole(self._with_powers(self.activation.dual(self.pair), degree), degree)

    def derivative_dual(self) -> Array:
        degree = self.activation.derivative_degree
        return self._whole(self._with_powers(self.activation.derivative_dual(self.pair), degree), degree)

    def tangent_kernel(self) -> Array:
        degree = self.activation.derivative_degree
        return self._whole(self.tangent * self._with_powers(self.activation.derivative_dual(self.pair), degree), degree + 1)

    def _with_powers(self, M: Array, degree: int) -> Array:
        """`M (s t)^degree`, less the rows' scales."""
        if degree == 0:
            return M
        if self.init_scale is None:
            return M * (self.pair.s**degree * self.pair.t**degree)
        (left, left_rest), (right, right_rest) = (powers(rows, self.init_scale, degree) for rows in (self.rows, self.others))
        product = M * (left[:, None] * right[None, :])
        # Rounded factors alone would cost two of the four ulp.
        return product + product * (left_rest[:, None] + right_rest[None, :])

    def _whole(self, M: Array, degree: int) -> Array:
        return times_scales(M, self.rows, self.others, degree if self.scaled else 0)
