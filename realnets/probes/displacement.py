"""How far weights moved, `‖W − W₀‖_F`: per parameter, per layer and in all; absolute, and a typical single weight's.

Source: the paper's figures divide by `√numel` to compare layers of different sizes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from theory.errors import InvalidInput


@dataclass(frozen=True)
class Moved:
    """One distance.

    Attributes
    ----------
    norm : float
        `‖W − W₀‖_F`.
    size : int
        Number of weights.
    """

    norm: float
    size: int

    @property
    def rms(self) -> float:
        """`‖W − W₀‖_F/√size`."""
        return self.norm / math.sqrt(self.size)


@dataclass(frozen=True)
class Displacement:
    """Distances by parameter name, by layer (the parameter's module) and in total."""

    parameters: dict[str, Moved]
    layers: dict[str, Moved]
    total: Moved


def displacement(before: nn.Module | Mapping[str, Tensor], after: nn.Module | Mapping[str, Tensor]) -> Displacement:
    """Distance between two states of one network, in float64.

    Parameters
    ----------
    before, after : Module or state dict
        Buffers, such as batch-norm statistics, are not weights and do not count. A state dict does not say which of its
        tensors are buffers: there, those that batch norm keeps (`running_mean`, `running_var`, `num_batches_tracked`) are left
        out, or, if the other argument is a module, what that module says.

    Raises
    ------
    InvalidInput
        If the two hold different parameters or shapes, or values that are not finite.
    """
    known = next((set(dict(m.named_parameters())) for m in (before, after) if isinstance(m, nn.Module)), None)
    old, new = _weights(before, known), _weights(after, known)
    if set(old) != set(new):
        odd = sorted(set(old) ^ set(new))[0]
        raise InvalidInput(f"the parameter {odd!r} is in one state only; two states of one network are allowed")
    if not old:
        raise InvalidInput("the states hold no parameters; at least one is needed")
    squares: dict[str, tuple[float, int]] = {}
    for name, w in old.items():
        if w.shape != new[name].shape:
            raise InvalidInput(f"{name!r} has shapes {tuple(w.shape)} and {tuple(new[name].shape)}; equal ones are allowed")
        square = float(((new[name].detach().cpu().double() - w.detach().cpu().double()) ** 2).sum())
        if not math.isfinite(square):
            raise InvalidInput(f"{name!r} holds NaN or infinity; finite weights are allowed")
        squares[name] = square, w.numel()
    layers: dict[str, list[tuple[float, int]]] = {}
    for name, entry in squares.items():
        layers.setdefault(name.rpartition(".")[0], []).append(entry)
    return Displacement(
        parameters={name: _sum([entry]) for name, entry in squares.items()},
        layers={name: _sum(entries) for name, entries in layers.items()},
        total=_sum(list(squares.values())),
    )


_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def _weights(state: nn.Module | Mapping[str, Tensor], known: set[str] | None) -> dict[str, Tensor]:
    if isinstance(state, nn.Module):
        return dict(state.named_parameters())
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise InvalidInput(f"{name!r} is a {type(value).__name__}; tensors are allowed")
    if known is not None:
        return {name: value for name, value in state.items() if name in known}
    return {name: value for name, value in state.items() if name.rpartition(".")[2] not in _BUFFERS}


def _sum(entries: list[tuple[float, int]]) -> Moved:
    return Moved(math.sqrt(math.fsum(square for square, _ in entries)), sum(size for _, size in entries))
