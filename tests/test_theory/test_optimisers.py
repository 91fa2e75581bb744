"""Momentum, varying steps and minibatches: the recursions run literally, at any number of steps, and what is refused."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import assert_dtype_close, assert_exact
from theory import GramBlocks, InvalidInput, Schedule, TransferProblem, UnstableStep, predict
from theory.numeric import minibatch, optimisers, penalties, stages
from theory.numeric.spectrum import GramSpectrum, integral_filter, residual_filter
from theory.numeric.stability import largest_stable_step

EPS = np.finfo(float).eps
seeds = st.integers(0, 2**32 - 1)


def literal(x, momentum, steps):
    """`p_k` and `(1 − p_k)/x` at 60 digits: the step on (error, velocity) as a matrix, to the power `k`."""
    with mp.workdps(60):
        x, mu = mp.mpf(float(x)), mp.mpf(float(momentum))
        p = (mp.matrix([[1 - x, -mu], [x, mu]]) ** steps)[0, 0]
        moved = (1 - p) / x if x else (steps - mu * (1 - mu**steps) / (1 - mu)) / (1 - mu)
        return p, moved


# ---- heavy ball


@given(st.floats(0.001, 0.99), st.floats(0, 0.999), st.integers(0, 200))
def test_heavy_ball_is_its_recursion(momentum, share, steps):
    x = np.array([0.0, 1e-9, share * 2 * (1 + momentum)])
    left, before = np.ones(3), np.ones(3)
    for step in range(steps):
        left, before = (1 - x) * left if step == 0 else (1 + momentum - x) * left - momentum * before, left
    found = optimisers.heavy_ball_residual_filter(x, 1.0, steps, momentum)
    assert_dtype_close(found, left, 1, scale=(1 + steps) / (1 - momentum))


@pytest.mark.parametrize("momentum", [0.25, 0.9, 0.99])
@pytest.mark.parametrize("steps", [1, 2, 37, 1000, 10**6])
def test_every_kind_of_root_at_any_number_of_steps(momentum, steps):
    root = momentum**0.5
    low, high, bound = (1 - root) ** 2, (1 + root) ** 2, 2 * (1 + momentum)
    x = np.array([0, 1e-14, 1e-9, 1e-4, low * (1 - 1e-9), low, low * (1 + 1e-9), 0.9, 1, 1 + momentum, 1.4, 0.9 * high, 0.99 * bound])
    p, moved = (
        optimisers.heavy_ball_residual_filter(x, 1.0, steps, momentum),
        optimisers.heavy_ball_integral_filter(x, 1.0, steps, momentum),
    )
    want = [literal(v, momentum, steps) for v in x]
    # What an eps in x does to p_k is at most k/(1 − μ) eps of the largest p_k, which is 2/(1 − μ).
    assert_exact(p, np.array([w[0] for w in want]), 16 * (1 + min(steps, 100)) / (1 - momentum), scale=1.0)
    assert_exact(moved, np.array([w[1] for w in want]), 64)


def test_momentum_next_to_one_for_as_many_steps():
    # √μ is rounded: to the power of 10^12 steps that would be wrong in the fifth digit.
    x, momentum, steps = np.array([1e-15, 1e-14]), 1 - 1e-12, 10**12
    p = optimisers.heavy_ball_residual_filter(x, 1.0, steps, momentum)
    # An eps in the angle √x of a step counts k times.
    assert_exact(p, np.array([literal(v, momentum, steps)[0] for v in x]), 4 * steps * 1e-7, scale=1.0)


def test_a_double_root_is_no_division_by_zero():
    # μ = ¼: the roots meet at ηλ = ¼ and at 2¼, both exact in float64.
    x = np.array([0.25, 2.25])
    for steps in (0, 1, 2, 3, 50):
        want = [literal(v, 0.25, steps)[0] for v in x]
        assert_exact(
            optimisers.heavy_ball_residual_filter(x, 1.0, steps, 0.25), np.array(want), 8 * (1 + steps), scale=0.5**steps * (1 + steps)
        )


def test_any_number_of_steps_costs_the_same():
    x = np.array([0.0, 1e-31, 0.3, 3.7])
    p, moved = optimisers.heavy_ball_residual_filter(x, 1.0, 10**30, 0.9), optimisers.heavy_ball_integral_filter(x, 1.0, 10**30, 0.9)
    # k ηλ/(1 − μ) = 1 for the second mode.
    assert_exact(p, np.array([1.0, np.exp(-1.0), 0.0, 0.0]), 4, scale=1.0)
    assert_exact(moved[1:], np.array([(1 - np.exp(-1.0)) * 1e31, 1 / 0.3, 1 / 3.7]), 4)


@given(st.integers(0, 10**6), st.floats(0, 2))
def test_without_momentum_it_is_plain_descent_exactly(steps, x):
    values = np.array([0.0, 1e-12, x])
    assert np.array_equal(optimisers.heavy_ball_residual_filter(values, 1.0, steps, 0.0), residual_filter(values, 1.0, steps))
    assert np.array_equal(optimisers.heavy_ball_integral_filter(values, 1.0, steps, 0.0), integral_filter(values, 1.0, steps))
    assert np.array_equal(optimisers.difference_filter(values, 0.0, 1.0, steps), integral_filter(values, 1.0, steps))


def test_vanishing_momentum_is_continuous():
    x = np.array([0.0, 1e-6, 0.3, 1.0, 1.9])
    for steps in (1, 5, 40):
        plain = residual_filter(x, 1.0, steps)
        assert_dtype_close(optimisers.heavy_ball_residual_filter(x, 1.0, steps, 1e-9), plain, 1, scale=1.0)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("steps", [1, 7, 1000, 10**6])
def test_the_difference_filter_has_no_cancellation(momentum, steps):
    x, beta = np.array([1e-13, 1e-7, 1e-3, 0.5, 1.5]), 1e-4
    found = optimisers.difference_filter(x, beta, 1.0, steps, momentum)
    with mp.workdps(80):
        at = [(mp.matrix([[1 - s, -momentum], [s, momentum]]) ** steps)[0, 0] for s in (mp.mpf(beta) + mp.mpf(v) for v in (0.0, *x))]
        want = np.array([(at[0] - p) / mp.mpf(v) for p, v in zip(at[1:], x, strict=True)])
    assert_exact(
        found, want, 64, scale=np.maximum(np.abs(want.astype(float)), optimisers.heavy_ball_integral_filter(x, 1.0, steps, momentum))
    )
    # At λ = 0 it is the derivative, and continuous.
    at_zero, near = optimisers.difference_filter(np.array([0.0, 1e-30]), beta, 1.0, steps, momentum)
    assert_exact(at_zero, near, 4)


def test_the_error_of_a_well_tuned_heavy_ball_falls_by_the_root_of_momentum():
    # Polyak's choice on [λ₁, λ₂]: all roots are complex, of size √μ.
    low, high = 0.01, 1.0
    momentum = ((high**0.5 - low**0.5) / (high**0.5 + low**0.5)) ** 2
    lr = 4 / (high**0.5 + low**0.5) ** 2
    values = np.linspace(low, high, 101)
    left = [np.abs(optimisers.heavy_ball_residual_filter(values, lr, k, momentum)).max() for k in (100, 200)]
    assert left[1] < momentum**50 * 210
    assert left[1] < 1e-3 * np.abs(residual_filter(values, 2 / (low + high), 200)).max()


# ---- varying steps


def test_equal_steps_are_plain_descent():
    values = np.array([0.0, 1e-12, 0.01, 0.4, 1.0, 1.9])
    rates = [0.7] * 23
    assert_exact(optimisers.varying_residual_filter(values, rates), residual_filter(values, 0.7, 23), 64, scale=1.0)
    assert_exact(optimisers.varying_integral_filter(values, rates), integral_filter(values, 0.7, 23), 64)


def test_chebyshev_steps_leave_the_chebyshev_polynomial():
    a, b, k = 0.1, 1.0, 6
    roots = (a + b) / 2 - (b - a) / 2 * np.cos((2 * np.arange(k) + 1) * np.pi / (2 * k))
    values = np.linspace(a, b, 7)
    rates = (1 / roots).tolist()
    with pytest.raises(UnstableStep, match=r"a step size is .*at most 2/λ_max = 2 is allowed"):
        optimisers.varying_residual_filter(values, rates)
    T = np.polynomial.Chebyshev.basis(k)
    want = T((a + b - 2 * values) / (b - a)) / T((a + b) / (b - a))
    assert_exact(optimisers.varying_residual_filter(values, rates, allow_unstable=True), want, 2**12, scale=1.0)


def test_the_order_of_steps_does_not_matter_to_the_end():
    values, rates = np.array([0.0, 0.3, 1.7]), [0.1, 1.0, 0.5, 0.9]
    for function in (optimisers.varying_residual_filter, optimisers.varying_integral_filter):
        assert_exact(function(values, rates), function(values, rates[::-1]), 16, scale=np.array([3.0, 3.0, 3.0]))


@pytest.mark.parametrize("rates", [[0.0], [-1.0], [np.nan], [np.inf], ["a"], [True], [0.1, None]])
def test_bad_step_sizes(rates):
    for function in (optimisers.varying_residual_filter, optimisers.varying_integral_filter):
        with pytest.raises(InvalidInput, match=r"a step size is .*finite numbers above 0 are allowed"):
            function(np.ones(2), rates)


# ---- stability


@pytest.mark.parametrize(("momentum", "decay"), [(0.0, 0.0), (0.5, 0.0), (0.9, 0.3), (0.0, 2.0)])
def test_the_largest_stable_step_divides_bounded_from_growing(momentum, decay):
    spectrum = GramSpectrum.of(np.diag([0.1, 1.0]))
    bound = largest_stable_step(spectrum, momentum=momentum, decay=decay)
    assert_exact(bound, 2 * (1 + momentum) / (1 + decay), 4)
    for factor, bounded in ((1 - 1e-6, True), (1 + 1e-3, False)):
        left = optimisers.heavy_ball_residual_filter(spectrum.values + decay, factor * bound, 4_000, momentum)
        largest = np.abs(left).max()
        if bounded:
            assert largest <= 2 / (1 - momentum)
        else:
            assert largest > 1e3


def test_nothing_that_moves_is_unstable():
    assert largest_stable_step(GramSpectrum.of(np.zeros((2, 2)))) == np.inf
    assert largest_stable_step(GramSpectrum.of(np.zeros((2, 2))), decay=0.5) == 4


def problem(seed=0, c=None, n_P=7, n_Q=5, p=9):
    """A transfer between linear models: the problem (placeholder inputs), its Gram blocks, features and initial weights."""
    rng = np.random.default_rng(seed)
    F = {"source": rng.normal(size=(n_P, p)), "target": rng.normal(size=(n_Q, p)), "test": rng.normal(size=(3, p))}
    shape = () if c is None else (c,)
    sets = {name: (np.ones((len(f), 1)), rng.normal(size=(len(f), *shape))) for name, f in F.items()}
    W = 0.3 * rng.normal(size=(p, *shape))
    blocks = GramBlocks(
        source=F["source"] @ F["source"].T,
        target=F["target"] @ F["target"].T,
        target_source=F["target"] @ F["source"].T,
        test_source=F["test"] @ F["source"].T,
        test_target=F["test"] @ F["target"].T,
    )
    return TransferProblem(**sets), blocks, F, W


def test_steps_above_the_largest_are_refused_by_name():
    p, blocks, _, _ = problem()
    largest = np.linalg.eigvalsh(blocks.target)[-1]
    fast = {"target_lr": 2.5 / largest, "source_lr": 0.01}
    with pytest.raises(UnstableStep, match=r"target_lr = .* at most 2/λ_max"):
        predict(p, Schedule(5, 5, **fast), gram=blocks)
    assert predict(p, Schedule(5, 5, momentum=0.5, **fast), gram=blocks).stable
    with pytest.raises(UnstableStep, match=r"target_lr = .* at most 2\(1 \+ momentum\)/λ_max = .*allow_unstable"):
        predict(p, Schedule(5, 5, momentum=0.2, **fast), gram=blocks)
    with pytest.raises(UnstableStep, match=r"2\(1 \+ momentum\)/\(λ_max \+ weight_decay\)"):
        predict(p, Schedule(5, 5, momentum=0.5, weight_decay=float(largest), **fast), gram=blocks)
    assert not predict(p, Schedule(5, 5, momentum=0.2, allow_unstable=True, **fast), gram=blocks).stable
    with pytest.raises(UnstableStep, match=r"no limit to train to; below 2\(1 \+ momentum\)/λ_max"):
        predict(p, Schedule(5, None, momentum=0.2, allow_unstable=True, **fast), gram=blocks)
    with pytest.raises(UnstableStep, match="overflows float64 within 1000000 steps"):
        predict(p, Schedule(5, 10**6, momentum=0.2, allow_unstable=True, **fast), gram=blocks)


# ---- both stages


def heavy_ball(F, y, W, lr, steps, momentum, velocity=None):
    velocity = np.zeros_like(W) if velocity is None else velocity
    for _ in range(steps):
        velocity = momentum * velocity + F.T @ (F @ W - y)
        W = W - lr * velocity
    return W, velocity


@pytest.mark.parametrize("c", [None, 2])
def test_prediction_is_heavy_ball_on_a_linear_model_with_the_buffer_reset(c):
    p, blocks, F, W_0 = problem(c=c)
    rates = {name: 1.9 * 1.8 / np.linalg.eigvalsh(getattr(blocks, name))[-1] / 2 for name in ("source", "target")}
    schedule = Schedule(13, 9, rates["source"], rates["target"], momentum=0.8, snapshots=(4,))
    outcome = predict(p, schedule, gram=blocks, initial_outputs=tuple(f @ W_0 for f in F.values()))
    W_P, velocity = heavy_ball(F["source"], p.source[1], W_0, rates["source"], 13, 0.8)
    W_Q, _ = heavy_ball(F["target"], p.target[1], W_P, rates["target"], 9, 0.8)
    size = np.linalg.norm(W_Q)
    for name in F:
        assert_dtype_close(getattr(outcome, f"{name}_outputs"), F[name] @ W_Q, 1, scale=size)
    assert_dtype_close(outcome.displacement, np.linalg.norm(W_Q - W_P), 1, scale=size)
    assert_dtype_close(
        outcome.displacement_scratch, np.linalg.norm(heavy_ball(F["target"], p.target[1], W_0, rates["target"], 9, 0.8)[0] - W_0), 1, size
    )
    half, _ = heavy_ball(F["target"], p.target[1], W_P, rates["target"], 4, 0.8)
    assert_dtype_close(outcome.trajectory.displacement[1], np.linalg.norm(half - W_P), 1, scale=size)
    assert_dtype_close(outcome.trajectory.loss[1], np.sum((F["target"] @ half - p.target[1]) ** 2) / 2, 1, scale=size**2)
    # A buffer that is carried over would be something else.
    kept, _ = heavy_ball(F["target"], p.target[1], W_P, rates["target"], 9, 0.8, velocity)
    assert np.linalg.norm(kept - W_Q) > 0.1 * outcome.displacement


def test_momentum_changes_the_way_and_not_the_end():
    p, blocks, _, _ = problem()
    plain, heavy = predict(p, gram=blocks), predict(p, Schedule(momentum=0.9), gram=blocks)
    for name in ("displacement", "gain", "target_loss", "gradient_energy"):
        assert getattr(plain, name) == getattr(heavy, name)
    assert predict(p, Schedule(3, 3, momentum=0.9), gram=blocks) != predict(p, Schedule(3, 3), gram=blocks)


def test_no_momentum_and_no_decay_are_the_plain_path_exactly():
    p, blocks, _, _ = problem(c=2)
    for steps in ((3, 5), (None, None), (0, 10**5)):
        assert predict(p, Schedule(*steps, momentum=0, weight_decay=0, anchor="start"), gram=blocks) == predict(
            p, Schedule(*steps), gram=blocks
        )


# ---- minibatches


def model(seed=1, n=6, p=7, c=None):
    rng = np.random.default_rng(seed)
    F = rng.normal(size=(n, p))
    return F, F @ F.T, rng.normal(size=n if c is None else (n, c))


@pytest.mark.parametrize("c", [None, 3])
def test_minibatches_are_the_steps_on_a_linear_model(c):
    F, H, y = model(c=c)
    batches = [[0, 3], [5, 1], [2, 4], [3], [0, 1, 2, 3, 4, 5], [4, 0]]
    lr = 1 / np.linalg.eigvalsh(H)[-1]
    W = np.zeros((F.shape[1], *y.shape[1:]))
    for batch in batches:
        W = W - lr * F[batch].T @ (F[batch] @ W - y[batch])
    found = minibatch.descend(H, y, batches, lr)
    assert_exact(F.T @ found.coefficients, W, 64, scale=np.abs(W).max())
    assert_exact(found.residual, y - F @ W, 64, scale=np.abs(y).max())
    assert_exact(found.displacement, np.linalg.norm(W), 64)
    other = minibatch.descend(H, y, batches[::-1], lr)
    assert np.abs(other.residual - found.residual).max() > 1e-3


@given(st.integers(0, 30))
def test_batches_of_all_points_are_gradient_descent(steps):
    _, H, y = model()
    spectrum = GramSpectrum.of(H)
    lr = 1.3 / spectrum.largest
    found = minibatch.descend(H, y, [[3, 1, 0, 2, 5, 4]] * steps, lr)
    assert_exact(found.residual, stages.residual(spectrum, y, lr, steps), 256, scale=np.linalg.norm(y))
    assert_exact(
        found.coefficients, stages.coefficients(spectrum, y, lr, steps), 256 * (1 + steps), scale=lr * (1 + steps) * np.linalg.norm(y)
    )
    assert_exact(found.displacement, stages.displacement(spectrum, y, lr, steps), 256)


def test_cycling_over_batches_converges_to_the_interpolant():
    _, H, y = model()
    found = minibatch.descend(H, y, [[0, 1], [2, 3], [4, 5]] * 20_000, 1 / np.linalg.eigvalsh(H)[-1])
    assert_dtype_close(found.residual, np.zeros(6), 1, scale=1.0)
    assert_dtype_close(found.displacement**2, y @ np.linalg.solve(H, y), 1, scale=10.0)


def test_a_small_batch_bears_a_larger_step():
    _, H, y = model()
    largest, single = np.linalg.eigvalsh(H)[-1], np.diag(H).max()
    lr = 2 / single * (1 - 1e-9)
    assert lr > 2 / largest
    start = y @ np.linalg.solve(H, y)
    r = minibatch.descend(H, y, [[i % 6] for i in range(600)], lr).residual
    assert r @ np.linalg.solve(H, r) <= start
    with pytest.raises(UnstableStep, match=r"diverges on the batch \[0, 1, 2, 3, 4, 5\]; at most 2/λ_max"):
        minibatch.descend(H, y, [range(6)], lr)
    grown = minibatch.descend(H, y, [range(6)] * 50, lr, allow_unstable=True).residual
    assert np.linalg.norm(grown) > np.linalg.norm(y)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([[0, 6]], r"batch 0 holds the index 6; 0 to 5 are allowed"),
        ([[0], [-1]], r"batch 1 holds the index -1; 0 to 5 are allowed"),
        ([[2, 2]], r"batch 0 holds the index 2 more than once"),
        ([[]], r"batch 0 is \[\]; one or more whole numbers from 0 to 5"),
        ([[0.5]], r"batch 0 is \[0.5\]"),
        ([3], r"batch 0 is 3"),
        (3, r"batches is 3; a list of batches"),
        ([[True, False]], r"batch 0 is \[True, False\]"),
    ],
)
def test_bad_batches(batches, message):
    _, H, y = model()
    with pytest.raises(InvalidInput, match=message):
        minibatch.descend(H, y, batches, 0.01)


def test_bad_shapes_and_rates_of_minibatches():
    _, H, y = model()
    with pytest.raises(InvalidInput, match=r"\(6, 6\).*\(5, 5\) is needed"):
        minibatch.descend(H, y[:5], [[0]], 0.01)
    for lr in (0, -1.0, np.nan, np.inf):
        with pytest.raises(InvalidInput, match=r"lr is .*above 0 is allowed"):
            minibatch.descend(H, y, [[0]], lr)


# ---- every array library


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("steps", [None, 0, 1, 25])
def test_filters_of_every_library(xp_case, dtype, steps):
    values = np.array([0, 1e-6, 0.01, 0.7, 1, 1.9], dtype=dtype)
    for momentum in (0.0, 0.5):
        for function in (optimisers.heavy_ball_residual_filter, optimisers.heavy_ball_integral_filter):
            want = function(values, 1.0, steps, momentum)
            assert want.dtype == dtype
            assert_dtype_close(function(xp_case.load(values), 1.0, steps, momentum), xp_case.load(want), 2**-6, np.maximum(1, np.abs(want)))
        want = optimisers.difference_filter(values, 0.01, 1.0, steps, momentum)
        assert want.dtype == dtype
        found = optimisers.difference_filter(xp_case.load(values), 0.01, 1.0, steps, momentum)
        assert_dtype_close(found, xp_case.load(want), 2**-6, np.maximum(1, np.abs(want)))
    for function in (optimisers.varying_residual_filter, optimisers.varying_integral_filter):
        want = function(values, [0.5, 1.0, 0.3])
        assert_dtype_close(function(xp_case.load(values), [0.5, 1.0, 0.3]), xp_case.load(want), 2**-6, 2.0)


@pytest.mark.parametrize("c", [None, 2])
def test_minibatches_of_every_library(xp_case, c):
    _, H, y = model(c=c)
    want = minibatch.descend(H, y, [[0, 2], [5]], 0.05)
    found = minibatch.descend(xp_case.load(H), xp_case.load(y), [[0, 2], [5]], 0.05)
    for name in ("coefficients", "residual"):
        assert_dtype_close(getattr(found, name), xp_case.load(getattr(want, name)), 2**-8, scale=1.0)
    assert_dtype_close(found.displacement, want.displacement, 2**-8, scale=1.0)


@pytest.mark.parametrize("momentum", [1.0, -0.5, np.nan, "0.9", True])
def test_bad_momentum(momentum):
    for call in (
        lambda: optimisers.heavy_ball_residual_filter(np.ones(1), 1.0, 3, momentum),
        lambda: optimisers.heavy_ball_integral_filter(np.ones(1), 1.0, 3, momentum),
        lambda: optimisers.difference_filter(np.ones(1), 0.1, 1.0, 3, momentum),
        lambda: penalties.remembered(1.0, 3, 0.1, momentum),
        lambda: largest_stable_step(GramSpectrum.of(np.eye(2)), momentum=momentum),
    ):
        with pytest.raises(InvalidInput, match=r"momentum is .*\[0, 1\) is allowed"):
            call()
