"""What decides whether pretraining turns, held against every step: root count, late trend, noise, modes, number of source points."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import ptoq
from sim.tasks import SphereTask
from tests.helpers import assert_dtype_close, assert_z
from theory import InvalidInput, NotConverged, relu_gram
from theory.numeric.fractional import largest_fraction, least_fraction
from theory.numeric.source_size import explained_by_source_points, noise_by_source_points
from theory.numeric.spectrum import GramSpectrum, residual_filter
from theory.numeric.turn_bound import ExponentialSum, TurnBound
from theory.numeric.turning import PretrainingCurve, source_noise_energy
from theory.pretraining import pretraining_curves

seeds = st.integers(0, 2**32 - 1)
LAST = 4000


def random_curve(seed, rate, n_P=5, n_Q=2, c=None):
    """Gradient energy of random points and labels, `η = rate/λ_max`, and what carries source labels to the target."""
    rng = np.random.default_rng(seed)
    X_P, X_Q = rng.normal(size=(n_P, 3)), rng.normal(size=(n_Q, 3))
    shape = () if c is None else (c,)
    spectrum, T = GramSpectrum.of(relu_gram(X_P)), relu_gram(X_Q, X_P)
    return PretrainingCurve.of(spectrum, rate / spectrum.largest, rng.normal(size=(n_P, *shape)), rng.normal(size=(n_Q, *shape)), T), T


def of_exponentials(values, lr, start, modes):
    """The curve with given eigenvalues, `ρ` and `gᵢ`."""
    values = np.array(values)
    transfer = (values[:, None] * np.array(modes)).T
    return PretrainingCurve.of(GramSpectrum.of(np.diag(values)), lr, np.ones(len(values)), np.array(start), transfer)


def size(curve):
    return float((np.linalg.norm(curve.start) + 2 * np.linalg.norm(curve.modes, axis=(1, 2)).sum()) ** 2)


def every_step(curve, count=LAST):
    return np.array([curve(k) for k in range(count)])


def sign_changes(values, floor):
    signs = [v > 0 for v in values if abs(v) > floor]
    return sum(a != b for a, b in pairwise(signs))


# Turns ----------------------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(seeds, st.floats(0.05, 1.0), st.sampled_from([None, 2]))
def test_no_curve_turns_more_often_than_its_bound(seed, rate, c):
    curve, _ = random_curve(seed, rate, c=c)
    bound = curve.turn_bound()
    assert len(curve.turns(10**6)) <= bound.turns <= (bound.sign_changes + 1) // 2
    assert sign_changes(np.diff(every_step(curve)), 1e-13 * size(curve)) <= bound.sign_changes


@settings(max_examples=80)
@given(seeds, st.floats(0.05, 1.0))
def test_real_zeros_have_the_parity_of_the_bound(seed, rate):
    """The difference as a function of a real number of steps, from its value at 0 and its trend at the end: the rule's own statement."""
    curve, _ = random_curve(seed, rate, n_P=4)
    bound, first, late = curve.turn_bound(), curve.initial_slope(), curve.late_trend()
    assume(abs(first) > 1e-9 * size(curve) and late)
    assert bound.sign_changes % 2 == (first * late < 0)


def test_a_bound_that_is_reached_more_than_once():
    """Four turns, one for each scale of time, and a bound that allows them."""
    values = 10.0 ** -np.arange(9)
    modes = [[(-1.0) ** i, 0.0] for i in range(9)]
    curve = of_exponentials(values, 1.0, [3.0, 0.0], modes)
    turns = curve.turns(10**11)
    assert len(turns) >= 4
    assert len(turns) <= curve.turn_bound().turns


def test_a_problem_whose_labels_agree_is_known_to_turn_at_most_once():
    for name, curve in pretraining_curves(SphereTask(label_noise=0.0).problem(), ptoq.Schedule(target_steps=100)).items():
        assert curve.turn_bound() == TurnBound(1, 1), name
        assert len(curve.turns(10**6)) == 1


@pytest.mark.parametrize(
    ("coefficients", "expected"),
    [
        ([-1.0, 2.0, 3.0], TurnBound(1, 0)),  # rises first, then falls: no minimum
        ([1.0, -2.0], TurnBound(1, 1)),
        ([1.0, -2.0, 3.0], TurnBound(2, 1)),
        ([1.0, 2.0], TurnBound(0, 0)),
        ([-1.0, -2.0], TurnBound(0, 0)),
        ([1.0, -3.0, 4.0, -3.0], TurnBound(3, 2)),
        ([3.0, -2.0, 1.0], TurnBound(0, 0)),  # Descartes' rule would allow two changes
        ([], TurnBound(0, 0)),
    ],
)
def test_signs_of_partial_sums_are_counted(coefficients, expected):
    n = len(coefficients)
    terms = ExponentialSum(-np.arange(1.0, n + 1), np.array(coefficients), np.full(n, 1e-12), np.zeros(n))
    assert terms.turn_bound() == expected


