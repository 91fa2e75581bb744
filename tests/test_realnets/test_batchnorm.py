from __future__ import annotations

import pytest
import torch
from torch import nn

from realnets import batchnorm
from tests.helpers import assert_dtype_close, assert_exact
from theory.errors import InvalidInput


def _statistics(net: nn.Module) -> list[torch.Tensor]:
    return [b.clone() for b in net.buffers()]


def test_reestimated_is_training_on_the_whole_set(tiny, small_images):
    x, _ = small_images
    net = tiny()
    batchnorm.prepare(net, x, "re-estimated")
    assert not net.training
    evaluated = net(x)
    net.train()
    # The same sums in another order: a few ulps of values of order one.
    assert_exact(evaluated.detach(), net(x).detach(), ulps=64, scale=1.0)


def test_reestimated_in_chunks_gives_the_whole_sets_moments(tiny, small_images, monkeypatch):
    x, _ = small_images
    monkeypatch.setattr(batchnorm, "CHUNK", 5)
    net = tiny()
    batchnorm.prepare(net, x, "re-estimated")
    first = net.conv(x).detach()  # what the first layer sees does not depend on how the chunks were normalised
    assert_exact(net.bn.running_mean, first.mean(dim=(0, 2, 3)), ulps=64, scale=1.0)
    assert_exact(net.bn.running_var, first.var(dim=(0, 2, 3), correction=0), ulps=64, scale=1.0)


def test_reestimation_leaves_no_hooks_and_no_memory_of_earlier_statistics(tiny, small_images):
    x, _ = small_images
    net, other = tiny(), tiny()
    other.bn.running_mean += 7
    for model in (net, other):
        batchnorm.prepare(model, x, "re-estimated")
    assert all(torch.equal(a, b) for a, b in zip(net.buffers(), other.buffers(), strict=True))
    assert not any(m._forward_pre_hooks for m in net.modules())


def test_frozen_statistics_survive_training_and_preparation(tiny, small_images):
    x, _ = small_images
    net = tiny()
    net.bn.running_mean += 1
    before = _statistics(net)
    batchnorm.set_training(net, "frozen")
    assert net.training
    assert net.dropout.training
    net(x)
    batchnorm.prepare(net, x, "frozen")
    assert all(torch.equal(a, b) for a, b in zip(before, _statistics(net), strict=True))


def test_reestimated_training_normalises_by_the_batch(tiny, small_images):
    net = tiny()
    batchnorm.set_training(net, "re-estimated")
    assert net.bn.training


@pytest.mark.parametrize(
    ("policy", "start", "words"),
    [("thawed", "pretrained", "'frozen', 're-estimated' is allowed"), ("frozen", "random", "random start.*'re-estimated' is allowed")],
)
def test_bad_policies(policy, start, words):
    with pytest.raises(InvalidInput, match=words):
        batchnorm.check_policy(policy, start)


def test_a_layer_without_statistics_is_refused(small_images):
    net = nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)).double()
    with pytest.raises(InvalidInput, match="track_running_stats"):
        batchnorm.prepare(net, small_images[0], "re-estimated")


def test_moments_of_many_chunks_do_not_cancel(small_images):
    # In float32, E[x²] − mean² of values near 1000 would be noise of size 0.06, 170 √eps.
    x = (small_images[0].float() + 1000).contiguous()
    net = nn.Sequential(nn.BatchNorm2d(3))
    batchnorm.prepare(net, x.split([5, 4, 2, 1]), "re-estimated")
    wide = x.double()
    assert_exact(net[0].running_mean, wide.mean(dim=(0, 2, 3)).float(), ulps=2)
    assert_dtype_close(net[0].running_var, wide.var(dim=(0, 2, 3), correction=0).float(), multiple_of_sqrt_eps=0.1, scale=1.0)


@pytest.mark.parametrize(("layer", "shape"), [(nn.BatchNorm1d, (12, 3)), (nn.BatchNorm1d, (12, 3, 5)), (nn.BatchNorm3d, (12, 3, 2, 2, 2))])
def test_every_kind_of_batch_norm_is_reestimated(layer, shape):
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 3
    net = nn.Sequential(layer(3)).double()
    batchnorm.prepare(net, x, "re-estimated")
    evaluated = net(x).detach()
    assert_exact(evaluated, net.train()(x).detach(), ulps=64, scale=1.0)


def test_a_layer_that_is_used_twice_gets_the_moments_of_both_uses():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bn = nn.BatchNorm1d(2, affine=False, eps=0.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.bn(5 * self.bn(x) + 2)

    net = Twice().double()
    x = torch.randn(8, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    batchnorm.prepare(net, x, "re-estimated")
    both = torch.cat([x, 5 * (x - x.mean(dim=0)) / x.std(dim=0, correction=0) + 2])
    assert_exact(net.bn.running_mean, both.mean(dim=0), ulps=64, scale=1.0)
    assert_exact(net.bn.running_var, both.var(dim=0, correction=0), ulps=64)


def test_one_value_a_channel_has_no_variance():
    net = nn.Sequential(nn.BatchNorm1d(3)).double()
    x = torch.ones(3, 3, dtype=torch.float64)
    with pytest.raises(InvalidInput, match=r"shape \(1, 3\) reached batch norm: one value a channel; at least 2"):
        batchnorm.prepare(net, [x[:2], x[2:]], "re-estimated")


@pytest.mark.parametrize("cuts", [[12], [5, 4, 2, 1], [1] * 12, [11, 1]])
@pytest.mark.parametrize("chunk", [2, 5, 12, 100])
def test_regrouped_rows_are_the_chunks_of_the_whole(cuts, chunk):
    x = torch.arange(24.0).reshape(12, 2)
    found = list(batchnorm.regrouped(x.split(cuts), 12, chunk))
    wanted = torch.chunk(x, -(-12 // chunk))
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_pictures_of_several_sizes_are_not_mixed():
    parts = [torch.ones(3, 2), torch.ones(2, 2), torch.ones(4, 3)]
    assert [tuple(part.shape) for part in batchnorm.regrouped(parts, 9, 100)] == [(5, 2), (4, 3)]
