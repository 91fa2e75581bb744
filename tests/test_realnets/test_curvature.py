from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from realnets.probes.batches import chosen_parameters
from realnets.probes.hessian_top import hessian_top
from realnets.probes.hessian_trace import exchangeable_mean, hessian_trace
from realnets.probes.hvp import hessian_operator
from realnets.probes.krylov import Krylov
from realnets.probes.spectral_density import spectral_density
from tests.helpers import assert_dtype_close, assert_exact, assert_z
from theory.errors import InvalidInput, NotConverged, TooLarge

Batches = list[tuple[Tensor, Tensor]]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tanh_net(*widths: int) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(widths):
            layers += [nn.Linear(fan_in, fan_out), nn.Tanh()]
        return nn.Sequential(*layers[:-1]).double()


def dense_hessian(model: nn.Module, loss_fn: Callable, x: Tensor, y: Tensor, names: list[str] | None = None) -> np.ndarray:
    """(p, p) by torch.func, over all samples at once: no code in common with the probes."""
    state = {name: w.detach() for name, w in model.named_parameters()}
    chosen = {name: state[name] for name in (state if names is None else names)}
    buffers = dict(model.named_buffers())
    sizes = [w.numel() for w in chosen.values()]

    def loss(flat: Tensor) -> Tensor:
        parts = {name: part.view_as(chosen[name]) for name, part in zip(chosen, torch.split(flat, sizes), strict=True)}
        return loss_fn(torch.func.functional_call(model, ({**state, **parts}, buffers), (x,)), y)

    # Reverse over reverse: forward mode imports parts of torch that warn.
    curvature = torch.func.jacrev(torch.func.jacrev(loss))
    H = curvature(torch.cat([w.flatten() for w in chosen.values()])).numpy()
    return (H + H.T) / 2


@pytest.fixture
def net() -> nn.Sequential:
    return tanh_net(6, 8, 3)


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    return torch.randn(23, 6, dtype=torch.float64, generator=seeded()), torch.arange(23) % 3


def ragged(x: Tensor, y: Tensor) -> Batches:
    return [(x[:10], y[:10]), (x[10:11], y[10:11]), (x[11:], y[11:])]