def test_a_partial_sum_within_rounding_counts_as_the_sign_that_gives_most():
    coefficients = np.array([1.0, -1.0 + 1e-15, 1.0, -3.0])
    sure = ExponentialSum(-np.arange(1.0, 5.0), coefficients, np.zeros(4), np.zeros(4))
    unsure = dataclasses.replace(sure, rounding=np.full(4, 1e-14))
    assert sure.turn_bound().sign_changes == 1
    assert unsure.turn_bound().sign_changes == 3


def test_what_has_underflowed_is_no_turn():
    """At 380,000 steps what is left of the slowest exponential has no digits, and its differences are noise of either sign."""
    rng = np.random.default_rng(25)
    X_P, X_Q = rng.normal(size=(6, 3)), rng.normal(size=(2, 3))
    spectrum, T = GramSpectrum.of(relu_gram(X_P)), relu_gram(X_Q, X_P)
    curve = PretrainingCurve.of(spectrum, 0.1 / spectrum.largest, rng.normal(size=6), rng.normal(size=2), T)
    assert curve.turn_bound().turns == 1
    assert all(k < 10_000 for k in curve.turns(10**6))


# Late trend and what suffices -------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(seeds, st.floats(0.05, 1.0))
def test_the_late_trend_is_that_of_the_last_steps_seen(seed, rate):
    curve, _ = random_curve(seed, rate, n_P=4)
    trend = curve.late_trend()
    values = curve.spectrum.values
    # Until one mode is left, with more than rounding of it.
    for k in (100, 300, 1000, 3000, 10_000, 30_000, 100_000):
        change, rounding = curve._change(k, k + 1)
        left = residual_filter(values, curve.lr, k)
        if left[1] < 1e-4 * left[0] and left[0] < 1e-4 and abs(change) > 100 * rounding:
            assert np.sign(change) == trend
            return
    assume(False)


def test_the_trend_skips_a_slowest_mode_that_leaves_no_trace():
    """`g₁` at right angles to what is left: the next slowest term decides, be it a mode or the square of the slowest."""
    across = [[1.0, 0.0], [0.0, 0.5]]
    # e = (0, 1): g₁·e = 0; q₂ = 0.5 is slower than q₁² = 0.64² when q₁ = 0.64, faster when q₁ = 0.9.
    for slow, expected in ((0.36, -1), (0.1, -1)):
        curve = of_exponentials([slow, 0.5], 1.0, [1.0, 1.5], across)
        assert curve.late_trend() == expected
    rising = of_exponentials([0.36, 0.5], 1.0, [1.0, -0.5], across)
    assert rising.late_trend() == 1  # g₂·e = −0.5 and q₂ = 0.5 > q₁² = 0.41
    hidden = of_exponentials([0.1, 0.5], 1.0, [1.0, -0.5], across)
    assert hidden.late_trend() == -1  # q₁² = 0.81 comes first, and squares fall
    assert of_exponentials([0.3], 1.0, [0.5, 0.5], [[0.0, 0.0]]).late_trend() == 0


def test_repeated_eigenvalues_act_together():
    """Two modes of one eigenvalue whose shares in the trend nearly cancel."""
    for tilt, expected in ((1e-3, -1), (-1e-3, 1)):
        curve = of_exponentials([0.2, 0.2 * (1 + 1e-17), 0.7], 1.0, [1.0 + tilt + 0.4, 1.0], [[1.0 + tilt, 0.0], [-1.0, 0.0], [0.0, 0.1]])
        e = curve.start[:, 0] - curve.modes[:, :, 0].sum(axis=0)
        together = (curve.modes[0, :, 0] + curve.modes[1, :, 0]) @ e
        assert np.sign(together) == -expected
        assert curve.late_trend() == expected


@settings(max_examples=80)
@given(seeds, st.floats(0.05, 1.0))
def test_what_suffices_for_a_turn_does(seed, rate):
    curve, _ = random_curve(seed, rate, n_P=4)
    if curve.turn_is_certain():
        best = curve.best(10**6)
        assert best not in (0, None)
        assert curve(best) < min(curve(0), curve(None))
        assert curve.turns(10**6)


