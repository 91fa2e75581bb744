from __future__ import annotations

import copy
import importlib
import math
import random

import mpmath
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from realnets import batchnorm
from realnets.probes.batches import Batches, mean_loss
from realnets.probes.directions import filter_normalised, from_vector, random_direction, towards
from realnets.probes.landscape import landscape
from tests.helpers import assert_exact, assert_z
from theory.errors import InvalidInput, TooLarge

module = importlib.import_module("realnets.probes.landscape")  # the name in the package is the function

DOUBLE = torch.float64
ROOT_EPS = 2.0**-26  # differences above it are no rounding errors


def _linear(inputs: int = 3, outputs: int = 2, dtype: torch.dtype = DOUBLE, seed: int = 0) -> nn.Linear:
    stream = torch.Generator().manual_seed(seed)
    net = nn.Linear(inputs, outputs).to(dtype)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=stream, dtype=DOUBLE))
    return net


def _regression(dtype: torch.dtype = DOUBLE) -> tuple[torch.Tensor, torch.Tensor]:
    stream = torch.Generator().manual_seed(3)
    x, y = torch.randn(12, 3, generator=stream, dtype=DOUBLE), torch.randn(12, 2, generator=stream, dtype=DOUBLE)
    return x.to(dtype), y.to(dtype)


def _gaussian(net: nn.Module, seed: int) -> dict[str, torch.Tensor]:
    stream = torch.Generator().manual_seed(seed)
    return {name: torch.randn(p.shape, generator=stream, dtype=DOUBLE) for name, p in net.named_parameters()}


def _exact_loss(net: nn.Linear, moves: list[tuple[float, dict[str, torch.Tensor]]], x: torch.Tensor, y: torch.Tensor) -> mpmath.mpf:
    """Mean squared error in 50 digits, at weights that are moved in 50 digits."""
    with mpmath.workdps(50):

        def matrix(name: str, w: torch.Tensor) -> np.ndarray:
            exact = np.vectorize(mpmath.mpf, otypes=[object])
            return exact(w.detach().numpy()) + sum(mpmath.mpf(float(a)) * exact(d[name].numpy()) for a, d in moves)

        weight, bias = matrix("weight", net.weight), matrix("bias", net.bias)
        outputs = np.vectorize(mpmath.mpf, otypes=[object])(x.numpy()) @ weight.T + bias
        errors = (outputs - np.vectorize(mpmath.mpf, otypes=[object])(y.numpy())) ** 2
        return errors.sum() / errors.size