class Quadratic(nn.Module):
    """`½ Σ λᵢ wᵢ²` for any inputs: the Hessian is diag(λ). In several parameters, so that nothing is special about one layer."""

    def __init__(self, *eigenvalues: list[float], dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.eigenvalues = [torch.tensor(part, dtype=dtype) for part in eigenvalues]
        self.parts = nn.ParameterList([nn.Parameter(torch.ones(len(part), dtype=dtype)) for part in eigenvalues])

    def forward(self, x: Tensor) -> Tensor:
        energy = sum((curvature * w**2).sum() for curvature, w in zip(self.eigenvalues, self.parts, strict=True))
        return 0.5 * energy * torch.ones(len(x), dtype=self.parts[0].dtype)


def first(outputs: Tensor, labels: Tensor) -> Tensor:
    return outputs.mean()


ONE_BATCH: Batches = [(torch.zeros(2, 1, dtype=torch.float64), torch.zeros(2))]


# Hessian-vector products


def products_of(model: nn.Module, loss_fn: Callable, batches: Batches, **options: object) -> np.ndarray:
    with hessian_operator(model, loss_fn, batches, **options) as H:
        return np.stack([H(row).numpy() for row in torch.eye(H.size, dtype=H.dtype)])


@pytest.mark.parametrize("kept", [True, False])
def test_products_are_those_of_the_dense_hessian_on_ragged_batches(net, data, kept):
    x, y = data
    with hessian_operator(net, cross_entropy, ragged(x, y)) as H:
        largest = H._saved_bytes(x[11:], y[11:])
    passes = []
    hook = net.register_forward_hook(lambda *_: passes.append(1))
    with hessian_operator(net, cross_entropy, ragged(x, y), memory=None if kept else int(1.1 * largest) + 83 * 8) as H:
        before = len(passes)
        found = np.stack([H(row).numpy() for row in torch.eye(H.size, dtype=H.dtype)])
        assert H.products == H.size
    hook.remove()
    assert len(passes) - before == (0 if kept else 3 * H.size)
    dense = dense_hessian(net, cross_entropy, x, y)
    assert_exact(found, dense, ulps=64, scale=np.abs(dense).max())


def test_the_graphs_memory_is_estimated_from_two_samples(net, data):
    x, y = data
    with hessian_operator(net, cross_entropy, [(x, y)]) as H:
        one, two, whole = (H._saved_bytes(x[:n], y[:n]) for n in (1, 2, 23))
    assert whole == pytest.approx(one + 22 * (two - one), rel=0.05)


def test_a_graph_that_does_not_fit_is_refused_with_the_size_it_needs(net, data):
    with (
        pytest.raises(TooLarge, match=r"graph of 23 samples needs 0\.0 MiB, and 0\.0 MiB are allowed; smaller batches"),
        hessian_operator(net, cross_entropy, [data], memory=1000),
    ):
        pass


def test_tied_weights_are_one_parameter_under_either_name(data):
    net = tanh_net(6, 6, 6, 3)
    net[2].weight = net[0].weight
    x, y = data
    dense = dense_hessian(net, cross_entropy, x, y)
    found = products_of(net, cross_entropy, [data])
    assert_exact(found, dense, ulps=64, scale=np.abs(dense).max())
    assert list(chosen_parameters(net, ["2"])) == ["2.weight", "2.bias"]
    assert list(chosen_parameters(net, ["0", "2.weight"])) == ["0.weight", "0.bias"]


def test_chosen_layers_give_their_block_also_where_they_are_frozen(net, data):
    x, y = data
    net.requires_grad_(False)
    found = products_of(net, cross_entropy, [data], layers=["2"])
    dense = dense_hessian(net, cross_entropy, x, y, ["2.weight", "2.bias"])
    assert_exact(found, dense, ulps=64, scale=np.abs(dense).max())
    assert not any(p.requires_grad for p in net.parameters())


def test_frozen_parameters_do_not_count(net, data):
    x, y = data
    net[0].weight.requires_grad_(False)
    found = products_of(net, cross_entropy, [data])
    dense = dense_hessian(net, cross_entropy, x, y, ["0.bias", "2.weight", "2.bias"])
    assert_exact(found, dense, ulps=64, scale=np.abs(dense).max())


def test_parameters_without_use_or_curvature_give_zeros(data):
    net = nn.ModuleDict({"used": nn.Linear(6, 3), "unused": nn.Linear(2, 2)}).double()
    net.forward = lambda x: net["used"](x)
    found = products_of(net, lambda outputs, labels: outputs.mean(), [data])
    np.testing.assert_array_equal(found, np.zeros((27, 27)))
    assert products_of(net, cross_entropy, [data], layers=["unused"]).any() == 0


def test_products_work_where_gradients_are_off(net, data):
    dense = dense_hessian(net, cross_entropy, *data)
    for off in (torch.no_grad(), torch.inference_mode()):
        with off:
            found = products_of(net, cross_entropy, [data])
        assert_exact(found, dense, ulps=64, scale=np.abs(dense).max())


# Leading eigenvalues


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Sequential, Tensor, Tensor, np.ndarray]:
    """A 20-32-32-5 tanh net that has learnt 256 random labels, and the eigenvalues of its dense Hessian, ascending."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 5)).double()
        x, y = torch.randn(256, 20, dtype=torch.float64), torch.randint(0, 5, (256,))
    descent = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(300):
        descent.zero_grad()
        cross_entropy(net(x), y).backward()
        descent.step()
    return net, x, y, np.linalg.eigvalsh(dense_hessian(net, cross_entropy, x, y))


@pytest.mark.parametrize("scale", [1.0, 1e-8, 1e8])
def test_five_values_within_40_products_at_any_scale_of_the_loss(trained, scale):
    net, x, y, eigenvalues = trained
    top = scale * eigenvalues[::-1][:5]
    for seed in range(3):
        found = hessian_top(net, lambda outputs, labels: scale * cross_entropy(outputs, labels), [(x, y)], seed=seed)
        assert found.products <= 40
        errors = np.abs(found.values - top)
        assert (errors <= 1e-5 * top).all()
        assert (errors <= found.residuals).all() and (found.residuals <= 1.01e-5 * top).all()
        assert (errors <= found.residual_norms).all()


@pytest.mark.parametrize("which", ["largest", "smallest", "magnitude"])
def test_values_are_those_of_the_dense_hessian_in_the_order_asked_for(net, data, which):
    H = dense_hessian(net, cross_entropy, *data)
    found = hessian_top(net, cross_entropy, ragged(*data), k=4, which=which)
    operator = LinearOperator(H.shape, matvec=lambda v: H @ v, dtype=float)
    expected = eigsh(operator, 4, which={"largest": "LA", "smallest": "SA", "magnitude": "LM"}[which], return_eigenvectors=False)
    key = {"largest": -expected, "smallest": expected, "magnitude": -np.abs(expected)}[which]
    expected = expected[np.argsort(key)]
    assert (np.abs(found.values - expected) <= np.minimum(1e-5 * np.abs(expected), found.residuals)).all()
    assert found.which == which and found.vectors.shape == (4, 83)


def test_vectors_are_unit_eigenvectors_to_their_residual(net, data):
    H = dense_hessian(net, cross_entropy, *data)
    found = hessian_top(net, cross_entropy, [data], k=3, tol=1e-10)
    V = found.vectors.numpy()
    assert_exact(V @ V.T, np.eye(3), ulps=32, scale=1.0)
    assert (np.linalg.norm(V @ H - found.values[:, None] * V, axis=1) <= found.residual_norms).all()
    parts = found.direction(1)
    assert {name: tuple(part.shape) for name, part in parts.items()} == {name: tuple(p.shape) for name, p in net.named_parameters()}
    assert torch.equal(torch.cat([part.flatten() for part in parts.values()]), found.vectors[1])


def test_batching_changes_nothing_but_rounding(net, data):
    whole, parts = (hessian_top(net, cross_entropy, batches) for batches in ([data], ragged(*data)))
    assert whole.products == parts.products
    assert_exact(parts.values, whole.values, ulps=64, scale=whole.values[0])


def test_single_precision_says_how_exact_it_is(net, data):
    x, y = data
    exact = np.linalg.eigvalsh(dense_hessian(net, cross_entropy, x, y))[::-1][:5]
    found = hessian_top(net.float(), cross_entropy, [(x.float(), y)])
    assert found.vectors.dtype == torch.float32
    # The rounding of the weights' products, not of the weights: these became float32 without error of interest here.
    assert (np.abs(found.values - exact) <= found.residuals).all()
    assert (found.residuals <= 1e-4 * found.values[0]).all()


def test_a_small_memory_costs_products_but_no_accuracy():
    """Restarts: ten vectors in place of hundreds."""
    spectrum = np.linspace(0.0, 1.0, 400) ** 3
    model = Quadratic(spectrum[:150].tolist(), spectrum[150:].tolist())
    roomy = hessian_top(model, first, ONE_BATCH, k=3, max_products=400)
    tight = hessian_top(model, first, ONE_BATCH, k=3, max_products=400, memory=400 * 8 * 28 + 20_000)
    assert tight.products > roomy.products
    for found in (roomy, tight):
        assert (np.abs(found.values - spectrum[::-1][:3]) <= found.residuals).all()
        assert (found.residuals <= 1.01e-5 * found.values).all()


def test_too_little_memory_for_the_vectors_is_refused_with_the_size_needed():
    model = Quadratic([1.0] * 100_000, [2.0])
    with pytest.raises(TooLarge, match=r"5 eigenvectors of 100,001 weights need 26\.7 MiB, and \d\.\d MiB are left"):
        hessian_top(model, first, ONE_BATCH, memory=8 << 20)
    with pytest.raises(TooLarge, match=r"50 steps with 100,001 weights need 80\.9 MiB"):
        spectral_density(model, first, ONE_BATCH, probes=3, steps=50, memory=8 << 20)


def test_repeated_eigenvalues_of_squared_loss_are_all_found(data):
    """One linear layer with c outputs: every eigenvalue c times."""
    x, _ = data
    model = nn.Linear(6, 4).double()
    targets = torch.zeros(23, 4, dtype=torch.float64)
    expected = np.linalg.eigvalsh(dense_hessian(model, mse_loss, x, targets))[::-1]
    found = hessian_top(model, mse_loss, [(x, targets)], k=6)
    assert (np.abs(found.values - expected[:6]) <= found.residuals).all()
    assert expected[0] == pytest.approx(expected[3]) and expected[3] > 1.01 * expected[4]


def test_an_invariant_subspace_hides_no_eigenvalue():
    """Two distinct values: Lanczos ends after two steps, having seen each of them once."""
    model = Quadratic([5.0, 1.0, 5.0], [1.0, 1.0, 5.0, 1.0])
    found = hessian_top(model, first, ONE_BATCH, k=4)
    assert_exact(found.values, np.array([5.0, 5.0, 5.0, 1.0]), ulps=32, scale=5.0)


def test_all_values_of_a_tiny_model(data):
    net = tanh_net(6, 1, 3)
    expected = np.linalg.eigvalsh(dense_hessian(net, cross_entropy, *data))
    found = hessian_top(net, cross_entropy, [data], k=13)
    assert_exact(found.values, expected[::-1].copy(), ulps=256, scale=expected[-1])


@pytest.mark.parametrize("size", [1, 9])
def test_a_zero_hessian_has_zero_values(size):
    model = Quadratic([0.0] * size)
    found = hessian_top(model, first, ONE_BATCH, k=1)
    assert (found.values == 0).all() and (found.residuals == 0).all()
    assert torch.linalg.vector_norm(found.vectors[0]).item() == pytest.approx(1.0)
    trace = hessian_trace(model, first, ONE_BATCH, 8)
    assert trace.mean == 0 and trace.standard_error == 0


def test_values_that_are_not_reached_raise_with_what_was(trained):
    net, x, y, _ = trained
    with pytest.raises(NotConverged, match=r"after 12 products 5 of 5 eigenvalues are 0\.0\d+ ± .*; tol is 1e-05; more max_products"):
        hessian_top(net, cross_entropy, [(x, y)], max_products=12)


def test_the_basis_stays_orthonormal_and_its_relation_holds():
    """`H Q = Q B + Σ c ρᵀ`, after breakdowns, blocks and restarts, on a matrix with repeated values."""
    rng = np.random.default_rng(0)
    U = np.linalg.qr(rng.standard_normal((40, 40)))[0]
    H = torch.from_numpy(U @ np.diag([3.0] * 4 + [2.0] * 4 + list(np.linspace(-1, 1, 32))) @ U.T)
    space = Krylov(lambda v: H @ v, 40, torch.float64, torch.device("cpu"), lambda: torch.from_numpy(rng.standard_normal(40)), block=2)
    for step in range(30):
        space.step()
        if step == 17:
            space.restart(np.arange(9, 18))
    Q = torch.stack([space.basis.row(i) for i in range(space.basis.count)]).numpy()
    assert_exact(Q @ Q.T, np.eye(len(Q)), ulps=64, scale=1.0)
    found = space.ritz()
    V = found.coefficients.T @ Q
    assert_exact(np.linalg.norm(V @ H.numpy() - found.values[:, None] * V, axis=1), found.residuals, ulps=512, scale=3.0)


# Trace


def test_the_trace_is_exact_with_as_many_products_as_weights(net, data):
    expected = np.trace(dense_hessian(net, cross_entropy, *data))
    found = hessian_trace(net, cross_entropy, ragged(*data), 83)
    assert_exact(np.float64(found.mean), expected, ulps=64)
    assert (found.standard_error, found.products, found.weights) == (0.0, 83, 83)


def test_a_sketch_that_spans_a_low_rank_hessian_is_exact(data):
    x, _ = data
    model = nn.Linear(6, 30).double()
    targets = torch.zeros(23, 30, dtype=torch.float64)
    expected = np.trace(dense_hessian(model, mse_loss, x[:1], targets[:1]))
    found = hessian_trace(model, mse_loss, [(x[:1], targets[:1])], 100)
    assert_exact(np.float64(found.mean), expected, ulps=1024)
    assert found.sketched == 30 and found.standard_error <= 1e-12 * expected


def test_a_tail_of_many_small_eigenvalues_is_not_taken_for_rounding():
    """One large value hides it from every norm in single precision, yet it is 4 % of the trace."""
    model = Quadratic([10.0], [2e-6] * 200_000, dtype=torch.float32)
    runs = [hessian_trace(model, first, [(torch.zeros(2, 1), torch.zeros(2))], 20, seed=seed) for seed in range(4)]
    truth = 10.0 + 200_000 * float(np.float32(2e-6))
    assert all(abs(run.mean - truth) <= 4.5 * run.standard_error + 1e-5 * truth for run in runs)
    assert all(run.sketched <= 2 and run.standard_error < 1e-3 * truth for run in runs)


def leave_one_out(H: np.ndarray, omega: np.ndarray, k: int) -> np.ndarray:
    """Each test vector's estimate from its definition: a decomposition for each, and no shared algebra."""
    p, N = omega.shape
    estimates = []
    for i in range(N):
        rest = [j for j in range(k) if j != i]
        Q = np.linalg.qr(H @ omega[:, rest])[0]
        v = omega[:, i] - Q @ (Q.T @ omega[:, i])
        estimates.append(np.trace(Q.T @ H @ Q) + (p - len(rest)) * (v @ H @ v) / (v @ v))
    return np.array(estimates)


