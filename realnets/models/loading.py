"""A network ready to be trained on a target: by name, from a start, with a classifier for the target's classes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import nn

from realnets.models.checkpoint import fit, read_state
from realnets.models.classifier import PooledLinear, linear_head, replace_head
from realnets.models.efficientnet_lite0 import EfficientNetLite0, imagenet_state
from realnets.models.initialisation import draw_classifier
from realnets.models.libraries import OWN, adapted, library, own, picture_size
from theory.errors import InvalidInput
from theory.ranges import check_count

STARTS = ("pretrained", "random")
CLASSIFIERS = ("fresh", "kept")

_BUNDLED = "efficientnet-lite0"


def load(
    name: str,
    outputs: int,
    *,
    start: str = "pretrained",
    weights: Path | str | None = None,
    seed: int = 0,
    classifier: Literal["fresh", "kept"] | str = "fresh",
) -> nn.Module:
    """A convolutional network by name, in evaluation mode, with `outputs` outputs.

    Dropout and stochastic depth stay where the network has them. They act in training mode only; kernels and probes are of the
    evaluation mode, one fixed function of the weights.

    Parameters
    ----------
    name : str
        `"efficientnet-lite0"` (its ImageNet weights are bundled), `"small-cnn"`, `"resnet20"`, a torchvision network (`"resnet50"` or
        `"torchvision/resnet50"`) or a timm one (`"timm/resnet50"`).
    outputs : int ≥ 1
        Number of classes, or 1 for a real output.
    start : "pretrained" or "random"
        Pretrained weights and batch-norm statistics below the classifier, or all drawn: the own networks as `draw_weights` says, those of
        a library by the library's own initialisation.
    weights : path, optional
        A checkpoint of this network in place of the bundled or downloaded weights, read weights-only (`checkpoint.read_state`). Its
        classifier may be for another number of classes; all else must match.
    seed : int ≥ 0
        Of what is drawn.
    classifier : "fresh" or "kept"
        A linear one drawn from the seed, the same for both starts, or that of the pretrained weights.

    Raises
    ------
    InvalidInput
        For a value outside these; a network that is not convolutional or does not end in a linear layer; weights that are missing, damaged
        or another network's; a kept classifier of another number of classes.
    """
    _check(outputs, start, weights, seed, classifier)
    path = None if weights is None else Path(weights)
    net = own(name, outputs, seed) if name in OWN else library(name, pretrained=start == "pretrained" and path is None, seed=seed)
    size = picture_size(net)
    head_name, head = linear_head(net, name, size)
    if start == "pretrained" and (path is not None or name in OWN):
        head = _take(net, name, path, head_name, head)
    if classifier == "fresh":
        replace_head(net, head_name, _fresh(head, outputs, seed))
    elif head.out_features != outputs:
        raise InvalidInput(f"outputs is {outputs}, but the classifier of {_origin(name, path)} has {head.out_features}; these are allowed")
    if hasattr(net, "num_classes"):  # timm's own note
        net.num_classes = outputs  # type: ignore[assignment]
    return net.eval()


def build(start: str, outputs: int, seed: int = 0, *, weights: Path | None = None) -> EfficientNetLite0:
    """EfficientNet-Lite0 with a fresh classifier: `load("efficientnet-lite0", outputs, …)`."""
    net = load(_BUNDLED, outputs, start=start, weights=weights, seed=seed)
    assert isinstance(net, EfficientNetLite0)
    return net


def _take(net: nn.Module, name: str, path: Path | None, head_name: str, head: nn.Linear) -> nn.Linear:
    """Load a checkpoint into `net`, whose classifier takes the checkpoint's number of classes; the classifier."""
    if path is not None:
        state = adapted(name, read_state(path))
    elif name == _BUNDLED:
        state = imagenet_state()
    else:
        raise InvalidInput(f"{name!r} has no pretrained weights of its own; a file of them (weights=) or a random start is allowed")
    key = f"{head_name}.weight"
    if isinstance(head, PooledLinear) and key in state:
        state[key] = state[key].flatten(1)
    # A classifier of another network altogether is left to `fit`, which says what is wrong with it.
    if key in state and state[key].ndim == 2 and state[key].shape[1] == head.in_features and len(state[key]) != head.out_features:
        with torch.device("meta"):
            head = _shape_of(head)(head.in_features, len(state[key]), bias=head.bias is not None)
        head.to_empty(device="cpu")
        replace_head(net, head_name, head)
    fit(net, state, _origin(name, path), name)
    return head


def _fresh(old: nn.Linear, outputs: int, seed: int) -> nn.Linear:
    with torch.device("meta"):  # no draw from the global stream
        layer = _shape_of(old)(old.in_features, outputs)
    layer.to_empty(device="cpu")
    draw_classifier(layer, seed)
    return layer


def _shape_of(head: nn.Linear) -> type[nn.Linear]:
    return PooledLinear if isinstance(head, PooledLinear) else nn.Linear


def _origin(name: str, path: Path | None) -> str:
    return f"the pretrained {name}" if path is None else str(path)


def _check(outputs: int, start: str, weights: Path | str | None, seed: int, classifier: str) -> None:
    if start not in STARTS:
        raise InvalidInput(f"start is {start!r}; one of {', '.join(map(repr, STARTS))} is allowed")
    check_count("outputs", outputs, 1)
    check_count("seed", seed, 0)
    if classifier not in CLASSIFIERS:
        raise InvalidInput(f"classifier is {classifier!r}; one of {', '.join(map(repr, CLASSIFIERS))} is allowed")
    if start == "random" and (weights is not None or classifier == "kept"):
        given = f"weights={str(weights)!r}" if weights is not None else "classifier='kept'"
        raise InvalidInput(f"{given} was given for a random start, which has neither; start='pretrained' is allowed with it")
