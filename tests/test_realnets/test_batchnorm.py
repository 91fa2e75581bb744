from __future__ import annotations

import pytest
import torch
from torch import nn

from realnets import batchnorm
from tests.helpers import assert_exact
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