@pytest.fixture(scope="module")
def decaying() -> np.ndarray:
    rng = np.random.default_rng(1)
    U = np.linalg.qr(rng.standard_normal((60, 60)))[0]
    return U @ np.diag(0.8 ** np.arange(60)) @ U.T


@pytest.mark.parametrize(("k", "extra"), [(6, 0), (5, 4), (0, 9)])
def test_the_fast_mean_is_the_naive_one(decaying, k, extra):
    p = len(decaying)
    omega = np.random.default_rng(3).standard_normal((p, k + extra))
    omega *= math.sqrt(p) / np.linalg.norm(omega, axis=0)
    Y = decaying @ omega
    Q = np.linalg.qr(Y[:, :k])[0]
    arguments = [torch.from_numpy(a) for a in ((omega * Y).sum(axis=0), Q.T @ omega, Q.T @ Y, Q.T @ decaying @ Q)]
    mean, error = exchangeable_mean(p, *arguments)
    whole = leave_one_out(decaying, omega, k)
    assert_exact(np.float64(mean), whole.mean(), ulps=4096)
    changes = np.zeros((k, k))
    for j in range(k):
        others = [i for i in range(k + extra) if i != j]
        without = leave_one_out(decaying, omega[:, others], k - 1)
        for i in range(k):
            if i != j:
                changes[i, j] = whole[i] - without[others.index(i)]
    covariance = (changes * changes.T).sum() / max(k * (k - 1), 1)
    spread = k * np.var(whole[:k], ddof=1) if k else 0.0
    spread += extra * np.var(whole[k:], ddof=1) if extra else 0.0
    expected = math.sqrt(spread + k**2 * max(0.0, covariance)) / (k + extra)
    assert_exact(np.float64(error), expected, ulps=1 << 16)


