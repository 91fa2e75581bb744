"""Suppression by mode, gains over codings of the labels, the initial scale and other exact tests that cost nothing."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.training import simulate
from tests.helpers import assert_dtype_close, assert_exact
from theory import InvalidInput, Schedule, TransferProblem, predict, relu_gram
from theory.numeric import stages
from theory.numeric.similarity import best_linear_gain, mode_suppression
from theory.numeric.spectrum import GramSpectrum
from theory.numeric.symmetries import DEGREES, at_scale
from theory.similarity import label_gains
from theory.similarity import mode_suppression as modes_of

seeds = st.integers(0, 2**32 - 1)


def problem(seed=0, n_P=6, n_Q=5, d=4, c=None):
    rng = np.random.default_rng(seed)
    shape = () if c is None else (c,)
    sets = {name: (rng.normal(size=(n, d)), rng.normal(size=(n, *shape))) for name, n in (("source", n_P), ("target", n_Q), ("test", 3))}
    return TransferProblem(**sets)


# ---- suppression


@given(seeds, st.sampled_from([None, 2]))
def test_energies_of_the_modes_add_up(seed, c):
    sets, schedule = problem(seed, c=c), Schedule(4)
    outcome, modes = predict(sets, schedule), modes_of(sets, schedule)
    assert sum(mode.multiplicity for mode in modes) == 5
    for name, total in (("pretrained", outcome.gradient_energy), ("scratch", outcome.gradient_energy_scratch)):
        assert_dtype_close(np.asarray(sum(getattr(mode, name) for mode in modes)), total, 2**-20, total)


def test_equal_eigenvalues_are_one_mode():
    rng = np.random.default_rng(0)
    V = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    spectrum = GramSpectrum.of(V @ np.diag([1.0, 1.0, 1.0, 2.0, 2.0]) @ V.T)
    y, left = rng.normal(size=(2, 5))
    first, second = mode_suppression(spectrum, y, left)
    assert (first.multiplicity, second.multiplicity) == (3, 2)
    assert_exact(np.asarray(first.value), 1.0, 16)
    # The eigenspaces are known here: no eigenvector of the decomposition is.
    assert_dtype_close(np.asarray(first.factor), np.sum((V[:, :3].T @ left) ** 2) / np.sum((V[:, :3].T @ y) ** 2), 2**-16, 1.0)
    assert len(mode_suppression(spectrum, y, left, tolerance=0.6)) == 1
    assert len(mode_suppression(spectrum, y, left, tolerance=0.4)) == 2


def test_a_mode_without_energy_has_no_factor():
    (one, two) = mode_suppression(GramSpectrum.of(np.diag([1.0, 2.0])), np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    assert (one.factor, two.factor) == (0.25, None)
    assert two.pretrained == 0.25


def test_the_factor_stays_through_fine_tuning():
    sets = problem()
    Q = GramSpectrum.of(relu_gram(sets.target[0]))
    y, left = sets.target[1], sets.target[1] - 0.3
    later = [stages.residual(Q, v, 0.5 / Q.largest, 6) for v in (y, left)]
    for before, after in zip(mode_suppression(Q, y, left), mode_suppression(Q, *later), strict=True):
        assert_dtype_close(np.asarray(after.factor), before.factor, 2**-10, before.factor)


def test_array_libraries(xp_case):
    rng = np.random.default_rng(4)
    H = relu_gram(rng.normal(size=(5, 4)))
    Y, T = rng.normal(size=(5, 2)), rng.normal(size=(5, 3))
    here, there = GramSpectrum.of(H), GramSpectrum.of(xp_case.load(H))
    assert_dtype_close(np.asarray(best_linear_gain(there, xp_case.load(Y), xp_case.load(T))), best_linear_gain(here, Y, T), 2**-10, 1.0)
    got, want = mode_suppression(there, xp_case.load(Y), xp_case.load(T[:, :2])), mode_suppression(here, Y, T[:, :2])
    assert_dtype_close(np.array([m.factor for m in got]), np.array([m.factor for m in want]), 2**-6, max(m.factor for m in want))


# ---- codings of the labels


@given(seeds, st.integers(1, 3), st.sampled_from([None, 2]))
def test_linear_maps_can_only_help(seed, columns, c):
    rng = np.random.default_rng(seed)
    spectrum = GramSpectrum.of(relu_gram(rng.normal(size=(6, 4))))
    y, T = rng.normal(size=6 if c is None else (6, c)), rng.normal(size=(6, columns))
    best = best_linear_gain(spectrum, y, T)
    assert 0 <= best <= 1
    for M in rng.normal(size=(8, columns, 1 if c is None else c)):
        fitted = T @ M if c else (T @ M)[:, 0]
        assert best >= stages.transfer_gain(spectrum, y, y - fitted)[0] - 1e-12
    if c is None:
        assert best >= max(stages.best_scale_gain(spectrum, y, T[:, k]) for k in range(columns)) - 1e-12


def test_one_column_is_the_best_scale():
    sets = problem()
    gains = label_gains(sets)
    assert_dtype_close(np.asarray(gains.best_linear), gains.best_scale, 2**-12, 1.0)
    assert gains.best_linear >= gains.gain
    assert_exact(np.asarray(gains.gain), predict(sets).gain, 16)


def test_a_recoding_of_the_source_changes_the_gain_but_not_the_best():
    sets = problem(c=3)
    (X, Y), M = sets.source, np.random.default_rng(0).normal(size=(3, 3))
    recoded = TransferProblem(source=(X, Y @ M), target=sets.target)
    before, after = label_gains(sets), label_gains(recoded)
    assert_dtype_close(np.asarray(after.best_linear), before.best_linear, 2**-10, 1.0)
    assert abs(after.gain - before.gain) > 0.01


def test_columns_that_repeat_each_other_count_once():
    rng = np.random.default_rng(1)
    spectrum = GramSpectrum.of(relu_gram(rng.normal(size=(5, 4))))
    y, t = rng.normal(size=(2, 5))
    assert_dtype_close(
        np.asarray(best_linear_gain(spectrum, y, np.stack([t, -3 * t, 1e-9 * t], axis=1))), best_linear_gain(spectrum, y, t), 2**-12, 1.0
    )
    assert_dtype_close(np.asarray(best_linear_gain(spectrum, y, np.stack([y, t], axis=1))), 1.0, 2**-12, 1.0)
    assert best_linear_gain(spectrum, y, np.zeros((5, 2))) == 0.0


def test_where_the_gain_is_undefined():
    X = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    spectrum = GramSpectrum.of(relu_gram(X))
    inside, outside = np.array([1.0, 1.0, 0.5]), np.array([1.0, -1.0, 0.5])
    assert best_linear_gain(spectrum, outside, inside) is None
    assert best_linear_gain(spectrum, inside, outside) is None
    assert best_linear_gain(spectrum, 0 * inside, inside) is None
    assert best_linear_gain(spectrum, inside, np.array([0.0, 0.0, 1.0])) > 0


# ---- exact tests for free


@cache
def trained(scale, labels):
    base = problem(3, d=3)
    sets = {name: (X, labels * y) for name, (X, y) in (("source", base.source), ("target", base.target), ("test", base.test))}
    schedule = Schedule(source_steps=5, target_steps=4, source_lr=0.1, target_lr=0.1)
    return simulate(TransferProblem(**sets), schedule, width=64, init_scale=scale, antisymmetric=False)


@pytest.mark.parametrize("power", [-3, 2])
def test_a_real_net_trains_as_its_rescaled_twin(power):
    # Powers of two: not even rounding differs.
    kappa = 2.0**power
    expected = at_scale(trained(1.0, 1.0).scalars(), kappa)
    found = trained(kappa, kappa).scalars()
    assert set(found) <= set(DEGREES)
    assert found == expected


def test_orthogonal_inputs_and_labels_of_zero_teach_a_real_net_nothing():
    rng = np.random.default_rng(0)
    X_P, X_Q = rng.normal(size=(5, 6)), np.hstack([np.zeros((4, 3)), rng.normal(size=(4, 3))])
    y = rng.normal(size=5)
    schedule = Schedule(source_steps=6, target_steps=6, source_lr=0.1, target_lr=0.1)
    for source in ((X_P * [1, 1, 1, 0, 0, 0], y), (X_P, 0 * y)):
        outcome = simulate(TransferProblem(source=source, target=(X_Q, y[:4])), schedule, width=64)
        assert outcome.gradient_energy == outcome.gradient_energy_scratch
        assert outcome.measured_gain == 0
        assert outcome.frozen.measured_gain == 0
        assert outcome.gain == 0


@given(seeds)
def test_a_target_inside_the_source_is_learnt_with_it(seed):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(6, 4)), rng.normal(size=6)
    assert_dtype_close(np.asarray(predict(TransferProblem(source=(X, y), target=(X[:3], y[:3]))).gain), 1.0, 2**-6, 1.0)


# ---- refusals


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: at_scale({"loss": 1.0}, 2.0), r"'loss' is no scalar of an outcome; gradient_energy, .* are allowed"),
        (lambda: at_scale({}, 0.0), r"init_scale is 0.0; a finite number above 0"),
        (lambda: at_scale({}, True), r"init_scale is True"),
        (
            lambda: mode_suppression(GramSpectrum.of(np.eye(2)), np.ones(2), np.ones((2, 1))),
            r"y_target has shape \(2,\) and remaining \(2, 1\)",
        ),
        (lambda: mode_suppression(GramSpectrum.of(np.eye(2)), np.ones(2), np.ones(2), -1.0), r"tolerance is -1.0; a number ≥ 0"),
        (lambda: best_linear_gain(GramSpectrum.of(np.eye(2)), np.ones(2), np.ones(3)), r"have 2, 3 and 2 rows; they must be equal"),
        (lambda: label_gains(problem(), Schedule(weight_decay=0.1)), r"weight_decay is 0.1; label_gains is for plain gradient descent"),
        (lambda: modes_of(problem(), Schedule(loss="cross-entropy")), r"loss is 'cross-entropy'; mode_suppression is for"),
    ],
)
def test_what_is_refused_says_what_is_allowed(call, message):
    with pytest.raises(InvalidInput, match=message):
        call()


def test_at_scale_keeps_what_is_undefined():
    assert at_scale({"gain": None, "displacement": 2.0}, 3.0) == {"gain": None, "displacement": 6.0}


def test_labels_of_another_number_than_the_spectrum_s_are_refused():
    with pytest.raises(InvalidInput, match=r"labels have shape \(3,\); \(2,\) or \(2, c\) is allowed"):
        mode_suppression(GramSpectrum.of(np.eye(2)), np.ones(3), np.ones(3))
