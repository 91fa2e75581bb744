"""Gradient descent in blocks, against the same thing written naively, and exact cases of the theory at finite width."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

import ptoq
from sim.dynamics import MEMORY_MODES, BlockedNet, workers
from sim.frozen import frozen_gram
from sim.networks import initial_net
from sim.tasks import SphereTask
from sim.training import simulate, simulate_stages
from tests.helpers import assert_dtype_close, assert_exact
from theory.errors import InvalidInput, NotConverged, UnstableStep


def naive_descent(W, a, X, y, lr, steps):
    """Gradient descent on ½‖u − y‖² written from the definition, one neuron matrix at a time."""
    W, m = W.copy(), len(W)
    for _ in range(steps):
        Z = W @ X.T
        residual = np.maximum(Z, 0).T @ a / np.sqrt(m) - y
        W -= lr * ((Z > 0) * (a @ residual.T)) @ X / np.sqrt(m)
    return W, np.maximum(W @ X.T, 0).T @ a / np.sqrt(m)


def case(c=1, seed=0, n=9, d=4, width=96):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    W, a = initial_net(width, d, c, antisymmetric=False, seed=seed)
    return W, a, X, rng.standard_normal((n, c))


@pytest.mark.parametrize("c", [1, 3])
@pytest.mark.parametrize("memory", MEMORY_MODES)
@pytest.mark.parametrize("block", [7, 32, 1000])
def test_blocks_and_memory_modes_agree_with_the_definition(c, memory, block):
    W, a, X, y = case(c)
    expected_W, expected_u = naive_descent(W, a, X, y, 0.05, 30)
    with workers(2) as run:
        net = BlockedNet(W.copy(), a, run, memory=memory, block=block)
        descent = net.descend(X, y, lr=0.05, steps=30)
        moved = net.displacement(W)
    assert_dtype_close(net.W, expected_W, 1e-4, scale=np.abs(W).max())
    assert_dtype_close(descent.outputs, expected_u, 1e-4, scale=np.abs(expected_u).max())
    assert_dtype_close(np.float64(moved), np.linalg.norm(expected_W - W), 1e-4, scale=moved)
    assert_dtype_close(np.float64(descent.loss[-1]), np.sum((expected_u - y) ** 2) / 2, 1e-4, scale=descent.loss[0] + 1)


@pytest.mark.parametrize("c", [1, 3])
def test_threads_and_memory_modes_change_no_bit(c):
    W, a, X, y = case(c, width=4096)
    results = []
    for threads in (1, 2, 3):
        for memory in MEMORY_MODES:
            with workers(threads) as run:
                net = BlockedNet(W.copy(), a, run, memory=memory)
                net.descend(X, y, lr=0.05, steps=10)
            results.append(net.W)
    for other in results[1:]:
        assert_exact(other, results[0], ulps=0)


@given(power=st.integers(-3, 3), seed=st.integers(0, 1000), antisymmetric=st.booleans())
@settings(max_examples=20)
def test_scale_of_weights_and_labels_is_exact(power, seed, antisymmetric):
    """(κ, y, η) trains as κ × (1, y/κ, η); for κ a power of two to the last bit."""
    kappa = 2.0**power
    problem = SphereTask(n_source=12, n_target=8, n_test=10, seed=seed).problem()
    scaled = ptoq.TransferProblem(
        **{n: (X, kappa * y) for n, (X, y) in (("source", problem.source), ("target", problem.target), ("test", problem.test))}
    )
    schedule = ptoq.Schedule(15, 15)
    one = simulate(problem, schedule, width=64, seed=seed, antisymmetric=antisymmetric)
    many = simulate(scaled, schedule, width=64, seed=seed, antisymmetric=antisymmetric, init_scale=kappa)
    assert_exact(many.test_outputs, kappa * one.test_outputs, ulps=0)
    assert many.displacement == kappa * one.displacement
    assert many.measured_gain == one.measured_gain


def test_a_source_in_an_orthogonal_subspace_transfers_nothing_at_any_width():
    problem = SphereTask(input_similarity=0.0, n_source=20, n_target=15, n_test=10).problem()
    outcome = simulate(problem, ptoq.Schedule(50, 50), width=64, antisymmetric=False)
    assert_dtype_close(np.float64(outcome.displacement), outcome.displacement_scratch, 1e-6, scale=outcome.displacement)
    assert outcome.source_loss_pretrained < 0.5 * np.sum(problem.source[1] ** 2)
    assert outcome.frozen.gain == 0


def test_zero_source_labels_leave_an_antisymmetric_net_where_it_was():
    problem = SphereTask(n_source=20, n_target=15, n_test=10).problem()
    problem = ptoq.TransferProblem(source=(problem.source[0], 0 * problem.source[1]), target=problem.target, test=problem.test)
    outcome = simulate(problem, ptoq.Schedule(50, 50), width=64)
    assert_dtype_close(np.float64(outcome.displacement), outcome.displacement_scratch, 1e-6, scale=outcome.displacement)


def test_one_source_run_with_forks_equals_separate_runs():
    problem = SphereTask(n_source=20, n_target=15, n_test=10).problem()
    steps = (0, 3, 20, None)
    schedule = ptoq.Schedule(target_steps=12)
    together = simulate_stages(problem, schedule, steps, width=128, rtol=0.5)
    for k, outcome in zip(steps, together, strict=True):
        alone = simulate(problem, ptoq.Schedule(k, 12), width=128, rtol=0.5)
        assert alone.scalars() == outcome.scalars()
        assert alone.trajectory == outcome.trajectory
        assert_exact(alone.source_outputs, outcome.source_outputs, ulps=0)


def test_order_of_samples_does_not_matter():
    problem = SphereTask(n_source=20, n_target=15, n_test=10).problem()
    order = np.random.default_rng(0).permutation(20)
    shuffled = ptoq.TransferProblem(source=tuple(x[order] for x in problem.source), target=problem.target, test=problem.test)
    a, b = (simulate(p, ptoq.Schedule(30, 30), width=64).test_outputs for p in (problem, shuffled))
    assert_dtype_close(a, b, 1e-3, scale=np.abs(a).max())


def test_outcome_holds_what_its_outputs_say():
    problem = SphereTask(n_source=20, n_target=15, n_test=10).problem()
    outcome = simulate(problem, ptoq.Schedule(30, 30, snapshots=(1, 7)), width=64)
    assert outcome.trajectory.steps == (0.0, 1.0, 7.0, 30.0)
    assert_exact(np.float64(outcome.target_loss), np.sum((outcome.target_outputs - problem.target[1]) ** 2) / 2, ulps=8)
    assert_exact(np.float64(outcome.source_loss), np.sum((outcome.source_outputs - problem.source[1]) ** 2) / 2, ulps=8)
    assert_exact(np.float64(outcome.test_mse), np.mean((outcome.test_outputs - problem.test[1]) ** 2), ulps=8)
    assert outcome.gradient_energy == 2 * outcome.trajectory.loss[0]
    assert outcome.displacement == outcome.trajectory.displacement[-1]
    assert outcome.rung == "trained"
    assert outcome.frozen.rung == "frozen"


def test_loss_falls_at_every_step_up_to_one_over_lambda_max():
    W, a, X, y = case(width=2048)
    lam = np.linalg.eigvalsh(ptoq.relu_gram(X))[-1]
    with workers() as run:
        losses = BlockedNet(W, a, run).descend(X, y, lr=0.5 / lam, steps=40, record=range(40)).loss
    assert all(later < earlier for earlier, later in pairwise(losses))


def test_float32_trains_as_float64_does():
    problem = SphereTask(n_source=20, n_target=15, n_test=10).problem()
    exact, rough = (simulate(problem, ptoq.Schedule(30, 30), width=512, dtype=t) for t in ("float64", "float32"))
    assert_dtype_close(
        rough.test_outputs.astype(np.float32), exact.test_outputs.astype(np.float32), 0.1, scale=np.abs(exact.test_outputs).max()
    )
    assert rough.displacement != exact.displacement


def test_vector_labels_keep_the_gradient_energy_exact():
    """With orthogonal readouts ‖∂L/∂X¹‖² = ‖U − Y‖²: the activation gradient, written out."""
    W, a, X, y = case(c=3, width=64)
    residual = BlockedNet(W, a, map).outputs(X) - y
    gradient = a @ residual.T / np.sqrt(len(W))
    assert_exact(np.sum(gradient**2), np.float64(np.sum(residual**2)), ulps=16)


def test_training_to_the_end_reaches_its_tolerance_or_says_so():
    problem = SphereTask(n_source=10, n_target=8, n_test=5).problem()
    outcome = simulate(problem, width=2048, rtol=0.1)
    assert np.sqrt(2 * outcome.target_loss) <= 0.1 * np.linalg.norm(problem.target[1])
    assert outcome.source_steps > 0
    with pytest.raises(NotConverged, match=r"after 3 steps .*raise max_steps or rtol"):
        simulate(problem, width=64, max_steps=3)


def test_a_diverging_run_is_refused_and_if_allowed_marked_or_stopped():
    problem = SphereTask(n_source=10, n_target=8, n_test=5).problem()
    with pytest.raises(UnstableStep, match=r"target_lr = 100 diverges; at most 2/λ_max = "):
        simulate(problem, ptoq.Schedule(1, 1, target_lr=100.0), width=64)
    with np.errstate(over="ignore", invalid="ignore"):
        few = simulate(problem, ptoq.Schedule(1, 2, target_lr=100.0, allow_unstable=True), width=64)
        assert not few.stable
        with pytest.raises(UnstableStep, match="target_lr = 1e\\+06 overflows float64 within 10000 steps"):
            simulate(problem, ptoq.Schedule(1, 10_000, target_lr=1e6, allow_unstable=True), width=64)
        W, a, X, y = case()
        with pytest.raises(UnstableStep, match="the outputs overflowed at step"):
            BlockedNet(W, a, map).descend(X, y, lr=1e6, steps=10_000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 7}, "width is 7"),
        ({"width": 0}, "width is 0"),
        ({"backend": "tpu"}, "backend is 'tpu'; 'auto', 'numpy', 'cupy', 'torch' are allowed"),
        ({"dtype": "float16"}, "dtype is 'float16'"),
        ({"rtol": 0.0}, "rtol is 0.0"),
        ({"max_steps": 0}, "max_steps is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"threads": 0}, "threads is 0"),
        ({"memory": "disk"}, "memory is 'disk'"),
        ({"init_scale": -1.0}, "init_scale is -1.0"),
        ({"init_scale": "large"}, "init_scale is 'large'"),
        ({"rtol": None}, "rtol is None"),
        ({"width": 2**45}, r"width is 35184372088832: its weights take about .* GiB; .* are free, enough for a width of about"),
    ],
)
def test_bad_options_are_named_with_what_is_allowed(options, message):
    problem = SphereTask(n_source=5, n_target=5, n_test=5).problem()
    with pytest.raises(InvalidInput, match=message):
        simulate(problem, ptoq.Schedule(1, 1), **{"width": 64, **options})


def test_something_else_than_a_problem_is_refused():
    with pytest.raises(InvalidInput, match="dict and Schedule were given; a TransferProblem and a Schedule are allowed"):
        simulate({}, width=64)


@pytest.mark.parametrize("steps", [(), (5, 3), (3, 3), (None, 3)])
def test_source_steps_must_ascend(steps):
    problem = SphereTask(n_source=5, n_target=5, n_test=5).problem()
    with pytest.raises(InvalidInput, match="source_steps"):
        simulate_stages(problem, ptoq.Schedule(target_steps=1), steps, width=64)


def test_overlapping_workers_leave_blas_as_it_was():
    """The limit belongs to the process: the last one to leave lifts it, whoever entered first."""

    def blas():
        return {p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"}

    with threadpool_limits(2, user_api="blas"):
        first, second = workers(1), workers(1)
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        inside = blas()
        second.__exit__(None, None, None)
        after = blas()
    assert inside == {1}
    assert after == {2}


def test_a_step_size_that_only_the_nets_own_kernel_refuses_is_refused_before_training():
    problem = SphereTask(n_source=20, n_target=10, n_test=15).problem()
    largest = np.linalg.eigvalsh(ptoq.relu_gram(problem.source[0]))[-1]
    nets = (initial_net(16, 16, 1, seed=seed) for seed in range(20))
    own = [np.linalg.eigvalsh(frozen_gram(problem, W, a).source)[-1] for W, a in nets]
    seed = int(np.argmax(own))
    assert own[seed] > 1.1 * largest
    steps = []
    with pytest.raises(UnstableStep, match="has no limit to train to"):
        simulate(problem, ptoq.Schedule(None, 50, source_lr=1.95 / largest), width=16, seed=seed, progress=steps.append)
    assert not steps