def test_the_traces_standard_error_is_the_spread_of_its_errors(decaying):
    """And what leaves the covariance out, as the published error of XTrace does, is not: 1,500 draws tell the two apart."""
    p, k, N = 60, 8, 8
    truth = np.trace(decaying)
    errors, ours, published = [], [], []
    for seed in range(1500):
        omega = np.random.default_rng((7, seed)).standard_normal((p, N))
        omega *= math.sqrt(p) / np.linalg.norm(omega, axis=0)
        Y = decaying @ omega
        Q = np.linalg.qr(Y)[0]
        arguments = [torch.from_numpy(a) for a in ((omega * Y).sum(axis=0), Q.T @ omega, Q.T @ Y, Q.T @ decaying @ Q)]
        mean, error = exchangeable_mean(p, *arguments)
        errors.append(mean - truth)
        ours.append(error**2)
        published.append(np.var(leave_one_out(decaying, omega, k), ddof=1) / N)
    e, s, published_s = np.array(errors), np.array(ours), np.array(published)
    assert_z(e, 0.0)
    assert_z(e**2 - s, 0.0)
    missed = e**2 - published_s
    assert missed.mean() / (missed.std(ddof=1) / math.sqrt(len(missed))) > 6


def test_trace_estimates_of_a_net_are_unbiased_with_honest_errors(net, data):
    truth = np.trace(dense_hessian(net, cross_entropy, *data))
    runs = [hessian_trace(net, cross_entropy, [data], 24, seed=seed) for seed in range(150)]
    assert all(run.products <= 24 for run in runs)
    errors = np.array([run.mean - truth for run in runs])
    assert_z(errors, 0.0)
    assert_z(errors**2 - np.array([run.standard_error for run in runs]) ** 2, 0.0)


