"""Each tolerance class catches the error it is for, and lets pass what lies on its edge."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

from tests.helpers import assert_dtype_close, assert_exact, assert_z


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_exact_counts_ulps(dtype):
    one = np.ones(3, dtype=dtype)
    eps = np.finfo(dtype).eps
    assert_exact(one + 2 * eps * np.array([0, 0, 1], dtype=dtype), one, 2)
    with pytest.raises(AssertionError, match=r"1 of 3 values.*at \[2\]"):
        assert_exact(one + 3 * eps * np.array([0, 0, 1], dtype=dtype), one, 2)


def test_exact_with_scale_measures_against_the_scale_not_the_value():
    small, eps = np.array([1e-20]), np.finfo(float).eps
    assert_exact(small + 2 * eps, small, 2, scale=1.0)
    with pytest.raises(AssertionError, match="differ by more than 1 ulp"):
        assert_exact(small + 2 * eps, small, 1, scale=1.0)
    with pytest.raises(AssertionError):
        assert_exact(small + 2 * eps, small, 2)


def test_exact_does_not_round_a_multiprecision_reference():
    with mpmath.workdps(60):
        third = mpmath.mpf(1) / 3
    assert_exact(1 / 3, third, 0.5)
    with pytest.raises(AssertionError):
        assert_exact(1 / 3, third, 0)
    with pytest.raises(AssertionError):
        assert_exact(math.nextafter(1 / 3, 1), third, 0.5)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_dtype_class_scales_with_the_precision(dtype):
    root = float(np.finfo(dtype).eps) ** 0.5
    want = np.array([2.0, -1.0], dtype=dtype)
    assert_dtype_close(want + np.array([0, 0.99 * root], dtype=dtype), want, 1, scale=1.0)
    with pytest.raises(AssertionError, match=r"√eps.*at \[1\]"):
        assert_dtype_close(want + np.array([0, 1.01 * root], dtype=dtype), want, 1, scale=1.0)


def test_z_class():
    sample = np.tile([1.0, -1.0], 8)
    error = sample.std(ddof=1) / 4
    assert_z(sample, 4.49 * error)
    assert_z((0.0, error), -4.49 * error)
    with pytest.raises(AssertionError, match=r"z = -4\.51"):
        assert_z(sample, 4.51 * error)
    with pytest.raises(AssertionError, match=r"z = 4\.51"):
        assert_z((0.0, error), -4.51 * error)


@pytest.mark.parametrize(
    "estimate", [(0.0, 0.0), (0.0, math.nan), (0.0, math.inf), (math.nan, 1.0), np.zeros(16), np.arange(4.0), np.zeros((8, 8))]
)
def test_z_refuses_what_was_not_measured(estimate):
    with pytest.raises(AssertionError):
        assert_z(estimate, 0.0)


@pytest.mark.parametrize("check", [lambda a, b: assert_exact(a, b, 4), lambda a, b: assert_dtype_close(a, b, 1, 1.0)])
def test_no_tolerance_forgives_shape_dtype_namespace_device_or_nan(check):
    strict = pytest.importorskip("array_api_strict")
    x = np.ones(3)
    check(x, x.copy())
    second = strict.asarray(x, device=strict.Device("device1"))
    check(second, strict.asarray(x, device=strict.Device("device1")))
    for actual, desired, message in [
        (x, np.ones((1, 3)), "shapes"),
        (np.float64(1), x, "shapes"),
        (x, x.astype(np.float32), "dtypes"),
        (x.astype(np.float32), x, "dtypes"),
        (x, strict.asarray(x), "namespaces"),
        (second, strict.asarray(x), "devices"),
        (np.array([1, np.nan, 1]), x, "not finite"),
        (x.astype(int), x, "floating"),
    ]:
        with pytest.raises(AssertionError, match=message):
            check(actual, desired)
    with pytest.raises(AssertionError):
        check(x, np.array([1, np.nan, 1]))
