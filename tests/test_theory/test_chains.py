"""Chains of stages: two of them are `predict`, cycling converges to joint training at the rate of its sweep, and bad input is refused."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ptoq
from tests.helpers import assert_dtype_close, assert_exact
from theory import InvalidInput, Schedule, TransferProblem, UnstableStep, predict, relu_gram
from theory.chain import ChainGram, Stage, predict_chain
from theory.numeric import chains, joint
from theory.numeric.spectrum import GramSpectrum

seeds = st.integers(0, 2**32 - 1)
lengths = st.one_of(st.none(), st.integers(0, 60))


def sets(seed=0, sizes=(6, 5, 4), d=8, c=None):
    """Labelled sets; together regular as long as there are fewer points than a ReLU kernel can tell apart."""
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(n, d)), rng.normal(size=(n,) if c is None else (n, c))) for n in sizes]


def joint_of(pairs):
    """Gram matrix and labels of all sets together."""
    return relu_gram(np.concatenate([X for X, _ in pairs])), np.concatenate([y for _, y in pairs])


# ---- against predict


@given(seeds, lengths, lengths, st.sampled_from([None, 1, 3]), st.floats(0.1, 1.9))
def test_two_stages_are_predict_number_for_number(seed, first, second, c, factor):
    P, Q, T = sets(seed, c=c)
    lr = factor / GramSpectrum.of(relu_gram(P[0])).largest
    outcome = predict(TransferProblem(source=P, target=Q, test=T), Schedule(first, second, lr))
    chain = predict_chain([Stage(*P, steps=first, lr=lr), Stage(*Q, steps=second)], T)
    assert chain.displacement[1] == outcome.displacement
    assert chain.gradient_energy[1] == outcome.gradient_energy
    assert chain.losses[1][0] == outcome.source_loss_pretrained
    assert chain.losses[2][0] == outcome.source_loss
    # The same loss, mode by mode there and from the residual here.
    assert_exact(np.float64(chain.losses[2][1]), outcome.target_loss, 64, scale=max(chain.losses[1][1], 1e-300))
    assert chain.forgetting(0) == (outcome.forgetting,)
    assert chain.test_mse[1] == outcome.test_mse
    assert np.array_equal(chain.test_outputs[1], outcome.test_outputs)
    for mine, theirs in zip(chain.outputs, (outcome.source_outputs, outcome.target_outputs), strict=True):
        assert np.array_equal(mine, theirs)
    assert (chain.steps, chain.lr) == ((first, second), (lr, outcome.target_lr))
    assert chain.ranks == (outcome.source_rank, outcome.target_rank)


@given(seeds, st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=1, max_size=5))
def test_a_chain_is_gradient_descent_on_the_outputs(seed, plan):
    pairs = sets(seed)
    H, y = joint_of(pairs)
    rows = [slice(0, 6), slice(6, 11), slice(11, 15)]
    outcome = predict_chain([Stage(*pairs[a], steps=k) for a, k in plan])
    u, alpha, first_met = np.zeros(15), np.zeros(15), list(dict.fromkeys(a for a, _ in plan))
    for (a, k), eta, total, losses in zip(plan, outcome.lr, outcome.total_displacement, outcome.losses[1:], strict=True):
        for _ in range(k):
            step = np.zeros(15)
            step[rows[a]] = eta * (y - u)[rows[a]]
            alpha, u = alpha + step, u + H @ step
        size = np.linalg.norm(y)
        assert_dtype_close(np.float64(total), max(alpha @ H @ alpha, 0) ** 0.5, 1, scale=size * 10)
        assert_dtype_close(np.array(losses), np.array([np.sum((y - u)[rows[b]] ** 2) / 2 for b in first_met]), 1, scale=size**2)


# ---- cycling


@given(seeds)
def test_cycling_to_the_end_converges_to_joint_training_at_the_rate_of_its_sweep(seed):
    pairs = sets(seed)
    H, y = joint_of(pairs)
    E = chains.sweep_matrix(H, [6, 5, 4], [1.0] * 3, [None] * 3)
    rate = max(abs(np.linalg.eigvals(E)))
    assert rate < 1
    sweeps = 24
    outcome = predict_chain([Stage(*pair) for pair in pairs] * sweeps)
    residual = [np.sqrt(sum(2 * loss for loss in outcome.losses[3 * i])) for i in range(sweeps + 1)]
    # What is left after each sweep is a power of the sweep matrix times the labels.
    left = y
    for size in residual:
        assert_dtype_close(np.float64(size), np.linalg.norm(left), 1, scale=np.linalg.norm(y))
        left = E @ left
    limit = (y @ np.linalg.solve(H, y)) ** 0.5
    # ‖W_joint − W‖² = rᵀH⁻¹r, and Pythagoras: W_joint is the least fit, W lies in the span of the features.
    gap = residual[-1] / np.linalg.eigvalsh(H)[0] ** 0.5
    assert abs(outcome.total_displacement[-1] - limit) <= gap + 1e-9 * limit


@pytest.mark.parametrize("seed", range(4))
def test_the_asymptotic_rate_of_two_sets_is_their_largest_canonical_correlation(seed):
    P, Q = sets(seed, (5, 4))
    spectra = [GramSpectrum.of(relu_gram(X)) for X, _ in (P, Q)]
    rate = chains.alternating_rate(*spectra, relu_gram(Q[0], P[0]))
    E = chains.sweep_matrix(joint_of([P, Q])[0], [5, 4], [1.0, 1.0], [None, None])
    assert_dtype_close(np.float64(rate), max(abs(np.linalg.eigvals(E))), 1, scale=1.0)
    # Literally, from the residuals of a long cycle, as long as they are above rounding.
    outcome = predict_chain([P, Q] * 30)
    norms = [outcome.losses[2 * i][0] ** 0.5 for i in range(1, 31)]
    usable = [i for i in range(29) if norms[i + 1] > 1e-10 * norms[0]]
    ratio = norms[usable[-1] + 1] / norms[usable[-1]]
    assert ratio <= rate * (1 + 1e-9)
    second = sorted(joint.squared_canonical_correlations(*spectra, relu_gram(Q[0], P[0])))[-2]
    assert abs(ratio / rate - 1) < 50 * (second / rate) ** (usable[-1])


def test_to_the_end_a_sweep_is_that_of_gauss_and_seidel():
    H, _ = joint_of(sets())
    lower = np.kron(np.eye(1), H).copy()
    for rows, columns in ((slice(0, 6), slice(6, 15)), (slice(6, 11), slice(11, 15))):
        lower[rows, columns] = 0
    E = chains.sweep_matrix(H, [6, 5, 4], [1.0] * 3, [None] * 3)
    assert_dtype_close(E, np.eye(15) - H @ np.linalg.inv(lower), 1, scale=np.linalg.cond(lower))


def test_one_set_is_one_stage_and_no_sets_are_refused():
    P = sets()[0]
    outcome = predict_chain([P])
    assert_dtype_close(np.float64(outcome.total_displacement[0]), outcome.displacement[0], 1, scale=1.0)
    assert outcome.forgetting(0) == ()
    again = predict_chain([Stage(*P, steps=3), Stage(*P, steps=4)])
    assert again.order == (0, 0)
    whole = predict_chain([Stage(*P, steps=7)])
    assert_dtype_close(again.outputs[0], whole.outputs[0], 1, scale=np.linalg.norm(P[1]))
    for bad in ([], "abc", None, 3):
        with pytest.raises(InvalidInput, match="a list of at least one Stage"):
            predict_chain(bad)
    for bad in (-1, 1, True, 0.0):
        with pytest.raises(InvalidInput, match=r"stage is .*from 0 to 0 is allowed"):
            outcome.forgetting(bad)


def test_equal_contents_in_other_arrays_are_another_set_with_the_same_outputs():
    P = sets()[0]
    outcome = predict_chain([P, (P[0].copy(), P[1].copy())])
    assert outcome.order == (0, 1)
    assert outcome.displacement[1] < 1e-6
    assert_dtype_close(outcome.outputs[1], outcome.outputs[0], 1, scale=np.linalg.norm(P[1]))


# ---- what is refused


def test_malformed_chains_are_refused_by_name():
    P, Q, _ = sets()
    cases = [
        (lambda: predict_chain([P, 3]), "stage 1 is int; a Stage or a pair"),
        (lambda: predict_chain([P, (Q[0], Q[1][:2])]), "stage 1 has 5 inputs and 2 labels"),
        (lambda: predict_chain([P, (Q[0][:, :3], Q[1])]), r"stage 1 has rows of shape \(3,\).*stage 0 \(8,\)"),
        (lambda: predict_chain([P, (Q[0], np.ones((5, 2)))]), r"labels of shape \(2,\).*they must be equal"),
        (lambda: predict_chain([P, (Q[0].astype(np.float32), Q[1])]), "stage 1 inputs are float32"),
        (lambda: predict_chain([P], (Q[0][:, :3], Q[1])), "test has rows"),
        (lambda: predict_chain([P], kernel="softplus"), "kernel is 'softplus'; 'relu'"),
        (lambda: predict_chain([P], gram=np.eye(6)), "gram is a ndarray; a ChainGram"),
        (lambda: Stage(*P, steps=-1), "steps is -1"),
        (lambda: Stage(*P, lr=0.0), r"lr is 0\.0; a finite number above 0"),
        (lambda: chains.sweep_matrix(np.eye(3), [1, 1], [1.0, 1.0], [None, None]), r"sizes are \[1, 1\].*the 3 rows"),
        (lambda: chains.sweep_matrix(np.eye(2), [1, 1], [1.0], [None, None]), r"1 step sizes and 2 numbers of steps were given for 2 sets"),
    ]
    for call, message in cases:
        with pytest.raises(InvalidInput, match=message):
            call()
    with pytest.raises(UnstableStep, match=r"lr of stage 1 = .* diverges"):
        predict_chain([P, Stage(*Q, steps=3, lr=1e3)])
    with pytest.raises(UnstableStep, match=r"lr of stage 0 = .* no limit"):
        predict_chain([Stage(*P, lr=2 / GramSpectrum.of(relu_gram(P[0])).largest)])


def test_blocks_of_another_shape_are_refused_by_name():
    P, Q, T = sets()
    gram = ChainGram.of([P[0], Q[0]], T[0], relu_gram)
    assert predict_chain([P, Q], T, gram=gram).test_mse == predict_chain([P, Q], T).test_mse
    faults = [
        ({"within": (gram.within[0],)}, r"within\[1\] has shape None; \(5, 5\) is needed"),
        ({"cross": ((), (gram.cross[1][0].T,))}, r"cross\[1\]\[0\] has shape \(6, 5\); \(5, 6\)"),
        ({"test": None}, r"test\[0\] has shape None; \(4, 6\)"),
    ]
    for change, message in faults:
        with pytest.raises(InvalidInput, match=message):
            predict_chain([P, Q], T, gram=dataclasses.replace(gram, **change))


# ---- array libraries, and the public face


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_library(xp_case, dtype):
    pairs = [(X.astype(dtype), y.astype(dtype)) for X, y in sets()]
    loaded = [(xp_case.load(X), xp_case.load(y)) for X, y in pairs]
    here = predict_chain([Stage(*pairs[0], steps=5), Stage(*pairs[1], steps=7), Stage(*pairs[0], steps=2)], pairs[2])
    there = predict_chain([Stage(*loaded[0], steps=5), Stage(*loaded[1], steps=7), Stage(*loaded[0], steps=2)], loaded[2])
    assert there.order == here.order == (0, 1, 0)
    for mine, other in ((here.outputs, there.outputs), (here.test_outputs, there.test_outputs), (here.remaining, there.remaining)):
        for a, b in zip(mine, other, strict=True):
            assert_dtype_close(b, xp_case.load(a), 1, scale=10.0)
    H, _ = joint_of(pairs)
    E = chains.sweep_matrix(H, [6, 5, 4], [0.1, 0.1, 0.1], [None, 3, 0])
    assert_dtype_close(chains.sweep_matrix(xp_case.load(H), [6, 5, 4], [0.1, 0.1, 0.1], [None, 3, 0]), xp_case.load(E), 1, scale=100.0)
    P, Q = (GramSpectrum.of(relu_gram(X)) for X, _ in pairs[:2])
    rate = chains.alternating_rate(*(GramSpectrum.of(relu_gram(X)) for X, _ in loaded[:2]), relu_gram(loaded[1][0], loaded[0][0]))
    assert isinstance(rate, float)
    assert math.isclose(rate, chains.alternating_rate(P, Q, relu_gram(pairs[1][0], pairs[0][0])), rel_tol=1e-3)


def test_other_kernels_go_in_as_into_predict():
    P, Q, T = sets()
    outcome = predict(TransferProblem(source=P, target=Q, test=T), kernel="erf")
    assert predict_chain([P, Q], T, kernel="erf").test_mse[1] == outcome.test_mse != predict_chain([P, Q], T).test_mse[1]


def test_the_public_face():
    P, Q, _ = sets()
    assert ptoq.predict_chain is predict_chain
    assert ptoq.Stage is Stage
    assert isinstance(ptoq.predict_chain([P, Q]), ptoq.ChainOutcome)


# ---- sequential against joint


@given(seeds, st.sampled_from([None, 2]))
def test_joint_training_is_never_nearer_to_the_pretrained_weights(seed, c):
    P, Q = sets(seed, (5, 4), c=c)
    spectra, H_QP = [GramSpectrum.of(relu_gram(X)) for X, _ in (P, Q)], relu_gram(Q[0], P[0])
    found = joint.sequential_and_joint(*spectra, H_QP, P[1], Q[1])
    H, y = joint_of([P, Q])
    both = float(np.sum(y * np.linalg.solve(H, y)))
    assert 0 <= found.sequential <= found.joint
    assert found.ratio >= 1
    assert_dtype_close(np.float64(found.source + found.joint), both, 8, scale=both)
    chain = predict_chain([P, Q])
    assert_dtype_close(np.float64(found.sequential), chain.displacement[1] ** 2, 1, scale=both)
    worst = joint.squared_canonical_correlations(*spectra, H_QP)[0]
    assert found.joint * (1 - worst) <= found.sequential * (1 + 1e-9)
    # The excess is what it takes to repair what fine-tuning forgets, and the forgetting is ½‖u‖².
    T = relu_gram(P[0]) - H_QP.T @ np.linalg.solve(relu_gram(Q[0]), H_QP)
    u = P[1] - chain.outputs[0]
    assert_dtype_close(np.float64(found.repair), np.sum(u * np.linalg.solve(T, u)), 8, scale=both)
    assert_dtype_close(np.float64(chain.forgetting(0)[0]), np.sum(u * u) / 2, 1, scale=both)


def test_joint_and_sequential_training_agree_exactly_where_nothing_is_forgotten():
    rng = np.random.default_rng(0)
    # Orthogonal input subspaces do not interact.
    X_P, X_Q = np.hstack([rng.normal(size=(4, 3)), np.zeros((4, 3))]), np.hstack([np.zeros((3, 3)), rng.normal(size=(3, 3))])
    y_P, y_Q = rng.normal(size=4), rng.normal(size=3)
    P, Q = GramSpectrum.of(relu_gram(X_P)), GramSpectrum.of(relu_gram(X_Q))
    apart = joint.sequential_and_joint(P, Q, relu_gram(X_Q, X_P), y_P, y_Q)
    assert apart.repair < 1e-25
    assert_exact(np.float64(apart.joint), apart.sequential, 4)
    assert predict_chain([(X_P, y_P), (X_Q, y_Q)]).forgetting(0)[0] < 1e-25
    # Nothing left to learn: nothing moves.
    done = joint.sequential_and_joint(P, Q, relu_gram(X_Q, X_P), y_P, 0 * y_Q)
    assert done.ratio is None


def test_sets_without_a_joint_fit_are_refused():
    P, Q = sets(0, (5, 4))
    spectrum = GramSpectrum.of(relu_gram(P[0]))
    with pytest.raises(InvalidInput, match="both sets together is singular"):
        joint.sequential_and_joint(spectrum, spectrum, relu_gram(P[0]), P[1], P[1])
    twice = GramSpectrum.of(relu_gram(np.concatenate([Q[0], Q[0]])))
    with pytest.raises(InvalidInput, match="the target Gram matrix has rank 4 of 8"):
        joint.sequential_and_joint(spectrum, twice, relu_gram(np.concatenate([Q[0], Q[0]]), P[0]), P[1], np.concatenate([Q[1], Q[1]]))


@given(seeds)
def test_canonical_correlations_are_cosines(seed):
    P, Q = sets(seed, (5, 4))
    spectra, H_QP = [GramSpectrum.of(relu_gram(X)) for X, _ in (P, Q)], relu_gram(Q[0], P[0])
    values = joint.squared_canonical_correlations(*spectra, H_QP)
    assert values.shape == (4,)
    assert np.all((values >= 0) & (values <= 1))
    assert np.all(np.diff(values) <= 0)
    product = np.linalg.solve(relu_gram(Q[0]), H_QP) @ np.linalg.solve(relu_gram(P[0]), H_QP.T)
    assert_dtype_close(np.float64(values.sum()), np.trace(product), 1, scale=10.0)
    # A set has itself in common with itself.
    assert_dtype_close(joint.squared_canonical_correlations(spectra[0], spectra[0], relu_gram(P[0])), np.ones(5), 1, scale=1.0)