def test_the_trace_scales_with_the_loss_and_ignores_batching(net, data):
    whole = hessian_trace(net, cross_entropy, [data], 24)
    for scale in (1e-8, 1e8):
        other = hessian_trace(net, lambda o, y, s=scale: s * cross_entropy(o, y), ragged(*data), 24)
        assert (other.sketched, other.products) == (whole.sketched, whole.products)
        got = np.array([other.mean, other.standard_error])
        assert_dtype_close(got / scale, np.array([whole.mean, whole.standard_error]), 1, abs(whole.mean))


def test_without_memory_for_a_sketch_test_vectors_take_all_products():
    spectrum = 0.5 ** np.arange(2000)
    model = Quadratic(spectrum[:3].tolist(), spectrum[3:].tolist())
    roomy, tight = (hessian_trace(model, first, ONE_BATCH, 25, memory=memory) for memory in (None, 200_000))
    assert (roomy.sketched, roomy.products) == (12, 25)
    assert (tight.sketched, tight.products) == (0, 25)
    assert abs(tight.mean - 2.0) < 4.5 * tight.standard_error


# Spectral density


def true_density(eigenvalues: np.ndarray, grid: np.ndarray, width: float) -> np.ndarray:
    z = (grid[:, None] - eigenvalues) / width
    return np.exp(-0.5 * z**2).mean(axis=1) / (width * math.sqrt(2 * math.pi))


