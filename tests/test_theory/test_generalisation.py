"""Generalisation: the bound's pieces against every choice of signs, cross-validation against refits, and what is refused."""

import math
from dataclasses import replace
from itertools import product

import array_api_compat as compat
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ptoq
from sim.tasks import DigitsTask, SphereTask
from tests.helpers import assert_dtype_close, assert_exact
from theory.bounded_loss import check_bounded_loss, ramp
from theory.errors import InvalidInput, UnstableStep
from theory.generalisation import generalisation
from theory.numeric import stages
from theory.numeric.generalisation import (
    RademacherBound,
    complexity_measure,
    generalised_cross_validation,
    leave_one_out,
    rademacher_bound,
    rademacher_complexity,
)
from theory.numeric.gram import relu_gram
from theory.numeric.spectrum import GramSpectrum

seeds = st.integers(0, 2**31)


def unit_problem(seed, n=12, d=4):
    """A spectrum of unit rows, labels ±1 and what a source might leave of them."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    y = np.where(X[:, 0] + 0.3 * rng.standard_normal(n) > 0, 1.0, -1.0)
    return X, GramSpectrum.of(relu_gram(X)), y, y - 0.7 * X[:, 0]


# Rademacher ----------------------------------------------------------------------------------------------------------


@given(seed=seeds, n=st.integers(1, 8), d=st.integers(1, 5), radius=st.floats(0.1, 10))
def test_the_complexity_lies_between_the_exact_one_and_root_two_of_it(seed, n, d, radius):
    F = np.random.default_rng(seed).standard_normal((n, d))
    exact = radius / n * np.mean([np.linalg.norm(np.array(signs) @ F) for signs in product((-1, 1), repeat=n)])
    bound = rademacher_complexity(GramSpectrum.of(F @ F.T), radius)
    assert exact <= bound * (1 + 1e-12) <= math.sqrt(2) * exact * (1 + 1e-9)


@given(seed=seeds, radius=st.floats(0.1, 10))
def test_the_complexity_of_unit_rows_does_not_depend_on_the_data(seed, radius):
    X, spectrum, _, _ = unit_problem(seed)
    assert_dtype_close(np.float64(rademacher_complexity(spectrum, radius)), radius / math.sqrt(2 * len(X)), 1e-5, scale=radius)


@given(seed=seeds, steps=st.sampled_from([0, 1, 7, 100, None]))
def test_the_bound_is_made_of_what_the_net_does(seed, steps):
    _, spectrum, y, left = unit_problem(seed)
    lr, n = 1 / spectrum.largest, spectrum.size
    bound = rademacher_bound(spectrum, y, left, lr, steps, 0.05)
    residual = stages.residual(spectrum, left, lr, steps)
    # The mean training loss itself is below the training term.
    assert ramp(residual, np.zeros(n)).mean() <= bound.training * (1 + 1e-12) + 1e-12
    moved = stages.displacement(spectrum, left, lr, steps)
    assert moved <= bound.radius < max(moved, 0) + 1 or bound.radius == 1
    assert_dtype_close(np.float64(bound.complexity), 2 * rademacher_complexity(spectrum, bound.radius), 1e-5, scale=bound.complexity)
    expected = 3 * math.sqrt(math.log(2 * bound.radius * (bound.radius + 1) / 0.05) / (2 * n))
    assert_dtype_close(np.float64(bound.confidence), expected, 1e-6, scale=expected)
    assert bound.total == bound.training + bound.complexity + bound.confidence
    assert bound.vacuous == (bound.total >= 1)


def test_it_is_not_vacuous_where_there_is_much_to_see():
    bound = RademacherBound.of(displacement=3.2, residual_norm=1.0, n=10_000, delta=0.1)
    assert bound.radius == 4
    assert not bound.vacuous
    assert replace(bound, training=0.95).vacuous


def test_far_moves_do_not_overflow():
    bound = RademacherBound.of(displacement=1e200, residual_norm=0.0, n=10, delta=0.1)
    assert math.isfinite(bound.confidence)
    assert bound.vacuous


def test_bounds_fail_no_more_often_than_delta():
    """Samples with replacement from 100 points: their mean loss is the expected loss, exactly."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((100, 2))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    y, H = np.where(X[:, 0] > 0, 1.0, -1.0), relu_gram(X)
    telling = broken = 0
    for _ in range(20):
        drawn = rng.integers(100, size=300)
        spectrum = GramSpectrum.of(H[np.ix_(drawn, drawn)])
        lr = 1 / spectrum.largest
        for steps in (2, 20):
            bound = rademacher_bound(spectrum, y[drawn], y[drawn], lr, steps, 0.1, ramp)
            loss = ramp(H[:, drawn] @ stages.coefficients(spectrum, y[drawn], lr, steps), y).mean()
            telling, broken = telling + (not bound.vacuous), broken + (loss > bound.total)
    assert telling >= 20
    assert broken == 0