def _train_loss(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """Loss on one batch that batch norm normalises by itself."""
    twin = copy.deepcopy(net).train()
    with torch.no_grad():
        return cross_entropy(twin(x), y).item()


# Exactness


def test_on_a_quadratic_loss_the_plane_is_the_exact_surface():
    net, (x, y) = _linear(), _regression()
    d, e = _gaussian(net, 1), _gaussian(net, 2)
    found = landscape(
        net, mse_loss, [(x[:5], y[:5]), (x[5:10], y[5:10]), (x[10:], y[10:])], directions=[d, e], extent=(-2.0, 3.0), points=6
    )
    exact = np.array([[_exact_loss(net, [(a, d), (b, e)], x, y) for b in found.coordinates] for a in found.coordinates], dtype=object)
    assert_exact(found.losses, exact, ulps=32)  # 1e-12 relative is 4500 ulps


def test_on_a_quadratic_loss_the_line_is_the_exact_parabola():
    net, (x, y) = _linear(), _regression()
    d = _gaussian(net, 1)
    found = landscape(net, mse_loss, [(x, y)], directions=d, extent=100.0, points=41)
    assert_exact(found.losses, np.array([_exact_loss(net, [(a, d)], x, y) for a in found.coordinates], dtype=object), ulps=32)


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize("policy", batchnorm.POLICIES)
def test_the_centre_is_the_models_own_loss_to_the_last_bit(tiny, small_images, dtype, policy):
    x, y = small_images
    net = tiny(dtype=dtype)
    data = [(x[:7].to(dtype), y[:7]), (x[7:].to(dtype), y[7:])]
    found = landscape(net, cross_entropy, data, directions=["random", "random"], points=3, batch_norm=policy)
    twin = copy.deepcopy(net)
    batchnorm.prepare(twin, x.to(dtype), policy)
    own = mean_loss(twin, cross_entropy, Batches.of(data, twin))
    assert found.coordinates[1] == 0.0
    assert found.losses[1, 1] == found.centre == own


def test_each_point_starts_from_the_models_weights_and_is_rounded_once(tiny, small_images):
    x, y = small_images
    net = tiny(dtype=torch.float32)
    start = {name: p.detach().clone() for name, p in net.named_parameters()}
    d = random_direction(net)
    seen: list[dict[str, torch.Tensor]] = []

    def loss_fn(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        seen.append({name: p.detach().clone() for name, p in net.named_parameters()})
        return cross_entropy(outputs, labels)

    found = landscape(net, loss_fn, [(x.float(), y)], directions=d, points=66)  # no point is the centre, which comes first
    assert len(seen) == 67
    for a, weights in zip([0.0, *found.coordinates], seen, strict=True):
        assert all(torch.equal(w, (start[name].double() + float(a) * d[name]).float()) for name, w in weights.items())


@pytest.mark.parametrize("policy", batchnorm.POLICIES)
def test_the_mean_is_over_samples_however_they_are_cut(tiny, small_images, policy):
    x, y = small_images
    net = tiny()
    whole = landscape(net, cross_entropy, [(x, y)], points=5, batch_norm=policy)
    ragged = landscape(net, cross_entropy, ((x[a:b], y[a:b]) for a, b in [(0, 5), (5, 11), (11, 12)]), points=5, batch_norm=policy)
    assert_exact(ragged.losses, whole.losses, ulps=64)


# Directions


def test_each_filter_has_the_norm_of_the_models_own(tiny):
    net = tiny()
    d = random_direction(net, seed=3)
    for name in ("conv.weight", "depthwise.weight", "classifier.weight"):
        w = dict(net.named_parameters())[name].detach()
        assert_exact(d[name].flatten(1).norm(dim=1), w.flatten(1).norm(dim=1), ulps=8)
    assert {name for name, part in d.items() if not part.any()} == {"bn.weight", "bn.bias", "bn2.weight", "bn2.bias", "classifier.bias"}


def test_biases_may_be_scaled_as_a_whole(tiny):
    net = tiny()
    d = random_direction(net, biases="scaled")
    for name in ("bn.weight", "classifier.bias"):
        w = dict(net.named_parameters())[name].detach()
        assert_exact(d[name].norm(), w.norm(), ulps=8)
        assert not torch.equal(d[name].abs(), w.abs())
    assert not d["bn.bias"].any()  # the model's own is zero


def test_a_filter_that_is_zero_does_not_move(tiny):
    net = tiny()
    with torch.no_grad():
        net.conv.weight[2] = 0
    d = random_direction(net)
    assert not d["conv.weight"][2].any()
    assert all(bool(torch.isfinite(part).all()) for part in d.values())
    given = {"conv.weight": torch.ones_like(net.conv.weight)}
    given["conv.weight"][1] = 0
    assert not filter_normalised(net, given)["conv.weight"][1:3].any()


def test_directions_are_gaussian_not_uniform():
    # A Gaussian row on the sphere of radius √9 has E[x] = 0 and E[x⁴] = 3·9/11 = 2.45; a uniform one has about 1.9.
    net = _linear(9, 4000)
    with torch.no_grad():
        net.weight.copy_(net.weight / net.weight.norm(dim=1, keepdim=True) * 3)
    d = random_direction(net)["weight"]
    assert_z(d.mean(dim=1).numpy(), 0.0)
    assert_z((d**4).mean(dim=1).numpy(), 27 / 11)
    flat = (torch.rand(d.shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(0)) - 0.5).numpy()
    flat *= 3 / np.linalg.norm(flat, axis=1, keepdims=True)
    with pytest.raises(AssertionError, match="z ="):  # the test could tell
        assert_z((flat**4).mean(axis=1), 27 / 11)
    assert_z((d * random_direction(net, index=1)["weight"]).sum(dim=1).numpy(), 0.0)


def test_a_seed_gives_one_direction_and_a_choice_of_layers_a_part_of_it(tiny):
    net = tiny()
    d, again, other = random_direction(net, seed=5), random_direction(net, seed=5), random_direction(net, seed=6)
    assert all(torch.equal(d[name], again[name]) for name in d)
    assert not torch.equal(d["conv.weight"], other["conv.weight"])
    part = random_direction(net, layers=["conv", "classifier.weight"], seed=5)
    assert list(part) == ["conv.weight", "classifier.weight"]
    assert all(torch.equal(part[name], d[name]) for name in part)


def test_towards_another_state_reaches_it_at_one(tiny, small_images):
    x, y = small_images
    before, after = tiny(seed=0, dtype=torch.float32), tiny(seed=1, dtype=torch.float32)
    data = [(x.float(), y)]
    for state in (after, after.state_dict()):
        found = landscape(before, cross_entropy, data, directions=towards(before, state), extent=(-0.5, 1.5), points=5)
        assert list(found.coordinates) == [-0.5, 0.0, 0.5, 1.0, 1.5]
        assert found.losses[1] == found.centre
        assert found.losses[3] == mean_loss(after, cross_entropy, Batches.of(data, after))


def test_given_directions_may_move_what_is_not_trained(tiny, small_images):
    before, after = tiny(seed=0).requires_grad_(False), tiny(seed=1)
    found = landscape(before, cross_entropy, [small_images], directions=towards(before, after), extent=(0.0, 1.0), points=2)
    assert found.losses[1] == mean_loss(after, cross_entropy, Batches.of([small_images], after))
    with pytest.raises(InvalidInput, match="no parameter of the model requires a gradient"):
        landscape(before, cross_entropy, [small_images])


def test_flat_vectors_are_directions_over_the_chosen_layers(tiny, small_images):
    x, y = small_images
    net = tiny()
    d = _gaussian(net, 4)
    part = {name: d[name] for name in ("conv.weight", "classifier.weight", "classifier.bias")}
    flat = torch.cat([p.flatten() for p in part.values()])
    by_name = landscape(net, cross_entropy, [(x, y)], directions=[part, d], points=3)
    by_vector = landscape(net, cross_entropy, [(x, y)], directions=[flat, d], points=3, layers=["classifier", "conv"])
    assert np.array_equal(by_name.losses, by_vector.losses)
    stacked = landscape(net, cross_entropy, [(x, y)], directions=torch.stack([flat, flat.flip(0)]), points=3, layers=["classifier", "conv"])
    assert stacked.losses.shape == (3, 3)
    assert np.array_equal(stacked.losses[:, 1], by_name.losses[:, 1])


def test_an_eigenvector_shows_its_eigenvalue():
    # L(w + αv) = L + α gᵀv + α²λ/2 exactly: the second difference is λ.
    net, (x, y) = _linear(), _regression()
    ones = torch.cat([x, torch.ones(12, 1, dtype=DOUBLE)], dim=1)
    values, vectors = torch.linalg.eigh(ones.T @ ones / 12)
    v = {"weight": torch.zeros(2, 3, dtype=DOUBLE), "bias": torch.zeros(2, dtype=DOUBLE)}
    v["weight"][0], v["bias"][0] = vectors[:3, -1], vectors[3, -1]
    found = landscape(net, mse_loss, [(x, y)], directions=from_vector(net, torch.cat([v["weight"].flatten(), v["bias"]])), points=3)
    assert_exact(np.asarray(found.losses[0] - 2 * found.losses[1] + found.losses[2]), np.asarray(float(values[-1])), ulps=64)
    assert_exact(np.asarray(found.norms), np.ones(1), ulps=4)


def test_the_angle_between_directions_is_told(tiny, small_images):
    net = tiny()
    d = {"conv.weight": torch.ones_like(net.conv.weight)}
    e = {"conv.weight": torch.ones_like(net.conv.weight)}
    e["conv.weight"][:, 0] = 0
    found = landscape(net, cross_entropy, [small_images], directions=[d, e], points=2)
    assert_exact(np.asarray(found.cosine), np.asarray(math.sqrt(2 / 3)), ulps=4)
    assert landscape(net, cross_entropy, [small_images], directions=d, points=2).cosine is None


# Batch norm


def test_reestimated_statistics_are_those_of_training_on_the_whole_batch(tiny, small_images):
    x, y = small_images
    net = tiny()
    net.bn.running_mean += 3  # what the model holds must not matter
    d = random_direction(net, biases="scaled")
    found = landscape(net, cross_entropy, [(x, y)], directions=d, points=5, batch_norm="re-estimated")
    for a, loss in zip(found.coordinates, found.losses, strict=True):
        twin = copy.deepcopy(net)
        with torch.no_grad():
            for name, p in twin.named_parameters():
                p += float(a) * d[name]
        assert_exact(np.asarray(loss), np.asarray(_train_loss(twin, x, y)), ulps=256)
    frozen = landscape(net, cross_entropy, [(x, y)], directions=d, points=5)
    assert frozen.batch_norm == "frozen"
    assert found.batch_norm == "re-estimated"
    assert np.abs(frozen.losses - found.losses).min() > ROOT_EPS


def test_reestimated_landscapes_do_not_see_the_scale_of_weights_before_batch_norm(tiny, small_images):
    # Batch norm by statistics of the point itself takes every scale out, up to its ε; by frozen ones it does not.
    net = tiny()
    for layer in batchnorm.layers(net):
        layer.eps = 0.0
    d = {"conv.weight": net.conv.weight.detach().clone()}
    found = landscape(net, cross_entropy, [small_images], directions=d, extent=0.5, points=3, batch_norm="re-estimated")
    assert_exact(found.losses, np.full(3, found.centre), ulps=256)
    frozen = landscape(net, cross_entropy, [small_images], directions=d, extent=0.5, points=3)
    assert np.abs(frozen.losses - frozen.centre)[[0, 2]].min() > ROOT_EPS


def test_statistics_may_come_from_another_set_than_the_loss(tiny, small_images):
    x, y = small_images
    net = tiny()
    found = landscape(net, cross_entropy, [(x[:4], y[:4])], points=3, batch_norm="re-estimated", training_set=[(x, y)])
    twin = copy.deepcopy(net)
    batchnorm.prepare(twin, x, "re-estimated")
    assert found.centre == mean_loss(twin, cross_entropy, Batches.of([(x[:4], y[:4])], twin))


def test_statistics_of_a_set_beyond_one_chunk_are_those_of_prepare(tiny, small_images, monkeypatch):
    x, y = small_images
    net = tiny()
    found = landscape(net, cross_entropy, [(x[:7], y[:7]), (x[7:], y[7:])], points=3, batch_norm="re-estimated", chunk=5)
    monkeypatch.setattr(batchnorm, "CHUNK", 5)
    batchnorm.prepare(net, x, "re-estimated")
    assert found.centre == mean_loss(net, cross_entropy, Batches.of([(x[:7], y[:7]), (x[7:], y[7:])], net))


# What it leaves behind


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_comes_back_bit_for_bit(tiny, small_images, fails):
    x, y = small_images
    net = tiny(dropout=0.5, dtype=torch.float32)
    net.train()
    net.bn.eval()
    net.depthwise.weight.requires_grad_(False)
    cross_entropy(net(x.float()), y).backward()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    grads = [(p.grad, None if p.grad is None else p.grad.clone()) for p in net.parameters()]
    modes, needs = [m.training for m in net.modules()], [p.requires_grad for p in net.parameters()]
    streams = torch.get_rng_state(), random.getstate()
    calls = 0

    def loss_fn(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if fails and calls == 7:
            raise RuntimeError("in the middle")
        torch.rand(3), random.random()
        return cross_entropy(outputs, labels)

    data = [(x.float(), y)]
    if fails:
        with pytest.raises(RuntimeError, match="in the middle"):
            landscape(net, loss_fn, data, directions=["random", "random"], points=3, batch_norm="re-estimated")
    else:
        landscape(net, loss_fn, data, directions=["random", "random"], points=3, batch_norm="re-estimated")
        assert calls == 9
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert all(p.grad is g and (g is None or torch.equal(g, v)) for p, (g, v) in zip(net.parameters(), grads, strict=True))
    assert [m.training for m in net.modules()] == modes
    assert [p.requires_grad for p in net.parameters()] == needs
    assert torch.equal(torch.get_rng_state(), streams[0])
    assert random.getstate() == streams[1]
    assert not any(m._forward_pre_hooks for m in net.modules())


def test_progress_counts_points(tiny, small_images):
    done: list[int] = []
    found = landscape(tiny(), cross_entropy, [small_images], directions=["random", "random"], points=3, progress=done.append)
    assert sum(done) == found.losses.size == 9
    assert not found.losses.flags.writeable


# Points far away


def test_losses_that_overflow_are_infinite_and_counted():
    net, (x, y) = _linear(), _regression()
    found = landscape(net, mse_loss, [(x, y)], directions=_gaussian(net, 1), extent=1e200, points=3)
    assert list(np.isinf(found.losses)) == [True, False, True]
    assert found.not_finite == 2
    assert found.losses[1] == found.centre


def test_losses_that_are_undefined_stay_nan():
    net, (x, y) = _linear(), _regression()

    def loss_fn(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return (
            mse_loss(outputs, labels) * 1e300 * 1e300 - mse_loss(outputs, labels) * 1e300 * 1e300
            if outputs.abs().max() > 1e100
            else outputs.mean()
        )

    found = landscape(net, loss_fn, [(x, y)], directions=_gaussian(net, 1), extent=1e150, points=3)
    assert list(np.isnan(found.losses)) == [True, False, True]
    assert found.not_finite == 2


# Bad input


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"points": 1}, "points is 1; a whole number ≥ 2"),
        ({"points": True}, "points is True"),
        ({"extent": 0.0}, "extent is 0.0"),
        ({"extent": (1.0, -1.0)}, r"extent is \(1.0, -1.0\).*low < high"),
        ({"extent": math.inf}, "extent is inf"),
        ({"extent": "wide"}, "extent is 'wide'"),
        ({"batch_norm": "thawed"}, "batch_norm is 'thawed'"),
        ({"training_set": [(torch.zeros(2, 3), torch.zeros(2))]}, "training_set is given and batch_norm is 'frozen'"),
        ({"chunk": 1}, "chunk is 1; a whole number ≥ 2"),
        ({"layers": ["missing"]}, "no layer 'missing'"),
        ({"biases": "large"}, "biases is 'large'"),
        ({"seed": -1}, "seed is -1"),
        ({"directions": "steepest"}, "a direction is 'steepest'"),
        ({"directions": 3}, "directions is a int"),
        ({"directions": ["random"] * 3}, "directions is 3 of them"),
        ({"directions": [7]}, "a direction is a int"),
        ({"directions": torch.ones(5)}, r"shape \(5,\); \(8,\)"),
        ({"directions": {"weight": torch.ones(3, 3)}}, r"holds \(3, 3\) for 'weight'.*\(2, 3\)"),
        ({"directions": {"other": torch.ones(3)}}, "'other', which is no parameter"),
        ({"directions": {"weight": torch.full((2, 3), math.nan)}}, "NaN or infinity for 'weight'"),
        ({"directions": {"weight": torch.zeros(2, 3)}}, "direction 0 is zero"),
        ({"directions": [{"weight": torch.ones(2, 3)}, {"weight": -2 * torch.ones(2, 3)}]}, "cosine -1.0"),
        ({"layers": ["bias"]}, "direction is zero.*biases='zero'"),
    ],
)
def test_bad_input_is_told(changed, words):
    net, data = _linear(), [_regression()]
    with pytest.raises(InvalidInput, match=words):
        landscape(net, mse_loss, data, **changed)


