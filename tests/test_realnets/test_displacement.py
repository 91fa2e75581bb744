from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from realnets.probes import displacement
from tests.helpers import assert_exact
from theory.errors import InvalidInput


def test_exact_on_moves_that_are_known(tiny):
    before, after = tiny(), tiny()
    with torch.no_grad():
        before.conv.weight.fill_(1.0)
        after.conv.weight.fill_(1.5)  # 108 weights by 0.5
        before.classifier.weight.zero_()
        after.classifier.weight.zero_()
        after.classifier.weight[0, 0] = 3.0
        before.classifier.bias.zero_()
        after.classifier.bias.copy_(torch.tensor([0.0, 4.0]))
    moved = displacement(before, after)
    assert moved.layers["classifier"].norm == 5.0
    assert moved.layers["classifier"].size == 10
    assert moved.layers["classifier"].rms == 5 / math.sqrt(10)
    assert moved.parameters["classifier.bias"].norm == 4.0
    assert moved.layers["conv"].rms == 0.5
    assert moved.layers["bn"].norm == 0.0
    assert moved.total.norm == math.sqrt(108 * 0.25 + 25)
    assert moved.total.size == sum(p.numel() for p in before.parameters())


def test_modules_and_state_dicts_say_the_same(tiny):
    a, b = tiny(seed=0), tiny(seed=1)
    first = displacement(a, b)
    assert displacement(a.state_dict(), b.state_dict()) == first
    assert displacement(dict(a.named_parameters()), b) == first
    assert displacement(a, b.state_dict()) == first


def test_batch_norm_statistics_are_no_weights(tiny, small_images):
    a, b = tiny(), tiny()
    b.train()
    b(small_images[0])
    assert displacement(a, b).total.norm == 0.0
    assert displacement(a.state_dict(), b.state_dict()).total.norm == 0.0


def test_tiny_moves_of_large_float32_weights_are_not_lost():
    before = {"w": torch.full((1000,), 1e4)}
    after = {"w": torch.full((1000,), 1e4) + 2**-9}
    exact = float(after["w"].double()[0] - before["w"].double()[0])
    assert_exact(np.float64(displacement(before, after).total.rms), exact, ulps=4)


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ({"v": torch.zeros(2)}, "'v' is in one state only"),
        ({"w": torch.zeros(3)}, r"shapes \(2,\) and \(3,\)"),
        ({"w": torch.tensor([0.0, math.nan])}, "'w' holds NaN or infinity"),
        ({"w": [0.0, 0.0]}, "'w' is a list; tensors"),
    ],
)
def test_bad_states(after, words):
    with pytest.raises(InvalidInput, match=words):
        displacement({"w": torch.zeros(2)}, after)


def test_nothing_to_compare():
    with pytest.raises(InvalidInput, match="no parameters"):
        displacement({}, {})
