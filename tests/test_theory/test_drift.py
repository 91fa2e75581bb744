"""The drift on orthogonal inputs: its limits, its size, and trained nets."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import assert_dtype_close, assert_exact
from theory import InvalidInput, UnstableStep
from theory.numeric import stages
from theory.numeric.drift import orthogonal_run, relative_drift
from theory.numeric.spectrum import GramSpectrum


def frozen(norms, labels, lr, steps):
    return stages.displacement(GramSpectrum.of(np.diag(norms**2 / 2)), labels, lr, steps)


@given(st.integers(0, 2**32 - 1), st.integers(0, 30), st.floats(0.05, 1.0))
def test_a_wide_net_is_its_frozen_kernel(seed, steps, rate):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0.5, 2, 3), rng.normal(size=3)
    lr = rate * 2 / x.max() ** 2
    run = orthogonal_run(x, y, lr, steps, width=10**14)
    assert_dtype_close(np.asarray(run.displacement), frozen(x, y, lr, steps), 64, np.linalg.norm(y / x))
    learnt = y * (1 - (1 - lr * x**2 / 2) ** steps)
    assert_dtype_close(np.array(run.outputs), learnt, 64, np.abs(y).max())


@pytest.mark.parametrize("rate", [1.0, 0.7, 0.2])
def test_the_leading_drift_is_the_limit_of_the_exact_one(rate):
    x, y = np.array([1.0, 0.8]), np.array([1.0, -2.0])
    lr = rate * 2 / x.max() ** 2
    limit = math.sqrt(2 * np.sum((y / x) ** 2))
    errors = []
    for m in (10**4, 10**6):
        exact = orthogonal_run(x, y, lr, 4000, width=m).displacement / limit - 1
        leading = relative_drift(x, y, lr, width=m)
        assert leading > 0
        errors.append(abs(exact / leading - 1))
    # What is left out is of one order more, 1/√m: a tenth at a hundred times the width.
    assert errors[0] < 0.05
    assert 8 < errors[0] / errors[1] < 12


def test_the_drift_saturates_at_the_root_of_two():
    # Far below κ√m = 1 only neurons of one sign are left, and they have to move twice as far.
    run = orthogonal_run(np.ones(1), np.ones(1), 1e-3, 80_000, width=1, init_scale=1e-6)
    assert_dtype_close(np.asarray(run.displacement / math.sqrt(2)), math.sqrt(2), 2**6, 1.0)


def test_small_steps_drift_a_third_of_one_big_step():
    ratio = relative_drift(np.ones(1), np.ones(1), 1e-9, width=64) / relative_drift(np.ones(1), np.ones(1), 2.0, width=64)
    assert_dtype_close(np.asarray(ratio), 1 / 3, 1, 1.0)
    assert_exact(np.asarray(relative_drift(np.ones(1), np.ones(1), 2.0, width=64)), 1 / math.sqrt(2 * math.pi) / 8, 4)


def test_only_labels_over_scale_and_norm_matter():
    x, y = np.array([1.0, 2.0]), np.array([0.5, 1.0])
    a, b = relative_drift(x, y, 0.3, width=64), relative_drift(x, 4 * y, 0.3, width=64, init_scale=4.0)
    assert a == b
    run, scaled = orthogonal_run(x, y, 0.3, 5, width=64), orthogonal_run(x, 4 * y, 0.3, 5, width=64, init_scale=4.0)
    assert scaled.displacement == 4 * run.displacement
    # A label of the other sign is the same run with the roles of the neurons exchanged.
    assert orthogonal_run(x, -y, 0.3, 5, width=64).outputs == tuple(-u for u in run.outputs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"norms": np.ones((2, 1))}, r"norms and labels have shapes \(2, 1\) and \(2,\)"),
        ({"norms": np.array([1.0, 0.0])}, r"a norm is 0.0; numbers above 0 are allowed"),
        ({"lr": 0.0}, r"lr is 0.0; a finite number above 0"),
        ({"init_scale": math.nan}, r"init_scale is nan"),
        ({"width": 0}, r"width is 0; a whole number ≥ 1"),
        ({"steps": -1}, r"steps is -1; a whole number ≥ 0"),
        ({"steps": None}, r"steps is None"),
    ],
)
def test_what_is_refused_says_what_is_allowed(change, message):
    given_values = {"norms": np.ones(2), "labels": np.ones(2), "lr": 1.0, "steps": 2, "width": 8, "init_scale": 1.0, **change}
    with pytest.raises(InvalidInput, match=message):
        orthogonal_run(**given_values)


def test_neurons_that_would_turn_back_are_refused():
    with pytest.raises(UnstableStep, match=r"lr = 2.1 makes neurons turn back; at most 1/λ_max = 2 is allowed"):
        orthogonal_run(np.ones(1), np.ones(1), 2.1, 3, width=8)
    with pytest.raises(InvalidInput, match="all labels are zero"):
        relative_drift(np.ones(1), np.zeros(1), 1.0, width=8)


def test_lists_and_libraries(xp_case):
    x, y = np.array([1.0, 2.0]), np.array([0.5, 1.0])
    assert relative_drift(xp_case.load(x), xp_case.load(y), 0.3, width=64) == relative_drift([1.0, 2.0], [0.5, 1.0], 0.3, width=64)
