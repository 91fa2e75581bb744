"""What the kernel theory rules out: fresh heads against drawn neurons and heads, Hessians against automatic ones, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import assert_dtype_close, assert_exact, assert_z
from theory import InvalidInput, relu_gram
from theory.numeric import stages
from theory.numeric.ruled_out import fresh_head_energy, hessian_eigenvalues
from theory.numeric.spectrum import GramSpectrum

seeds = st.integers(0, 2**32 - 1)


def source_and_target(seed=0, c=None):
    rng = np.random.default_rng(seed)
    X_P, X_Q = rng.normal(size=(7, 5)), rng.normal(size=(3, 5))
    P = GramSpectrum.of(relu_gram(X_P))
    return X_P, stages.coefficients(P, rng.normal(size=7 if c is None else (7, c)), 1 / P.largest, 40), X_Q


# ---- a fresh head


def test_a_fresh_head_sees_what_drawn_neurons_and_signs_give():
    X_P, alpha, X_Q = source_and_target()
    rng = np.random.default_rng(1)
    m, expected = 64, fresh_head_energy(X_P, alpha, X_Q)
    means, squares = [], []
    for _ in range(2000):
        W, old, new = rng.normal(size=(m, 5)), rng.choice([-1.0, 1.0], size=m), rng.choice([-1.0, 1.0], size=m)
        moved = (old / m**0.5)[:, None] * (((W @ X_P.T > 0) * alpha) @ X_P)
        u = (new / m**0.5) @ ((W @ X_Q.T > 0) * (moved @ X_Q.T))
        means.append(u)
        squares.append(m * u**2)
    for i in range(3):
        assert_z(np.array(means)[:, i], 0.0)
        assert_z(np.array(squares)[:, i], expected[i])


def test_outputs_of_the_old_head_add_up():
    X_P, alpha, X_Q = source_and_target(c=3)
    together = sum(fresh_head_energy(X_P, alpha[:, j], X_Q) for j in range(3))
    assert_exact(fresh_head_energy(X_P, alpha, X_Q), together, 8)


@given(seeds, st.integers(-20, 20))
def test_it_is_a_square(seed, power):
    X_P, alpha, X_Q = source_and_target(seed)
    energy = fresh_head_energy(X_P, alpha, X_Q)
    assert np.all(energy >= 0)
    assert np.array_equal(fresh_head_energy(X_P, -(2.0**power) * alpha, X_Q), 4.0**power * energy)
    # It is at least the square of the mean over neurons, which is what the old head's outputs are.
    assert np.all(energy >= (relu_gram(X_Q, X_P) @ alpha) ** 2 * (1 - 1e-9))


def test_one_source_point_at_its_own_place():
    x = np.array([[3.0, 4.0]])
    # One point: active with itself half of the time, v·x = α ‖x‖².
    assert_exact(fresh_head_energy(x, np.array([2.0]), x), np.array([50.0**2 / 2]), 8)
    assert fresh_head_energy(x, np.array([2.0]), -x)[0] == 0


def test_nothing_learnt_nothing_seen_and_bad_shapes_are_refused():
    X_P, alpha, X_Q = source_and_target()
    assert not fresh_head_energy(X_P, 0 * alpha, X_Q).any()
    for bad in (alpha[:3], np.float64(1.0), np.ones((7, 1, 1))):
        with pytest.raises(InvalidInput, match=r"coefficients have shape .*X_P \(7, 5\)"):
            fresh_head_energy(X_P, bad, X_Q)
    with pytest.raises(InvalidInput, match="columns"):
        fresh_head_energy(X_P, alpha, X_Q[:, :2])


# ---- flatness


def loss(W, a, X, Y):
    u = np.maximum(X @ W.T, 0) @ a / len(W) ** 0.5
    return np.sum((u - Y) ** 2) / 2


@pytest.mark.parametrize("c", [1, 2])
def test_the_hessian_has_the_spectrum_of_the_gram_matrix(c):
    rng = np.random.default_rng(0)
    m, n, d = 5, 3, 2
    W, a, X, Y = rng.normal(size=(m, d)), rng.choice([-1.0, 1.0], size=(m, c)), rng.normal(size=(n, d)), rng.normal(size=(n, c))
    # Second differences of a function that is quadratic between its kinks, none of which is this near.
    step = 2.0**-12
    assert np.min(np.abs(X @ W.T)) > 4 * step * np.max(np.abs(X))
    basis = step * np.eye(m * d).reshape(m * d, m, d)
    H = np.array(
        [[loss(W + e + f, a, X, Y) - loss(W + e, a, X, Y) - loss(W + f, a, X, Y) + loss(W, a, X, Y) for e in basis] for f in basis]
    )
    values = np.linalg.eigvalsh(H / step**2)
    found = hessian_eigenvalues(W, a if c > 1 else a[:, 0], X)
    assert found.shape == (n * c,)
    assert_dtype_close(found, values[-n * c :], 2**4, scale=10.0)
    assert_dtype_close(values[: -n * c], np.zeros(m * d - n * c), 2**4, scale=10.0)


def test_labels_have_no_part_in_flatness_and_wide_nets_have_that_of_infinite_width():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6, 4))
    H = GramSpectrum.of(relu_gram(X))
    gaps = []
    for m in (400, 40_000):
        found = hessian_eigenvalues(rng.normal(size=(m, 4)), rng.choice([-1.0, 1.0], size=m), X)
        gaps.append(np.linalg.norm(found - H.values) / H.largest)
    # Ten times nearer for a hundred times the width, within a factor of three.
    assert gaps[0] / 30 < gaps[1] < gaps[0] / 3


def test_malformed_nets_are_refused():
    W, a, X = np.ones((4, 3)), np.ones(4), np.ones((2, 3))
    for bad in ((W[0], a, X), (W, a[:3], X), (W, a, X[:, :2]), (W, np.ones((4, 1, 1)), X)):
        with pytest.raises(InvalidInput, match=r"W, a and X have shapes .* are allowed"):
            hessian_eigenvalues(*bad)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_library(xp_case, dtype):
    X_P, alpha, X_Q = (part.astype(dtype) for part in source_and_target(c=2))
    here, there = fresh_head_energy(X_P, alpha, X_Q), fresh_head_energy(*map(xp_case.load, (X_P, alpha, X_Q)))
    assert_dtype_close(there, xp_case.load(here), 1, scale=float(here.max()))
    rng = np.random.default_rng(0)
    W, a = rng.normal(size=(8, 5)).astype(dtype), rng.choice([-1.0, 1.0], size=(8, 2)).astype(dtype)
    values = hessian_eigenvalues(xp_case.load(W), xp_case.load(a), xp_case.load(X_Q))
    assert_dtype_close(values, xp_case.load(hessian_eigenvalues(W, a, X_Q)), 1, scale=10.0)
