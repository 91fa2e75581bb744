"""Batch-norm statistics, always by name: they are part of every statement about a network.

"frozen"        the pretrained statistics, never touched, not even in training
"re-estimated"  training normalises each batch by itself; before every evaluation and every kernel the statistics are measured
                again on the training set

A randomly started network has no statistics worth freezing, and is always re-estimated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from theory.errors import InvalidInput

POLICIES = ("frozen", "re-estimated")

CHUNK = 1024
"""Pictures that pass at once while statistics are measured; in one chunk they are those of training on the whole set."""


def check_policy(policy: str, start: str | None = None) -> None:
    """`InvalidInput` for an unknown policy, or frozen statistics of a random start."""
    if policy not in POLICIES:
        raise InvalidInput(f"batch_norm is {policy!r}; one of {', '.join(map(repr, POLICIES))} is allowed")
    if policy == "frozen" and start == "random":
        raise InvalidInput("batch_norm is 'frozen' for a random start, which has no statistics; 're-estimated' is allowed")


def layers(model: nn.Module) -> list[_BatchNorm]:
    """The batch-norm layers of `model`; `InvalidInput` if one keeps no statistics, and so normalises each batch by itself."""
    found = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, _BatchNorm)]
    for name, layer in found:
        if layer.running_mean is None or layer.running_var is None:
            raise InvalidInput(f"the batch-norm layer {name!r} keeps no statistics (track_running_stats=False); one that does is allowed")
    return [layer for _, layer in found]


def set_training(model: nn.Module, policy: str) -> None:
    """Put `model` in training mode; batch norm stays in evaluation mode where its statistics are frozen."""
    model.train()
    if policy == "frozen":
        for layer in layers(model):
            layer.eval()


@torch.no_grad()
def prepare(model: nn.Module, inputs: Tensor | Iterable[Tensor], policy: str) -> None:
    """Put `model` in evaluation mode, with the statistics that `policy` names.

    Parameters
    ----------
    inputs : (n, …) tensor or iterable of such
        The training set. A tensor passes in chunks of `CHUNK`, anything else as it comes. Each chunk is normalised by itself,
        as in training, and each layer gets mean and variance of all that it saw. In one chunk the network computes what it
        would in training on the whole set; in several this holds up to the first batch norm, and the chunks matter beyond it.
    policy : "frozen" or "re-estimated"

    Raises
    ------
    InvalidInput
        If a layer keeps no statistics, or sees a single value a channel, which has no variance.
    """
    model.eval()
    if policy == "frozen" or not (found := layers(model)):
        return
    chunks = torch.chunk(inputs, -(-len(inputs) // CHUNK)) if isinstance(inputs, Tensor) else inputs
    seen: dict[_BatchNorm, _Moments] = {}
    with ExitStack() as hooks:
        for layer in found:
            # Sets the statistics just before they are used, so that each layer sees what training on this chunk would show it.
            hooks.callback(layer.register_forward_pre_hook(_measure(seen)).remove)
        for chunk in chunks:
            model(chunk)
    for layer, moments in seen.items():
        if moments.parts > 1:
            _set(layer, moments.mean, moments.squares / moments.count)


def regrouped(parts: Iterable[Tensor], samples: int, chunk: int = CHUNK) -> Iterator[Tensor]:
    """Rows of `parts` in chunks of equal size, at most `chunk`: those in which `prepare` passes all `samples` rows as one tensor.

    Statistics then do not depend on how a set is cut into batches, unless pictures of several sizes keep them apart.
    """
    size = -(-samples // -(-samples // chunk))
    held: list[Tensor] = []
    for part in parts:
        if held and part.shape[1:] != held[0].shape[1:]:
            yield torch.cat(held)
            held = []
        held.append(part)
        while sum(map(len, held)) >= size:
            whole = torch.cat(held)
            yield whole[:size]
            held = [whole[size:]] if len(whole) > size else []
    if held:
        yield torch.cat(held)


@dataclass
class _Moments:
    """Count, mean and summed squared deviations of several parts, in float64 (Chan, Golub and LeVeque 1983)."""

    parts: int
    count: int
    mean: Tensor
    squares: Tensor

    def add(self, count: int, mean: Tensor, squares: Tensor) -> None:
        total = self.count + count
        gap = mean - self.mean
        self.mean = self.mean + gap * (count / total)
        self.squares = self.squares + squares + gap**2 * (self.count * count / total)
        self.parts, self.count = self.parts + 1, total


def _measure(seen: dict[_BatchNorm, _Moments]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def hook(layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, _BatchNorm) and layer.running_mean is not None
        x = arguments[0].to(layer.running_mean.dtype)
        count = x.numel() // x.shape[1]
        if count == 1:
            raise InvalidInput(f"a batch of shape {tuple(x.shape)} reached batch norm: one value a channel; at least 2 are needed")
        others = [d for d in range(x.ndim) if d != 1]
        mean = x.mean(dim=others)
        # Two passes: as accurate as `torch.var_mean`, which takes 2 to 50 times as long on a CPU.
        variance = (x - mean.reshape([-1 if d == 1 else 1 for d in range(x.ndim)])).square_().mean(dim=others)
        _set(layer, mean, variance)
        part = count, mean.double(), variance.double() * count
        if layer in seen:
            seen[layer].add(*part)
        else:
            seen[layer] = _Moments(1, *part)

    return hook


def _set(layer: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    assert layer.running_mean is not None and layer.running_var is not None
    layer.running_mean.copy_(mean)
    layer.running_var.copy_(variance)
