"""The frozen rung: its Gram matrix against a Jacobian, its closed form against steps, its statistics against theory."""

import numpy as np
import pytest

import ptoq
from sim import training
from sim.frozen import frozen_gram
from sim.networks import initial_net
from sim.tasks import SphereTask
from sim.training import simulate
from tests.helpers import assert_dtype_close, assert_z


def one_hot_problem(n=(8, 6, 5), c=3, d=4):
    rng = np.random.default_rng(1)
    sets = [(rng.standard_normal((k, d)), np.eye(c)[rng.integers(c, size=k)]) for k in n]
    return ptoq.TransferProblem(source=sets[0], target=sets[1], test=sets[2])


def jacobian(W, a, X):
    """∂f(x_i)_p / ∂W as rows (i, p), from the definition."""
    active = (W @ X.T > 0).astype(float)
    m = len(W)
    return np.einsum("rp,ri,id->iprd", a, active, X).reshape(len(X) * a.shape[1], -1) / np.sqrt(m)


@pytest.mark.parametrize("c", [1, 3])
def test_gram_is_the_jacobian_times_itself(c):
    problem = one_hot_problem(c=c)
    W, a = initial_net(2064, 4, c, antisymmetric=False)
    gram = frozen_gram(problem, W, a)
    J = {name: jacobian(W, a, getattr(problem, name)[0]) for name in ("source", "target", "test")}
    for block, (rows, columns) in {
        "source": ("source", "source"),
        "target": ("target", "target"),
        "target_source": ("target", "source"),
        "test_source": ("test", "source"),
        "test_target": ("test", "target"),
    }.items():
        expected = J[rows] @ J[columns].T
        assert_dtype_close(getattr(gram, block), expected, 1e-6, scale=np.abs(expected).max())


@pytest.mark.parametrize("antisymmetric", [True, False])
@pytest.mark.parametrize("c", [1, 3])
def test_closed_form_equals_gradient_descent_with_the_gates_held(monkeypatch, c, antisymmetric):
    problem, schedule = one_hot_problem(c=c), ptoq.Schedule(25, 30)
    closed = simulate(problem, schedule, width=128, antisymmetric=antisymmetric).frozen
    monkeypatch.setattr(training, "frozen_gram_bytes", lambda _: float("inf"))
    stepped = simulate(problem, schedule, width=128, antisymmetric=antisymmetric).frozen
    assert stepped.gain is None
    assert "too large" in stepped.gain_reason
    for name, value in closed.scalars().items():
        other = stepped.scalars()[name]
        if name != "gain" and value is not None:
            assert_dtype_close(np.float64(other), value, 1e-4, scale=max(abs(value), 1e-3))
    for name in ("source_outputs", "target_outputs", "test_outputs", "test_outputs_scratch"):
        assert_dtype_close(getattr(stepped, name), getattr(closed, name), 1e-4, scale=1.0)


def exact_variance(X, m):
    """E‖H(W(0)) − H‖_F² = (1/m) Σ (x_i·x_j)² p(1 − p), p = (π − θ)/(2π)."""
    inner = X @ X.T
    p = ptoq.relu_gram(X) / inner
    return np.sum(inner**2 * p * (1 - p)) / m


@pytest.mark.parametrize(("antisymmetric", "factor"), [(False, 1), (True, 2)])
def test_gram_at_initialisation_has_the_exact_mean_and_variance(antisymmetric, factor):
    """Antisymmetric nets have half as many independent neurons: twice the variance."""
    problem = SphereTask(n_source=12, n_target=6, n_test=3).problem()
    X, m = problem.source[0], 64
    H = ptoq.relu_gram(X)
    errors = [frozen_gram(problem, *initial_net(m, X.shape[1], 1, antisymmetric=antisymmetric, seed=s)).source - H for s in range(400)]
    # 400 draws: the standard error of the mean square is 2 % of it, so a wrong factor of 2 lies beyond 25 of them.
    assert_z([float(np.sum(e**2)) for e in errors], factor * exact_variance(X, m))
    assert_z([float(np.sum(e * H)) for e in errors], 0.0)


def test_vector_kernels_scatter_as_orthogonal_readouts_do():
    """Diagonal blocks are H on average, off-diagonal ones zero."""
    problem = one_hot_problem(c=3)
    H = ptoq.relu_gram(problem.source[0])
    on, off = [], []
    for seed in range(200):
        K = frozen_gram(problem, *initial_net(64, 4, 3, seed=seed)).source.reshape(8, 3, 8, 3)
        on.append(float(np.sum((K[:, 0, :, 0] - H) * H)))
        off.append(float(np.sum(K[:, 0, :, 1] * H)))
    assert_z(on, 0.0)
    assert_z(off, 0.0)


def test_outputs_of_the_frozen_rung_keep_the_initial_ones():
    problem = one_hot_problem()
    outcome = simulate(problem, ptoq.Schedule(0, 0), width=64, antisymmetric=False)
    assert outcome.gradient_energy == outcome.gradient_energy_scratch
    for name in ("source_outputs", "target_outputs", "test_outputs"):
        assert_dtype_close(getattr(outcome.frozen, name), getattr(outcome, name), 1e-6, scale=1.0)
        assert np.abs(getattr(outcome, name)).max() > 0.01
