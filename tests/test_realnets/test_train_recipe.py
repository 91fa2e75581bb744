from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch.nn.functional import cross_entropy

from realnets.train import Recipe, TrainingDiverged, train
from realnets.train import precision as precisions
from realnets.train.recipe import SCHEDULES
from sim.rng import generator
from tests.helpers import assert_dtype_close, assert_exact
from theory.errors import InvalidInput

FROZEN = Recipe(epochs=2, batch_size=5, lr=0.1, momentum=0.9, weight_decay=0.01, batch_norm="frozen")


def _weights(net: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def _minibatches(n: int, steps: int, epochs: int, seed: int = 0) -> list[torch.Tensor]:
    orders = [torch.from_numpy(generator("realnets.train", seed, epoch).permutation(n)) for epoch in range(epochs)]
    return [minibatch for order in orders for minibatch in torch.tensor_split(order, steps)]


def _by_hand(net, x, y, recipe, rates):
    """The same training with torch's optimiser and nothing else."""
    if recipe.optimiser == "adamw":
        optimiser = torch.optim.AdamW(
            net.parameters(), lr=1.0, betas=(recipe.momentum, recipe.beta2), weight_decay=recipe.weight_decay, foreach=False
        )
    else:
        optimiser = torch.optim.SGD(net.parameters(), lr=1.0, momentum=recipe.momentum, weight_decay=recipe.weight_decay, foreach=False)
    net.eval()
    for minibatch, rate in zip(_minibatches(len(x), len(rates) // recipe.epochs, recipe.epochs), rates, strict=True):
        optimiser.param_groups[0]["lr"] = rate
        optimiser.zero_grad()
        cross_entropy(net(x[minibatch]), y[minibatch]).backward()
        optimiser.step()
    return net


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_optimisers_with_warm_up_are_torchs_own_on_the_same_minibatches(tiny, small_images, optimiser):
    x, y = small_images
    recipe = replace(FROZEN, optimiser=optimiser, lr=0.05, beta2=0.99, schedule="constant", warmup_steps=2)
    net = tiny()
    train(net, x, y, recipe)
    twin = _by_hand(tiny(), x, y, recipe, [0.05 / 3, 0.1 / 3, 0.05, 0.05])
    assert_exact(_weights(net), _weights(twin), ulps=64, scale=1.0)


def test_learning_rates_of_each_schedule():
    recipe = Recipe(lr=2.0, warmup_steps=4, drops=(0.5, 0.75), drop=0.1)
    rates = {name: [replace(recipe, schedule=name).learning_rate(k, 12) for k in range(12)] for name in SCHEDULES}
    warm = [2 * k / 5 for k in (1, 2, 3, 4)]
    expected = {
        "constant": [2.0] * 8,
        "cosine": [2 * math.cos(math.pi * k / 16) ** 2 for k in range(8)],
        "step": [2.0] * 4 + [0.2] * 2 + [0.02] * 2,
    }
    for name, after in expected.items():
        assert_exact(torch.tensor(rates[name], dtype=torch.float64), torch.tensor(warm + after, dtype=torch.float64), ulps=8)


@pytest.mark.parametrize("parts", [2, 3, 5])
def test_accumulation_of_ragged_parts_gives_the_gradient_of_the_whole_minibatch(tiny, small_images, parts):
    # 11 samples in steps of 6 and 5, and parts of unequal sizes: means of parts' means would be off by far more.
    x, y = small_images[0][:11], small_images[1][:11]
    whole, accumulated = tiny(), tiny()
    rows = train(whole, x, y, FROZEN)
    again = train(accumulated, x, y, replace(FROZEN, accumulation=parts))
    assert_exact(_weights(accumulated), _weights(whole), ulps=256, scale=1.0)
    assert_exact(torch.tensor([r["loss"] for r in again]).double(), torch.tensor([r["loss"] for r in rows]).double(), ulps=64, scale=1.0)


def test_the_planted_error_of_unweighted_parts_would_be_seen(tiny, small_images):
    x, y = small_images[0][:5], small_images[1][:5]
    net = tiny()
    halves = torch.tensor_split(torch.arange(5), 2)
    gradients = [torch.autograd.grad(cross_entropy(net(x[h]), y[h]), net.classifier.weight)[0] for h in halves]
    whole = torch.autograd.grad(cross_entropy(net(x), y), net.classifier.weight)[0]
    with pytest.raises(AssertionError):
        assert_exact(sum(gradients) / 2, whole, ulps=256, scale=1.0)


def _assert_close_in(dtype: torch.dtype, actual: torch.nn.Module, desired: torch.nn.Module, start: torch.nn.Module) -> None:
    """Weights within √eps of `dtype` of how far they moved."""
    moved = (_weights(desired) - _weights(start)).abs().max().item()
    coarser = (torch.finfo(dtype).eps / torch.finfo(torch.float32).eps) ** 0.5
    assert_dtype_close(_weights(actual), _weights(desired), coarser, moved)


def test_bf16_trains_float32_weights_to_nearly_the_same_place(tiny, small_images):
    x, y = small_images[0].float(), small_images[1]
    nets = {p: tiny(dtype=torch.float32) for p in ("full", "bf16")}
    for precision, net in nets.items():
        train(net, x, y, replace(FROZEN, epochs=1, precision=precision))
    assert all(p.dtype == torch.float32 for p in nets["bf16"].parameters())
    assert not torch.equal(_weights(nets["bf16"]), _weights(nets["full"]))
    _assert_close_in(torch.bfloat16, nets["bf16"], nets["full"], tiny(dtype=torch.float32))


def test_fp16_scales_the_loss_and_leaves_out_steps_that_overflow(tiny, small_images, monkeypatch):
    """The loss scale, on a CPU that the product refuses fp16 on; the first scale makes this loss overflow."""
    monkeypatch.setattr("realnets.train.loop.check_precision", lambda *_: None)
    monkeypatch.setattr(torch.amp, "GradScaler", lambda device: _Scaler(device, init_scale=2.0**22))
    x, y = small_images[0].float(), small_images[1]
    recipe = replace(FROZEN, epochs=8, batch_size=12, schedule="constant")
    net, full = tiny(dtype=torch.float32), tiny(dtype=torch.float32)
    _Scaler.scales = [2.0**22]
    train(net, x, y, replace(recipe, precision="fp16"))
    skipped = sum(after < before for before, after in pairwise(_Scaler.scales))
    assert 0 < skipped < 8
    train(full, x, y, replace(recipe, epochs=8 - skipped))
    _assert_close_in(torch.float16, net, full, tiny(dtype=torch.float32))


class _Scaler(torch.amp.GradScaler):
    scales: list[float]

    def update(self, new_scale=None):
        super().update(new_scale)
        self.scales.append(self.get_scale())


def test_gradients_that_overflow_at_every_scale_are_divergence(tiny, small_images, monkeypatch):
    monkeypatch.setattr("realnets.train.loop.check_precision", lambda *_: None)
    monkeypatch.setattr(precisions, "LEAST_SCALE", 2.0**16)
    net = tiny(dtype=torch.float32)
    net.conv.weight.register_hook(lambda g: g * math.inf)
    with pytest.raises(TrainingDiverged, match=r"overflow at every loss scale at step 0 .*layer 'conv'"):
        train(net, small_images[0].float(), small_images[1], replace(FROZEN, precision="fp16"))


@pytest.mark.parametrize(
    ("precision", "dtype", "words"),
    [
        ("fp16", torch.float32, "'fp16' on cpu, which needs a CUDA device; 'full' or 'bf16' is allowed"),
        ("bf16", torch.float64, "'bf16' and the network has weights in torch.float64; 'full', or weights in float32, are allowed"),
    ],
)
def test_a_precision_that_is_not_to_be_had_is_refused_with_the_reason(tiny, small_images, precision, dtype, words):
    with pytest.raises(InvalidInput, match=words):
        train(tiny(dtype=dtype), small_images[0].to(dtype), small_images[1], replace(FROZEN, precision=precision))


def test_a_warm_up_longer_than_the_run_is_refused(tiny, small_images):
    with pytest.raises(InvalidInput, match="warmup_steps is 4; fewer than the 4 steps of the run are allowed"):
        train(tiny(), *small_images, replace(FROZEN, warmup_steps=4))
