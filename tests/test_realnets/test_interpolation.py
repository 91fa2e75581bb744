from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from realnets import batchnorm
from realnets.probes.batches import Batches, mean_loss
from realnets.probes.interpolation import interpolation
from tests.helpers import assert_exact
from theory.errors import InvalidInput

TILT = 0.25


def _scalar(w: float) -> nn.Linear:
    net = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        net.weight.fill_(w)
    return net


def _double_well(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """`(w² − 1)² + TILT·w`, where inputs are one: wells at ±1, and a barrier of 1 over the line between them."""
    return ((outputs**2 - 1) ** 2 + TILT * outputs).mean()


ONES = [(torch.ones(3, 1, dtype=torch.float64), torch.zeros(3)), (torch.ones(2, 1, dtype=torch.float64), torch.zeros(2))]


def test_the_barrier_of_a_double_well_is_known():
    found = interpolation(_scalar(-1.0), _scalar(1.0), _double_well, ONES, points=5)
    w = np.linspace(-1, 1, 5)
    assert list(found.losses) == list((w**2 - 1) ** 2 + TILT * w)
    assert found.barrier == 1.0
    assert found.barrier_at == 0.5
    assert found.barrier_over_mean == 1.0
    # Between points the line is not seen: without the midpoint the barrier is smaller.
    coarse = interpolation(_scalar(-1.0), _scalar(1.0), _double_well, ONES, points=4)
    assert_exact(np.asarray(coarse.barrier), np.asarray((8 / 9) ** 2), ulps=4)


def test_two_definitions_differ_where_the_ends_do():
    # From the bottom of a well up its wall the loss is convex: it stays below the line between its ends.
    found = interpolation(_scalar(1.0), _scalar(1.5), _double_well, ONES, points=11)
    assert found.barrier == 0.0
    assert found.barrier_at == 0.0
    assert_exact(np.asarray(found.barrier_over_mean), np.asarray((found.losses[-1] - found.losses[0]) / 2), ulps=4)
    assert found.barrier_over_mean > 0.5


@pytest.mark.parametrize("policy", batchnorm.POLICIES)
@pytest.mark.parametrize("as_state", [False, True])
def test_the_ends_are_the_solutions_themselves(tiny, small_images, policy, as_state):
    x, y = small_images
    a, b = tiny(seed=0, dtype=torch.float32), tiny(seed=1, dtype=torch.float32)
    data = [(x[:8].float(), y[:8]), (x[8:].float(), y[8:])]
    with torch.no_grad():
        for net, shift in ((a, 0.3), (b, -0.2)):
            net.bn.running_mean += shift
            net.bn2.running_var += shift
    found = interpolation(a, b.state_dict() if as_state else b, cross_entropy, data, points=3, batch_norm=policy)
    for net, loss in ((a, found.losses[0]), (b, found.losses[-1])):
        twin = copy.deepcopy(net)
        batchnorm.prepare(twin, x.float(), policy)
        assert loss == mean_loss(twin, cross_entropy, Batches.of(data, twin))
    assert found.batch_norm == policy


def test_statistics_are_interpolated_or_measured_at_each_point(tiny, small_images):
    x, y = small_images
    a, b = tiny(seed=0), tiny(seed=1)
    batchnorm.prepare(a, x, "re-estimated")
    batchnorm.prepare(b, x, "re-estimated")
    middle = copy.deepcopy(a)
    ends = a.state_dict(), b.state_dict()
    middle.load_state_dict({name: (ends[0][name] + ends[1][name]) / 2 for name in ends[0]})
    frozen = interpolation(a, b, cross_entropy, [(x, y)], points=3, batch_norm="frozen")
    measured = interpolation(a, b, cross_entropy, [(x, y)], points=3)
    assert measured.batch_norm == "re-estimated"
    # The solutions' statistics are those of this set: at the ends the policies agree, up to the order of sums.
    assert_exact(frozen.losses[[0, 2]], measured.losses[[0, 2]], ulps=64)
    assert_exact(np.asarray(frozen.losses[1]), np.asarray(cross_entropy(middle(x), y).item()), ulps=64)
    assert_exact(np.asarray(measured.losses[1]), np.asarray(cross_entropy(middle.train()(x), y).item()), ulps=64)
    assert abs(frozen.losses[1] - measured.losses[1]) > 2.0**-26  # no rounding error


def test_a_state_to_itself_is_flat(tiny, small_images):
    net = tiny(dtype=torch.float32)
    x, y = small_images
    found = interpolation(net, copy.deepcopy(net), cross_entropy, [(x.float(), y)], points=7, batch_norm="frozen")
    assert len(set(found.losses)) == 1
    assert found.barrier == 0.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_path_is_exact_at_both_ends_and_where_the_states_agree(tiny, small_images, dtype):
    x, y = small_images
    a, b = tiny(seed=0, dtype=dtype), tiny(seed=1, dtype=dtype)
    with torch.no_grad():
        b.conv.weight.copy_(a.conv.weight)
    ends = [p.detach().clone() for p in a.parameters()], [p.detach().clone() for p in b.parameters()]
    seen: list[list[torch.Tensor]] = []

    def loss_fn(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        seen.append([p.detach().clone() for p in a.parameters()])
        return cross_entropy(outputs, labels)

    interpolation(a, b, loss_fn, [(x.to(dtype), y)], points=11)
    for weights, end in ((seen[0], ends[0]), (seen[-1], ends[1])):
        assert all(torch.equal(w, v) for w, v in zip(weights, end, strict=True))
    assert all(torch.equal(weights[0], a.conv.weight) for weights in seen)
    middle = ((u.double() + v.double()) / 2 for u, v in zip(*ends, strict=True))
    for w, v in zip(seen[5], middle, strict=True):
        assert_exact(w, v.to(dtype), ulps=1 if dtype == torch.float64 else 0, scale=1.0)


def test_both_models_come_back_bit_for_bit(tiny, small_images):
    a, b = tiny(seed=0).train(), tiny(seed=1)
    states = [{name: value.clone() for name, value in net.state_dict().items()} for net in (a, b)]
    done: list[int] = []
    interpolation(a, b, cross_entropy, [small_images], points=5, progress=done.append)
    assert done == [1] * 5
    for net, state in zip((a, b), states, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert a.training and not b.training


def test_a_barrier_beyond_floats_is_infinite():
    def loss_fn(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return (1 / outputs**2).mean()

    found = interpolation(_scalar(-1.0), _scalar(1.0), loss_fn, ONES, points=3)
    assert found.barrier == math.inf
    assert found.not_finite == 1


def test_whole_numbers_that_differ_cannot_be_interpolated():
    class Indexed(nn.Module):
        def __init__(self, index: int) -> None:
            super().__init__()
            self.layer = nn.Linear(1, 1)
            self.register_buffer("index", torch.tensor(index))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x) + self.index

    with pytest.raises(InvalidInput, match="whole numbers 'index' differ"):
        interpolation(Indexed(1), Indexed(2), _double_well, ONES)


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda s: s, {"points": 2}, "points is 2; a whole number ≥ 3"),
        (lambda s: s, {"batch_norm": "thawed"}, "batch_norm is 'thawed'"),
        (lambda s: {**s, "extra": torch.zeros(1)}, {}, "holds 'extra', which the first lacks"),
        (lambda s: {k: v for k, v in s.items() if k != "conv.weight"}, {}, "lacks 'conv.weight'"),
        (
            lambda s: {k: v for k, v in s.items() if "running" not in k},
            {"batch_norm": "frozen"},
            r"lacks 'bn.running_mean' \(batch_norm='frozen'\)",
        ),
        (lambda s: {**s, "conv.weight": torch.zeros(2)}, {}, r"holds \(2,\) for 'conv.weight'"),
        (lambda s: {**s, "conv.weight": s["conv.weight"] * math.nan}, {}, "'conv.weight' holds NaN or infinity"),
    ],
)
def test_bad_states_and_options_are_told(tiny, small_images, change, options, words):
    with pytest.raises(InvalidInput, match=words):
        interpolation(tiny(), change(tiny(seed=1).state_dict()), cross_entropy, [small_images], **options)


def test_without_statistics_a_state_will_do_where_they_are_measured(tiny, small_images):
    a, b = tiny(), tiny(seed=1)
    weights = dict(b.named_parameters())
    assert np.array_equal(
        interpolation(a, weights, cross_entropy, [small_images], points=3).losses,
        interpolation(a, b, cross_entropy, [small_images], points=3).losses,
    )
