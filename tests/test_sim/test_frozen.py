"""The frozen rung: its Gram matrix against a Jacobian, its closed form against steps, its statistics against theory."""

import numpy as np
import pytest

import ptoq
from sim import training
from sim.frozen import BLOCK, EXACT, _Products, empirical_kernel, frozen_gram
from sim.networks import initial_net
from sim.tasks import SphereTask
from sim.training import simulate
from tests.helpers import assert_dtype_close, assert_exact, assert_z
from theory.arrays import to_numpy
from theory.errors import InvalidInput
from theory.threads import workers


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


# ---- the empirical kernel


def kernel_by_neurons(W, X, Z, a):
    """The kernel from whole-number counts, neuron by neuron."""
    n, k, c = len(X), len(Z), a.shape[1]
    counts = np.zeros((n, c, k, c), dtype=np.int64)
    for w, s in zip(W, a.astype(np.int64), strict=True):
        left, right = ((V @ w > 0).astype(np.int64)[:, None] * s for V in (X, Z))
        counts += left[:, :, None, None] * right
    inner = np.array([[x @ z for z in Z] for x in X])
    return (counts * inner[:, None, :, None] / len(W)).reshape(n * c, k * c)


# Of the three, one shorter than a block of neurons, one that ends inside one.
@pytest.mark.parametrize("width", [7, BLOCK, 2 * BLOCK + 90])
@pytest.mark.parametrize("c", [1, 4])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_empirical_kernel_counts_exactly(xp_case, width, c, dtype):
    rng = np.random.default_rng(width)
    # Small whole numbers: no rounding in any product, many pre-activations exactly at the kink.
    W, X, Z = (rng.integers(-3, 4, size=(k, 4)).astype(dtype) for k in (width, 9, 5))
    a = rng.choice([-1, 1], size=(width, c)).astype(dtype)
    for others in (None, Z):
        want = kernel_by_neurons(W, X, X if others is None else others, a)
        got = empirical_kernel(xp_case.load(W), xp_case.load(X), None if others is None else xp_case.load(others), xp_case.load(a))
        assert_exact(got, xp_case.load(want.astype(dtype)), 2, scale=np.abs(want).max())
    if c == 1:
        assert_exact(empirical_kernel(xp_case.load(W), xp_case.load(X)), xp_case.load(kernel_by_neurons(W, X, X, a).astype(dtype)), 2)


def test_empirical_kernel_does_not_depend_on_threads_or_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    W, X, a = rng.standard_normal((5000, 6)), rng.standard_normal((30, 6)), rng.choice([-1.0, 1.0], size=(5000, 5))
    whole = empirical_kernel(W, X, a=a)
    assert np.array_equal(whole, whole.T)
    for threads, block in ((1, 777), (3, 64)):
        monkeypatch.setattr("sim.frozen.workers", lambda threads=threads: workers(threads))
        monkeypatch.setattr("sim.frozen.BLOCK", block)
        assert np.array_equal(empirical_kernel(W, X, a=a), whole)


def test_empirical_kernel_on_a_device_takes_smaller_tiles_when_memory_runs_out(monkeypatch, caplog):
    xp = pytest.importorskip("array_api_strict")
    rng = np.random.default_rng(0)
    W, X, a = rng.standard_normal((300, 6)), rng.standard_normal((20, 6)), rng.choice([-1.0, 1.0], size=(300, 3))
    want, astype = empirical_kernel(W, X, a=a), xp.astype

    def limited(x, dtype, **options):
        if x.dtype == xp.bool and x.shape[1] > 50:
            raise MemoryError
        return astype(x, dtype, **options)

    monkeypatch.setattr(xp, "astype", limited)
    got = empirical_kernel(xp.asarray(W), xp.asarray(X), a=xp.asarray(a))
    assert np.array_equal(to_numpy(got), want)
    assert "out of memory with 300 rows" in caplog.text


@pytest.mark.parametrize("n", [2**24, 2**24 + 1])
def test_whole_numbers_are_exact_in_float32_up_to_the_limit_that_is_relied_on(n):
    assert (int(np.float32(n)) == n) == (n <= EXACT)


@pytest.mark.parametrize("c", [1, 2, 5, 10])
def test_distinct_products_of_hadamard_readouts_are_few(c):
    W, a = initial_net(64, 3, c, antisymmetric=False, seed=0)
    products = _Products.of(a, W)
    # Products of Walsh functions are Walsh functions: no more than the next power of two.
    assert len(products.signs) <= 2 ** int(np.ceil(np.log2(c)))
    for p in range(c):
        for q in range(c):
            index, factor = products.place[p][q]
            sign = np.ones(64) if products.signs[index] is None else products.signs[index][0]
            assert np.array_equal(factor * sign, a[:, p] * a[:, q])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"W": np.ones(3)}, r"W has shape \(3,\)"),
        ({"X": np.ones((2, 4))}, r"X has 4 columns .* W has 3"),
        ({"Z": np.ones((2, 3), dtype=np.float32)}, r"Z has 3 columns of float32"),
        ({"X": np.array([[1.0, np.nan, 0.0]])}, r"X\[0, 1\] is nan"),
        ({"a": np.ones((4, 2))}, r"a has 4 rows and W has 5"),
        ({"a": np.full((5, 1), 0.5)}, "±1"),
        ({"a": np.ones(5)}, r"a has shape \(5,\)"),
    ],
)
def test_empirical_kernel_refuses_what_does_not_fit(change, message):
    arguments = {"W": np.ones((5, 3)), "X": np.ones((2, 3)), "Z": None, "a": None} | change
    with pytest.raises(InvalidInput, match=message):
        empirical_kernel(**arguments)
