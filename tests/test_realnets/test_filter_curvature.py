"""Curvature along filter-normalised directions: its expectation in closed form, and what does not change it."""

import pytest
import torch
from torch import nn

from realnets.probes.filter_curvature import filter_curvature
from theory.errors import InvalidInput

LOSS = nn.functional.cross_entropy


def net(seed=0, scale=1.0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(3 * 16, 4)).double()
    with torch.no_grad():
        model[0].weight *= scale
        # Statistics follow the scale, as they do when they are measured.
        model[1].running_mean.copy_(scale * torch.tensor([0.1, -0.2, 0.3]))
        model[1].running_var.copy_(scale**2 * torch.tensor([0.5, 1.0, 2.0]))
        model[1].eps = 0.0
    return model.eval()


def batches():
    stream = torch.Generator().manual_seed(1)
    x = torch.randn(12, 2, 6, 6, dtype=torch.float64, generator=stream)
    y = torch.arange(12) % 4
    return [(x[:7], y[:7]), (x[7:], y[7:])]


def exact(model):
    """`Σ_f ‖w_f‖²/|f| · tr H_ff` from the dense Hessian."""
    x, y = (torch.cat(part) for part in zip(*batches(), strict=True))
    total = 0.0
    for name, w in model.named_parameters():
        if w.ndim < 2:
            continue

        def loss(v, name=name):
            return LOSS(torch.func.functional_call(model, {name: v}, (x,)), y)

        H = torch.autograd.functional.hessian(loss, w.detach()).reshape(w.numel(), w.numel())
        diagonal = H.diagonal().reshape(len(w), -1).sum(dim=1)
        total += float((w.detach().reshape(len(w), -1) ** 2).sum(dim=1) / w[0].numel() @ diagonal)
    return total


def test_its_expectation_is_the_weighted_trace():
    found = filter_curvature(net(), LOSS, batches(), directions=400)
    assert found.products == 400
    assert abs(found.mean - exact(net())) < 4.5 * found.standard_error
    assert found.standard_error < exact(net()) / 12


def test_rescaled_filters_change_nothing():
    one, other = (filter_curvature(net(scale=s), LOSS, batches(), directions=5) for s in (1.0, 64.0))
    assert one.mean == pytest.approx(other.mean, rel=1e-8)


def test_it_scales_with_the_loss_and_leaves_the_model_alone():
    model = net()
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    one = filter_curvature(model, LOSS, batches(), directions=4)
    small = filter_curvature(model, lambda u, y: 2.0**-30 * LOSS(u, y), batches(), directions=4)
    assert small.mean == pytest.approx(2.0**-30 * one.mean, rel=1e-12)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("directions", [1, 0, 2.5, True])
def test_too_few_directions_are_refused(directions):
    with pytest.raises(InvalidInput, match="a whole number ≥ 2"):
        filter_curvature(net(), LOSS, batches(), directions=directions)