def test_a_loss_that_is_no_finite_number_at_the_model_itself_is_an_error():
    net, (x, y) = _linear(), _regression()
    with pytest.raises(InvalidInput, match="loss of batch 1 is nan"):
        landscape(net, mse_loss, [(x, y), (x, y * math.nan)], points=3)


def test_weights_that_are_not_finite_and_equal_states_are_refused():
    net = _linear()
    with pytest.raises(InvalidInput, match="states are equal"):
        towards(net, net)
    with pytest.raises(InvalidInput, match="lacks 'bias'"):
        towards(net, {"weight": net.weight})
    with torch.no_grad():
        net.weight[0, 0] = math.inf
    with pytest.raises(InvalidInput, match="'weight' holds NaN, infinity"):
        random_direction(net)


def test_a_layer_that_normalises_every_batch_by_itself_is_refused(small_images):
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2, track_running_stats=False)).double()
    with pytest.raises(InvalidInput, match="'1' keeps no statistics"):
        landscape(net, cross_entropy, [small_images])


def test_directions_that_do_not_fit_in_memory_are_refused_with_the_numbers(monkeypatch):
    monkeypatch.setattr(module, "free_memory", lambda _: 100)
    with pytest.raises(TooLarge, match="2 directions over 8 weights need"):
        landscape(_linear(), mse_loss, [_regression()], directions=["random", "random"])