def test_neither_condition_is_necessary():
    """Rising at first, and falling at last, with the least value in between all the same."""
    rises_first = of_exponentials([1e-3, 0.05, 0.8], 1.0, [1.0], [[-1.2], [1.8], [-0.6]])
    assert rises_first.initial_slope() > 0
    best = rises_first.best(10**6)
    assert best not in (0, None)
    assert rises_first(best) < min(rises_first(0), rises_first(None))
    assert not rises_first.turn_is_certain()
    falls_last = of_exponentials([1e-3, 0.05, 0.8], 1.0, [1.0], [[1.0], [-1.5], [1.0]])
    assert falls_last.late_trend() == -1
    best = falls_last.best(10**6)
    assert best not in (0, None)
    assert falls_last(best) < min(falls_last(0), falls_last(None))
    assert not falls_last.turn_is_certain()


# Source noise -----------------------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(seeds, st.floats(0.05, 1.0), st.sampled_from([None, 2]), st.floats(0.0, 3.0))
def test_the_mean_curve_adds_the_noise(seed, rate, c, variance):
    curve, T = random_curve(seed, rate, c=c)
    mean = curve.with_source_noise(variance)
    for k in (0, 1, 7, 300, None):
        noise = (c or 1) * source_noise_energy(curve.spectrum, T, variance, curve.lr, k)
        assert_dtype_close(np.float64(mean(k)), curve(k) + noise, 1, scale=size(mean))


@settings(max_examples=40, deadline=None)
@given(seeds, st.floats(0.1, 1.0), st.sampled_from([None, 3]))
def test_stopping_is_best_exactly_inside_the_window(seed, rate, c):
    """At variances inside, at either side, by the mean curve itself at every step."""
    curve, _ = random_curve(seed, rate, n_P=4, c=c)
    last = 200
    low, high = curve.noise_window(last)
    samples = [low * 0.97, low * 1.03 + 1e-6, (low + high) / 2, high * 0.97, high * 1.03 + 1e-6]
    for variance in samples:
        if min(abs(variance - low), abs(variance - high)) < 1e-9 or variance <= 0 or not math.isfinite(variance):
            continue
        mean = curve.with_source_noise(variance)
        F, floor = every_step(mean, last + 1), 1e-13 * size(mean)
        beats_end, beats_start = F[1:].min() < mean(None) - floor, min(F[1:].min(), mean(None)) < F[0] - floor
        if abs(F[1:].min() - mean(None)) > 10 * floor:
            assert beats_end == (variance > low)
        if abs(min(F[1:].min(), mean(None)) - F[0]) > 10 * floor:
            assert beats_start == (variance < high)


def test_noise_forces_a_turn_where_labels_agree_and_too_much_of_it_makes_no_pretraining_best():
    rng = np.random.default_rng(11)
    X_P = rng.normal(size=(12, 4))
    X_Q = X_P[:8] + 0.05 * rng.normal(size=(8, 4))
    y_P = X_P @ rng.normal(size=4)
    spectrum, T = GramSpectrum.of(relu_gram(X_P)), relu_gram(X_Q, X_P)
    curve = PretrainingCurve.of(spectrum, 1 / spectrum.largest, y_P, T @ np.linalg.solve(relu_gram(X_P), y_P), T)
    low, high = curve.noise_window(10**5)
    assert low == 0.0  # here the limit leaves nothing: any noise at all makes it better to stop before
    assert 1 < high < 100
    assert curve.best(10**5) is None
    assert curve.with_source_noise(0.99 * high).best(10**5) not in (0, None)
    assert curve.with_source_noise(1.01 * high).best(10**5) == 0


def test_a_single_mode_has_a_window_in_closed_form():
    """`F(k) = (ρ − (1 − q^k) g)²`: the first fraction is least as k grows, the second at the first step."""
    q, g, rho = 0.5, 0.8, 1.0
    curve = of_exponentials([1.0], 0.5, [rho], [[g]])
    unit = float(curve.noise[0])
    low, high = curve.noise_window(30)
    # (F(k) − F(∞))/(N(∞) − N(k)) = (2(ρ − g) g + q^k g²)/(2 − q^k)/n, falling to (ρ − g) g/n.
    x = q**30
    assert_dtype_close(np.float64(low), (2 * (rho - g) * g + x * g * g) / (2 - x) / unit, 1e-4, scale=1.0)
    s = 1 - q
    assert_dtype_close(np.float64(high), (2 * rho * s * g - s * s * g * g) / (s * s) / unit, 1e-4, scale=high)


