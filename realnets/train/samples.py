"""Training samples, in memory or read when they are asked for, as batches on the network's device."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from theory.errors import InvalidInput

PROBED = 64
"""Samples of a data set that is not in memory by which it is recognised."""


class Samples(Protocol):
    """Inputs with their targets."""

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def read(self, batches: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets on the device, at each of the given batches of indices."""
        ...

    def fit(self, outputs: Tensor, loss: str) -> None:
        """Check that the targets fit the loss and the network's outputs: now if they are in memory, else as they are read."""
        ...

    def fingerprint(self) -> str:
        """Hash by which the samples are recognised."""
        ...


def samples_of(inputs: Any, targets: Tensor | None, device: torch.device, workers: int = 0) -> Samples:
    """Samples from two tensors, or from a data set of (input, target) with `targets` None.

    Parameters
    ----------
    inputs : (n, …) tensor or Dataset with a length
    targets : (n, …) tensor, or None
    device : torch.device
        Where batches shall be.
    workers : int ≥ 0
        Processes that read ahead from a data set.

    Raises
    ------
    InvalidInput
        If they are neither, fewer than two, or differ in number.
    """
    if isinstance(inputs, Tensor) and isinstance(targets, Tensor):
        if len(inputs) != len(targets) or len(inputs) < 2:
            raise InvalidInput(f"{len(inputs)} inputs and {len(targets)} targets were given; equally many, at least 2, are allowed")
        return _InMemory(inputs, targets, device)
    if targets is None and _indexed(inputs):
        if len(inputs) < 2:
            raise InvalidInput(f"a data set of {len(inputs)} samples was given; at least 2 are needed")
        return _Read(inputs, device, workers)
    raise InvalidInput(
        f"inputs are a {type(inputs).__name__} and targets a {type(targets).__name__}; two tensors, or a data set of (input, target) "
        "with a length and targets=None, are allowed"
    )


def _indexed(inputs: Any) -> bool:
    return not isinstance(inputs, (Tensor, IterableDataset)) and hasattr(inputs, "__getitem__") and hasattr(inputs, "__len__")


class _InMemory:
    def __init__(self, inputs: Tensor, targets: Tensor, device: torch.device) -> None:
        self._inputs, self._targets, self._device = inputs, targets, device

    def __len__(self) -> int:
        return len(self._inputs)

    def read(self, batches: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        for chosen in batches:
            yield self._inputs[chosen].to(self._device), self._targets[chosen].to(self._device)

    def fit(self, outputs: Tensor, loss: str) -> None:
        check_targets(self._targets, outputs, loss)

    def fingerprint(self) -> str:
        return _hash(self._inputs, self._targets)


class _Read:
    def __init__(self, dataset: Any, device: torch.device, workers: int) -> None:
        self._dataset, self._device, self._workers = dataset, device, workers
        self._check: Callable[[Tensor], None] = lambda targets: None

    def __len__(self) -> int:
        return len(self._dataset)

    def read(self, batches: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        loader = DataLoader(
            self._dataset,
            batch_sampler=[chosen.tolist() for chosen in batches],
            num_workers=self._workers if batches else 0,
            pin_memory=self._device.type == "cuda",
            # Of its own, because a loader draws from its generator, and the network's dropout must not depend on how data are read.
            generator=torch.Generator(),
        )
        for batch in loader:
            if not isinstance(batch, (list, tuple)) or len(batch) != 2 or not all(isinstance(part, Tensor) for part in batch):
                raise InvalidInput(
                    f"a sample of the data set is no (input, target) but a {type(self._dataset[0]).__name__}; a pair is allowed"
                )
            inputs, targets = batch
            self._check(targets)
            yield inputs.to(self._device, non_blocking=True), targets.to(self._device, non_blocking=True)

    def fit(self, outputs: Tensor, loss: str) -> None:
        self._check = lambda targets: check_targets(targets, outputs, loss)

    def fingerprint(self) -> str:
        probed = torch.arange(0, len(self), -(-len(self) // PROBED))
        return _hash(torch.tensor([len(self)]), *(part for pair in self.read(torch.split(probed, 8)) for part in pair))


def _hash(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_targets(targets: Tensor, outputs: Any, loss: str) -> None:
    """`InvalidInput` for outputs that are not (n, c), or targets that do not fit them or the loss."""
    if not isinstance(outputs, Tensor) or outputs.ndim < 2:
        what = f"a tensor of shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
        raise InvalidInput(f"the network's output is {what}; a tensor of shape (n, c) is allowed")
    given = f"targets are {targets.dtype} of shape {tuple(targets.shape)}"
    if loss == "cross-entropy":
        if targets.dtype != torch.int64 or targets.ndim != 1:
            raise InvalidInput(f"{given}; classes, int64 of shape (n,), are allowed")
        low, high = int(targets.min()), int(targets.max())
        if low < 0 or high >= outputs.shape[1]:
            raise InvalidInput(
                f"classes run from {low} to {high}; 0 to {outputs.shape[1] - 1} are allowed, the network has {outputs.shape[1]} outputs"
            )
    elif targets.shape[1:] != outputs.shape[1:] or not targets.is_floating_point():
        raise InvalidInput(f"{given}; real ones of shape (n, {outputs.shape[1]}) are allowed")