@pytest.mark.parametrize("delta", [0.0, 1.0, -0.1, 2, math.nan])
def test_delta_outside_its_range_is_refused(delta):
    _, spectrum, y, left = unit_problem(0)
    with pytest.raises(InvalidInput, match=rf"delta is {delta!r}; a number in \(0, 1\) is allowed"):
        rademacher_bound(spectrum, y, left, 0.1, 3, delta)
    with pytest.raises(InvalidInput, match="delta is"):
        generalisation(SphereTask(n_source=5, n_target=5, n_test=5).problem(), delta=delta)


def test_broken_assumptions_are_refused_with_the_value():
    X, spectrum, y, left = unit_problem(0)
    long = X.copy()
    long[3] *= 2
    with pytest.raises(InvalidInput, match=r"the squared norm of row 3 is 4; 1 \(unit rows\) is allowed"):
        rademacher_bound(GramSpectrum.of(relu_gram(long)), y, left, 0.1, 3)
    with pytest.raises(InvalidInput, match=r"the label of row 5 is -1.5; a number in \[−1, 1\] is allowed"):
        rademacher_bound(spectrum, np.where(np.arange(12) == 5, -1.5, y), left, 0.1, 3)
    with pytest.raises(InvalidInput, match=r"labels have shape \(12, 2\).*one output"):
        rademacher_bound(spectrum, np.stack([y, y], axis=1), np.stack([y, y], axis=1), 0.1, 3)
    with pytest.raises(InvalidInput, match=r"the loss is .* values in"):
        rademacher_bound(spectrum, y, left, 0.1, 3, 0.1, lambda f, y: (f - y) ** 2)
    for name, value in (("displacement", -1.0), ("residual_norm", math.inf)):
        with pytest.raises(InvalidInput, match=f"{name} is {value}"):
            RademacherBound.of(**{"displacement": 1.0, "residual_norm": 1.0, "n": 5, "delta": 0.1, name: value})
    with pytest.raises(InvalidInput, match="n is 0"):
        RademacherBound.of(displacement=1.0, residual_norm=1.0, n=0, delta=0.1)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda f, y: (f - y) ** 2, r"the loss is 16 at output -5 and label -1; values in \[0, 1\]"),
        (lambda f, y: np.minimum(1, 3 * np.abs(f - y)), r"the loss has slope 3 at output .* at most 1 is allowed"),
        (lambda f, y: (f * y <= 0).astype(float), r"the loss has slope 32"),
        (lambda f, y: 0.5 + 0 * f, r"the loss is 0.5 at output and label -1; 0 at the label"),
        (lambda f, y: np.full(f.shape, np.nan), "the loss is nan"),
        (lambda f, y: 0.0, r"gives shape \(\)"),
        (lambda f: f, "the loss fails on arrays of 257 outputs"),
    ],
)
def test_losses_that_the_bound_is_not_about_are_refused(loss, message):
    with pytest.raises(InvalidInput, match=message):
        check_bounded_loss(loss, np.array([-1.0, 1.0]))


def test_losses_that_it_is_about_pass():
    labels = np.linspace(-1, 1, 40)
    check_bounded_loss(ramp, labels)
    check_bounded_loss(lambda f, y: np.tanh(np.abs(f - y)), labels)
    # At least the error rate, for labels ±1.
    f, y = np.random.default_rng(0).standard_normal(500), np.where(np.arange(500) % 2, 1.0, -1.0)
    assert (ramp(f, y) >= (f * y <= 0)).all()


# Cross-validation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", ["parity", "classes"])
def test_leave_one_out_is_what_refits_of_a_transfer_say(labels):
    problem = DigitsTask(labels=labels, n_source=25, n_target=12, n_test=1).problem()
    (X_P, y_P), (X, y) = problem.source, problem.target
    left = y - ptoq.transformed_labels(X_P, y_P, X)
    errors = leave_one_out(GramSpectrum.of(relu_gram(X)), left)
    for i in range(12):
        kept = np.arange(12) != i
        without = ptoq.TransferProblem(source=(X_P, y_P), target=(X[kept], y[kept]), test=(X[i : i + 1], y[i : i + 1]))
        assert_dtype_close(errors[i], (y[i : i + 1] - ptoq.predict(without).test_outputs)[0], 1e-4, scale=1.0)