def test_the_density_is_exact_where_products_suffice_for_all_eigenvalues(net, data):
    eigenvalues = np.linalg.eigvalsh(dense_hessian(net, cross_entropy, *data))
    found = spectral_density(net, cross_entropy, ragged(*data), steps=9)
    assert found.products == 83 and (found.standard_error == 0).all()
    expected = true_density(eigenvalues, found.grid, found.width)
    assert_exact(found.density, expected, ulps=4096, scale=expected.max())
    assert_exact(found.nodes, eigenvalues, ulps=64, scale=eigenvalues[-1])


def test_the_densitys_standard_error_covers_at_each_point(trained):
    net, x, y, eigenvalues = trained
    grid = np.array([0.0, 0.0005, 0.002, 0.005, 0.01, 0.0284])
    runs = [spectral_density(net, cross_entropy, [(x, y)], probes=5, steps=50, broadening=0.03, grid=grid, seed=s) for s in range(24)]
    assert all(run.products == 250 and run.deflated > 3 for run in runs)
    errors = np.array([run.density - true_density(eigenvalues, grid, run.width) for run in runs])
    squares = np.array([run.standard_error for run in runs]) ** 2
    for e, s in zip(errors.T[:5], squares.T[:5], strict=True):
        assert_z(e, 0.0)
        assert_z(e**2 - s, 0.0)
    # The largest eigenvalue was found and counts exactly: a random vector's weight on it would be off by its own size.
    largest = true_density(eigenvalues, grid, runs[0].width)[5]
    assert np.abs(errors[:, 5]).max() < 0.02 * largest


