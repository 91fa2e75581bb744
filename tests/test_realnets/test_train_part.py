from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from realnets.models import SmallCNN
from realnets.train import Recipe, train
from realnets.train.part import trained_part
from theory.errors import InvalidInput

RECIPE = Recipe(epochs=2, batch_size=5, lr=0.1, weight_decay=0.01)


def _moved(before: nn.Module, after: nn.Module) -> set[str]:
    old = before.state_dict()
    return {name for name, value in after.state_dict().items() if not torch.equal(value, old[name])}


@pytest.mark.parametrize("policy", ["frozen", "re-estimated"])
@pytest.mark.parametrize(
    ("trained", "layers"),
    [
        ("head", {"classifier"}),
        ("classifier", {"classifier"}),
        ("bn2", {"bn2", "classifier"}),
        ("depthwise", {"depthwise", "bn2", "classifier"}),
        (3, {"bn2", "classifier"}),
        (1, {"bn", "depthwise", "bn2", "classifier"}),
        (0, {"conv", "bn", "depthwise", "bn2", "classifier"}),
        ("all", {"conv", "bn", "depthwise", "bn2", "classifier"}),
    ],
)
def test_frozen_layers_keep_weights_and_statistics_and_the_others_do_not(tiny, small_images, trained, layers, policy):
    net = tiny(dropout=0.5)
    before = copy.deepcopy(net)
    train(net, *small_images, replace(RECIPE, trained=trained, batch_norm=policy))
    moved = _moved(before, net)
    weights = {name for name, _ in net.named_parameters()}
    assert moved & weights == {name for name in weights if name.rpartition(".")[0] in layers}
    re_estimated = {"bn", "bn2"} & layers if policy == "re-estimated" else set()
    assert {name.partition(".")[0] for name in moved - weights} == re_estimated
    assert all(p.requires_grad for p in net.parameters())


def test_head_training_is_that_of_a_linear_model_on_fixed_features(tiny, small_images):
    x, y = small_images
    net, linear = tiny(), tiny().classifier
    with torch.no_grad():
        features = []
        handle = net.classifier.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
        net(x)
        handle.remove()
    recipe = replace(RECIPE, trained="head")
    train(net, x, y, recipe)
    train(linear, features[0], y, replace(recipe, trained="all"))
    assert torch.equal(net.classifier.weight, linear.weight)


def test_dropout_of_the_frozen_part_is_off_and_the_heads_own_is_on(tiny, small_images):
    net = tiny(dropout=0.5)
    frozen = trained_part(net, "head", small_images[0][:1]).frozen
    assert set(frozen) == {net.conv, net.bn, net.depthwise, net.bn2}
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.5), nn.Conv2d(4, 4, 3), nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 2)).double()
    assert set(trained_part(net, "head", small_images[0][:1]).frozen) == {net[0], net[1], net[2]}


class _Backwards(nn.Module):
    """Registers its last layer first, and one that it never calls."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 2)
        self.first = nn.Linear(3, 4)
        self.never = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x))


def test_layers_are_in_the_order_of_the_forward_pass_not_of_their_definition():
    net = _Backwards()
    part = trained_part(net, "last", torch.zeros(2, 3))
    assert set(part.parameters) == {"last.weight", "last.bias"}
    assert trained_part(net, 2, torch.zeros(2, 3)).parameters.keys() == part.parameters.keys()


def test_a_weight_shared_with_a_frozen_layer_stays():
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3), nn.Linear(3, 2))
    net[2].weight = net[0].weight
    assert set(trained_part(net, 1, torch.zeros(2, 3)).parameters) == {"2.bias", "3.weight", "3.bias"}


def test_what_the_caller_has_frozen_stays_frozen(tiny, small_images):
    net = tiny()
    net.conv.weight.requires_grad_(False)
    before = net.conv.weight.clone()
    train(net, *small_images, RECIPE)
    assert torch.equal(net.conv.weight, before) and not net.conv.weight.requires_grad


def test_a_container_is_a_layer_too_and_names_are_offered():
    net = SmallCNN(2)
    x = torch.zeros(2, 3, 8, 8)
    assert set(trained_part(net, "layers.9", x).parameters) == {
        "layers.9.weight",
        "layers.10.weight",
        "layers.10.bias",
        "classifier.weight",
        "classifier.bias",
    }
    assert set(trained_part(net, "layers", x).parameters) == {name for name, _ in net.named_parameters()}


@pytest.mark.parametrize(
    ("trained", "words"),
    [
        (
            "layer5",
            "trained is 'layer5', and there is no such layer; 'all', 'head', conv, bn, depthwise, bn2, dropout, classifier are allowed",
        ),
        ("", "trained is '', and there is no such layer"),
        (5, "trained is 5, which leaves nothing to train: the network has 5 layers with weights; 0 to 4 are allowed"),
    ],
)
def test_a_layer_that_does_not_exist_or_nothing_to_train(tiny, small_images, trained, words):
    with pytest.raises(InvalidInput, match=words):
        train(tiny(), *small_images, replace(RECIPE, trained=trained))


def test_nothing_left_to_train_and_a_layer_that_is_never_called(tiny, small_images):
    net = tiny()
    net.classifier.requires_grad_(False)
    with pytest.raises(InvalidInput, match="'head', which leaves nothing to train: 4 of 5 layers with weights are frozen by it"):
        train(net, *small_images, replace(RECIPE, trained="head"))
    with pytest.raises(InvalidInput, match="'never', a layer that the network's forward pass never calls"):
        trained_part(_Backwards(), "never", torch.zeros(2, 3))
