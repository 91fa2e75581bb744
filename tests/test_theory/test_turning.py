"""The curve over source steps against `predict` and against every integer step: turns, best, first step, source noise (result g)."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import mpmath as mp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.helpers import assert_dtype_close, assert_exact, assert_z
from theory import GramBlocks, InvalidInput, Schedule, TransferProblem, UnstableStep, predict, relu_gram
from theory.numeric.spectrum import GramSpectrum, integral_filter
from theory.numeric.turning import PretrainingCurve, source_noise_energy

LAST = 3000
seeds = st.integers(0, 2**32 - 1)


def random_curve(seed, rate, n_P=6, n_Q=2, d=3, c=None, dtype=float):
    """Gradient energy of random points and labels, `η = rate/λ_max`."""
    rng = np.random.default_rng(seed)
    X_P, X_Q = rng.normal(size=(n_P, d)), rng.normal(size=(n_Q, d))
    shape = () if c is None else (c,)
    y_P, y_Q = rng.normal(size=(n_P, *shape)), rng.normal(size=(n_Q, *shape))
    X_P, y_P, X_Q, y_Q = (a.astype(dtype) for a in (X_P, y_P, X_Q, y_Q))
    spectrum = GramSpectrum.of(relu_gram(X_P))
    return PretrainingCurve.of(spectrum, rate / spectrum.largest, y_P, y_Q, relu_gram(X_Q, X_P))


def sum_of_exponentials(values, lr, start, modes):
    """The curve with given eigenvalues, `ρ` (p,) and `gᵢ` (n, p): source labels of one, `T vᵢ = λᵢ gᵢ`."""
    values = np.array(values)
    transfer = (values[:, None] * np.array(modes)).T
    return PretrainingCurve.of(GramSpectrum.of(np.diag(values)), lr, np.ones(len(values)), np.array(start), transfer)


def size(curve):
    """`(‖ρ‖ + Σᵢ ‖gᵢ‖)²`, above every value of the curve."""
    return (np.linalg.norm(curve.start) + np.sqrt(np.sum(curve.modes**2, axis=(1, 2))).sum()) ** 2


def at_every_step(curve, count=LAST + 2):
    """`F(0), …, F(count)` from the definition of the modes, powers by repeated multiplication."""
    q = 1 - curve.lr * curve.spectrum.values
    powers = np.cumprod(np.concatenate([np.ones((1, len(q))), np.tile(q, (count, 1))]), axis=0)
    left = curve.start.ravel() - (1 - powers) @ curve.modes.reshape(len(q), -1)
    return np.sum(left**2, axis=1)


def minima(F, last, reach, rounding):
    """Steps that are lower than their neighbours within `reach` by more than `rounding` (higher by no more than it, if negative)."""
    near = [j for j in range(-reach, reach + 1) if j]
    return [k for k in range(1, last) if all(F[k + j] - F[k] > rounding for j in near if k + j >= 0)]


def valleys(F, last, depth):
    """Lowest steps between a fall and a rise by more than `depth`."""
    found, top, low = [], F[0], None
    for k in range(1, last + 1):
        if low is None:
            top = max(top, F[k])
            if F[k] < top - depth:
                low = k
        elif F[k] < F[low]:
            low = k
        elif F[k] > F[low] + depth:
            found.append(low)
            top, low = F[k], None
    return found


# ---- the curve


@settings(max_examples=25)
@given(seeds, st.sampled_from([None, 1, 3]), st.floats(0.05, 1.95), st.floats(0.05, 1.95), st.sampled_from([None, 0, 1, 7, 200]))
def test_the_curve_is_what_predict_says(seed, c, rate_P, rate_Q, target_steps):
    rng = np.random.default_rng(seed)
    shape = () if c is None else (c,)
    sets = [(rng.normal(size=(n, 6)), rng.normal(size=(n, *shape))) for n in (5, 4, 3)]
    problem = TransferProblem(source=sets[0], target=sets[1], test=sets[2])
    gram = GramBlocks.of(problem, relu_gram)
    P, Q = GramSpectrum.of(gram.source), GramSpectrum.of(gram.target)
    y_P, y_Q, y_T = (y for _, y in sets)
    lr_P, lr_Q = rate_P / P.largest, rate_Q / Q.largest
    phi = integral_filter(Q.values, lr_Q, target_steps)
    move, tune = (phi * Q.values**0.5)[:, None] * Q.vectors.T, gram.test_target @ Q.apply(phi, np.eye(4))
    curves = [
        PretrainingCurve.of(P, lr_P, y_P, y_Q, gram.target_source),
        PretrainingCurve.of(P, lr_P, y_P, move @ y_Q, move @ gram.target_source),
        PretrainingCurve.of(P, lr_P, y_P, y_T - tune @ y_Q, gram.test_source - tune @ gram.target_source),
    ]
    if target_steps is None:
        # To the end the metric of the displacement is H_Q⁻¹.
        root = Q.values[:, None] ** -0.5 * Q.vectors.T
        curves.append(PretrainingCurve.of(P, lr_P, y_P, root @ y_Q, root @ gram.target_source))
    for steps in (0, 1, 2, 17, 3000, None):
        outcome = predict(problem, Schedule(steps, target_steps, lr_P, lr_Q), gram=gram)
        wanted = [outcome.gradient_energy, outcome.displacement**2, outcome.test_mse * len(y_T), outcome.displacement**2]
        for curve, value in zip(curves, wanted, strict=False):
            assert_dtype_close(curve(steps), value, 1, scale=size(curve))


def test_the_limit_is_what_many_steps_come_to():
    for rate in (0.3, 1.0, 1.9):
        curve = random_curve(5, rate)
        assert_dtype_close(curve(10**9), curve(None), 1, scale=size(curve))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("c", [None, 2])
def test_every_array_library_gives_the_same(xp_case, dtype, c):
    plain = random_curve(301, 0.9, c=c, dtype=dtype)
    spectrum = GramSpectrum(xp_case.load(plain.spectrum.values), xp_case.load(plain.spectrum.vectors), plain.spectrum.cutoff)
    curve = dataclasses.replace(plain, spectrum=spectrum, start=xp_case.load(plain.start), modes=xp_case.load(plain.modes))
    for steps in (0, 3, 400, None):
        assert_dtype_close(np.asarray(curve(steps), dtype=dtype), np.asarray(plain(steps), dtype=dtype), 1, scale=size(plain))
    assert curve.turns(200) == plain.turns(200)
    assert curve.best(200) == plain.best(200)
    T = np.ones((2, 6), dtype=dtype)
    got, want = (
        np.asarray(source_noise_energy(s, t, 0.5, plain.lr, 9), dtype=dtype) for s, t in ((spectrum, xp_case.load(T)), (plain.spectrum, T))
    )
    assert_dtype_close(got, want, 1, scale=want)


def test_many_label_columns_are_searched_in_fewer_coordinates():
    # 4 · 5 components against 6 modes: same turns as without the reduction, which a zero mode more or less does not change.
    for seed in range(40):
        curve = random_curve(seed, 1.0, n_Q=4, c=5)
        F = at_every_step(curve)
        assert set(minima(F, LAST, 1, 1e-12 * size(curve))) <= set(curve.turns(LAST))


# ---- turns


@settings(max_examples=60)
@given(seeds, st.floats(0.02, 1.99), st.sampled_from([None, 2]), st.booleans())
def test_turns_are_all_local_minima_over_the_integers(seed, rate, c, singular):
    curve = random_curve(seed, rate, n_P=9 if singular else 6, d=2 if singular else 3, c=c)
    F, rounding = at_every_step(curve), 1e-13 * size(curve)
    reach = 1 if rate <= 1 else 2
    found = curve.turns(LAST)
    assert found == sorted(set(found))
    assert set(minima(F, LAST, reach, rounding)) <= set(found) <= set(minima(F, LAST, reach, -rounding))
    if reach == 1:
        for low in valleys(F, LAST, 1e-9 * size(curve)):
            assert any(F[k] <= F[low] + rounding for k in found)


@settings(max_examples=60)
@given(seeds, st.floats(0.02, 1.99), st.integers(1, 400))
def test_best_is_the_least_over_the_integers(seed, rate, last):
    curve = random_curve(seed, rate)
    F, rounding = at_every_step(curve, last), 1e-13 * size(curve)
    best = curve.best(last)
    assert curve(best) <= min(*F, curve(None)) + rounding
    lowest = np.flatnonzero(min(F) + rounding >= F)
    assume(len(lowest) == 1 and abs(curve(None) - min(F)) > rounding)
    assert best == (None if curve(None) < min(F) else lowest[0])


TWICE = {92: [2, 127], 199: [1, 44], 301: [1, 1015], 320: [1, 24, 312], 367: [31, 571]}


@pytest.mark.parametrize("seed", TWICE)
def test_a_problem_can_turn_more_than_once(seed):
    # Plain problems: six random source points, two target points, random labels.
    curve = random_curve(seed, 1.0)
    assert curve.turns(LAST) == TWICE[seed]
    assert set(TWICE[seed]) <= set(minima(at_every_step(curve), LAST, 1, -1e-13 * size(curve)))
    assert curve.best(LAST) == min(TWICE[seed], key=curve)
    # To the step, where float64 values of F no longer tell neighbours apart: at 1015 they differ by 4e-17.
    with mp.workdps(40):
        q = [1 - mp.mpf(float(curve.lr)) * mp.mpf(float(v)) for v in curve.spectrum.values]
        rows = zip(curve.start.ravel().tolist(), curve.modes[:, :, 0].T.tolist(), strict=True)
        left = [(mp.mpf(rho), [mp.mpf(g) for g in modes]) for rho, modes in rows]

        def F(k):
            return mp.fsum((rho - mp.fsum((1 - qi**k) * g for qi, g in zip(q, modes, strict=True))) ** 2 for rho, modes in left)

        for k in TWICE[seed]:
            assert F(k - 1) > F(k) <= F(k + 1)


def test_the_first_turn_need_not_be_the_best():
    for seed in (199, 301, 367):
        curve = random_curve(seed, 1.0)
        assert curve.best(LAST) == TWICE[seed][-1]
        first = TWICE[seed][0]
        assert curve.best(first + 1) == (first if curve(first) < curve(None) else None)


@pytest.mark.parametrize("slowest", [2e-3, 1e-7])
def test_engineered_turns_are_all_found(slowest):
    # e + Σ q^k g changes its sign three times: F touches zero, or nearly, at each.
    values = [0.5, (0.5 * slowest) ** 0.5, slowest]
    curve = sum_of_exponentials(values, 1.0, [1.0], [[2.0], [-2.0], [2.0]])
    assert curve(None) == 1.0
    last = int(30 / slowest)
    assert len(curve.turns(last)) == 3
    for k in curve.turns(last):
        assert curve(k) < min(curve(k - 1), curve(k + 1), 0.5)
    if slowest > 1e-3:
        assert curve.turns(LAST) == minima(at_every_step(curve), LAST, 1, 0.0)


def test_a_narrow_valley_between_grid_points_is_found():
    # A double root of the slope split by a little: a minimum and a maximum within two per cent of one another.
    with mp.workdps(40):
        w = [mp.mpf(1), mp.mpf(2), mp.mpf(3)]

        def slope(t, c):
            return mp.fsum(ci * mp.exp(-wi * t) for ci, wi in zip(c, w, strict=True))

        # Slope ∝ e^{-t} (e^{-t} − a)(e^{-t} − b): one component far from zero, so that F is 2·L(∞)·L to first order.
        a, b = mp.exp(-1), mp.exp(mp.mpf("-1.01"))
        c = [a * b, -(a + b), mp.mpf(1)]
        assert abs(slope(1, c)) < mp.mpf(10) ** -35
        unit = 1e-4
        values = [float(1 - mp.exp(-wi * unit)) for wi in w]
        modes = [[float(ci / wi)] for ci, wi in zip(c, w, strict=True)]
    curve = sum_of_exponentials(values, 1.0, [1e6 + sum(m[0] for m in modes)], modes)
    assert curve.initial_slope() < 0
    found = curve.turns(10**5)
    assert len(found) == 1
    assert 9900 < found[0] < 10200
    assert curve.best(10**5) is None


def test_flat_stretches_and_rounding_are_no_turns():
    # Perfect transfer: F falls to zero and then is rounding; the limit is lower than any step.
    perfect = sum_of_exponentials([1.0, 0.3, 0.1], 0.7, [0.1 + 0.2, 1.0, 1 / 3], np.diag([0.1 + 0.2, 1.0, 1 / 3]))
    assert perfect.turns(10**6) == []
    assert perfect.best(10**6) is None
    # Nothing to learn from: constant, so no step at all is best.
    nothing = sum_of_exponentials([1.0, 0.3], 1.0, [1.0, 2.0], np.zeros((2, 2)))
    assert nothing.turns(10**9) == []
    assert nothing.best(10**9) == 0
    assert nothing.initial_slope() == 0
    # A flat floor between fall and rise: its first step. The fast mode is gone after one step, the slow one moves by less than rounding.
    floor = sum_of_exponentials([1.0, 2.0**-44], 1.0, [2.0, 1.0], [[1.0, 0.0], [0.0, -1.0]])
    assert floor.turns(10**3) == [1]


def test_a_step_of_one_over_lambda_max_learns_the_top_mode_at_once():
    once = sum_of_exponentials([1.0, 1.0], 1.0, [1.0, 2.0], np.eye(2))
    assert once.turns(50) == []  # it never rises again
    assert once.best(50) == 1
    assert once(1) == once(None) == 1.0
    then_worse = sum_of_exponentials([1.0, 0.1], 1.0, [1.0, 1.0], [[1.0, 0.0], [0.0, -1.0]])
    assert then_worse.turns(50) == [1]
    assert then_worse.best(50) == 1


def test_a_zigzag_counts_once():
    # One mode that overshoots at every step, and slow ones that make the zigzag's envelope fall and rise.
    curve = sum_of_exponentials([1.99, 0.05, 0.01], 1.0, [3.0, 0.0, 1.0], [[0.3, 0.0, 1.0], [3.0, 0.0, 0.0], [0.0, -2.0, 0.0]])
    F = at_every_step(curve, 400)
    every_second = [k for k in range(1, 300) if F[k] < F[k - 1] and F[k] <= F[k + 1]]
    assert len(every_second) > 20
    found = curve.turns(300)
    assert len(found) <= 3
    assert found == minima(F, 300, 2, 0.0)
    assert curve.best(300) == int(np.argmin(F[:301]))
    # What overshoots just a little leaves the turn where it was.
    mild = random_curve(301, 1.0 + 1e-9)
    assert mild.turns(LAST) == TWICE[301]


def test_many_steps_cost_little():
    # A billion steps: as many evaluations as orders of magnitude need, and nothing found beyond where everything has been learnt.
    for rate in (1.0, 1.9999, 1e-4):
        curve = random_curve(320, rate)
        assert curve.turns(10**9) == curve.turns(10**8)
    assert random_curve(320, 1.0).turns(10**18) == TWICE[320]


def test_hundreds_of_points():
    rng = np.random.default_rng(0)
    X_P, X_Q = rng.normal(size=(300, 20)), rng.normal(size=(100, 20))
    spectrum, T = GramSpectrum.of(relu_gram(X_P)), relu_gram(X_Q, X_P)
    clean = relu_gram(np.concatenate([X_P, X_Q]), X_P[:5]) @ rng.normal(size=5)
    y_P = clean[:300] + 0.5 * clean.std() * rng.normal(size=300)
    curve = PretrainingCurve.of(spectrum, 1 / spectrum.largest, y_P, clean[300:], T)
    F = at_every_step(curve)
    assert set(minima(F, LAST, 1, 1e-12 * size(curve))) <= set(curve.turns(10**9))
    assert curve.turns(10**9)[0] == curve.best(10**9)
    assert curve(curve.best(10**9)) < 0.5 * min(curve(0), curve(None))


# ---- the first step


@given(seeds, st.integers(0, 60))
def test_the_first_step_has_the_sign_of_its_derivative(seed, power):
    curve = random_curve(seed, 2.0**-power)
    learnt = np.sum(curve.spectrum.values[:, None, None] * curve.modes, axis=0)
    derivative = -2 * float(np.sum(curve.start * learnt))
    bend = curve.lr * float(np.sum(learnt**2))
    slope = curve.initial_slope()
    assert_dtype_close(
        slope, curve.lr * (derivative + bend), 2**-10, scale=curve.lr * (np.linalg.norm(curve.start) * np.linalg.norm(learnt) + bend)
    )
    if abs(derivative) > 2 * bend:
        assert np.sign(slope) == np.sign(derivative)


def test_the_first_step_keeps_its_digits():
    # At η = 10⁻¹⁵/λ_max the difference of two values of F is rounding; the change itself is not.
    curve = random_curve(0, 1e-15)
    learnt = np.sum(curve.spectrum.values[:, None, None] * curve.modes, axis=0)
    assert_dtype_close(curve.initial_slope(), -2 * curve.lr * float(np.sum(curve.start * learnt)), 2**-16, scale=curve.initial_slope())
    assert abs(curve(1) - curve(0) - curve.initial_slope()) > 0.1 * abs(curve.initial_slope())


def test_gradient_energy_at_first_falls_with_the_inner_product_of_the_labels():
    rng = np.random.default_rng(7)
    for _ in range(20):
        X_P, X_Q, y_P, y_Q = rng.normal(size=(6, 4)), rng.normal(size=(5, 4)), rng.normal(size=6), rng.normal(size=5)
        spectrum, T = GramSpectrum.of(relu_gram(X_P)), relu_gram(X_Q, X_P)
        curve = PretrainingCurve.of(spectrum, 1e-6 / spectrum.largest, y_P, y_Q, T)
        assert np.sign(curve.initial_slope()) == np.sign(-2 * y_Q @ T @ y_P)


# ---- source noise


@pytest.mark.parametrize("steps", [1, 12, 400, None])
@pytest.mark.parametrize("rate", [0.8, 1.7])
def test_noise_adds_its_energy_in_expectation(steps, rate):
    rng = np.random.default_rng(3)
    X_P, X_Q, y_P, y_Q = rng.normal(size=(7, 4)), rng.normal(size=(5, 4)), rng.normal(size=7), rng.normal(size=5)
    spectrum, T, sigma = GramSpectrum.of(relu_gram(X_P)), relu_gram(X_Q, X_P), 2.0
    lr = rate / spectrum.largest

    def F(y):
        return PretrainingCurve.of(spectrum, lr, y, y_Q, T)(steps)

    draws = np.array([F(y_P + sigma * rng.normal(size=7)) for _ in range(1500)])
    added = source_noise_energy(spectrum, T, sigma**2, lr, steps)
    assert_z(draws, F(y_P) + added)
    assert added > 3 * draws.std() / len(draws) ** 0.5  # else the z-test would pass without it
    # Noise alone, not Gaussian: signs.
    nothing = np.zeros_like(y_Q)
    signs = [PretrainingCurve.of(spectrum, lr, sigma * rng.choice([-1.0, 1.0], size=7), nothing, T)(steps) for _ in range(1500)]
    assert_z(np.array(signs), added)


@given(seeds, st.floats(0.05, 1.0))
def test_noise_energy_grows_with_steps(seed, rate):
    rng = np.random.default_rng(seed)
    spectrum, T = GramSpectrum.of(relu_gram(rng.normal(size=(5, 4)))), rng.normal(size=(3, 5))
    energy = [source_noise_energy(spectrum, T, 1.0, rate / spectrum.largest, k) for k in (0, 1, 2, 5, 50, 10**4, None)]
    assert energy[0] == 0
    assert all(a <= b * (1 + 1e-12) for a, b in pairwise(energy))
    assert_exact(
        source_noise_energy(spectrum, T, 4.0, rate / spectrum.largest, 9),
        4 * source_noise_energy(spectrum, T, 1.0, rate / spectrum.largest, 9),
        4,
    )


def expected(curve, T, variance):
    """The mean curve under source noise: one more component for each mode, which starts at zero."""
    reach = integral_filter(curve.spectrum.values, curve.lr, None) * np.linalg.norm(T @ curve.spectrum.vectors, axis=0)
    start = np.concatenate([curve.start, np.zeros((len(reach), 1))])
    modes = np.concatenate([curve.modes, variance**0.5 * np.diag(reach)[:, :, None]], axis=1)
    return PretrainingCurve(curve.spectrum, curve.lr, start, modes, curve.noise)


def test_noise_above_a_threshold_forces_a_turn():
    # Source and target share the teacher: without noise, more pretraining is better at every step.
    rng = np.random.default_rng(11)
    X_P = rng.normal(size=(12, 4))
    X_Q = X_P[:8] + 0.05 * rng.normal(size=(8, 4))
    teacher = rng.normal(size=4)
    spectrum, T = GramSpectrum.of(relu_gram(X_P)), relu_gram(X_Q, X_P)
    y_Q = T @ np.linalg.solve(relu_gram(X_P), X_P @ teacher)
    curve = PretrainingCurve.of(spectrum, 1 / spectrum.largest, X_P @ teacher, y_Q, T)
    F = at_every_step(curve)
    assert np.all(np.diff(F) <= 1e-13 * size(curve))
    assert curve.turns(10**6) == []
    assert curve.best(10**6) is None
    added = [source_noise_energy(spectrum, T, 1.0, curve.lr, k) for k in range(LAST)]
    turned = []
    for variance in (0.0, 1e-2, 1.0, 100.0):
        mean = expected(curve, T, variance)
        assert_dtype_close(mean(17), curve(17) + variance * added[17], 1, scale=size(mean))
        assert mean.best(10**6) == (int(np.argmin(F[:LAST] + variance * np.array(added))) if variance else None)
        turned.append(len(mean.turns(10**6)))
    assert turned == [0, 1, 1, 0]  # at last noise so large that not a single step helps
    assert expected(curve, T, 1e-2).best(10**6) > expected(curve, T, 1.0).best(10**6)


# ---- bad input


@pytest.mark.parametrize("last", [0, -3])
def test_last_must_be_positive(last):
    curve = random_curve(0, 1.0)
    for search in (curve.turns, curve.best):
        with pytest.raises(InvalidInput, match=f"last is {last}"):
            search(last)


def test_few_steps_are_searched_too():
    curve = random_curve(199, 1.0)
    assert curve.turns(1) == []
    assert curve.turns(2) == [1]
    assert curve.best(1) == 1


@pytest.mark.parametrize("rate", [2.0, 2.5])
def test_a_curve_without_a_limit_is_refused(rate):
    with pytest.raises(UnstableStep, match="lr"):
        random_curve(0, rate)


def test_an_unstable_step_has_no_noise_energy():
    spectrum, T = GramSpectrum.of(np.eye(2)), np.ones((1, 2))
    with pytest.raises(UnstableStep, match="lr = 2"):
        source_noise_energy(spectrum, T, 1.0, 2.5, 4)
    with pytest.raises(UnstableStep, match="no limit"):
        source_noise_energy(spectrum, T, 1.0, 2.0, None)
    assert source_noise_energy(spectrum, T, 1.0, 2.0, 1) == 8.0


def test_bad_input_is_named():
    spectrum, y, T = GramSpectrum.of(np.eye(2)), np.ones(2), np.ones((3, 2))
    with pytest.raises(InvalidInput, match="lr is 0"):
        PretrainingCurve.of(spectrum, 0, y, np.ones(3), T)
    with pytest.raises(InvalidInput, match="lr is nan"):
        PretrainingCurve.of(spectrum, float("nan"), y, np.ones(3), T)
    for y_source, start, transfer in ((np.ones(3), np.ones(3), T), (y, np.ones(2), T), (y, np.ones((3, 2)), T), (y, np.ones(3), T.T)):
        with pytest.raises(InvalidInput, match="shape"):
            PretrainingCurve.of(spectrum, 1.0, y_source, start, transfer)
    curve = PretrainingCurve.of(spectrum, 1.0, y, np.ones(3), T)
    with pytest.raises(InvalidInput, match="steps is -1"):
        curve(-1)
    with pytest.raises(InvalidInput, match="steps is -1"):
        source_noise_energy(spectrum, T, 1.0, 1.0, -1)
    with pytest.raises(InvalidInput, match="variance is -1"):
        source_noise_energy(spectrum, T, -1.0, 1.0, 1)
    with pytest.raises(InvalidInput, match="variance is nan"):
        source_noise_energy(spectrum, T, float("nan"), 1.0, 1)
    with pytest.raises(InvalidInput, match=r"\(p, 2\)"):
        source_noise_energy(spectrum, T.T, 1.0, 1.0, 1)
