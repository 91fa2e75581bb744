"""The three tolerance classes, and no others; each names what it allows and refuses what would hide an error.

exact        a stated number of ulps, of the desired value or of a stated scale
dtype        a multiple of √eps of the working precision, times a stated scale
statistical  |z| below 4.5 with a measured standard error

Arrays are compared as arrays: shape, dtype, namespace and device must agree before any value does.
"""

from __future__ import annotations

import math
from typing import Any

import array_api_compat as compat
import mpmath
import numpy as np

from theory.arrays import to_numpy

_SMALLEST_SAMPLE = 8  # below this a standard error says too little to be divided by


def assert_exact(actual: Any, desired: Any, ulps: float, scale: Any = None) -> None:
    """`|actual − desired| ≤ ulps` units in the last place of `scale` (of `desired` when absent) in the dtype of `actual`.

    `desired` is an array like `actual`, a number, or an object array (or number) of mpmath reals, which is not
    rounded before it is compared; `scale` a number or an array that broadcasts.
    """
    got, want = _comparable(actual, desired)
    dtype = got.dtype
    size = np.asarray(np.abs(want if scale is None else _host(scale)))
    if size.dtype == object:
        size = np.array([float(s) for s in size.ravel()]).reshape(size.shape)
    # The ulp of a number above dtype's range is not defined: such a scale is a mistake of the caller.
    unit = np.spacing(size.astype(dtype)).astype(np.float64)
    assert np.all(np.isfinite(unit)), f"scale {size} is outside {dtype}"
    _assert_within(_difference(got, want), ulps * unit, f"{ulps} ulp of {dtype}", got, want)


def assert_dtype_close(actual: Any, desired: Any, multiple_of_sqrt_eps: float, scale: Any) -> None:
    """`|actual − desired| ≤ multiple · √eps · scale`, `eps` that of the dtype of `actual`."""
    got, want = _comparable(actual, desired)
    root = float(np.finfo(got.dtype).eps) ** 0.5
    bound = multiple_of_sqrt_eps * root * np.abs(_host(scale).astype(np.float64))
    _assert_within(_difference(got, want), bound, f"{multiple_of_sqrt_eps} √eps of {got.dtype}", got, want)


def assert_z(estimate: Any, reference: float, limit: float = 4.5) -> None:
    """`|mean − reference| < limit · se`, from a sample or from a pair `(mean, se)` measured elsewhere."""
    if isinstance(estimate, tuple):
        mean, error = (float(v) for v in estimate)
    else:
        sample = _host(estimate).astype(np.float64)
        assert sample.ndim == 1, f"a sample of shape {sample.shape} was given; one dimension is needed"
        assert sample.size >= _SMALLEST_SAMPLE, f"{sample.size} draws were given; at least {_SMALLEST_SAMPLE} are needed"
        mean, error = float(sample.mean()), float(sample.std(ddof=1)) / math.sqrt(sample.size)
    assert math.isfinite(mean), f"mean {mean} is not finite"
    assert 0 < error < math.inf, f"standard error {error} is not a positive number: nothing was measured"
    z = (mean - float(reference)) / error
    assert abs(z) < limit, (
        f"z = {z:.2f} (mean {mean:.6g}, reference {float(reference):.6g}, standard error {error:.3g}); |z| < {limit} is allowed"
    )


def _host(x: Any) -> np.ndarray:
    return to_numpy(x) if compat.is_array_api_obj(x) and not isinstance(x, np.generic) else np.asarray(x)


def _comparable(actual: Any, desired: Any) -> tuple[np.ndarray, np.ndarray]:
    """Host arrays of equal shape, after the checks that no tolerance may forgive."""
    got, want = _host(actual), _host(desired)
    assert got.dtype.kind == "f", f"actual has dtype {got.dtype}; a floating-point value is needed"
    if want.dtype != object and compat.is_array_api_obj(desired) and not isinstance(desired, np.generic):
        assert compat.is_array_api_obj(actual), f"actual is a {type(actual).__name__}, desired an array"
        spaces = compat.array_namespace(actual), compat.array_namespace(desired)
        assert spaces[0] is spaces[1], f"namespaces {spaces[0].__name__} and {spaces[1].__name__} differ"
        assert actual.dtype == desired.dtype, f"dtypes {actual.dtype} and {desired.dtype} differ"
        devices = compat.device(actual), compat.device(desired)
        assert devices[0] == devices[1], f"devices {devices[0]} and {devices[1]} differ"
    assert got.shape == want.shape, f"shapes {got.shape} and {want.shape} differ"
    assert np.all(np.isfinite(got)), f"actual is not finite: {got}"
    return got, want


def _difference(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    if want.dtype == object:
        pairs = zip(got.ravel(), want.ravel(), strict=True)
        with mpmath.workdps(60):
            return np.array([float(abs(mpmath.mpf(float(g)) - w)) for g, w in pairs]).reshape(got.shape)
    return np.abs(got.astype(np.float64) - want.astype(np.float64))


def _assert_within(error: np.ndarray, bound: np.ndarray, what: str, got: np.ndarray, want: np.ndarray) -> None:
    bound = np.broadcast_to(bound, error.shape)
    outside = ~(error <= bound)  # so that NaN is outside
    if outside.any():
        worst = np.unravel_index(np.argmax(np.where(outside, error / np.maximum(bound, np.finfo(float).tiny), 0)), error.shape)
        at = f" at {[int(i) for i in worst]}" if worst else ""
        raise AssertionError(
            f"{int(outside.sum())} of {error.size} values differ by more than {what}; worst{at}: "
            f"got {got[worst]!r}, want {want[worst]!r}, error {error[worst]:.3g}, allowed {bound[worst]:.3g}"
        )


def lasting(record: dict[str, Any]) -> dict[str, Any]:
    """A record without what the run that wrote it took: the same however it was run, and whatever came from the cache."""
    took = {"wall_seconds", "peak_memory_bytes", "parts", "workers"}
    assert took <= record["provenance"].keys()
    return {**record, "provenance": {name: value for name, value in record["provenance"].items() if name not in took}}