def test_the_density_integrates_to_one_and_ends_where_lanczos_does():
    """Three eigenvalues: Lanczos breaks down after three steps, and no node or weight is made up."""
    spectrum = np.array([4.0] * 20 + [1.0] * 50 + [-2.0] * 30)
    model = Quadratic(spectrum[:7].tolist(), spectrum[7:].tolist())
    found = spectral_density(model, first, ONE_BATCH, probes=8, steps=10)
    assert found.products <= 8 * 4
    assert float(np.trapezoid(found.density, found.grid)) == pytest.approx(1.0, abs=1e-4)
    assert_exact(found.weights.sum(), np.float64(1.0), ulps=32)
    gaps = np.abs(found.nodes[:, None] - np.array([4.0, 1.0, -2.0])).min(axis=1)
    assert gaps[found.weights > 1e-12].max() < 1e-12
    expected = true_density(spectrum, found.grid, found.width)
    seen = found.standard_error > 1e-6 * expected.max()
    assert np.abs((found.density - expected)[seen] / found.standard_error[seen]).max() < 12


def test_a_low_rank_density_counts_its_eigenvalues_exactly():
    spectrum = np.array([3.0, 2.0] + [0.0] * 58)
    found = spectral_density(Quadratic(spectrum[:1].tolist(), spectrum[1:].tolist()), first, ONE_BATCH, probes=4, steps=10)
    expected = true_density(spectrum, found.grid, found.width)
    assert_dtype_close(found.density, expected, 1, expected.max())


def test_a_zero_hessians_density_is_one_peak_at_zero():
    found = spectral_density(Quadratic([0.0] * 50, [0.0] * 50), first, ONE_BATCH, probes=3, steps=5)
    assert_dtype_close(found.density, true_density(np.zeros(1), found.grid, found.width), 1, found.density.max())
    assert found.width == 0.02


def test_the_density_scales_with_the_loss_and_ignores_batching(trained):
    net, x, y, _ = trained
    options = {"probes": 3, "steps": 20}
    whole = spectral_density(net, cross_entropy, [(x, y)], **options)
    parts = [(x[:100], y[:100]), (x[100:107], y[100:107]), (x[107:], y[107:])]
    for scale in (1e-8, 1e8):
        other = spectral_density(net, lambda o, labels, s=scale: s * cross_entropy(o, labels), parts, **options)
        assert_dtype_close(other.grid / scale, whole.grid, 1, np.abs(whole.grid).max())
        assert_dtype_close(other.density * scale, whole.density, 16, whole.density.max())


# All of them


PROBES = {
    "top": lambda net, loss, batches, **more: hessian_top(net, loss, batches, k=2, **more),
    "trace": lambda net, loss, batches, **more: hessian_trace(net, loss, batches, 10, **more),
    "density": lambda net, loss, batches, **more: spectral_density(net, loss, batches, probes=3, steps=4, **more),
}


