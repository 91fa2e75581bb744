"""Averages over teachers: what they say against drawn teachers, the 60° law, thresholds, the phase diagram, and what is refused."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ptoq
from tests.helpers import assert_dtype_close, assert_z
from theory import InvalidInput, Schedule, TransferProblem, UnstableStep, predict, relu_gram
from theory.average import average_case, phase_diagram
from theory.numeric.average_case import TeacherAverage, expected_displacement
from theory.numeric.spectrum import GramSpectrum

seeds = st.integers(0, 2**32 - 1)
QUANTITIES = ("gradient_energy", "squared_displacement", "squared_test_error")
SIXTY = math.pi / 3


def inputs(seed=0, sizes=(8, 5, 6), d=4):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n, d)) for n in sizes]


def linear(X, Z=None):
    return X @ (X if Z is None else Z).T + 0.1 * relu_gram(X, Z)


def drawn(count, angle, noise, kernel, schedule, seed=0):
    """The three quantities of `predict` for teachers drawn from a Gaussian process."""
    X = inputs()
    rng = np.random.default_rng(seed)
    n = [len(part) for part in X]
    values, vectors = np.linalg.eigh(kernel(np.concatenate(X)))
    root = vectors * np.sqrt(np.maximum(values, 0))
    found = []
    for _ in range(count):
        f, g = (root @ rng.normal(size=(sum(n), 2))).T
        y_P = math.cos(angle) * f[: n[0]] + math.sin(angle) * g[: n[0]] + math.sqrt(noise) * rng.normal(size=n[0])
        problem = TransferProblem(source=(X[0], y_P), target=(X[1], f[n[0] : n[0] + n[1]]), test=(X[2], f[n[0] + n[1] :]))
        outcome = predict(problem, schedule)
        found.append((outcome.gradient_energy, outcome.displacement**2, outcome.test_mse * n[2]))
    return np.array(found)


# ---- exactly


@pytest.mark.parametrize(("kernel", "schedule"), [(relu_gram, Schedule()), (linear, Schedule(4, 7))], ids=["to the end", "few steps"])
def test_mean_and_variance_are_those_of_a_linear_map_of_white_noise(kernel, schedule):
    """`predict` is linear in the labels: one column of labels for each component of the noise gives what it leaves of all of them."""
    X, angle, noise = inputs(), 0.8, 0.2
    n = [len(part) for part in X]
    values, vectors = np.linalg.eigh(kernel(np.concatenate(X)))
    root = vectors * np.sqrt(np.maximum(values, 0))
    nothing = np.zeros((len(root), n[0]))
    f, g = np.hstack([root, 0 * root, nothing]), np.hstack([0 * root, root, nothing])
    xi = np.hstack([np.zeros((n[0], 2 * len(root))), np.eye(n[0])])
    y_P = math.cos(angle) * f[: n[0]] + math.sin(angle) * g[: n[0]] + math.sqrt(noise) * xi
    y_Q, y_T = f[n[0] : n[0] + n[1]], f[n[0] + n[1] :]
    outcome = predict(TransferProblem(source=(X[0], y_P), target=(X[1], y_Q), test=(X[2], y_T)), schedule)
    averages = average_case(*X, schedule, teacher=kernel)
    left = y_T - outcome.test_outputs
    found = averages["squared_test_error"]
    for value, want in (
        (found.mean(angle, noise), np.sum(left**2)),
        (found.variance(angle, noise), 2 * np.sum((left @ left.T) ** 2)),
        (averages["gradient_energy"].mean(angle, noise), outcome.gradient_energy),
        (averages["squared_displacement"].mean(angle, noise), outcome.displacement**2),
    ):
        assert_dtype_close(value, want, 1, scale=want)


def test_unstable_steps_run_where_the_schedule_allows_them():
    X = inputs()
    with pytest.raises(UnstableStep, match="source_lr = 50 diverges"):
        average_case(*X, Schedule(3, 3, 50.0))
    assert average_case(*X, Schedule(3, 3, 50.0, allow_unstable=True))["gradient_energy"].mean(0.5) > 1e3
    with pytest.raises(UnstableStep, match="overflows float64 within"):
        average_case(*X, Schedule(10**9, 3, 50.0, allow_unstable=True))


# ---- against drawn teachers


@pytest.mark.parametrize(
    ("angle", "noise", "kernel", "schedule"),
    [(0.5, 0.1, relu_gram, Schedule()), (1.3, 0.0, relu_gram, Schedule(4, 7)), (0.8, 0.2, linear, Schedule(20, None))],
    ids=["to the end", "few steps", "another kernel"],
)
def test_mean_and_variance_are_those_of_predictions_for_drawn_teachers(angle, noise, kernel, schedule):
    X = inputs()
    averages = average_case(*X, schedule, teacher=None if kernel is relu_gram else kernel)
    found = drawn(300, angle, noise, kernel, schedule)
    for column, name in zip(found.T, QUANTITIES, strict=True):
        mean, variance = averages[name].mean(angle, noise), averages[name].variance(angle, noise)
        assert_z(column, mean)
        assert_z((column - mean) ** 2, variance)


# ---- the 60° law


@given(seeds, st.one_of(st.none(), st.integers(0, 50)), st.floats(0.01, math.pi))
def test_the_60_degree_law_whatever_the_inputs_and_the_target_stage(seed, target_steps, angle):
    averages = average_case(*inputs(seed), Schedule(None, target_steps))
    for name in QUANTITIES:
        average = averages[name]
        if average.ratio(0.0) is None:
            assert (name, target_steps) == ("squared_displacement", 0)
            continue
        if average.ratio(0.0) > 1 - 1e-9:
            continue
        assert_dtype_close(np.float64(average.ratio(SIXTY)), 1.0, 1, scale=1.0)
        assert_dtype_close(np.float64(average.threshold_angle()), SIXTY, 1, scale=1.0)
        if abs(angle - SIXTY) > 1e-6:
            assert (average.ratio(angle) < 1) == (angle < SIXTY)


@given(seeds, st.integers(1, 30))
def test_unfinished_pretraining_helps_beyond_60_degrees(seed, steps):
    averages = average_case(*inputs(seed), Schedule(steps, 10))
    for average in averages.values():
        assert SIXTY - 1e-9 <= average.threshold_angle() <= math.pi / 2
        assert average.ratio(SIXTY) < 1


def test_the_first_step_helps_up_to_a_right_angle():
    X = inputs()
    lr = 1e-6 / GramSpectrum.of(relu_gram(X[0])).largest
    for average in average_case(*X, Schedule(1, None, lr)).values():
        assert_dtype_close(np.float64(average.threshold_angle()), math.pi / 2, 128, scale=1.0)


def test_noise_lowers_the_angle_and_a_large_one_leaves_none():
    average = average_case(*inputs())["squared_displacement"]
    angles = [average.threshold_angle(v) for v in (0.0, 0.1, 0.3, 0.45)]
    assert all(a > b for a, b in pairwise(angles))
    most = average.threshold_noise(0.0)
    assert average.threshold_angle(0.999 * most) < 0.1
    assert average.threshold_angle(1.001 * most) is None
    assert average.threshold_noise(SIXTY + 0.01) is None
    assert_dtype_close(np.float64(average.ratio(0.4, average.threshold_noise(0.4))), 1.0, 1, scale=1.0)


def test_teachers_of_another_kernel_have_another_angle():
    angle = average_case(*inputs(), teacher=linear)["squared_displacement"].threshold_angle()
    # The linear part is easier to carry over than the learner expects.
    assert angle > SIXTY + 0.02
    average = average_case(*inputs(), teacher=linear)["squared_displacement"]
    assert average.ratio(angle - 1e-6) < 1 < average.ratio(angle + 1e-6)


@pytest.mark.parametrize("kernel", ["erf", "gelu", "arccos2"])
def test_the_law_is_that_of_every_kernel(kernel):
    for average in average_case(*inputs(), kernel=kernel).values():
        assert_dtype_close(np.float64(average.threshold_angle()), SIXTY, 1, scale=1.0)


def test_without_pretraining_nothing_changes():
    for average in average_case(*inputs(), Schedule(0, None)).values():
        assert average.ratio(0.0, 3.0) == 1
        assert average.threshold_angle() is None
        assert average.threshold_noise(0.0) is None


# ---- to the end


@given(seeds, st.floats(0, math.pi), st.floats(0, 4))
def test_expected_displacement_is_the_average_to_the_end(seed, angle, noise):
    X = inputs(seed)
    P, Q = GramSpectrum.of(relu_gram(X[0])), GramSpectrum.of(relu_gram(X[1]))
    direct = expected_displacement(P, Q, relu_gram(X[1], X[0]), angle, noise)
    assert_dtype_close(np.float64(direct), average_case(*X)["squared_displacement"].mean(angle, noise), 1, scale=direct + 100)
    C = Q.size - expected_displacement(P, Q, relu_gram(X[1], X[0]), 0.0)
    assert -1e-9 <= C <= min(P.size, Q.size) + 1e-9


# ---- the phase diagram


def test_the_phase_diagram_is_the_average_of_turned_inputs():
    X_P, X_Q, _ = inputs()
    similarities, angles = (0.0, 0.4, 1.0), (0.0, 0.7, SIXTY, 2.0, math.pi)
    for noise in (0.0, 0.3):
        rows = phase_diagram(X_P, X_Q, similarities, angles, noise)
        for c, row in zip(similarities, rows, strict=True):
            turned = np.hstack([c * X_P, math.sqrt(1 - c * c) * X_P])
            average = average_case(turned, np.hstack([X_Q, 0 * X_Q]))["squared_displacement"]
            assert_dtype_close(np.array(row), np.array([average.mean(a, noise) / 5 for a in angles]), 1, scale=10.0)
    clean = np.array(phase_diagram(X_P, X_Q, similarities, angles))
    assert_dtype_close(clean[0], np.ones(5), 1, scale=1.0)  # nothing in common: no transfer
    assert_dtype_close(clean[:, 2], np.ones(3), 1, scale=1.0)  # 60°: none at any similarity
    assert np.all(clean[1:, :2] < 1)
    assert np.all(clean[1:, 3:] > 1)
    assert np.all(np.diff(clean[:, 0]) < 0)  # the more alike the inputs, the more transfer does,
    assert np.all(np.diff(clean[:, 4]) > 0)  # for better and for worse


# ---- what is refused, and array libraries


def test_bad_angles_noise_and_inputs_are_refused():
    X_P, X_Q, X_T = inputs()
    average = average_case(X_P, X_Q)["gradient_energy"]
    for bad in (-0.1, 3.2, float("nan"), "1", True):
        with pytest.raises(InvalidInput, match=r"angle is .*\[0, π\] is allowed"):
            average.mean(bad)
    for bad in (-0.1, math.inf, float("nan"), None):
        with pytest.raises(InvalidInput, match=r"noise_variance is .*≥ 0 is allowed"):
            average.mean(0.0, bad)
    for bad in (-0.1, 1.1, float("nan"), True):
        with pytest.raises(InvalidInput, match=r"a similarity is .*\[0, 1\]"):
            phase_diagram(X_P, X_Q, [bad], [0.0])
    with pytest.raises(InvalidInput, match=r"momentum is 0\.5; average_case is for plain gradient descent"):
        average_case(X_P, X_Q, schedule=Schedule(momentum=0.5))
    with pytest.raises(InvalidInput, match="kernel is 'softplus'"):
        phase_diagram(X_P, X_Q, [0.5], [0.5], kernel="softplus")
    with pytest.raises(InvalidInput, match="schedule is 3"):
        average_case(X_P, X_Q, X_T, 3)
    with pytest.raises(InvalidInput, match=r"X_P\[0, 0\] is nan"):
        average_case(X_P * math.nan, X_Q)
    with pytest.raises(UnstableStep, match="source_lr"):
        average_case(X_P, X_Q, schedule=Schedule(3, 3, 1e3))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_library(xp_case, dtype):
    X = [part.astype(dtype) for part in inputs()]
    here, there = average_case(*X, Schedule(9, 9)), average_case(*(xp_case.load(part) for part in X), Schedule(9, 9))
    for name in QUANTITIES:
        for part in ("scratch", "overlap", "carried", "noise"):
            assert_dtype_close(getattr(there[name], part), xp_case.load(getattr(here[name], part)), 1, scale=30.0)
        for value in (there[name].mean(0.5, 0.1), there[name].variance(0.5, 0.1), there[name].threshold_angle(0.1)):
            assert isinstance(value, float)
    P, Q = (GramSpectrum.of(relu_gram(xp_case.load(part))) for part in X[:2])
    value = expected_displacement(P, Q, relu_gram(xp_case.load(X[1]), xp_case.load(X[0])), 0.5, 0.1)
    assert isinstance(value, float)
    average = average_case(*X)["squared_displacement"]
    assert math.isclose(value, average.mean(0.5, 0.1), rel_tol=1e-2 if dtype == np.float32 else 1e-9)
    rows = phase_diagram(xp_case.load(X[0]), xp_case.load(X[1]), [0.5], [0.0, 2.0])
    assert np.allclose(rows, phase_diagram(X[0], X[1], [0.5], [0.0, 2.0]), rtol=1e-2 if dtype == np.float32 else 1e-9)


def test_the_public_face():
    assert ptoq.average_case is average_case
    assert ptoq.phase_diagram is phase_diagram
    assert isinstance(ptoq.average_case(*inputs())["gradient_energy"], TeacherAverage)
