"""Networks by name: this project's own, and the convolutional ones of torchvision and timm."""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from realnets.models.efficientnet_lite0 import EfficientNetLite0, renamed
from realnets.models.initialisation import draw_weights
from realnets.models.small import ResNet20, SmallCNN
from sim.rng import generator
from theory.errors import InvalidInput

OWN: dict[str, Callable[[int], nn.Module]] = {"efficientnet-lite0": EfficientNetLite0, "small-cnn": SmallCNN, "resnet20": ResNet20}
"""This project's own networks by name."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# Auxiliary classifiers would make the outputs in training mode a tuple. The pretrained weights want inputs normalised in another way, which
# `transform_input` does; for every start, so that it is part of the network.
_AUXILIARY = ("googlenet", "inception_v3")
_AUXILIARY_PARTS = ("aux1.", "aux2.", "AuxLogits.")
# Names of old PyTorch, which torchvision's files still have.
_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")


def own(name: str, outputs: int, seed: int) -> nn.Module:
    """A network of this project, drawn from the seed."""
    with torch.random.fork_rng(devices=[]):  # constructors draw from the global stream, which is the caller's
        net = OWN[name](outputs)
    draw_weights(net, seed)
    return net


def library(name: str, *, pretrained: bool, seed: int) -> nn.Module:
    """A network of torchvision (`"torchvision/resnet50"` or `"resnet50"`) or timm (`"timm/resnet50"`), with its library's classifier.

    Parameters
    ----------
    pretrained : bool
        The library's default weights, downloaded into its cache folder unless they are there; else its own initialisation from the seed.

    Raises
    ------
    InvalidInput
        For an unknown name, a library that is not installed, or weights that cannot be had.
    """
    where, _, found = name.rpartition("/")
    if where not in ("", "torchvision", "timm"):
        raise InvalidInput(f"there is no network {name!r}; names like 'resnet50', 'torchvision/resnet50' and 'timm/resnet50' are allowed")
    create = _from_timm if where == "timm" else _from_torchvision
    with torch.random.fork_rng(devices=[]):
        # A stream of its own: the classifier's starts at the seed itself.
        torch.manual_seed(int(generator("realnets.models.random", seed).integers(2**63)))
        return create(found, pretrained)


def adapted(name: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state as its authors published it, under the names of the network called `name`, without what that leaves out."""
    plain = name.rpartition("/")[2]
    if name == "efficientnet-lite0":
        return renamed(state)
    if plain in _AUXILIARY:
        return {key: value for key, value in state.items() if not key.startswith(_AUXILIARY_PARTS)}
    if plain.startswith("densenet"):
        return {_DENSENET.sub(r"\1\2", key): value for key, value in state.items()}
    return state


def normalisation(model: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation by which the model's pretraining normalised each channel; ImageNet's where it says nothing."""
    known = getattr(model, "pretrained_cfg", None)
    if not isinstance(known, dict) or "mean" not in known or "std" not in known:
        return IMAGENET_MEAN, IMAGENET_STD
    return tuple(known["mean"]), tuple(known["std"])


def picture_size(model: nn.Module) -> int:
    """Pixels a side of the pictures that the model was made for; 224 where it says nothing."""
    known = getattr(model, "pretrained_cfg", None)
    return int(known["input_size"][-1]) if isinstance(known, dict) and known.get("input_size") else 224


def _from_torchvision(name: str, pretrained: bool) -> nn.Module:
    models = _installed("torchvision.models")
    known = models.list_models(module=models)
    if name not in known:
        raise _unknown(name, "torchvision", [*OWN, *known])
    settings: dict[str, Any] = {"transform_input": True, "init_weights": not pretrained} if name in _AUXILIARY else {}
    weights = models.get_model_weights(name).DEFAULT if pretrained else None
    net = _made(name, pretrained, lambda: models.get_model(name, weights=weights, **settings))
    for part in _AUXILIARY_PARTS if name in _AUXILIARY else ():
        # As torchvision itself takes them out; asking it to, with pretrained weights, is an error in Inception's case.
        setattr(net, part.rstrip("."), None)
        net.aux_logits = False  # type: ignore[assignment]
    return net


def _from_timm(name: str, pretrained: bool) -> nn.Module:
    timm = _installed("timm")
    if not timm.is_model(name):
        raise _unknown(name, "timm", timm.list_models())
    return _made(name, pretrained, lambda: timm.create_model(name, pretrained=pretrained))


def _made(name: str, pretrained: bool, make: Callable[[], nn.Module]) -> nn.Module:
    try:
        return make()
    except MemoryError:
        raise
    except Exception as error:  # a download fails in as many ways as networks, hubs and disks do
        if not pretrained:
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InvalidInput(
            f"the pretrained weights of {name!r} cannot be had: {reason}; they are downloaded once, so that needs the internet; "
            "or name a file of them (weights=), or take a random start"
        ) from error


def _installed(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InvalidInput(f"{module.partition('.')[0]} cannot be imported ({error}); pip install 'ptoq[real]' brings it") from None


def _unknown(name: str, where: str, known: Iterable[str]) -> InvalidInput:
    known = list(known)
    near = difflib.get_close_matches(name, known, n=4, cutoff=0.5) or known[:4]
    return InvalidInput(
        f"{where} has no network {name!r} for classification; {', '.join(map(repr, near))} or another of {len(known)} are allowed"
    )
