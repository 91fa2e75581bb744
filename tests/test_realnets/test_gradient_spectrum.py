from __future__ import annotations

import importlib
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torchvision.models import mobilenet_v2

from realnets.probes.gradient_spectrum import GradientSpectrum, ModeEnergy, gradient_spectrum
from tests.helpers import assert_exact, assert_z
from theory.errors import InvalidInput, TooLarge

module = importlib.import_module("realnets.probes.gradient_spectrum")  # the name in the package is the function


def _half_squares(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return 0.5 * ((outputs - labels) ** 2).sum(dim=1).mean()


def _product(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Its gradient at the outputs is `labels/n`."""
    return (outputs * labels).flatten(1).sum(dim=1).mean()


def _draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _double(net: nn.Module, seed: int = 0) -> nn.Module:
    net.double().eval()
    with torch.no_grad():
        for index, p in enumerate(net.parameters()):
            p.copy_(_draw(*p.shape, seed=seed * 1000 + index) / math.sqrt(max(1, p[0].numel() if p.ndim > 1 else 4)))
    return net


def _close(found: GradientSpectrum, other: GradientSpectrum, ulps: float = 256) -> None:
    assert list(found.blocks) == list(other.blocks)
    for a, b in zip(found.blocks.values(), other.blocks.values(), strict=True):
        assert_exact(np.asarray(a.norm), np.asarray(b.norm), ulps=ulps)
        assert (a.modes is None) == (b.modes is None)
        if a.modes is not None and b.modes is not None:
            assert_exact(a.modes.activation.values, b.modes.activation.values, ulps=ulps, scale=b.modes.activation.total)
            assert_exact(a.modes.slopes, b.modes.slopes, ulps=ulps, scale=b.modes.weight_norm)
            assert_exact(np.asarray(a.modes.weight_norm), np.asarray(b.modes.weight_norm), ulps=ulps)


def test_of_a_deep_linear_chain_everything_is_known():
    chain = _double(nn.Sequential(nn.Linear(5, 7, bias=False), nn.Linear(7, 4, bias=False), nn.Linear(4, 3, bias=False)))
    x, y = _draw(11, 5, seed=1), _draw(11, 3, seed=2)
    found = gradient_spectrum(chain, _half_squares, [(x[:6], y[:6]), (x[6:], y[6:])])
    W = [layer.weight.detach().numpy() for layer in chain]
    inputs = [x.numpy().T]
    for w in W:
        inputs.append(w @ inputs[-1])
    D = (inputs[3] - y.numpy().T) / 11
    for name, w, before in zip(("2", "1", "0"), W[::-1], inputs[2::-1], strict=True):
        block = found.blocks[name]
        U, sigma, Vh = np.linalg.svd(w, full_matrices=False)
        G = D @ before.T
        assert block.modes is not None and block.why == ""
        assert_exact(np.asarray(block.norm), np.asarray(np.linalg.norm(D)), ulps=64)
        assert_exact(block.modes.singular_values, sigma, ulps=64, scale=sigma[0])
        assert_exact(block.modes.activation.values, np.sum((U.T @ D) ** 2, axis=1), ulps=1024, scale=np.sum(D**2))
        # `u` and `v` may both have the other sign, which changes no slope.
        assert_exact(block.modes.slopes, np.sum((U.T @ G) * Vh, axis=1), ulps=1024, scale=np.linalg.norm(G))
        assert_exact(np.asarray(block.modes.weight_norm), np.asarray(np.linalg.norm(G)), ulps=64)
        assert (block.modes.activation.dimensions, block.modes.weight.dimensions) == (len(w), min(w.shape))
        D = w.T @ D
    assert list(found.blocks) == ["0", "1", "2"]
    assert (found.samples, found.unused) == (11, ())
    assert_exact(np.asarray(found.loss), np.asarray(_half_squares(chain(x), y).item()), ulps=16)


def _convolutions(*, groups: int = 1) -> nn.Module:
    return _double(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 8, 2, groups=groups), nn.Tanh(), nn.Flatten(), nn.Linear(32, 2))
    )


def test_slopes_are_derivatives_by_the_singular_values():
    net, x, y = _convolutions(), _draw(6, 3, 5, 5), torch.arange(6) % 2
    found = gradient_spectrum(net, cross_entropy, [(x, y)])
    weights = {name: p.detach() for name, p in net.named_parameters()}
    for name in ("0", "2", "5"):
        w = weights[f"{name}.weight"]
        U, sigma, Vh = torch.linalg.svd(w.reshape(len(w), -1), full_matrices=False)
        sigma.requires_grad_()
        loss = cross_entropy(functional_call(net, {**weights, f"{name}.weight": ((U * sigma) @ Vh).reshape(w.shape)}, (x,)), y)
        (slopes,) = torch.autograd.grad(loss, sigma)
        modes = found.blocks[name].modes
        assert modes is not None
        assert_exact(modes.slopes, slopes.numpy(), ulps=4096, scale=modes.weight_norm)
        assert_exact(modes.weight.values, slopes.numpy() ** 2, ulps=4096, scale=modes.weight_norm**2)


def test_a_convolution_has_a_mode_for_channels_at_all_positions():
    net, x, y = _convolutions(), _draw(6, 3, 5, 5), torch.arange(6) % 2
    conv, rest = net[0], net[1:]
    X = conv(x).detach().requires_grad_()
    (D,) = torch.autograd.grad(cross_entropy(rest(X), y), X)
    U, _, _ = np.linalg.svd(conv.weight.detach().numpy().reshape(4, 27), full_matrices=False)
    block = gradient_spectrum(net, cross_entropy, [(x, y)], blocks="0").blocks["0"]
    assert block.modes is not None
    known = np.sum(np.einsum("nchw,ci->nhwi", D.numpy(), U) ** 2, axis=(0, 1, 2))
    assert_exact(block.modes.activation.values, known, ulps=1024, scale=known.sum())


@pytest.mark.parametrize("groups", [2, 4])
def test_a_grouped_convolution_is_its_block_diagonal_matrix(groups):
    grouped, dense = _convolutions(groups=groups), _convolutions()
    x, y = _draw(6, 3, 5, 5), torch.arange(6) % 2
    each_in, each_out = 4 // groups, 8 // groups
    with torch.no_grad():
        dense.load_state_dict({name: value for name, value in grouped.state_dict().items() if name != "2.weight"}, strict=False)
        dense[2].weight.zero_()
        for g in range(groups):
            rows, columns = slice(g * each_out, (g + 1) * each_out), slice(g * each_in, (g + 1) * each_in)
            dense[2].weight[rows, columns] = grouped[2].weight[rows]
    a = gradient_spectrum(grouped, cross_entropy, [(x, y)]).blocks["2"]
    b = gradient_spectrum(dense, cross_entropy, [(x, y)]).blocks["2"]
    assert a.modes is not None and b.modes is not None
    assert_exact(np.asarray(a.norm), np.asarray(b.norm), ulps=64)
    r = len(a.modes.singular_values)
    assert r == groups * min(each_out, each_in * 4)
    assert_exact(a.modes.singular_values, b.modes.singular_values[:r], ulps=256, scale=a.modes.singular_values[0])
    assert_exact(a.modes.activation.values, b.modes.activation.values[:r], ulps=4096, scale=a.norm**2)
    assert_exact(a.modes.slopes, b.modes.slopes[:r], ulps=4096, scale=b.modes.weight_norm)
    assert a.modes.activation.dimensions == 8


def test_a_depthwise_convolution_has_a_mode_for_each_channel():
    net = _double(nn.Sequential(nn.Conv2d(3, 3, 3, groups=3), nn.Flatten()))
    x, labels = _draw(5, 3, 4, 4), _draw(5, 12, seed=3)
    modes = gradient_spectrum(net, _product, [(x, labels)]).blocks["0"].modes
    assert modes is not None
    norms = net[0].weight.detach().flatten(1).norm(dim=1).numpy()
    energy = (labels.reshape(5, 3, 4) / 5).square().sum(dim=(0, 2)).numpy()
    order = np.argsort(-norms)
    assert_exact(modes.singular_values, norms[order], ulps=16)
    assert_exact(modes.activation.values, energy[order], ulps=64)


def test_energies_sum_to_the_whole_where_there_is_a_mode_for_each_output():
    net = _double(nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 9), nn.Tanh(), nn.Linear(9, 2)))
    found = gradient_spectrum(net, cross_entropy, [(_draw(10, 6), torch.arange(10) % 2)])
    for name, whole in (("0", True), ("2", False), ("4", True)):
        block = found.blocks[name]
        assert block.modes is not None
        assert_exact(np.asarray(block.modes.activation.total), np.asarray(block.norm**2), ulps=64)
        assert_exact(np.asarray(block.modes.weight.total), np.asarray(np.sum(block.modes.slopes**2)), ulps=8)
        assert block.modes.weight.total < block.modes.weight_norm**2
        if whole:
            assert_exact(np.asarray(block.modes.activation.values.sum()), np.asarray(block.norm**2), ulps=256)
        else:
            # Nine outputs, four modes: the gradient has a part that no weight of this layer could have made.
            assert block.modes.activation.values.sum() < 0.9 * block.norm**2


def test_how_samples_are_cut_into_batches_does_not_matter(tiny, small_images):
    x, y = small_images
    seen: list[int] = []
    whole = gradient_spectrum(tiny(), cross_entropy, [(x, y)])
    cut = gradient_spectrum(tiny(), cross_entropy, iter([(x[:7], y[:7]), (x[7:11], y[7:11]), (x[11:], y[11:])]), progress=seen.append)
    _close(cut, whole)
    assert seen == [7, 4, 1]
    assert cut.samples == whole.samples == 12


def test_what_is_projected_at_once_does_not_matter(tiny, small_images, monkeypatch):
    whole = gradient_spectrum(tiny(), cross_entropy, [small_images])
    monkeypatch.setattr(module, "SLICE", 10)
    _close(gradient_spectrum(tiny(), cross_entropy, [small_images]), whole)


@pytest.mark.parametrize("power", [-80, 40])
def test_a_scaled_loss_scales_gradients_and_no_share(tiny, small_images, power):
    x, y = small_images
    plain = gradient_spectrum(tiny(dtype=torch.float32), cross_entropy, [(x.float(), y)])
    scaled = gradient_spectrum(tiny(dtype=torch.float32), lambda out, labels: 2.0**power * cross_entropy(out, labels), [(x.float(), y)])
    for a, b in zip(plain.blocks.values(), scaled.blocks.values(), strict=True):
        assert b.norm == 2.0**power * a.norm
        assert a.modes is not None and b.modes is not None
        assert b.modes.slopes.tolist() == (2.0**power * a.modes.slopes).tolist()
        assert b.modes.activation.share(2) == a.modes.activation.share(2)


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_comes_back_bit_for_bit(tiny, small_images, fails):
    x, y = small_images
    net = tiny(dtype=torch.float32, dropout=0.5).train()
    net.bn.eval()
    net.conv.weight.requires_grad_(False)
    net.classifier.weight.grad = torch.ones_like(net.classifier.weight)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    modes, stream = [m.training for m in net.modules()], torch.get_rng_state()

    def progress(_: int) -> None:
        if fails:
            raise KeyboardInterrupt

    if fails:
        with pytest.raises(KeyboardInterrupt):
            gradient_spectrum(net, cross_entropy, [(x.float(), y)], progress=progress)
    else:
        gradient_spectrum(net, cross_entropy, [(x.float(), y)], progress=progress)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert [m.training for m in net.modules()] == modes
    assert torch.equal(torch.get_rng_state(), stream)
    assert not any(m._forward_hooks or m._backward_hooks for m in net.modules())
    assert [name for name, p in net.named_parameters() if not p.requires_grad] == ["conv.weight"]
    assert [name for name, p in net.named_parameters() if p.grad is not None] == ["classifier.weight"]
    assert bool((net.classifier.weight.grad == 1).all())


def test_layers_that_are_not_trained_are_measured_too(tiny, small_images):
    net = tiny()
    net.requires_grad_(False)
    with torch.no_grad():
        frozen = gradient_spectrum(net, cross_entropy, [small_images])
    _close(frozen, gradient_spectrum(tiny(), cross_entropy, [small_images]), ulps=1)


def test_a_layer_may_be_changed_in_place():
    def build(inplace: bool) -> nn.Module:
        return _double(
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace), nn.Flatten(), nn.Linear(36, 6), nn.ReLU(inplace), nn.Linear(6, 2))
        )

    batch = _draw(6, 3, 5, 5), torch.arange(6) % 2
    _close(gradient_spectrum(build(True), cross_entropy, [batch]), gradient_spectrum(build(False), cross_entropy, [batch]), ulps=1)


class _Tokens(nn.Module):
    """A linear layer on three dimensions gives a view, on which a hook is lost when it is changed in place."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.mix, self.act, self.out = nn.Linear(3, 4), nn.ReLU(inplace), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.act(self.mix(x))).mean(dim=1)


def test_a_linear_layer_on_several_positions_may_be_changed_in_place_too():
    batch = _draw(5, 7, 3), torch.arange(5) % 2
    a, b = (gradient_spectrum(_double(_Tokens(inplace)), cross_entropy, [batch]) for inplace in (True, False))
    assert b.blocks["mix"].norm > 0
    _close(a, b, ulps=1)


def test_a_linear_layer_on_several_positions_has_its_modes_in_the_last_dimension():
    net, x, y = _double(_Tokens(False)), _draw(5, 7, 3), torch.arange(5) % 2
    X = net.mix(x).detach().requires_grad_()
    (D,) = torch.autograd.grad(cross_entropy(net.out(net.act(X)).mean(dim=1), y), X)
    modes = gradient_spectrum(net, cross_entropy, [(x, y)]).blocks["mix"].modes
    assert modes is not None
    U, _, _ = np.linalg.svd(net.mix.weight.detach().numpy(), full_matrices=False)
    assert_exact(modes.activation.values, np.sum((D.numpy() @ U) ** 2, axis=(0, 1)), ulps=512, scale=modes.activation.total)


class _Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.step, self.idle, self.out = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.first = self.step(x)
        self.second = self.step(torch.tanh(self.first))
        return self.out(torch.tanh(self.second))


def test_a_layer_used_twice_counts_both_outputs_and_an_idle_one_is_named():
    net, x, y = _double(_Shared()), _draw(6, 4), torch.arange(6) % 2
    found = gradient_spectrum(net, cross_entropy, [(x, y)])
    loss = cross_entropy(net(x), y)
    *outputs, weight = torch.autograd.grad(loss, [net.first, net.second, net.step.weight])
    stacked = torch.cat(outputs).numpy()
    U = np.linalg.svd(net.step.weight.detach().numpy())[0]
    block = found.blocks["step"]
    assert block.modes is not None
    assert_exact(np.asarray(block.norm), np.asarray(np.linalg.norm(stacked)), ulps=64)
    assert_exact(block.modes.activation.values, np.sum((stacked @ U) ** 2, axis=0), ulps=512, scale=block.norm**2)
    assert_exact(np.asarray(block.modes.weight_norm), np.asarray(weight.norm().item()), ulps=64)
    assert list(found.blocks) == ["step", "out"]
    assert found.unused == ("idle",)
    with pytest.raises(InvalidInput, match="the block 'idle' is not used in a forward pass"):
        gradient_spectrum(net, cross_entropy, [(x, y)], blocks=["step", "idle"])


class _NoWeightsBefore(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pool, self.act, self.out = nn.AvgPool2d(2), nn.ReLU(inplace=True), nn.Linear(12, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.act(self.pool(x)).flatten(1))


def test_a_block_before_all_weights_has_a_gradient_as_well():
    net, x, y = _double(_NoWeightsBefore()), _draw(6, 3, 4, 4), torch.arange(6) % 2
    X = net.pool(x).requires_grad_()
    (D,) = torch.autograd.grad(cross_entropy(net.out(torch.relu(X).flatten(1)), y), X)
    block = gradient_spectrum(net, cross_entropy, [(x, y)], blocks=["pool"]).blocks["pool"]
    assert_exact(np.asarray(block.norm), np.asarray(D.norm().item()), ulps=64)
    assert block.modes is None
    assert block.why == "a AvgPool2d has no weight matrix"


def test_a_network_for_pictures_is_measured_at_every_layer_and_residual_block():
    def build(inplace: bool) -> nn.Module:
        net = _double(mobilenet_v2(width_mult=0.1, num_classes=3))
        for m in net.modules():
            if isinstance(m, nn.ReLU6):
                m.inplace = inplace
            if isinstance(m, nn.BatchNorm2d):
                with torch.no_grad():
                    m.weight.fill_(1.0)
        return net

    net, plain = build(True), build(False)
    x, y = _draw(4, 3, 32, 32), torch.arange(4) % 3
    names = ["features.3", *(name for name, m in plain.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear)))]
    kept: dict[str, torch.Tensor] = {}
    for name in names:
        plain.get_submodule(name).register_forward_hook(lambda _m, _i, out, name=name: kept.__setitem__(name, out))
    gradients = dict(zip(names, torch.autograd.grad(cross_entropy(plain(x), y), [kept.setdefault(n, x) for n in names]), strict=True))
    found = gradient_spectrum(net, cross_entropy, [(x, y)], blocks=names)
    assert len(names) == 54
    for name, D in gradients.items():
        block = found.blocks[name]
        assert block.norm > 0
        assert_exact(np.asarray(block.norm), np.asarray(D.norm().item()), ulps=2**14)
        if name == "features.3":
            assert block.modes is None and block.why == "a InvertedResidual has no weight matrix"
        else:
            w = plain.get_submodule(name).weight.detach()
            assert block.modes is not None
            groups = getattr(plain.get_submodule(name), "groups", 1)
            U = torch.block_diag(*(torch.linalg.svd(part.flatten(1), full_matrices=False)[0] for part in w.chunk(groups)))
            sigma = torch.cat([torch.linalg.svdvals(part.flatten(1)) for part in w.chunk(groups)])
            rows = D.movedim(1, -1).reshape(-1, len(w)) @ U
            energy = rows.square().sum(dim=0)[torch.argsort(sigma, descending=True)]
            assert_exact(block.modes.activation.values, energy.numpy(), ulps=2**14, scale=block.norm**2)


def test_a_chosen_gradient_direction_is_found_where_it_is():
    net = _double(nn.Sequential(nn.Linear(8, 5, bias=False)))
    U, _, _ = np.linalg.svd(net[0].weight.detach().numpy(), full_matrices=False)
    for mode in range(5):
        labels = torch.as_tensor(U[:, mode]).expand(4, 5)
        modes = gradient_spectrum(net, _product, [(_draw(4, 8), labels)]).blocks["0"].modes
        assert modes is not None
        assert_exact(modes.activation.values / modes.activation.total, np.eye(5)[mode], ulps=64, scale=1.0)
    # The last of these is orthogonal to all modes but the last: the first has nothing.
    assert modes.activation.share(1) is not None and modes.activation.share(1) < 2.0**-52
    assert_exact(np.asarray(modes.activation.share(5)), np.asarray(1.0), ulps=8)


def test_an_isotropic_gradient_has_relative_shares_of_one():
    # Inputs are the unit vectors, so that both gradients, labels/6 and its transpose, are isotropic.
    draws: dict[str, list[float]] = {"activation 1": [], "activation 0.5": [], "weight 1": [], "weight 0.5": []}
    for seed in range(400):
        net = _double(nn.Sequential(nn.Linear(6, 10, bias=False)), seed=seed)
        modes = gradient_spectrum(net, _product, [(torch.eye(6, dtype=torch.float64), _draw(6, 10, seed=10**6 + seed))]).blocks["0"].modes
        assert modes is not None
        for reading, leading in ((r, k) for r in ("activation", "weight") for k in (1, 0.5)):
            share = getattr(modes, reading).relative_share(leading)
            assert share is not None
            draws[f"{reading} {leading}"].append(share)
    for shares in draws.values():
        # A baseline of 6 for 10 dimensions, or the reverse, would be off by 0.4 or more.
        assert 6 * np.std(shares) / 20 < 0.4
        assert_z(np.array(shares), 1.0)


def test_shares_count_modes_as_asked():
    energy = ModeEnergy(values=np.array([4.0, 2.0, 1.0, 1.0]), total=16.0, dimensions=8)
    assert [energy.count(k) for k in (1, 4, 0.1, 0.25, 0.26, 0.5, 1.0)] == [1, 4, 1, 1, 2, 2, 4]
    assert ModeEnergy(values=np.ones(100), total=100.0, dimensions=100).count(0.07) == 7
    assert energy.share() == 0.25
    assert energy.share(0.5) == 0.375
    assert energy.isotropic_share(0.5) == 0.25
    assert energy.relative_share(0.5) == 1.5
    for leading in (0, 5, 0.0, 1.5, -1, True, math.nan, "all"):
        with pytest.raises(InvalidInput, match=rf"leading is {leading!r}; a whole number in \[1, 4\]"):
            energy.count(leading)


def test_without_a_gradient_there_is_no_share():
    net = _double(nn.Sequential(nn.Linear(3, 2)))
    for loss_fn in (lambda out, _: 0 * out.mean(), lambda out, _: torch.ones(())):
        block = gradient_spectrum(net, loss_fn, [(_draw(4, 3), torch.zeros(4))]).blocks["0"]
        assert block.norm == 0
        assert block.modes is not None
        assert block.modes.activation.share() is None and block.modes.weight.relative_share(0.1) is None


def test_a_weight_of_zero_has_no_leading_mode_but_its_output_has_a_gradient():
    net = _double(nn.Sequential(nn.Linear(3, 2, bias=False)))
    with torch.no_grad():
        net[0].weight.zero_()
    block = gradient_spectrum(net, cross_entropy, [(_draw(4, 3), torch.arange(4) % 2)]).blocks["0"]
    assert block.modes is None and block.why == "its weight is zero, and has no leading mode"
    # Both classes have probability one half: each sample's gradient is (−½, ½)/4.
    assert_exact(np.asarray(block.norm), np.asarray(math.sqrt(4 * 0.5 / 16)), ulps=4)


class _Odd(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.layer, self.out = kind, nn.Linear(3, 3), nn.Linear(3, 2)
        self.odd = _Pair() if kind == "pair" else _Rounded()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.kind == "no_grad":
            with torch.no_grad():
                return self.out(self.layer(x))
        extra = self.odd(x)
        return self.out(self.layer(x) + 0 * (extra[0] if isinstance(extra, tuple) else extra))


class _Pair(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


class _Rounded(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.long()


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (None, {"blocks": ["convolution"]}, "there is no block 'convolution'; conv, bn, depthwise, bn2, dropout, classifier are allowed"),
        (None, {"blocks": []}, "blocks is empty"),
        (None, {"batches": []}, "batches is empty"),
        (None, {"loss_fn": lambda out, _: out.mean() * math.nan}, "the loss of batch 0 is nan"),
        (None, {"loss_fn": lambda out, _: out}, r"loss_fn gave a tensor of shape \(12, 2\)"),
        (None, {"loss_fn": lambda out, _: (out - out.detach()).abs().sqrt().mean()}, "the gradient at 'conv' is not finite"),
        (lambda net: net.conv.weight.data.fill_(math.nan), {}, "the weight of 'conv' holds NaN or infinity"),
        (lambda net: setattr(net, "bn", nn.BatchNorm2d(4, track_running_stats=False)), {}, "'bn' keeps no statistics"),
    ],
)
def test_bad_input_is_told_with_what_is_allowed(tiny, small_images, change, options, words):
    net = tiny()
    if change is not None:
        change(net)
    with pytest.raises(InvalidInput, match=words):
        gradient_spectrum(net, **({"loss_fn": cross_entropy, "batches": [small_images]} | options))


def test_blocks_that_have_no_gradient_are_told():
    batch = _draw(4, 3), torch.arange(4) % 2
    for kind, blocks, words in (
        ("pair", ["odd"], "the output of 'odd' is a tuple; a tensor of real numbers"),
        ("rounded", ["odd"], "the output of 'odd' is a tensor of torch.int64"),
        ("no_grad", None, "the block 'layer' runs where gradients are off"),
    ):
        with pytest.raises(InvalidInput, match=words):
            gradient_spectrum(_double(_Odd(kind)), cross_entropy, [batch], blocks=blocks)
    with pytest.raises(InvalidInput, match="a ReLU has no linear or convolution layer"):
        gradient_spectrum(nn.ReLU(), cross_entropy, [batch])


def test_too_little_memory_is_told_with_what_is_needed(tiny, small_images, monkeypatch):
    monkeypatch.setattr(module, "free_memory", lambda _: 1000)
    with pytest.raises(TooLarge, match="gradients of 3 blocks need"):
        gradient_spectrum(tiny(), cross_entropy, [small_images])