def test_the_search_for_a_fraction_says_when_it_does_not_settle():
    falling = iter(np.linspace(1, 0.5, 1000).tolist())
    with pytest.raises(NotConverged, match="200 rounds did not settle"):
        least_fraction(lambda k: next(falling), lambda s: 1, [1])
    rising = iter(range(1, 1000))
    with pytest.raises(NotConverged, match="the last is"):
        largest_fraction(lambda k: float(next(rising)), lambda s: 1, [1])


# Modes --------------------------------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(seeds, st.floats(0.05, 1.9), st.sampled_from([0, 1, 5, 200, None]), st.sampled_from([None, 2]))
def test_contributions_add_up_and_say_what_more_of_a_mode_would_do(seed, rate, steps, c):
    curve, _ = random_curve(seed, rate, c=c)
    parts = curve.contributions(steps)
    assert_dtype_close(np.float64(parts.changes.sum()), curve(steps) - curve(0), 1e-2, scale=size(curve))

    def value(shares):
        return float(np.sum((curve.start - np.tensordot(shares, curve.modes, 1)) ** 2))

    for i in range(len(parts.shares)):
        moved = np.eye(len(parts.shares))[i]
        slope = (value(parts.shares + moved) - value(parts.shares - moved)) / 2
        assert_dtype_close(np.float64(parts.slopes[i]), slope, 1e-2, scale=size(curve))
        alone = [value(s * moved) for s in np.linspace(0, 1, 101)]
        assert value(parts.best_alone[i] * moved) <= min(alone) + 1e-12 * size(curve)


def test_a_mode_of_other_labels_on_the_target_harms_and_is_best_not_learnt():
    curve = of_exponentials([0.5, 1.0], 1.0, [1.0, 1.0], [[0.8, 0.0], [0.0, -0.6]])
    parts = curve.contributions(None)
    assert parts.changes[0] < 0 < parts.changes[1]
    assert parts.best_alone.tolist() == [1.0, 0.0]
    partly = of_exponentials([0.5], 1.0, [1.0], [[4.0]]).contributions(None)
    assert partly.best_alone.tolist() == [0.25]


# Number of source points ---------------------------------------------------------------------------------------------------------


def points(seed, n_P=7, n_Q=4, d=5):
    rng = np.random.default_rng(seed)
    X_P, X_Q = rng.normal(size=(n_P, d)), rng.normal(size=(n_Q, d))
    return relu_gram(X_P), relu_gram(X_Q, X_P), relu_gram(X_Q)


@settings(max_examples=30)
@given(seeds, st.booleans())
def test_source_points_explain_more_and_more(seed, displacement):
    H_P, H_QP, H_Q = points(seed)
    explained = explained_by_source_points(H_P, H_QP, H_Q if displacement else None)
    noise = noise_by_source_points(H_P, H_QP, H_Q if displacement else None)
    assert np.all(np.diff(explained) >= 0)
    M = np.linalg.inv(H_Q) if displacement else np.eye(len(H_Q))
    for j in range(1, len(H_P) + 1):
        A = np.linalg.solve(H_P[:j, :j], H_QP[:, :j].T).T
        scale = np.linalg.cond(H_P) * np.linalg.cond(M) * np.trace(M @ A @ A.T) + explained[-1]
        assert_dtype_close(explained[j - 1], np.trace(M @ A @ H_QP[:, :j].T), 1e-3, scale=scale)
        assert_dtype_close(noise[j - 1], np.trace(M @ A @ A.T), 1e-3, scale=scale)


@pytest.mark.parametrize("angle", [0.3, 1.4])
def test_the_mean_over_teachers_is_linear_in_what_is_explained(angle):
    """Teachers drawn from the Gaussian process, labels with noise: displacement to the end for 3 and for 7 source points."""
    H_P, H_QP, H_Q = points(5)
    n_P, n_Q, variance, draws = len(H_P), len(H_Q), 0.2, 4000
    rng = np.random.default_rng(1)
    joint = np.linalg.cholesky(np.block([[H_P, H_QP.T], [H_QP, H_Q]]))
    f, g = (joint @ rng.normal(size=(n_P + n_Q, draws)) for _ in range(2))
    y_P = np.cos(angle) * f[:n_P] + np.sin(angle) * g[:n_P] + np.sqrt(variance) * rng.normal(size=(n_P, draws))
    explained, noise = explained_by_source_points(H_P, H_QP, H_Q), noise_by_source_points(H_P, H_QP, H_Q)
    for j in (3, 7):
        left = f[n_P:] - H_QP[:, :j] @ np.linalg.solve(H_P[:j, :j], y_P[:j])
        moved = np.sum(left * np.linalg.solve(H_Q, left), axis=0)
        assert_z(moved, n_Q - (2 * np.cos(angle) - 1) * explained[j - 1] + variance * noise[j - 1])


