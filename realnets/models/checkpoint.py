"""Checkpoints of others: states read weights-only, and fitted to a network in which every tensor must match."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from theory.errors import InvalidInput

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Names under which training scripts keep a network's state in a larger checkpoint."""

PREFIXES = ("module.", "_orig_mod.")
"""What data parallelism and compilation put before every name."""


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a file that `torch.save` wrote; no code in it is ever run.

    The file holds a state dict, or a checkpoint with one under a name of `WRAPPERS`. `PREFIXES` that all names share are dropped.

    Raises
    ------
    InvalidInput
        If the file is missing, damaged, or holds something else, or values that are not finite.
    """
    try:
        with path.open("rb") as file:
            raw = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InvalidInput(f"cannot read the weights {str(path)!r}: {error.strerror or error}") from None
    except MemoryError:
        raise
    except Exception as error:  # a damaged archive raises whatever its first bad byte leads to
        lines = str(error).splitlines() or [type(error).__name__]
        raise InvalidInput(f"{str(path)!r} is not a readable file of weights: {lines[0]}") from None
    state = _unwrapped(raw)
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise InvalidInput(
            f"{str(path)!r} holds {_described(state)}; a dictionary of tensors, alone or under {_listed(WRAPPERS)}, is allowed"
        )
    found = _without_prefixes({str(name): value for name, value in state.items()})
    for name, value in found.items():
        if not bool(torch.isfinite(value).all()):
            raise InvalidInput(f"{str(path)!r} holds NaN or infinity in {name!r}; finite weights are allowed")
    return found


def fit(net: nn.Module, state: Mapping[str, Tensor], where: str, what: str, *, assign: bool = False) -> None:
    """Load `state` into `net`, in which every tensor must match by name and shape.

    Only batch norm's count of batches may be missing: old files lack it, and nothing here depends on it.

    Parameters
    ----------
    where, what : str
        The file and the network, for messages.
    assign : bool
        Take the tensors themselves in place of copies.

    Raises
    ------
    InvalidInput
        Naming what is missing, unexpected or of another shape; `net` is then as it was.
    """
    wanted = net.state_dict()
    missing = [name for name in wanted if name not in state and not name.endswith("num_batches_tracked")]
    if missing:
        raise InvalidInput(f"{where!r} lacks {len(missing)} of {len(wanted)} tensors of {what}: {_listed(missing)}")
    if extra := [name for name in state if name not in wanted]:
        raise InvalidInput(f"{where!r} holds {_listed(extra)}, which {what} has not")
    for name, value in state.items():
        if value.shape != wanted[name].shape:
            raise InvalidInput(f"{where!r} has {name!r} of shape {tuple(value.shape)}; {tuple(wanted[name].shape)} is allowed in {what}")
    net.load_state_dict(dict(state), strict=False, assign=assign)


def _unwrapped(raw: Any) -> Any:
    if isinstance(raw, Mapping):
        for name in WRAPPERS:
            if isinstance(raw.get(name), Mapping):
                return raw[name]
    return raw


def _without_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PREFIXES * 2:  # both, in either order
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _described(found: Any) -> str:
    if not isinstance(found, Mapping):
        return f"a {type(found).__name__}"
    other = next((f"{name!r}, a {type(value).__name__}" for name, value in found.items() if not isinstance(value, Tensor)), "nothing")
    return f"a {type(found).__name__} with {other}"


def _listed(names: Iterable[str], most: int = 3) -> str:
    names = list(names)
    return ", ".join(map(repr, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")
