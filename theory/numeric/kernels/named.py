"""Kernels by name, and what else may stand for one."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from theory.arrays import Array, as_float, namespace, scalar
from theory.errors import InvalidInput
from theory.numeric.kernels.base import Activation
from theory.numeric.kernels.closed import GELU, Erf, LeakyReLU, Monomial, SquaredReLU, Step
from theory.numeric.kernels.composed import Kernel
from theory.numeric.kernels.quadrature import Quadrature

GramFunction = Callable[..., Array]
"""`(X, Z=None) -> (n, n')`, positive semi-definite."""

_ACTIVATIONS: Mapping[str, Callable[..., Activation]] = {
    "relu": lambda: LeakyReLU(0.0),
    "leaky_relu": LeakyReLU,
    "erf": Erf,
    "gelu": GELU,
    "monomial": Monomial,
    "arccos0": Step,
    "arccos1": lambda: LeakyReLU(0.0),
    "arccos2": SquaredReLU,
}

NAMES: tuple[str, ...] = tuple(_ACTIVATIONS)
"""Names that `kernel` knows."""


def kernel(activation: str | Callable[[Array], Array], *, init_scale: float = 1.0, **options: Any) -> Kernel:
    """Kernel of a two-layer net whose first layer is trained.

    Parameters
    ----------
    activation : str or function of an array
        `relu`, `leaky_relu` (option `slope`, 0.01 by default), `erf`, `gelu` (exact), `monomial` (option `power`, 2 by default),
        `arccos0` (step; it has a dual but no tangent kernel), `arccos1` (ReLU), `arccos2` (squared ReLU); or `σ` itself, whose
        expectations are then done by quadrature (options `derivative`, `kinks`, `tolerance`, `label`: see `Quadrature`).
    init_scale : float
        `κ`, the standard deviation of the first layer's weights at the start.

    Raises
    ------
    InvalidInput
        For an unknown name or option, or a value out of range.
    """
    given: dict[str, Any] = {}
    if callable(activation):
        build: Callable[..., Activation] = Quadrature
        given = {"function": activation}
    elif isinstance(activation, str) and activation in _ACTIVATIONS:
        build = _ACTIVATIONS[activation]
    else:
        near = difflib.get_close_matches(str(activation), NAMES, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InvalidInput(f"activation is {activation!r}; {hint}{', '.join(NAMES)} or a function of an array is allowed")
    try:
        built = build(**given, **options)
    except TypeError:
        raise InvalidInput(f"options {sorted(options)} were given for activation {activation!r}, which does not take all of them") from None
    return Kernel(activation=built, init_scale=init_scale)


def both_layers(kernel: Kernel) -> Kernel:
    """The same net with its readout trained too: `H + Σ`, with `Σ` at the kernel's own `init_scale`.

    `Σ` at `κ` is `κ²` times `Σ` at 1 for a ReLU or leaky ReLU only; for `x^p` it is `κ^{2p}` times, for erf and GELU no multiple of it.
    """
    return replace(_is_kernel(kernel), trained_readout=True)


def deep(kernel: Kernel, depth: int, weight_variance: float = 1.0) -> Kernel:
    """A fully connected net of `depth` hidden layers with the kernel's activation, all trained; depth 1 is the kernel itself.

    `weight_variance` is `c` in `h^{l+1} = √(c/m) W σ(h^l)`, `W ~ N(0, 1)`; at 2 and `κ = 1` a ReLU net keeps its scale, and twice this
    kernel with both layers trained is that of Arora et al. 2019.
    """
    return replace(_is_kernel(kernel), depth=depth, weight_variance=weight_variance)


def gram_function(kernel: str | GramFunction) -> GramFunction:
    """What `predict(kernel=…)` takes as a Gram function: a kernel's name, a `Kernel`, or a user's own function, whose results are checked.

    Raises
    ------
    InvalidInput
        For an unknown name or something that cannot be called; the returned function raises it for a result of a user's function that is
        no matrix of finite numbers of the right shape.
    """
    if isinstance(kernel, Kernel):
        return kernel.gram
    if isinstance(kernel, str) and kernel in NAMES:
        return _named(kernel).gram
    if not callable(kernel):
        raise InvalidInput(f"kernel is {kernel!r}; {', '.join(map(repr, NAMES))}, a Kernel or a Gram function (X, Z=None) is allowed")
    return _checked(kernel)


def check_cross(block: Array, rows: Array, columns: Array) -> None:
    """Refuse a block between two sets of points that cannot belong to the blocks within them.

    Raises
    ------
    InvalidInput
        Where `K(x, z)²` exceeds `K(x, x) K(z, z)`: then the joint matrix is indefinite.
    """
    xp = namespace(block, rows, columns)
    bound = xp.sqrt(xp.abs(xp.linalg.diagonal(rows)))[:, None] * xp.sqrt(xp.abs(xp.linalg.diagonal(columns)))[None, :]
    excess = xp.abs(block) - bound
    if scalar(xp.max(excess)) > float(xp.finfo(block.dtype).eps) ** 0.5 * scalar(xp.max(bound)):
        i, k = divmod(int(xp.argmax(excess)), block.shape[1])
        raise InvalidInput(
            f"the Gram matrix is indefinite: target point {i} and source point {k} have K(x, z) = {scalar(block[i, k]):.4g}, "
            f"and at most √(K(x, x) K(z, z)) = {scalar(bound[i, k]):.4g} is allowed"
        )


_named = kernel


def _is_kernel(given: object) -> Kernel:
    if not isinstance(given, Kernel):
        raise InvalidInput(f"kernel is {given!r}; a Kernel is allowed, for example kernel('relu')")
    return given


def _checked(function: GramFunction) -> GramFunction:
    told = f"the Gram function {getattr(function, '__name__', type(function).__name__)}"

    def gram(X: Array, Z: Array | None = None) -> Array:
        H = as_float(function(X) if Z is None else function(X, Z), f"what {told} returned")
        namespace(H, X)
        shape = (X.shape[0], (X if Z is None else Z).shape[0])
        if tuple(H.shape) != shape:
            raise InvalidInput(f"{told} returned a matrix of shape {tuple(H.shape)} for {shape[0]} and {shape[1]} rows; {shape} is allowed")
        return H

    return gram