def test_noise_may_cost_less_with_more_points():
    """Two points near each other stand for a slope that a third pins down."""
    H_P = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.3], [0.0, 0.3, 1.0]])
    H_QP = np.array([[0.9, 0.3, -0.5]])
    steps = np.diff(noise_by_source_points(H_P, H_QP))
    H_same = np.array([[1.0, 0.0], [0.0, 1.0]])
    down = np.diff(noise_by_source_points(np.array([[1.0, 0.5], [0.5, 1.0]]), np.array([[0.9, 0.9]])))
    up = np.diff(noise_by_source_points(H_same, np.array([[0.5, 0.5]])))
    assert steps.size == 2
    assert down[0] < 0 < up[0]


def test_more_source_points_of_the_same_teacher_may_make_fine_tuning_longer():
    """Not even with equal labels, no noise and training to the end is more source data always better: only the distance to the teacher
    never grows.
    """
    teacher, target = np.array([1.0, -1.0]), np.array([[1.0, 1.0]]) / np.sqrt(2)
    source = np.eye(2)
    moved, distance = [], []
    for j in range(3):
        learnt = source[:j].T @ (source[:j] @ teacher)
        moved.append(float(np.sum((target @ (teacher - learnt)) ** 2)))
        distance.append(float(np.sum((teacher - learnt) ** 2)))
    assert moved[0] < 1e-30
    assert moved[1] > 0.4
    assert distance == [2.0, 1.0, 0.0]


def test_every_array_library_gives_the_same(xp_case):
    rng = np.random.default_rng(3)
    H_P, H_QP, H_Q = points(2)
    load = xp_case.load
    for function in (explained_by_source_points, noise_by_source_points):
        for blocks in ((H_P, H_QP), (H_P, H_QP, H_Q)):
            assert_dtype_close(function(*(load(b) for b in blocks)), load(function(*blocks)), 1e-3, scale=10 * np.linalg.cond(H_P))
    y_P, y_Q = rng.normal(size=(7, 2)), rng.normal(size=(4, 2))
    lr = 1 / GramSpectrum.of(H_P).largest
    here = PretrainingCurve.of(GramSpectrum.of(H_P), lr, y_P, y_Q, H_QP)
    there = PretrainingCurve.of(GramSpectrum.of(load(H_P)), lr, load(y_P), load(y_Q), load(H_QP))
    assert there.turn_bound() == here.turn_bound()
    assert there.late_trend() == here.late_trend()
    assert there.turn_is_certain() == here.turn_is_certain()
    for mine, theirs in zip(there.noise_window(100), here.noise_window(100), strict=True):
        assert_dtype_close(np.float64(mine), theirs, 1e-2, scale=1 + abs(theirs))
    assert_dtype_close(there.contributions(9).changes, load(here.contributions(9).changes), 1e-2, scale=size(here))
    assert_dtype_close(np.float64(there.with_source_noise(0.5)(9)), here.with_source_noise(0.5)(9), 1e-2, scale=size(here))


# Bad input ----------------------------------------------------------------------------------------------------------------------


def test_bad_input_is_named():
    fast, _ = random_curve(0, 1.5)
    for ask in (fast.turn_bound, fast.late_trend, fast.turn_is_certain, lambda: fast.noise_window(10)):
        with pytest.raises(InvalidInput, match=r"lr is .*; at most 1/λ_max = .* is allowed here"):
            ask()
    curve, _ = random_curve(0, 1.0)
    with pytest.raises(InvalidInput, match="last is 0; at least 1 is allowed"):
        curve.noise_window(0)
    with pytest.raises(InvalidInput, match="variance is -1; a finite number of 0 or more is allowed"):
        curve.with_source_noise(-1)
    with pytest.raises(InvalidInput, match="steps is -2; 0 or more, or None, is allowed"):
        curve.contributions(-2)
    with pytest.raises(InvalidInput, match="transfer matrix is zero on every mode"):
        of_exponentials([1.0], 0.5, [1.0], [[0.0]]).noise_window(10)
    H_P, H_QP, _ = points(0)
    with pytest.raises(InvalidInput, match=r"the blocks have shapes \(7, 7\), \(7, 4\)"):
        explained_by_source_points(H_P, H_QP.T)
    with pytest.raises(InvalidInput, match="the source Gram matrix has rank 1 of 2"):
        noise_by_source_points(np.ones((2, 2)), np.ones((1, 2)))
    with pytest.raises(InvalidInput, match="the target Gram matrix has rank 1 of 2"):
        explained_by_source_points(np.eye(2), np.ones((2, 2)), np.ones((2, 2)))
