"""Filters against 60 digits, and what a singular Gram matrix does to a stage."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import assert_dtype_close, assert_exact
from theory import InvalidInput, UnstableStep, relu_gram
from theory.numeric import stages
from theory.numeric.spectrum import (
    GramSpectrum,
    flow_integral_filter,
    flow_residual_filter,
    integral_filter,
    residual_filter,
)

DTYPES = [np.float64, np.float32]
STEPS = [0, 1, 2, 3, 7, 100, 1001, 10**5, 10**6]


def curvatures(dtype):
    """`ηλ` over (0, 2): tiny, below and above the switch of formulas at ½, about 1, and the alternating side."""
    eps = float(np.finfo(dtype).eps)
    near_one = [1 - eps, 1.0, 1 + eps]
    values = [
        0.0,
        1e-35,
        1e-20,
        eps,
        1e-6,
        1e-3,
        0.1,
        0.5 - eps,
        0.5,
        0.5 + eps,
        0.9,
        *near_one,
        1.1,
        1.5,
        1.9,
        1.999,
        2 - 1e-6,
        2 - 4 * eps,
    ]
    return np.array(values, dtype=dtype)


def exact_filters(values, lr, k):
    """`q`, `φ` and their sensitivity `k·ηλ·|1 − ηλ|^(k−1)` to a relative change of `ηλ`, as mpmath reals."""
    with mpmath.workdps(60):
        q, phi, slope = [], [], []
        for value in values:
            v, x = mpmath.mpf(float(value)), mpmath.mpf(float(value)) * lr
            base = 1 - x
            q.append(base**k)
            # expm1 keeps the 60 digits where x is 1e-35.
            log = None if base <= 0 else mpmath.log1p(-x)
            phi.append(mpmath.mpf(lr) * k if v == 0 else ((1 - base**k) / v if log is None else -mpmath.expm1(k * log) / v))
            slope.append(k * abs(x) * abs(base) ** max(k - 1, 0))
        return tuple(np.array(out, dtype=object) for out in (q, phi, slope))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", STEPS)
@pytest.mark.parametrize("lr", [1.0, 0.25, 0.3, 1000.0])
def test_filters_against_sixty_digits(dtype, k, lr):
    lr = float(dtype(lr))
    values = (curvatures(dtype).astype(np.float64) / lr).astype(dtype)
    values = values[values.astype(np.float64) * lr < 2]
    q, phi, slope = exact_filters(values, lr, k)
    # Rounding ηλ once moves q by half an ulp of its sensitivity; nothing that starts from ηλ can do better.
    assert_exact(residual_filter(values, lr, k), q, 4, scale=np.abs(q) + slope)
    x = values.astype(np.float64) * lr
    early = x < 0.5
    assert_exact(integral_filter(values, lr, k)[early], phi[early], 4)
    late = ~early
    assert_exact(integral_filter(values, lr, k)[late], phi[late], 4, scale=(np.abs(phi) + (1 + slope) * lr / np.maximum(x, 0.5))[late])


@given(st.floats(1e-12, 1.999), st.integers(0, 10**6), st.floats(1e-3, 1e3))
def test_filters_at_random(x, k, lr):
    values = np.array([x / lr])
    q, phi, slope = exact_filters(values, lr, k)
    assert_exact(residual_filter(values, lr, k), q, 4, scale=np.abs(q) + slope)
    assert_exact(integral_filter(values, lr, k), phi, 4, scale=phi + (slope if x >= 0.49 else 0) * lr / x)


@pytest.mark.parametrize("k", [1, 2, 10**6])
def test_filters_special_values(k):
    values = np.array([0.0, 4.0])
    assert residual_filter(values, 0.25, k).tolist() == [1, 0]  # ηλ = 1 is done after one step, exactly
    assert integral_filter(values, 0.25, k).tolist() == [0.25 * k, 0.25]
    assert residual_filter(values, 0.5, k).tolist() == [1, (-1) ** k]  # ηλ = 2 alternates for ever
    assert integral_filter(values, 0.5, k).tolist() == [0.5 * k, 0.5 * (k % 2)]


def test_filters_before_the_first_step_and_at_the_end():
    values = np.array([0.0, 1e-9, 1.0, 1.9])
    assert residual_filter(values, 1.0, 0).tolist() == [1, 1, 1, 1]
    assert integral_filter(values, 1.0, 0).tolist() == [0, 0, 0, 0]
    assert residual_filter(values, 1.0, None).tolist() == [1, 0, 0, 0]
    assert_exact(integral_filter(values, 1.0, None), np.array([0, 1e9, 1, 1 / 1.9]), 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("time", [0.0, 1e-3, 1.0, 50.0])
def test_flow_filters_against_sixty_digits(dtype, time):
    values = np.array([0, 1e-30, 1e-10, 1e-3, 0.5, 1, 2, 30], dtype=dtype)
    time = float(dtype(time))
    with mpmath.workdps(60):
        exact = [mpmath.mpf(float(v)) for v in values]
        q = np.array([mpmath.exp(-v * time) for v in exact], dtype=object)
        phi = np.array([-mpmath.expm1(-v * time) / v if v else mpmath.mpf(time) for v in exact], dtype=object)
        slope = np.array([v * time * mpmath.exp(-v * time) for v in exact], dtype=object)
    assert_exact(flow_residual_filter(values, time), q, 4, scale=q + slope)
    assert_exact(flow_integral_filter(values, time), phi, 4)


# ---- the decomposition


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.sampled_from(DTYPES))
def test_decomposition_gives_the_matrix_back(seed, n, dtype):
    H = relu_gram(np.random.default_rng(seed).normal(size=(n, 4)).astype(dtype))
    spectrum = GramSpectrum.of(H)
    assert np.all(np.diff(spectrum.values) >= 0)
    assert spectrum.size == n
    back = spectrum.apply(spectrum.values, np.eye(n, dtype=dtype))
    assert_dtype_close(back, H, 2**-6, scale=spectrum.largest)
    assert spectrum.largest == spectrum.values[-1]
    assert spectrum.smallest == spectrum.values[0]


@pytest.mark.parametrize(
    ("H", "message"),
    [
        (np.ones((2, 3)), r"\(2, 3\).*allowed"),
        (np.ones(3), r"\(3,\).*allowed"),
        (np.ones((0, 0)), r"\(0, 0\).*allowed"),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), "NaN.*allowed"),
        (np.array([[1.0, 2.0], [0.0, 1.0]]), "not symmetric.*2.*up to 2"),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), r"indefinite.*-1.*allowed"),
    ],
)
def test_what_is_no_gram_matrix_is_refused(H, message):
    with pytest.raises(InvalidInput, match=message):
        GramSpectrum.of(H)


def test_check_step():
    spectrum = GramSpectrum.of(np.diag([1.0, 4.0]))
    assert spectrum.check_step(0.5, 10, "lr")
    assert spectrum.check_step(0.499, None, "lr")
    with pytest.raises(UnstableStep, match=r"lr = 0\.51 diverges.*2/λ_max = 0\.5 is allowed"):
        spectrum.check_step(0.51, 10, "lr")
    assert not spectrum.check_step(0.51, 10, "lr", allow_unstable=True)
    for allow, hint in ((False, r"is allowed \(allow_unstable=True runs it all the same\)$"), (None, "0.5 is allowed$")):
        with pytest.raises(UnstableStep, match=hint):
            spectrum.check_step(0.51, 10, "lr", allow)
    for allow in (False, True):
        with pytest.raises(UnstableStep, match=r"lr = 0\.5 has no limit.*2/λ_max = 0\.5"):
            spectrum.check_step(0.5, None, "lr", allow_unstable=allow)
    assert GramSpectrum.of(np.zeros((2, 2))).check_step(1e9, None, "lr")


# ---- singular Gram matrices


def duplicated(conflict):
    """Six points, two of them twice (one at another scale), labels equal (up to that scale) or in conflict."""
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(6, 4)), rng.normal(size=6)
    X, y = np.concatenate([X, X[:1], 3 * X[1:2]]), np.concatenate([y, y[:1], 3 * y[1:2]])
    y[6:] += conflict
    # Directions along which nothing can be learned: x₆ = x₀ and x₇ = 3 x₁.
    null = np.zeros((8, 2))
    null[[0, 6], 0] = 1, -1
    null[[1, 7], 1] = 3, -1
    return X, y, null / np.linalg.norm(null, axis=0)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.sampled_from(DTYPES))
def test_duplicates_do_not_count_in_the_rank(seed, copies, dtype):
    # The decomposition leaves ±n·eps·λ_max where the eigenvalue is 0, and either sign must go.
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(5, 6))
    X = np.concatenate([X, X[:copies], X[:1]]).astype(dtype)
    y = np.concatenate([np.arange(5.0), np.arange(float(copies)), [0.0]]).astype(dtype)
    spectrum = GramSpectrum.of(relu_gram(X))
    assert spectrum.rank == 5
    assert spectrum.values[: copies + 1].tolist() == [0] * (copies + 1)
    assert stages.inverse_norm_squared(spectrum, y) is not None
    y[-1] = 1
    assert stages.inverse_norm_squared(spectrum, y) is None


def test_duplicates_with_equal_labels_are_learned():
    X, y, _ = duplicated(0)
    spectrum = GramSpectrum.of(relu_gram(X))
    assert spectrum.rank == 6
    assert spectrum.smallest == 0
    assert_dtype_close(stages.residual(spectrum, y, 0.1, None), np.zeros(8), 1, scale=np.linalg.norm(y))
    distinct = GramSpectrum.of(relu_gram(X[:6]))
    # The same function: moving as far as the distinct points alone demand.
    assert_dtype_close(stages.inverse_norm_squared(spectrum, y), stages.inverse_norm_squared(distinct, y[:6]), 1, scale=np.sum(y * y))
    assert stages.transfer_gain(spectrum, y, np.zeros(8)) == (1, None)


def test_conflicting_labels_leave_their_null_space_component():
    X, y, null = duplicated(np.array([1.0, -2.0]))
    spectrum = GramSpectrum.of(relu_gram(X))
    left = null @ (null.T @ y)
    assert np.linalg.norm(left) > 0.9
    assert_dtype_close(stages.residual(spectrum, y, 0.1, None), left, 1, scale=np.linalg.norm(y))
    assert_dtype_close(stages.loss(spectrum, y, 0.1, None), left @ left / 2, 1, scale=np.sum(y * y))
    assert stages.inverse_norm_squared(spectrum, y) is None
    gain, reason = stages.transfer_gain(spectrum, y, y)
    assert gain is None
    assert "rank 6 of 8" in reason
    assert stages.best_scale_gain(spectrum, y, y) is None
    assert stages.steps_to_loss(spectrum, y, 0.4 * (left @ left), 0.1) is None
    assert stages.displacement(spectrum, y, 0.1, None) < 100 * np.linalg.norm(y)


def test_conflict_only_in_what_pretraining_leaves():
    X, y, null = duplicated(0)
    gain, reason = stages.transfer_gain(GramSpectrum.of(relu_gram(X)), y, y + null[:, 0])
    assert gain is None
    assert "pretraining leaves" in reason


def test_perfect_transfer_onto_a_singular_target_is_a_gain_of_one():
    # What is left is rounding alone, and rounding has no reason to stay in the range.
    X, y, null = duplicated(0)
    left = 1e-15 * null[:, 0] * np.linalg.norm(y)
    gain, reason = stages.transfer_gain(GramSpectrum.of(relu_gram(X)), y, left)
    assert reason is None
    assert_dtype_close(gain, 1.0, 1, scale=1.0)


@pytest.mark.parametrize("k", [10**6, 10**12, 10**18])
def test_many_steps_on_a_singular_matrix_are_the_limit(k):
    # φ_k = ηk on the null space must not blow up rounding: the rows it multiplies are orthogonal to it.
    X, y, _ = duplicated(np.array([1.0, -2.0]))
    spectrum = GramSpectrum.of(relu_gram(X))
    rows = relu_gram(np.random.default_rng(2).normal(size=(5, 4)), X)
    lr = 1 / spectrum.largest
    after, limit = (rows @ stages.coefficients(spectrum, y, lr, steps) for steps in (k, None))
    assert_dtype_close(after, limit, 1, scale=np.linalg.norm(y))


def test_an_antipodal_pair_is_not_singular_but_dependent_ones_are():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(4, 3))
    spectrum = GramSpectrum.of(relu_gram(np.concatenate([X, -X[:1]])))
    assert spectrum.rank == 5
    assert spectrum.smallest > 1e-3
    # {x : x and −x both present} = four vectors in three dimensions: x·w = relu(x·w) − relu(−x·w) gives one dependence.
    spectrum = GramSpectrum.of(relu_gram(np.concatenate([X, -X])))
    assert spectrum.rank == 7
    assert spectrum.smallest == 0
