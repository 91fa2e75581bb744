"""Dynamics of a stage: what every closed form must obey, whatever the data; results a–l of the theory one by one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.helpers import assert_dtype_close, assert_exact
from theory import InvalidInput, UnstableStep, relu_gram, transformed_labels
from theory.numeric import landscape, stages
from theory.numeric.spectrum import GramSpectrum

seeds = st.integers(0, 2**32 - 1)


@st.composite
def learning(draw, max_rate=1.999):
    """`(spectrum, y, lr)` of random points and a step size up to `max_rate / λ_max`."""
    rng = np.random.default_rng(draw(seeds))
    n, d, c = draw(st.integers(1, 8)), draw(st.integers(2, 6)), draw(st.sampled_from([None, 1, 3]))
    spectrum = GramSpectrum.of(relu_gram(rng.normal(size=(n, d))))
    return spectrum, rng.normal(size=n if c is None else (n, c)), draw(st.floats(1e-3, max_rate)) / spectrum.largest


def pair(seed=0, n_P=9, n_Q=7, d=4, c=None):
    """Random source and target sets."""
    rng = np.random.default_rng(seed)
    shape = () if c is None else (c,)
    return rng.normal(size=(n_P, d)), rng.normal(size=(n_P, *shape)), rng.normal(size=(n_Q, d)), rng.normal(size=(n_Q, *shape))


# ---- one stage


@given(learning(), st.integers(0, 500), st.integers(0, 500))
def test_schedules_compose(problem, first, second):
    spectrum, y, lr = problem
    between = stages.residual(spectrum, y, lr, first)
    assert_dtype_close(
        stages.residual(spectrum, between, lr, second), stages.residual(spectrum, y, lr, first + second), 1, np.linalg.norm(y)
    )
    moved = stages.coefficients(spectrum, y, lr, first) + stages.coefficients(spectrum, between, lr, second)
    whole = stages.coefficients(spectrum, y, lr, first + second)
    assert_dtype_close(moved, whole, 1, scale=np.linalg.norm(y) * lr * (1 + first + second))


@given(learning(), st.integers(1, 60))
def test_closed_forms_are_the_recursion(problem, k):
    # The definition: r ← r − ηHr, and the dual coefficients add up ηr.
    spectrum, y, lr = problem
    H = spectrum.apply(spectrum.values, np.eye(spectrum.size))
    r, gamma = y.copy(), np.zeros_like(y)
    for _ in range(k):
        gamma += lr * r
        r -= lr * (H @ r)
    size = np.linalg.norm(y)
    assert_dtype_close(stages.residual(spectrum, y, lr, k), r, 1, scale=size)
    assert_dtype_close(stages.coefficients(spectrum, y, lr, k), gamma, 1, scale=size * lr * k)
    assert_dtype_close(stages.loss(spectrum, y, lr, k), np.sum(r * r) / 2, 1, scale=size**2)
    assert_dtype_close(stages.displacement(spectrum, y, lr, k), max(np.sum(gamma * (H @ gamma)), 0) ** 0.5, 1, scale=size * lr**0.5 * k)


@given(learning())
def test_loss_never_rises_below_two_over_lambda_max(problem):
    spectrum, y, lr = problem
    losses = [stages.loss(spectrum, y, lr, k) for k in (*range(12), 100, 1000, 10**5, None)]
    for before, after in pairwise(losses):
        assert after <= before * (1 + 64 * np.finfo(float).eps)


@given(learning(max_rate=1.0))
def test_displacement_grows_up_to_its_bound_below_one_over_lambda_max(problem):
    spectrum, y, lr = problem
    moved = [stages.displacement(spectrum, y, lr, k) for k in (*range(12), 100, 1000, 10**5, None)]
    for before, after in pairwise(moved):
        assert before <= after * (1 + 64 * np.finfo(float).eps)
    bound = stages.inverse_norm_squared(spectrum, y)
    if bound is not None:
        assert_exact(moved[-1], bound**0.5, 64)


def test_displacement_can_overshoot_above_one_over_lambda_max():
    spectrum, y = GramSpectrum.of(np.eye(2)), np.array([1.0, 2.0])
    assert stages.displacement(spectrum, y, 1.9, 1) > 1.8 * stages.inverse_norm_squared(spectrum, y) ** 0.5
    assert stages.displacement(spectrum, y, 1.9, 2) < stages.displacement(spectrum, y, 1.9, 1)


@given(learning(), seeds)
def test_order_of_samples_does_not_matter(problem, seed):
    spectrum, y, lr = problem
    order = np.random.default_rng(seed).permutation(spectrum.size)
    H = spectrum.apply(spectrum.values, np.eye(spectrum.size))
    other = GramSpectrum.of(H[np.ix_(order, order)])
    size = np.linalg.norm(y)
    assume(spectrum.rank == other.rank)
    assert_dtype_close(stages.residual(other, y[order], lr, 9), stages.residual(spectrum, y, lr, 9)[order], 1, scale=size)
    assert_dtype_close(stages.displacement(other, y[order], lr, 9), stages.displacement(spectrum, y, lr, 9), 1, scale=size * lr**0.5 * 9)


@given(learning(), st.integers(-40, 40), st.one_of(st.none(), st.integers(0, 1000)))
def test_label_scale(problem, power, k):
    spectrum, y, lr = problem
    s = 2.0**power
    assert stages.displacement(spectrum, -s * y, lr, k) == s * stages.displacement(spectrum, y, lr, k)
    assert stages.loss(spectrum, s * y, lr, k) == s * s * stages.loss(spectrum, y, lr, k)
    assert np.array_equal(stages.coefficients(spectrum, s * y, lr, k), s * stages.coefficients(spectrum, y, lr, k))
    # Gradient descent on s²H with step η/s² is the same training.
    scaled = GramSpectrum(spectrum.values * s * s, spectrum.vectors, spectrum.cutoff * s * s)
    assert np.array_equal(stages.residual(scaled, y, lr / s / s, k), stages.residual(spectrum, y, lr, k))


@given(learning(), st.one_of(st.none(), st.integers(0, 1000)))
def test_columns_of_labels_are_independent(problem, k):
    spectrum, y, lr = problem
    Y = np.stack([y, -2 * y], axis=1) if y.ndim == 1 else y
    columns = [stages.residual(spectrum, Y[:, j], lr, k) for j in range(Y.shape[1])]
    assert_dtype_close(stages.residual(spectrum, Y, lr, k), np.stack(columns, axis=1), 1, scale=np.linalg.norm(Y))
    apart = [stages.displacement(spectrum, Y[:, j], lr, k) ** 2 for j in range(Y.shape[1])]
    assert_dtype_close(stages.displacement(spectrum, Y, lr, k) ** 2, sum(apart), 1, scale=sum(apart))


def test_flow_is_the_limit_of_small_steps_at_first_order():
    X, y, _, _ = pair()
    spectrum = GramSpectrum.of(relu_gram(X))
    time = 3 / spectrum.largest
    flow = stages.flow_residual(spectrum, y, time)
    errors = np.array([np.linalg.norm(stages.residual(spectrum, y, time / k, k) - flow) for k in 2 ** np.arange(8, 15)])
    slopes = np.log2(errors[:-1] / errors[1:])
    # e^{-x} − (1 − x/k)^k = x²e^{-x}/(2k) (1 + O(1/k)): the slope is 1 + O(1/k), k ≥ 256.
    assert np.all(np.abs(slopes - 1) < 2 * 9 / 2 ** np.arange(8, 14)), slopes


# ---- steps to a loss


@given(learning(), st.floats(0.001, 1.1))
def test_steps_to_loss_is_the_least_number_of_steps(problem, fraction):
    spectrum, y, lr = problem
    wanted = fraction * stages.loss(spectrum, y, lr, 0)
    found = stages.steps_to_loss(spectrum, y, wanted, lr)
    brute = next((k for k in range(400) if stages.loss(spectrum, y, lr, k) <= wanted), None)
    if brute is not None:
        assert found == brute
    else:
        assert found is None or found >= 400
    if found:
        assert stages.loss(spectrum, y, lr, found) <= wanted < stages.loss(spectrum, y, lr, found - 1)


def test_steps_to_loss_edges():
    spectrum, y = GramSpectrum.of(np.diag([1.0, 1e-9])), np.ones(2)
    assert stages.steps_to_loss(spectrum, y, 1.0, 1.0) == 0
    assert stages.steps_to_loss(spectrum, y, 0.5, 1.0) == 1
    slow = stages.steps_to_loss(spectrum, y, 0.125, 1.0)
    assert_dtype_close(float(slow), np.log(2) / 1e-9, 1, scale=1e9)
    assert stages.steps_to_loss(spectrum, y, -1e-300, 1.0) is None
    with pytest.raises(UnstableStep, match=r"lr = 2 .*below 2/λ_max = 2"):
        stages.steps_to_loss(spectrum, y, 0.1, 2.0)
    for bad in (float("nan"), -float("nan")):
        with pytest.raises(InvalidInput, match=r"nan.*allowed"):
            stages.steps_to_loss(spectrum, y, bad, 1.0)
    for bad in (0.0, -0.1):
        with pytest.raises(InvalidInput, match=rf"{bad}.*allowed"):
            stages.steps_to_loss(spectrum, y, 0.1, bad)


# ---- transfer


def test_transformed_labels_are_those_of_the_definition():
    X_P, y_P, X_Q, _ = pair(c=2)
    H, rows = relu_gram(X_P), relu_gram(X_Q, X_P)
    lr = 1.3 / np.linalg.eigvalsh(H)[-1]
    outputs, alpha = np.zeros_like(y_P), np.zeros_like(y_P)
    for _ in range(11):
        alpha += lr * (y_P - outputs)
        outputs = H @ alpha
    scale = np.linalg.norm(y_P)
    assert_dtype_close(transformed_labels(X_P, y_P, X_Q, steps=11, lr=lr), rows @ alpha, 1, scale=scale)
    assert_dtype_close(transformed_labels(X_P, y_P, X_Q), rows @ np.linalg.solve(H, y_P), 1, scale=scale)
    # The default step is 1/λ_max, and no steps teach nothing.
    assert np.array_equal(transformed_labels(X_P, y_P, X_Q, steps=5), transformed_labels(X_P, y_P, X_Q, 5, 1 / GramSpectrum.of(H).largest))
    assert not transformed_labels(X_P, y_P, X_Q, steps=0).any()
    # On its own inputs the source-trained net outputs the source labels.
    assert_dtype_close(transformed_labels(X_P, y_P, X_P), y_P, 1, scale=scale)


@given(seeds, st.floats(-3, 3))
def test_negative_transfer_criterion(seed, mix):
    # G < 0 iff ‖t‖² > 2⟨y, t⟩ in the H⁻¹ inner product.
    X_P, y_P, X_Q, y_Q = pair(seed)
    H = relu_gram(X_Q)
    t = transformed_labels(X_P, y_P, X_Q) + mix * y_Q
    gain, _ = stages.transfer_gain(GramSpectrum.of(H), y_Q, y_Q - t)
    margin = t @ np.linalg.solve(H, t) - 2 * t @ np.linalg.solve(H, y_Q)
    assume(abs(margin) > 1e-6 * (t @ np.linalg.solve(H, t)))
    assert (gain < 0) == (margin > 0)


@given(seeds, st.integers(-20, 20))
def test_gain_is_invariant_under_common_scale(seed, power):
    X_P, y_P, X_Q, y_Q = pair(seed)
    spectrum, s = GramSpectrum.of(relu_gram(X_Q)), 2.0**power
    left = y_Q - transformed_labels(X_P, y_P, X_Q)
    assert stages.transfer_gain(spectrum, s * y_Q, s * left) == stages.transfer_gain(spectrum, y_Q, left)


def test_best_scale_gain_is_the_best_over_a_dense_grid():
    X_P, y_P, X_Q, y_Q = pair(3)
    spectrum = GramSpectrum.of(relu_gram(X_Q))
    for t in (transformed_labels(X_P, y_P, X_Q), 0.7 * y_Q + 0.1, -y_Q + 0.2):
        inverse = np.linalg.inv(relu_gram(X_Q))
        s = (t @ inverse @ y_Q) / (t @ inverse @ t)
        grid = [stages.transfer_gain(spectrum, y_Q, y_Q - v * t)[0] for v in np.linspace(s - 1, s + 1, 2001)]
        best = stages.best_scale_gain(spectrum, y_Q, t)
        assert_dtype_close(best, max(grid), 1, scale=1.0)
    assert_dtype_close(stages.best_scale_gain(spectrum, y_Q, -3 * y_Q), 1.0, 8, scale=1.0)
    assert stages.best_scale_gain(spectrum, y_Q, 0 * y_Q) == 0
    assert stages.best_scale_gain(spectrum, 0 * y_Q, y_Q) is None


def test_gain_with_nothing_to_learn_is_undefined_and_says_so():
    gain, reason = stages.transfer_gain(GramSpectrum.of(np.eye(2)), np.zeros(2), np.ones(2))
    assert gain is None
    assert "nothing to learn" in reason


# ---- the landscape along the gradient


@given(learning(), st.floats(-2, 2), st.floats(0, 4))
def test_loss_along_the_gradient(problem, low, width):
    spectrum, r, lr = problem
    assert_dtype_close(landscape.loss_along_gradient(spectrum, r, lr), stages.loss(spectrum, r, lr, 1), 1, scale=np.sum(r * r))
    low, high = low * lr, (low + width) * lr
    found = landscape.loss_range_along_gradient(spectrum, r, low, high)
    dense = [landscape.loss_along_gradient(spectrum, r, v) for v in np.linspace(low, high, 201)]
    scale = max(max(dense), np.sum(r * r))
    # A parabola sampled at spacing h misses its vertex by at most L''h²/8.
    miss = np.sum((spectrum.values[:, None] * spectrum.project(r).reshape(spectrum.size, -1)) ** 2) * (width * lr / 200) ** 2 / 8
    assert_dtype_close(found[0], np.clip(found[0], min(dense) - miss, min(dense)), 2**-12, scale=scale)
    assert_dtype_close(found[1], max(dense), 2**-12, scale=scale)


@given(learning())
def test_least_loss_along_the_gradient_is_not_negative(problem):
    spectrum, _, _ = problem
    for i in range(spectrum.size):
        assert landscape.loss_range_along_gradient(spectrum, spectrum.vectors[:, i], 0.0, 3 / spectrum.largest)[0] >= 0


@given(learning())
def test_gradient_and_its_change_by_finite_difference_in_weights(problem):
    spectrum, r, lr = problem
    # Features with ΦΦᵀ = H; gradient in weights −Φᵀr.
    features = spectrum.vectors * np.sqrt(spectrum.values)
    gradient = -features.T @ r
    change = -features.T @ (r + lr * features @ gradient) - gradient
    size = np.linalg.norm(r)
    assert_dtype_close(landscape.gradient_norm(spectrum, r), np.linalg.norm(gradient), 1, scale=size * spectrum.largest**0.5)
    assert_dtype_close(landscape.gradient_change(spectrum, r, lr), np.linalg.norm(change), 1, scale=size * spectrum.largest**0.5)
    smoothness = landscape.effective_smoothness(spectrum, r)
    assert_dtype_close(smoothness * lr * np.linalg.norm(gradient), np.linalg.norm(change), 1, scale=size * spectrum.largest**0.5)
    slack = 64 * np.finfo(float).eps * spectrum.largest
    assert spectrum.smallest - slack <= smoothness <= spectrum.largest + slack


def test_landscape_edges():
    spectrum = GramSpectrum.of(np.diag([1.0, 3.0]))
    assert landscape.effective_smoothness(spectrum, np.zeros(2)) is None
    assert_exact(landscape.effective_smoothness(spectrum, np.array([0.0, 2.0])), 3.0, 2)
    assert_exact(landscape.effective_smoothness(spectrum, np.array([5.0, 0.0])), 1.0, 2)
    assert landscape.loss_range_along_gradient(spectrum, np.zeros(2), 0.0, 1.0) == (0, 0)
    with pytest.raises(InvalidInput, match=r"1\.0 to 0\.5.*allowed"):
        landscape.loss_range_along_gradient(spectrum, np.ones(2), 1.0, 0.5)
    with pytest.raises(InvalidInput, match=r"nan.*allowed"):
        landscape.loss_range_along_gradient(spectrum, np.ones(2), float("nan"), 0.5)
