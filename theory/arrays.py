"""Helpers that keep the mathematics free of any one array library."""

from __future__ import annotations

from typing import Any

import array_api_compat as compat
import numpy as np

from theory.errors import InvalidInput

Array = Any
"""An array of any library that follows the Python array API standard."""


def namespace(*arrays: Array) -> Any:
    """The array-API namespace shared by `arrays`; `None` entries are skipped."""
    given = [a for a in arrays if a is not None]
    try:
        return compat.array_namespace(*given)
    except TypeError:
        kinds = " and ".join(sorted({f"{type(a).__module__}.{type(a).__qualname__}" for a in given})) or "nothing"
        raise InvalidInput(f"{kinds} were given; arrays of one library are allowed") from None


def to_numpy(x: Array) -> np.ndarray:
    """A host NumPy view (or copy, from another device) of `x`."""
    if isinstance(x, np.ndarray):
        return x
    if compat.is_torch_array(x):
        return x.detach().cpu().numpy()
    if compat.is_cupy_array(x):
        return x.get()
    xp = namespace(x)
    # A strict namespace refuses conversion from any device but its default one.
    return np.asarray(compat.to_device(x, xp.__array_namespace_info__().default_device()))


def as_float(x: Array, name: str) -> Array:
    """`x` as a real floating-point array of its own library; integers and booleans become float64.

    Raises
    ------
    InvalidInput
        If `x` is not numeric, complex, or holds NaN or infinity.
    """
    if isinstance(x, (list, tuple, int, float)) or np.isscalar(x):
        try:
            x = np.asarray(x)
        except ValueError as error:
            raise InvalidInput(f"{name} is not a rectangular array of numbers: {error}") from None
    if isinstance(x, np.ndarray) and x.dtype.kind not in "fiub":
        raise InvalidInput(f"{name} has dtype {x.dtype}; real numbers are allowed")
    try:
        xp = namespace(x)
    except InvalidInput:
        raise InvalidInput(f"{name} is a {type(x).__name__}; an array is allowed") from None
    if not xp.isdtype(x.dtype, ("real floating", "integral", "bool")):
        raise InvalidInput(f"{name} has dtype {x.dtype}; real numbers are allowed")
    if not xp.isdtype(x.dtype, "real floating"):
        x = xp.astype(x, xp.float64)
    if isinstance(x, np.ndarray) and x.dtype.itemsize not in (4, 8):
        # Half precision cannot carry an eigendecomposition, long double has no LAPACK.
        x = x.astype(np.float64)
    elif compat.is_torch_array(x) and x.dtype not in (xp.float32, xp.float64):
        x = xp.astype(x, xp.float64)
    finite = xp.isfinite(x)
    if not bool(xp.all(finite)):
        bad = to_numpy(xp.astype(~finite, xp.int64))
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        value = float(to_numpy(x)[where])
        raise InvalidInput(f"{name}{list(where)} is {value}; finite numbers are allowed ({int(bad.sum())} entries are not finite)")
    return x


def scalar(x: Array) -> float:
    """A zero-dimensional array as a Python float, from any device."""
    return float(to_numpy(x))


def rows_times(g: Array, y: Array) -> Array:
    """Row `i` of `y`, `(n,)` or `(n, c)`, times `g[i]`."""
    return g * y if y.ndim == 1 else g[:, None] * y
