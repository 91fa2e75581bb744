"""Checkpoints of a training run: everything that its continuation depends on, in one file that is whole or not there."""

from __future__ import annotations

import hashlib
import io
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from realnets.train.recipe import Recipe
from theory.errors import InvalidInput
from theory.files import write_atomically

FORMAT = 2


def identity(model: nn.Module, data: str, recipe: Recipe, seed: int, processes: int) -> dict[str, Any]:
    """What must not change between a run and its continuation, by name."""
    network = repr([(name, tuple(value.shape), str(value.dtype)) for name, value in model.state_dict().items()])
    return {
        **{name: list(value) if isinstance(value, tuple) else value for name, value in asdict(recipe).items()},
        "seed": seed,
        "number of processes": processes,
        "data": data,
        "network": f"{type(model).__name__} {hashlib.sha256(network.encode()).hexdigest()}",
    }


def save(path: Path, run: dict[str, Any], state: dict[str, Any]) -> None:
    """Write the state of the run that `run` identifies; `OSError` names the file if it cannot be written, and the old one stays."""
    write_atomically(path, _bytes({"format": FORMAT, "run": run, **state}))


def load(path: Path, run: dict[str, Any]) -> dict[str, Any]:
    """The state that `save` wrote for this run.

    Raises
    ------
    InvalidInput
        If the file is damaged, no checkpoint, or another run's: the message says what differs.
    """
    try:
        state = torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True)
    except OSError as error:
        raise InvalidInput(f"cannot read the checkpoint {str(path)!r}: {error.strerror or error}") from None
    except Exception as error:  # a damaged archive raises whatever its first bad byte leads to
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InvalidInput(f"the checkpoint {str(path)!r} is damaged: {reason}; delete it to begin again") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT or not isinstance(there := state.get("run"), dict):
        raise InvalidInput(f"{str(path)!r} holds no training run that this version can go on with; delete it or name another")
    differences = [_difference(name, there.get(name), run.get(name)) for name in {**there, **run} if there.get(name) != run.get(name)]
    if differences:
        raise InvalidInput(f"the checkpoint {str(path)!r} is another run's: {', '.join(differences)}; delete it or name another")
    return state


def _difference(name: str, there: Any, here: Any) -> str:
    return f"the {name} differs" if name in ("data", "network") else f"{name} is {there!r} there and {here!r} here"


def generator_states(device: torch.device) -> dict[str, Tensor]:
    """States of torch's global generators, of the CPU and of `device`."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_generator_states(states: dict[str, Tensor], device: torch.device) -> None:
    """Put the generators into states that `generator_states` gave."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def epoch_file(folder: Path, epoch: int) -> Path:
    """Where `train(keep_epochs=folder)` keeps the network after `epoch` epochs; after 0, the start."""
    return folder / f"epoch-{epoch:04d}.pt"


def save_epoch(folder: Path, epoch: int, model: nn.Module) -> None:
    """Keep the network's state, which `realnets.models.read_state` reads."""
    write_atomically(epoch_file(folder, epoch), _bytes({"model": model.state_dict(), "epoch": epoch}))


def _bytes(content: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()
