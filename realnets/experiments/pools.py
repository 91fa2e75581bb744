"""Where an experiment draws its pictures from: a data set, or half of one, with one similarity moved."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from realnets import data, models
from realnets.data import Pictures
from realnets.probes.borrowed import device_of
from sim.rng import generator
from theory.errors import InvalidInput

PICTURES: dict[str, Callable[[Pictures], Pictures]] = {
    "as they are": lambda pictures: pictures,
    "grey": data.grey,
    "inverted": data.inverted,
    "blurred": lambda pictures: data.blurred(pictures, pictures.size / 16),
    "blocks shuffled": lambda pictures: data.shuffled_blocks(pictures, pictures.size // 4),
}
"""What is done to pictures under the same labels: blurs of a sixteenth of their size, blocks of a quarter of it."""

LABELS: dict[str, Callable[[Pictures], Pictures]] = {
    "given": lambda pictures: pictures,
    "permuted": data.permuted_classes,
    "merged": lambda pictures: data.merged_classes(pictures, 2),
    "shuffled": lambda pictures: data.shuffled_labels(pictures, 1.0),
}
"""What is done to labels of the same pictures: names permuted among classes, classes merged into two, or labels dealt out at random."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Pictures to draw from.

    Parameters
    ----------
    data : str
        As in `realnets.data.load`; of a set with splits, the one for training, from which test pictures are drawn as well.
    size : int
        Pixels a side.
    half : 0, 1 or None
        One of two random halves, which share no picture: for a source and a target from one set.
    pictures : key of `PICTURES`
    labels : key of `LABELS`
    label_noise : float in [0, 1]
        Share of labels that are dealt out at random among their pictures.

    Raises
    ------
    InvalidInput
        For a value outside these.
    """

    data: str
    size: int = 32
    half: int | None = None
    pictures: str = "as they are"
    labels: str = "given"
    label_noise: float = 0.0

    def __post_init__(self) -> None:
        for name, allowed in (("half", (0, 1, None)), ("pictures", PICTURES), ("labels", LABELS)):
            if getattr(self, name) not in allowed:
                raise InvalidInput(f"{name} is {getattr(self, name)!r}; one of {', '.join(map(repr, allowed))} is allowed")

    @property
    def label(self) -> str:
        """In words."""
        changes = [
            *([] if self.pictures == "as they are" else [self.pictures]),
            *([] if self.labels == "given" else [f"labels {self.labels}"]),
            *([f"{100 * self.label_noise:g} % label noise"] if self.label_noise else []),
        ]
        return ", ".join([self.data, *changes])

    def load(self) -> Pictures:
        """The pictures; errors as for `realnets.data.load`."""
        return _load(self)

    def draw(self, n: int, seed: int) -> Pictures:
        """`n` of them; a larger draw of the same seed holds the smaller ones."""
        pictures = self.load()
        if not 1 <= n <= len(pictures):
            raise InvalidInput(f"{n} pictures of {self.label} were asked for; 1 to {len(pictures)} are allowed")
        return pictures.take(generator("realnets.pool", seed).permutation(len(pictures))[:n])


@lru_cache(maxsize=16)
def _load(pool: Pool) -> Pictures:
    pictures = data.load(pool.data, pool.size, split="training")
    if pool.half is not None:
        order = generator("realnets.halves").permutation(len(pictures))
        pictures = pictures.take(np.sort(np.array_split(order, 2)[pool.half]))
    pictures = LABELS[pool.labels](PICTURES[pool.pictures](pictures))
    return data.shuffled_labels(pictures, pool.label_noise) if pool.label_noise else pictures


def hash_of(pools: Iterable[Pool]) -> str:
    """Hash of what is in the pools."""
    return hashlib.sha256("".join(sorted({pool.load().content_hash for pool in pools})).encode()).hexdigest()


def tensors(pictures: Pictures, model: nn.Module) -> tuple[Tensor, Tensor]:
    """Inputs (n, 3, size, size), normalised as the model's pretraining had them, and classes (n,), where the model lives."""
    device = device_of(model)
    mean, std = models.normalisation(model)
    return data.as_input(pictures.images, device, mean=mean, std=std), torch.as_tensor(pictures.labels, device=device)
