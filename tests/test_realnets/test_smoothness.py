from __future__ import annotations

import copy
import json
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from realnets import batchnorm
from realnets.probes import smoothness
from realnets.probes.smoothness import AlongGradient, SmoothnessTrace, loss_along_gradient
from realnets.train import Recipe, train
from tests.helpers import assert_dtype_close, assert_exact
from theory.errors import InvalidInput, TooLarge
from theory.numeric import landscape
from theory.numeric.spectrum import GramSpectrum

SIZES = [0.05, 0.2, 1.0, 1.7]


def _half_squares(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return 0.5 * ((outputs - labels) ** 2).sum(dim=1).mean()


def _linear() -> tuple[nn.Linear, torch.Tensor, torch.Tensor]:
    stream = torch.Generator().manual_seed(3)
    x, y = (torch.randn(11, d, dtype=torch.float64, generator=stream) for d in (4, 1))
    net = nn.Linear(4, 1, bias=False).double()
    with torch.no_grad():
        net.weight.copy_(torch.randn(1, 4, dtype=torch.float64, generator=stream))
    return net, x, y


def _cut(x: torch.Tensor, y: torch.Tensor, *sizes: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(zip(torch.split(x, list(sizes)), torch.split(y, list(sizes)), strict=True))


def _scalar(w: float) -> nn.Linear:
    net = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        net.weight.fill_(w)
    return net


ONE = [(torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64))]


def test_on_a_quadratic_everything_is_known():
    net, x, y = _linear()
    found = loss_along_gradient(net, _half_squares, _cut(x, y, 5, 4, 2), SIZES)
    X, w = x.numpy(), net.weight.detach().numpy()[0]
    r, H, n = X @ w - y.numpy()[:, 0], X.T @ X / len(X), len(X)
    g, eta = X.T @ r / n, np.array(SIZES)
    Hg = H @ g
    # Rounding is of the terms' size, not of their difference's.
    scale = r @ r / n + eta * (g @ g) + eta**2 * (g @ Hg)
    assert_exact(found.losses, r @ r / n / 2 - eta * (g @ g) + eta**2 / 2 * (g @ Hg), ulps=32, scale=scale)
    size = np.linalg.norm(g) + eta * np.linalg.norm(Hg)
    assert_exact(found.gradient_change, eta * np.linalg.norm(Hg), ulps=64, scale=size)
    assert_exact(found.gradient_norms, np.linalg.norm(g - eta[:, None] * Hg, axis=1), ulps=64, scale=size)
    assert_exact(np.asarray(found.gradient_norm), np.asarray(np.linalg.norm(g)), ulps=32)
    assert_exact(np.asarray(found.centre), np.asarray(r @ r / n / 2), ulps=8)
    assert_exact(found.smoothness, np.full(4, np.linalg.norm(Hg) / np.linalg.norm(g)), ulps=64, scale=size / (eta * np.linalg.norm(g)))
    assert found.batch_norm == "frozen"


def test_on_a_linear_model_it_is_what_theory_calls_by_the_same_names():
    net, x, y = _linear()
    found = loss_along_gradient(net, _half_squares, [(x, y)], SIZES)
    spectrum = GramSpectrum.of((x @ x.T / len(x)).numpy())
    r = (y - x @ net.weight.detach().T).numpy()[:, 0] / math.sqrt(len(x))
    assert_dtype_close(np.asarray(found.gradient_norm), np.asarray(landscape.gradient_norm(spectrum, r)), 16, found.gradient_norm)
    for i, lr in enumerate(SIZES):
        assert_dtype_close(found.losses[i : i + 1], np.array([landscape.loss_along_gradient(spectrum, r, lr)]), 16, found.centre)
        assert_dtype_close(
            found.gradient_change[i : i + 1], np.array([landscape.gradient_change(spectrum, r, lr)]), 16, found.gradient_norm
        )
    beta = landscape.effective_smoothness(spectrum, r)
    assert beta is not None
    assert_dtype_close(np.asarray(found.effective_smoothness), np.asarray(beta), 16, beta)


def test_range_smoothness_and_lipschitzness_are_the_largest_on_the_line_and_the_range_counts_its_start():
    # L = w⁴ at w = 1: the gradient is 4, and the line goes to 1 − 4η.
    found = loss_along_gradient(_scalar(1.0), lambda out, _: (out**4).mean(), ONE, [0.125, 0.25, 0.75])
    assert found.losses.tolist() == [0.5**4, 0.0, 16.0]
    assert found.gradient_norms.tolist() == [0.5, 0.0, 32.0]
    assert found.gradient_change.tolist() == [3.5, 4.0, 36.0]
    assert found.smoothness.tolist() == [7.0, 4.0, 12.0]
    assert (found.loss_range, found.effective_smoothness, found.lipschitzness) == (16.0, 12.0, 32.0)
    near = loss_along_gradient(_scalar(1.0), lambda out, _: (out**4).mean(), ONE, [0.125, 0.25])
    assert (near.loss_range, near.effective_smoothness, near.lipschitzness) == (1.0, 7.0, 4.0)


def test_how_samples_are_cut_into_batches_does_not_matter(tiny, small_images):
    x, y = small_images
    whole = loss_along_gradient(tiny(), cross_entropy, [(x, y)], SIZES)
    cut = loss_along_gradient(tiny(), cross_entropy, iter(_cut(x, y, 7, 4, 1)), SIZES)
    assert_exact(cut.losses, whole.losses, ulps=64, scale=1.0)
    assert_exact(cut.gradient_change, whole.gradient_change, ulps=64, scale=1.0)
    assert_exact(np.asarray(cut.gradient_norm), np.asarray(whole.gradient_norm), ulps=64)


@pytest.mark.parametrize("power", [-27, 27])
def test_a_scaled_loss_scales_everything(tiny, small_images, power):
    scale = 2.0**power
    plain = loss_along_gradient(tiny(), cross_entropy, [small_images], SIZES)
    scaled = loss_along_gradient(tiny(), lambda out, y: scale * cross_entropy(out, y), [small_images], np.array(SIZES) / scale)
    # Powers of two round nothing.
    assert scaled.losses.tolist() == (scale * plain.losses).tolist()
    assert scaled.gradient_change.tolist() == (scale * plain.gradient_change).tolist()
    assert scaled.effective_smoothness == scale * plain.effective_smoothness
    assert scaled.loss_range == scale * plain.loss_range


def test_float32_agrees_with_float64(tiny, small_images):
    x, y = small_images
    single = loss_along_gradient(tiny(dtype=torch.float32), cross_entropy, [(x.float(), y)], SIZES)
    double = tiny(dtype=torch.float32).double()
    found = loss_along_gradient(double, cross_entropy, [(x.float().double(), y)], SIZES)
    root = float(torch.finfo(torch.float32).eps) ** 0.5
    for name in ("losses", "gradient_change", "gradient_norms"):
        assert np.all(np.abs(getattr(single, name) - getattr(found, name)) < root * found.lipschitzness)


def test_only_chosen_layers_move_and_the_gradient_is_theirs(tiny, small_images):
    x, y = small_images
    net = tiny()
    net.classifier.requires_grad_(False)
    seen = []

    def loss_fn(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        seen.append({name: p.detach().clone() for name, p in net.named_parameters()})
        return cross_entropy(outputs, labels)

    found = loss_along_gradient(net, loss_fn, [(x, y)], [0.5], layers="classifier")
    twin = tiny()
    grads = torch.autograd.grad(cross_entropy(twin(x), y), list(twin.classifier.parameters()))
    assert_exact(np.asarray(found.gradient_norm), np.asarray(math.hypot(*(float(g.norm()) for g in grads))), ulps=16)
    for name, p in net.named_parameters():
        assert torch.equal(seen[1][name], p) == (not name.startswith("classifier"))


def _by_training(net: nn.Module, batches: list[tuple[torch.Tensor, torch.Tensor]], sizes: list[float]) -> AlongGradient:
    """The loss of training, each batch normalised by itself, by torch.func: another way to the same numbers."""
    twin = copy.deepcopy(net).train()
    weights = {name: p.detach() for name, p in twin.named_parameters()}
    n = sum(len(y) for _, y in batches)

    def loss(w: dict[str, torch.Tensor]) -> torch.Tensor:
        return sum(len(y) / n * cross_entropy(functional_call(twin, w, (x,)), y) for x, y in batches)  # type: ignore[return-value]

    def at(eta: float) -> tuple[dict[str, torch.Tensor], float]:
        moved = {name: (w - eta * g[name]).requires_grad_() for name, w in weights.items()}
        value = loss(moved)
        return dict(zip(moved, torch.autograd.grad(value, list(moved.values())), strict=True)), value.item()

    def norm(parts: dict[str, torch.Tensor]) -> float:
        return math.sqrt(sum(float((p**2).sum()) for p in parts.values()))

    g = {name: torch.zeros_like(w) for name, w in weights.items()}
    g, centre = at(0.0)
    ends = [at(eta) for eta in sizes]
    return AlongGradient(
        step_sizes=np.array(sizes),
        losses=np.array([value for _, value in ends]),
        gradient_norms=np.array([norm(e) for e, _ in ends]),
        gradient_change=np.array([norm({name: e[name] - g[name] for name in g}) for e, _ in ends]),
        centre=centre,
        gradient_norm=norm(g),
        batch_norm="re-estimated",
    )


def test_re_estimated_is_the_loss_of_training_with_its_own_gradient(tiny, small_images):
    x, y = small_images
    net, batches = tiny(), _cut(x, y, 5, 4, 3)
    found = loss_along_gradient(net, cross_entropy, batches, SIZES, batch_norm="re-estimated")
    known = _by_training(net, batches, SIZES)
    assert_exact(found.losses, known.losses, ulps=256, scale=1.0)
    assert_exact(found.gradient_change, known.gradient_change, ulps=256, scale=found.lipschitzness)
    assert_exact(np.asarray(found.gradient_norm), np.asarray(known.gradient_norm), ulps=256)
    assert found.batch_norm == "re-estimated"
    # The statistics' own gradient counts: with those of the same set, but held, the gradient is another.
    held = copy.deepcopy(net)
    batchnorm.prepare(held, x, "re-estimated")
    frozen = loss_along_gradient(held, cross_entropy, [(x, y)], SIZES)
    moving = loss_along_gradient(net, cross_entropy, [(x, y)], SIZES, batch_norm="re-estimated")
    assert_exact(np.asarray(frozen.centre), np.asarray(moving.centre), ulps=64)
    assert abs(frozen.gradient_norm / moving.gradient_norm - 1) > 2.0**-13


def test_re_estimated_leaves_dropout_off(tiny, small_images):
    dropping = loss_along_gradient(tiny(dropout=0.5).train(), cross_entropy, [small_images], [0.1], batch_norm="re-estimated")
    assert (
        dropping.losses.tolist()
        == loss_along_gradient(tiny(), cross_entropy, [small_images], [0.1], batch_norm="re-estimated").losses.tolist()
    )


@pytest.mark.parametrize("policy", batchnorm.POLICIES)
@pytest.mark.parametrize("fails", [False, True])
def test_the_model_comes_back_bit_for_bit(tiny, small_images, policy, fails):
    x, y = small_images
    net = tiny(dtype=torch.float32, dropout=0.5).train()
    net.bn.eval()
    net.conv.weight.requires_grad_(False)
    net.classifier.weight.grad = torch.ones_like(net.classifier.weight)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    modes, stream = [m.training for m in net.modules()], torch.get_rng_state()
    done: list[int] = []

    def progress(points: int) -> None:
        done.append(points)
        if fails:
            raise KeyboardInterrupt

    def look() -> None:
        loss_along_gradient(net, cross_entropy, [(x.float(), y)], SIZES, batch_norm=policy, progress=progress)

    if fails:
        with pytest.raises(KeyboardInterrupt):
            look()
    else:
        look()
        assert done == [1] * len(SIZES)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert [m.training for m in net.modules()] == modes
    assert torch.equal(torch.get_rng_state(), stream)
    assert [name for name, p in net.named_parameters() if not p.requires_grad] == ["conv.weight"]
    assert [name for name, p in net.named_parameters() if p.grad is not None] == ["classifier.weight"]
    assert bool((net.classifier.weight.grad == 1).all())


def test_it_may_be_called_where_gradients_are_off(tiny, small_images):
    with torch.no_grad():
        off = loss_along_gradient(tiny(), cross_entropy, [small_images], SIZES)
    assert off.gradient_change.tolist() == loss_along_gradient(tiny(), cross_entropy, [small_images], SIZES).gradient_change.tolist()


def test_far_away_a_loss_may_overflow_and_its_gradient_is_then_unknown():
    # w⁴ at w = 1: the last step goes to about −4e80, whose fourth power is beyond floats.
    found = loss_along_gradient(_scalar(1.0), lambda out, _: (out**4).mean(), ONE, [0.125, 1e80])
    assert found.losses[1] == math.inf
    assert found.not_finite == 1
    assert found.loss_range == math.inf
    assert math.isnan(found.effective_smoothness) and math.isnan(found.lipschitzness)
    row = found.row()
    assert row["losses"] == [0.5**4, None] and row["smoothness"] == [7.0, None]
    assert row["loss_range"] is None and row["effective_smoothness"] is None
    json.dumps(row, allow_nan=False)


def test_a_trace_of_training_changes_nothing_and_says_what_a_call_would(tiny, small_images):
    x, y = small_images
    x, recipe = x.float(), Recipe(epochs=2, batch_size=4, lr=0.1, weight_decay=0.0)
    plain, traced = tiny(dtype=torch.float32), tiny(dtype=torch.float32)
    trace = SmoothnessTrace(cross_entropy, iter([(x, y)]), [0.1, 0.2], every=3)
    at_start: list[AlongGradient] = []

    def look(step: int, model: nn.Module) -> None:
        trace(step, model)
        if step == 0:
            at_start.append(loss_along_gradient(model, cross_entropy, [(x, y)], [0.1, 0.2]))

    train(plain, x, y, recipe)
    train(traced, x, y, recipe, callback=look)
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in traced.state_dict().items())
    # Twelve samples in minibatches of four, twice: six steps.
    assert sorted(trace.found) == [0, 3, 6]
    assert trace.found[0].losses.tolist() == at_start[0].losses.tolist()
    rows = trace.rows()
    assert [row["step"] for row in rows] == [0, 3, 6]
    assert rows[1]["gradient_change"] == trace.found[3].gradient_change.tolist()
    assert rows[0]["losses"] != rows[1]["losses"]
    json.dumps(rows, allow_nan=False)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"step_sizes": []}, r"step_sizes is \[\]; finite numbers > 0"),
        ({"step_sizes": 0.1}, "step_sizes is 0.1"),
        ({"step_sizes": [0.1, 0.0]}, r"step_sizes is \[0.1, 0.0\]"),
        ({"step_sizes": [-0.1]}, r"step_sizes is \[-0.1\]"),
        ({"step_sizes": [math.nan]}, r"step_sizes is \[nan\]"),
        ({"step_sizes": [math.inf]}, r"step_sizes is \[inf\]"),
        ({"step_sizes": ["far"]}, r"step_sizes is \['far'\]"),
        ({"step_sizes": [1e-18]}, "a step size is 1e-18, a step of length .* of which rounding to torch.float64 loses"),
        ({"layers": ["convolution"]}, "there is no layer 'convolution'"),
        ({"batch_norm": "thawed"}, "batch_norm is 'thawed'"),
        ({"batches": []}, "batches is empty"),
        ({"loss_fn": lambda out, _: out.mean() * math.nan}, "the loss of batch 0 is nan"),
        ({"loss_fn": lambda out, _: out}, r"loss_fn gave a tensor of shape \(12, 2\)"),
        ({"loss_fn": lambda out, _: 0 * out.mean()}, "the gradient over 8 parameters is zero"),
        ({"loss_fn": lambda out, _: torch.ones(())}, "the gradient over 8 parameters is zero"),
        ({"loss_fn": lambda out, _: (out - out.detach()).abs().sqrt().mean()}, "the gradient is not finite at 'conv.weight'"),
    ],
)
def test_bad_input_is_told_with_what_is_allowed(tiny, small_images, options, words):
    given = {"loss_fn": cross_entropy, "batches": [small_images], "step_sizes": [0.1]} | options
    with pytest.raises(InvalidInput, match=words):
        loss_along_gradient(tiny(), **given)


def test_a_bad_trace_is_told_before_training_starts():
    for options, words in (
        ({"every": 0}, "every is 0"),
        ({"batch_norm": "thawed"}, "'thawed'"),
        ({"step_sizes": [0]}, r"step_sizes is \[0\]"),
    ):
        with pytest.raises(InvalidInput, match=words):
            SmoothnessTrace(cross_entropy, [], **({"step_sizes": [0.1]} | options))


def test_too_little_memory_is_told_with_what_is_needed(tiny, small_images, monkeypatch):
    monkeypatch.setattr(smoothness, "free_memory", lambda _: 1000)
    with pytest.raises(TooLarge, match="copies of 170 weights need"):
        loss_along_gradient(tiny(), cross_entropy, [small_images], [0.1])