@pytest.mark.parametrize("probe", PROBES.values(), ids=list(PROBES))
@pytest.mark.parametrize("fails", [False, True])
def test_a_model_comes_back_bit_for_bit(tiny, small_images, probe, fails):
    x, y = small_images
    net = tiny(dropout=0.5)
    net.train()
    net.bn.eval()
    net.conv.weight.requires_grad_(False)
    net.classifier.weight.grad = torch.full_like(net.classifier.weight, 3.0)
    held = net.classifier.weight.grad
    before = {name: value.clone() for name, value in net.state_dict().items()}
    modes, state = [m.training for m in net.modules()], torch.get_rng_state()
    calls = []

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        calls.append(1)
        return cross_entropy(outputs, labels) * (math.nan if fails and len(calls) > 3 else 1.0)

    if fails:
        with pytest.raises(InvalidInput, match=r"the loss of batch 1 is nan"):
            probe(net, loss, [(x[:5], y[:5]), (x[5:], y[5:])])
    else:
        probe(net, loss, [(x[:5], y[:5]), (x[5:], y[5:])])
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert [m.training for m in net.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert not net.conv.weight.requires_grad and net.classifier.weight.requires_grad
    assert net.classifier.weight.grad is held and (held == 3).all() and net.classifier.bias.grad is None


@pytest.mark.parametrize("probe", PROBES.values(), ids=list(PROBES))
def test_progress_counts_products_and_seeds_repeat(net, data, probe):
    counted = []
    found = probe(net, cross_entropy, iter(ragged(*data)), progress=counted.append)
    assert sum(counted) == found.products
    again, other = probe(net, cross_entropy, ragged(*data)), probe(net, cross_entropy, ragged(*data), seed=1)
    name = {"HessianTop": "residuals", "HessianTrace": "mean", "SpectralDensity": "density"}[type(found).__name__]
    assert np.array_equal(getattr(again, name), getattr(found, name))
    assert not np.array_equal(getattr(other, name), getattr(found, name))


def test_a_loss_that_changes_from_pass_to_pass_is_refused(net, data):
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = net

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x * (1 + 5 * torch.rand(1, dtype=torch.float64)))

    noisy, batches = Noisy(), [data] * 40
    with hessian_operator(noisy, cross_entropy, batches) as H:
        memory = int(2 * H._saved_bytes(*data) + 83 * 8 * 60)
    with pytest.raises(InvalidInput, match=r"not symmetric, by .* of its norm"):
        hessian_top(noisy, cross_entropy, batches, k=2, memory=memory)


@pytest.mark.parametrize("probe", PROBES.values(), ids=list(PROBES))
def test_bad_models_and_batches_are_refused(net, data, probe):
    with pytest.raises(InvalidInput, match=r"there is no layer 'head' with weights; 0, 2 are allowed"):
        probe(net, cross_entropy, [data], layers=["head"])
    with pytest.raises(InvalidInput, match="batches is empty"):
        probe(net, cross_entropy, [])
    with pytest.raises(InvalidInput, match=r"loss_fn gave a tensor of shape \(2,\)"):
        probe(net, lambda o, labels: cross_entropy(o, labels, reduction="none"), [data])
    with pytest.raises(InvalidInput, match=r"memory is 0; a positive number"):
        probe(net, cross_entropy, [data], memory=0)
    # Finite loss and gradient, infinite curvature: |o|^1.5 at o = 0.
    with torch.no_grad():
        net[2].weight.zero_()
        net[2].bias.zero_()
    with pytest.raises(InvalidInput, match=r"product is not finite at '\d\.(weight|bias)'"):
        probe(net, lambda o, labels: (o.abs() ** 1.5).mean(), [data])
    net.requires_grad_(False)
    with pytest.raises(InvalidInput, match="no parameter of the model requires a gradient"):
        probe(net, cross_entropy, [data])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, r"k is 0; at least 1"),
        ({"k": 84}, r"k is 84; at most 83"),
        ({"tol": 0.0}, r"tol is 0\.0; a number in \(0, 1\)"),
        ({"tol": math.nan}, r"tol is nan"),
        ({"which": "top"}, r"which is 'top'; one of 'largest'"),
        ({"block": 0}, r"block is 0"),
        ({"max_products": 3}, r"max_products is 3; at least k = 5"),
    ],
)
def test_bad_arguments_of_hessian_top(net, data, options, message):
    with pytest.raises(InvalidInput, match=message):
        hessian_top(net, cross_entropy, [data], **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probes": 2}, r"probes is 2; at least 3"),
        ({"steps": 1}, r"steps is 1; at least 2"),
        ({"broadening": 0.0}, r"broadening is 0\.0"),
        ({"grid": 1}, r"grid is 1; at least 2"),
        ({"grid": np.array([0.0, math.nan])}, r"grid has shape \(2,\); finite"),
    ],
)
def test_bad_arguments_of_trace_and_density(net, data, options, message):
    with pytest.raises(InvalidInput, match=message):
        spectral_density(net, cross_entropy, [data], **options)
    with pytest.raises(InvalidInput, match="products is 7; at least 8"):
        hessian_trace(net, cross_entropy, [data], 7)
