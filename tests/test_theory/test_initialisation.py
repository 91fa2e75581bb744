"""Random initial weights: the Gram matrix's sampling error, its rank, random starts, several outputs; invariances, limits and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.networks import initial_net
from tests.helpers import assert_dtype_close, assert_exact, assert_z
from theory import InvalidInput, Schedule, TransferProblem, UnstableStep, predict, relu_gram
from theory.certified.rank import Span
from theory.certified.rows import ExactRows
from theory.numeric.degeneracy import degeneracy
from theory.numeric.gram_fluctuation import expected_gram_error, gram_entry_variance, gram_matrix_variance
from theory.numeric.initialisation import output_kernel, start_covariance, start_moments
from theory.numeric.vector_labels import expected_vector_gram_error, readout_energy_variance
from theory.random_start import random_start

seeds = st.integers(0, 2**32 - 1)


def inputs(seed=0, n=7, d=4):
    return np.random.default_rng(seed).normal(size=(n, d))


# ---- the Gram matrix's sampling error


@given(seeds, st.integers(1, 9), st.integers(1, 5))
def test_the_matrix_variance_is_a_variance(seed, n, d):
    X = inputs(seed, n, d)
    V, scale = gram_matrix_variance(X), np.linalg.norm(X) ** 4
    assert np.array_equal(V, V.T)
    assert np.linalg.eigvalsh(V)[0] >= -64 * np.finfo(float).eps * scale
    # Its trace is the mean squared Frobenius distance: the sum of the entries' variances.
    assert_dtype_close(np.trace(V), gram_entry_variance(X).sum(), 2**-20, scale)
    assert_exact(np.asarray(expected_gram_error(X, 3)), gram_entry_variance(X).sum() / 3, 4)


@given(seeds, st.integers(-30, 30))
def test_scale_of_the_inputs(seed, power):
    X, s = inputs(seed), 2.0**power
    assert np.array_equal(gram_matrix_variance(s * X), s**4 * gram_matrix_variance(X))
    assert np.array_equal(gram_entry_variance(s * X), s**4 * gram_entry_variance(X))
    assert np.array_equal(output_kernel(s * X), s**2 * output_kernel(X))


def test_what_never_varies_has_no_variance():
    # x and −x are never active together, and the Gram matrix's entry between orthogonal rows is always zero.
    X = np.array([[1.0, 0.0], [-2.0, 0.0], [0.0, 3.0]])
    V = gram_entry_variance(X)
    assert V[0, 1] == V[0, 2] == V[1, 2] == 0
    assert V[0, 0] == 0.25
    assert V[2, 2] == 81 / 4


def test_the_matrix_variance_of_one_row_and_of_its_copies():
    assert_exact(gram_matrix_variance(np.array([[3.0]])), np.array([[81 / 4]]), 2)
    # Copies are active together: A = b x xᵀ stacked, a Bernoulli variable times a matrix of rank 1.
    X = np.array([[1.0, 0.0]] * 3)
    assert_exact(gram_matrix_variance(X), np.full((3, 3), 3 / 4), 4)


def test_matrix_variance_by_draws():
    X = inputs(3, 5, 3)
    G, H = X @ X.T, relu_gram(X)
    v = np.linalg.eigh(gram_matrix_variance(X))[1][:, -1]
    W = np.random.default_rng(1).normal(size=(40_000, 3))
    D = (W @ X.T > 0).astype(float)
    gaps = np.einsum("ri,ij,rj,j->ri", D, G, D, v) - H @ v
    assert_z(np.sum(gaps**2, axis=1), v @ gram_matrix_variance(X) @ v)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_array_libraries(xp_case, dtype):
    X, Z = inputs().astype(dtype), inputs(1, 3).astype(dtype)
    scale = float(np.linalg.norm(X)) ** 4
    for function, arguments in (
        (gram_entry_variance, (X,)),
        (gram_entry_variance, (X, Z)),
        (gram_matrix_variance, (X,)),
        (output_kernel, (X, Z)),
    ):
        got = function(*(xp_case.load(a) for a in arguments))
        assert_dtype_close(got, xp_case.load(function(*arguments)), 2**-4, scale)
    for function in (lambda x: expected_gram_error(x, 8), lambda x: expected_vector_gram_error(x, 3, 8, readouts="independent")):
        assert_dtype_close(np.asarray(function(xp_case.load(X)), dtype), np.asarray(function(X), dtype), 2**-4, 9 * scale)
    E = inputs(2, 4, 3).astype(dtype)
    got = readout_energy_variance(xp_case.load(E), 8, readouts="independent")
    assert_dtype_close(np.asarray(got, dtype), np.asarray(readout_energy_variance(E, 8, readouts="independent"), dtype), 2**-4, 100.0)
    A = np.ones((3, 7), dtype) / 8
    blocks = output_kernel(X), output_kernel(Z, X), output_kernel(Z)
    S = start_covariance(*(xp_case.load(b) for b in blocks), xp_case.load(A))
    assert_dtype_close(S, xp_case.load(start_covariance(*blocks, A)), 2**-4, 100.0)
    y = Z[:, 0]
    found = start_moments(xp_case.load(y), S, init_scale=0.5, weight=xp_case.load(blocks[2]))
    wanted = start_moments(y, start_covariance(*blocks, A), init_scale=0.5, weight=blocks[2])
    assert_dtype_close(np.asarray([found.mean, found.variance], dtype), np.asarray([wanted.mean, wanted.variance], dtype), 2**-4, 1e3)


# ---- several outputs


def test_one_output_is_the_plain_case():
    X = inputs()
    for pairs in (False, True):
        for readouts in ("orthogonal", "independent"):
            found = expected_vector_gram_error(X, 1, 16, readouts=readouts, antisymmetric=pairs)
            assert_exact(np.asarray(found), expected_gram_error(X, 16, pairs), 4)
    assert readout_energy_variance(np.ones(5), 4, readouts="independent") == 0.0


def test_orthogonal_readouts_make_the_gradient_energy_exact():
    E = inputs(1, 6, 3)
    for antisymmetric in (False, True):
        _, a = initial_net(24 if antisymmetric else 12, 4, 3, antisymmetric=antisymmetric)
        assert np.array_equal(a.T @ a, len(a) * np.eye(3))
        slopes = E @ a.T / math.sqrt(len(a))
        assert_exact(np.asarray(np.sum(slopes**2)), np.sum(E**2), 16)
    assert readout_energy_variance(E, 12) == 0.0
    # Independent signs leave a spread, of the size of the formula.
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(4000, 12, 3))
    energies = np.sum((E @ np.swapaxes(signs, 1, 2)) ** 2, axis=(1, 2)) / 12
    assert_z(energies, np.sum(E**2))
    assert_z((energies - np.sum(E**2)) ** 2, readout_energy_variance(E, 12, readouts="independent"))


# ---- rank


@pytest.mark.parametrize(
    ("X", "rank", "words"),
    [
        ([[1, 2], [3, 4]], 2, "rank 2 of 2"),
        ([[1, 2], [-2, -4]], 2, "rank 2 of 2"),
        ([[1, 2], [0.5, 1]], 1, "rank 1 of 2: 1 that repeat the direction of another (rows 0 and 1)"),
        ([[1, 0], [-1, 0], [0, 1], [0, -1]], 4, "rank 4 of 4"),
        (
            [[1, 0], [-1, 0], [0, 1], [0, -1], [1, 1], [-1, -1]],
            5,
            "rank 5 of 6: 3 opposite pairs (rows 0 and 1, 2 and 3, 4 and 5) that span 2 dim",
        ),
        ([[0, 0], [1, 1]], 1, "rank 1 of 2: 1 of zeros"),
        ([[0.0]], 0, "rank 0 of 1: 1 of zeros"),
        ([[1.0], [2.0], [-1.0]], 2, "rank 2 of 3: 1 that repeat the direction of another (rows 0 and 1)"),
        ([[-0.0, 1.0], [0.0, 3.0]], 1, "rank 1 of 2: 1 that repeat"),
    ],
)
def test_degeneracy_says_what_is_lost(X, rank, words):
    found = degeneracy(np.array(X, dtype=float))
    assert found.rank == rank
    assert str(found).startswith(words)


@given(seeds, st.integers(1, 3), st.integers(1, 5), st.integers(0, 4), st.integers(0, 3))
def test_rank_is_that_of_the_gram_matrix(seed, d, n, opposite, repeated):
    rng = np.random.default_rng(seed)
    X = rng.integers(-3, 4, size=(n, d)).astype(float)
    X = np.concatenate([X, -2 * X[:opposite], 4 * X[:repeated]])
    X = X[rng.permutation(len(X))]
    H = relu_gram(X)
    values = np.linalg.eigvalsh(H)
    # Angles of such rows are far from small: what is regular has no eigenvalue near zero.
    numeric = int(np.sum(values > 1e-9 * max(values[-1], 1e-300)))
    assert degeneracy(X).rank == numeric
    # The certificates' exact span of the features is found another way.
    rows = X[np.any(X != 0, axis=1)]
    assert len(rows) == 0 or Span.of(ExactRows.of(rows)).rank == numeric


def test_nearly_parallel_rows_are_distinct():
    x = np.array([1.0, 1.0])
    assert degeneracy(np.stack([x, x * [1, 1 + 2**-52]])).rank == 2
    assert degeneracy(np.stack([x * 1e-300, x * 1e300])).rank == 1


def test_degeneracy_takes_every_library(xp_case):
    assert degeneracy(xp_case.load(np.array([[1.0, 2.0], [-2.0, -4.0], [2.0, 4.0]]))).rank == 2


# ---- random starts


def problem(seed=0, c=None):
    rng = np.random.default_rng(seed)
    shape = () if c is None else (c,)
    X_P, X_Q = rng.normal(size=(6, 3)), rng.normal(size=(4, 3))
    return TransferProblem(source=(X_P, rng.normal(size=(6, *shape))), target=(X_Q, rng.normal(size=(4, *shape))))


@pytest.mark.parametrize("c", [None, 2])
def test_a_small_scale_is_the_start_from_zero(c):
    sets, schedule = problem(c=c), Schedule(9, 5)
    outcome, found = predict(sets, schedule), random_start(sets, schedule, init_scale=1e-9)
    assert_dtype_close(np.asarray(found.gradient_energy.mean), outcome.gradient_energy, 1, outcome.gradient_energy)
    assert_dtype_close(np.asarray(found.squared_displacement.mean), outcome.displacement**2, 1, outcome.displacement**2)
    assert_dtype_close(
        np.asarray(found.squared_displacement_scratch.mean), outcome.displacement_scratch**2, 1, outcome.displacement_scratch**2
    )
    assert found.gradient_energy.standard_deviation < 1e-6


def test_means_and_variances_by_draws():
    sets, schedule, kappa = problem(), Schedule(7, 3), 0.7
    X = np.concatenate([sets.source[0], sets.target[0]])
    rng = np.random.default_rng(5)
    u = kappa * rng.multivariate_normal(np.zeros(10), output_kernel(X), size=400)
    outcomes = [predict(sets, schedule, initial_outputs=(v[:6], v[6:])) for v in u]
    found = random_start(sets, schedule, init_scale=kappa)
    for values, moments in (
        ([o.gradient_energy for o in outcomes], found.gradient_energy),
        ([o.gradient_energy_scratch for o in outcomes], found.gradient_energy_scratch),
        ([o.displacement**2 for o in outcomes], found.squared_displacement),
        ([o.displacement_scratch**2 for o in outcomes], found.squared_displacement_scratch),
    ):
        assert_z(np.array(values), moments.mean)
        assert_z((np.array(values) - moments.mean) ** 2, moments.variance)


def test_columns_are_independent_outputs():
    y, S = inputs(0, 5, 2), output_kernel(inputs(1, 5, 3))
    both = start_moments(y, S, init_scale=0.6)
    each = [start_moments(y[:, k], S, init_scale=0.6) for k in range(2)]
    assert_exact(np.asarray(both.mean), sum(m.mean for m in each), 8)
    assert_exact(np.asarray(both.variance), sum(m.variance for m in each), 8)


def test_a_target_inside_the_source_forgets_its_start():
    X = inputs(0, 5, 4)
    sets = TransferProblem(source=(X, X[:, 0]), target=(X[:3], X[:3, 0]))
    found = random_start(sets)
    assert_dtype_close(np.asarray(found.gradient_energy.mean), 0.0, 2**-8, 1.0)
    assert found.gradient_energy_scratch.mean > 1


# ---- refusals


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: expected_gram_error(inputs(), 0), r"width is 0; a whole number ≥ 1 is allowed"),
        (lambda: expected_gram_error(inputs(), 7, antisymmetric=True), r"width is 7; an even whole number ≥ 2"),
        (lambda: expected_gram_error(inputs(), True), r"width is True; a whole number"),
        (lambda: expected_vector_gram_error(inputs(), 0, 8), r"n_outputs is 0; a whole number ≥ 1"),
        (
            lambda: expected_vector_gram_error(inputs(), 2, 8, readouts="random"),
            r"readouts is 'random'; one of 'orthogonal', 'independent'",
        ),
        (lambda: readout_energy_variance(inputs(), 8, readouts="random"), r"readouts is 'random'"),
        (lambda: readout_energy_variance(inputs(), 2.5, readouts="independent"), r"width is 2.5"),
        (lambda: degeneracy(np.ones(3)), r"X has shape \(3,\); \(n, d\)"),
        (lambda: degeneracy(np.array([[1.0, np.nan]])), r"X\[0, 1\] is nan"),
        (lambda: gram_matrix_variance(np.ones(3)), r"\(n, d\)"),
        (
            lambda: start_covariance(np.eye(2), np.ones((3, 2)), np.eye(2), np.ones((3, 2))),
            r"the block target has shape \(2, 2\); \(3, 3\) is needed for a transfer of shape \(3, 2\)",
        ),
        (lambda: start_moments(np.ones(2), np.eye(3)), r"covariance has shape \(3, 3\); \(2, 2\) is needed for 2 target points"),
        (lambda: start_moments(np.ones(2), np.eye(2), weight=np.eye(3)), r"weight has shape \(3, 3\)"),
        (lambda: start_moments(np.ones(2), np.eye(2), init_scale=0), r"init_scale is 0; a finite number above 0"),
        (lambda: start_moments(np.ones(2), np.eye(2), init_scale=math.inf), r"init_scale is inf"),
        (lambda: start_moments(np.ones(2), np.eye(2), width=4), r"width=4, fourth_moment=None and 1 output\(s\) were given; .* needs both"),
        (lambda: start_moments(np.ones((2, 2)), np.eye(2), width=4, fourth_moment=1.0), r"2 output\(s\)"),
        (lambda: start_moments(np.ones(2), np.eye(2), width=0, fourth_moment=1.0), r"width is 0; a whole number ≥ 1"),
        (lambda: random_start(problem(), Schedule(momentum=0.5)), r"momentum is 0.5; random_start is for plain gradient descent"),
        (lambda: random_start(problem(), init_scale=-1.0), r"init_scale is -1.0"),
        (lambda: random_start("digits"), r"str and Schedule were given"),
    ],
)
def test_what_is_refused_says_what_is_allowed(call, message):
    with pytest.raises(InvalidInput, match=message):
        call()


def test_an_unstable_step_is_refused():
    with pytest.raises(UnstableStep, match="source_lr = 100 "):
        random_start(problem(), Schedule(3, 3, source_lr=100.0))