def test_leave_one_out_of_repeated_points():
    """A point given twice is predicted by its twin; one given once by what the others say."""
    X, _, y, _ = unit_problem(1, n=5)
    X[1] = X[0]
    errors = leave_one_out(GramSpectrum.of(relu_gram(X)), y + np.arange(5))
    labels = y + np.arange(5)
    assert_dtype_close(errors[:2], np.array([labels[0] - labels[1], labels[1] - labels[0]]), 1e-5, scale=1.0)
    H, kept = relu_gram(X), np.array([0, 1, 3, 4])
    refit = labels[2] - H[2, kept] @ np.linalg.pinv(H[np.ix_(kept, kept)], hermitian=True) @ labels[kept]
    assert_dtype_close(errors[2], refit, 1e-4, scale=1.0)


@given(seed=seeds)
def test_at_the_end_it_is_the_limit_of_ridge_regression_and_not_of_ever_more_steps(seed):
    _, spectrum, y, _ = unit_problem(seed, n=6, d=8)
    n, beta = spectrum.size, 1e-9 * spectrum.smallest
    q = beta / (spectrum.values + beta)
    ridge = n * np.sum((q * spectrum.project(y)) ** 2) / np.sum(q) ** 2
    end = generalised_cross_validation(spectrum, y, 1.0, None)
    assert_dtype_close(np.float64(end), ridge, 2.0, scale=ridge)
    gap = spectrum.values[1] / spectrum.values[0] - 1
    steps = int(60 * spectrum.largest / (spectrum.smallest * gap)) + 1
    slowest = n * spectrum.project(y)[0] ** 2
    assert_dtype_close(
        np.float64(generalised_cross_validation(spectrum, y, 1 / spectrum.largest, steps)), slowest, 1e-2, scale=n * float(y @ y)
    )


@given(seed=seeds, steps=st.sampled_from([1, 5, 50]), factor=st.floats(0.1, 1.9))
def test_generalised_cross_validation_at_k_steps_is_its_definition(seed, steps, factor):
    X, spectrum, _, left = unit_problem(seed)
    lr = factor / spectrum.largest
    smoother = np.linalg.matrix_power(np.eye(len(X)) - lr * relu_gram(X), steps)
    trace = np.trace(smoother) / len(X)
    expected = np.mean((smoother @ left) ** 2) / trace**2
    got = generalised_cross_validation(spectrum, left, lr, steps)
    assert_dtype_close(np.float64(got), expected, 1e-2, scale=expected * (1 + np.sum(np.abs(smoother)) / abs(trace)))


def test_long_training_underflows_in_neither_part():
    _, spectrum, y, _ = unit_problem(0)
    assert math.isfinite(generalised_cross_validation(spectrum, y, 1 / spectrum.largest, 10**9))


def test_generalised_cross_validation_says_nothing_without_degrees_of_freedom():
    spectrum = GramSpectrum.of(np.eye(3) / 2)
    assert generalised_cross_validation(spectrum, np.ones(3), 2.0, 4) is None
    # One mode below, one above 1/η, equally far: the odd powers cancel.
    crossing = GramSpectrum.of(np.diag([0.5, 1.5]))
    assert generalised_cross_validation(crossing, np.ones(2), 1.0, 3) is None
    assert_exact(np.float64(generalised_cross_validation(crossing, np.ones(2), 1.0, 2)), 1.0, ulps=8)


def test_conflicting_labels_on_repeated_points_leave_their_half_difference():
    X, _, y, _ = unit_problem(2, n=4)
    X[1], y[:2] = X[0], (1.0, -1.0)
    spectrum = GramSpectrum.of(relu_gram(X))
    # The null space is one vector, (1, −1, 0, 0)/√2: ‖Py‖² = 2, so 4·2/1.
    assert_dtype_close(np.float64(generalised_cross_validation(spectrum, y, 1.0, None)), 8.0, 1e-4, scale=8.0)


@given(seed=seeds, scale=st.floats(0.01, 100))
def test_scaling_the_kernel_changes_no_estimate_at_the_end(seed, scale):
    X, spectrum, y, _ = unit_problem(seed, n=6, d=8)
    other = GramSpectrum.of(scale * relu_gram(X))
    assert_dtype_close(leave_one_out(other, y), leave_one_out(spectrum, y), 1e-1, scale=1.0)
    values = [generalised_cross_validation(s, y, 1.0, None) for s in (spectrum, other)]
    assert_dtype_close(np.float64(values[0]), values[1], 1e-1, scale=values[1])


# Together ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [0, 3, None])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_any_array_library(xp_case, steps, dtype):
    X, _, y, left = unit_problem(0)
    on_host = GramSpectrum.of(relu_gram(X))
    there = [xp_case.load(a.astype(dtype)) for a in (X, y, left)]
    spectrum = GramSpectrum.of(relu_gram(there[0]))
    errors = leave_one_out(spectrum, there[2])
    assert compat.device(errors) == compat.device(there[0])
    assert_dtype_close(errors, xp_case.load(leave_one_out(on_host, left).astype(dtype)), 1.0, scale=10.0)
    root = float(np.finfo(dtype).eps) ** 0.5
    for function in (complexity_measure, generalised_cross_validation):
        expected = function(on_host, left, 0.1, steps)
        assert abs(function(spectrum, there[2], 0.1, steps) - expected) <= root * expected
    bound, expected = (rademacher_bound(s, a, b, 0.1, steps) for s, a, b in ((spectrum, there[1], there[2]), (on_host, y, left)))
    assert abs(bound.total - expected.total) <= root
    assert bound.radius == expected.radius
    check_bounded_loss(ramp, there[1])
    assert_exact(ramp(there[1], there[1]), xp_case.load(np.zeros(12, dtype=dtype)), ulps=0, scale=1.0)


def test_vector_labels_add_up():
    _, spectrum, y, left = unit_problem(0)
    both = np.stack([y, left], axis=1)
    for steps in (4, None):
        one, two, together = (generalised_cross_validation(spectrum, v, 0.1, steps) for v in (y, left, both))
        assert_dtype_close(np.float64(one + two), together, 1e-5, scale=together)
        measures = [complexity_measure(spectrum, v, 0.1, steps) ** 2 for v in (y, left, both)]
        assert_dtype_close(np.float64(measures[0] + measures[1]), measures[2], 1e-5, scale=measures[2])
    columns = np.stack([leave_one_out(spectrum, v) for v in (y, left)], axis=1)
    assert_dtype_close(leave_one_out(spectrum, both), columns, 1e-5, scale=1.0)


def test_a_transfer_is_told_three_ways():
    problem = DigitsTask(n_source=40, n_target=30, n_test=10).problem()
    schedule = ptoq.Schedule(target_steps=20)
    for known, k in zip(generalisation(problem, schedule, (0, 5, None)), (0, 5, None), strict=True):
        outcome = ptoq.predict(problem, replace(schedule, source_steps=k))
        assert known.source_steps == k
        assert_dtype_close(np.float64(known.measure), math.sqrt(2 / 30) * outcome.displacement, 1e-5, scale=known.measure)
        assert known.bound.radius == max(1, math.ceil(outcome.displacement))
        assert_dtype_close(np.float64(known.bound.training), math.sqrt(2 * outcome.target_loss / 30), 1e-4, scale=1.0)
        assert known.leave_one_out is None
    (end,) = generalisation(problem)
    assert end.source_steps is None
    assert end.bound_reason is None
    (X_P, y_P), (X, y) = problem.source, problem.target
    errors = leave_one_out(GramSpectrum.of(relu_gram(X)), y - ptoq.transformed_labels(X_P, y_P, X))
    assert_dtype_close(np.float64(end.leave_one_out), np.mean(errors**2), 1e-5, scale=1.0)


def test_without_a_source_it_is_from_scratch():
    problem = DigitsTask(n_source=40, n_target=30, n_test=10).problem()
    (alone,) = generalisation(ptoq.TransferProblem(source=None, target=problem.target))
    (unpretrained,) = generalisation(problem, ptoq.Schedule(source_steps=0))
    assert replace(alone, source_steps=0) == unpretrained


def test_what_has_no_bound_says_why():
    (classes,) = generalisation(DigitsTask(labels="classes", n_source=20, n_target=10, n_test=5).problem())
    assert classes.bound is None
    assert "one output" in classes.bound_reason
    assert classes.cross_validation > 0
    problem = SphereTask(n_source=10, n_target=10, n_test=5).problem()
    (sphere,) = generalisation(problem)
    assert "the label of row" in sphere.bound_reason
    with pytest.raises(UnstableStep):
        generalisation(problem, ptoq.Schedule(target_lr=1e3))
    H = ptoq.predict.__globals__["GramBlocks"](source=np.eye(10), target=np.eye(20), target_source=np.zeros((20, 10)))
    with pytest.raises(InvalidInput, match="has 20 rows and the target 10 points"):
        generalisation(problem, gram=H)
    with pytest.raises(InvalidInput, match="int and Schedule were given"):
        generalisation(5)


@pytest.mark.parametrize("radius", [-1.0, math.inf, math.nan])
def test_a_ball_has_a_radius(radius):
    with pytest.raises(InvalidInput, match="radius is"):
        rademacher_complexity(GramSpectrum.of(np.eye(2)), radius)
