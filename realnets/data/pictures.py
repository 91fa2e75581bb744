"""Labelled pictures: drawn from, split, and made into what a network takes.

Pictures are bytes, in memory or read when they are asked for, and become `(n, 3, size, size)` normalised as in a network's pretraining in
`as_input`, or one at a time in `PictureDataset`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from realnets.data.lazy import CHUNK, LazyImages, digest
from realnets.models.libraries import IMAGENET_MEAN, IMAGENET_STD
from sim.rng import generator
from theory.errors import InvalidInput, TooLarge
from theory.host_memory import free_host_memory


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Labelled pictures.

    Attributes
    ----------
    images : (n, size, size, 3) array of uint8, or LazyImages
        `numpy.asarray` makes an array of either; it raises `TooLarge` where that would not fit in memory.
    labels : (n,) array of int64
        Index into `classes`.
    classes : tuple of str
    names : tuple of str
        One a picture, unique: code points of an emoji, a file's path, or a number.
    source : str
        Whom to credit where a picture is shown, and the licence.
    changes : tuple of str
        What `realnets.data.transforms` has done to them, in order.
    """

    images: np.ndarray | LazyImages
    labels: np.ndarray
    classes: tuple[str, ...]
    names: tuple[str, ...]
    source: str
    changes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size(self) -> int:
        """Pixels a side."""
        return int(self.images.shape[1])

    def take(self, indices: np.ndarray) -> Pictures:
        """The pictures at `indices`, in that order."""
        names = tuple(self.names[i] for i in indices)
        return replace(self, images=self.images[indices], labels=self.labels[indices], names=names)

    @property
    def content_hash(self) -> str:
        """SHA-256 of what a result depends on: pictures (those of files by the files and what becomes of them), labels and classes.

        Names, source and changes do not count: they are about the pictures, and change no number.
        """
        images = self.images.content_hash if isinstance(self.images, LazyImages) else digest(self.images)
        return hashlib.sha256(repr((images, digest(self.labels), self.classes)).encode()).hexdigest()

    def in_memory(self) -> Pictures:
        """The same pictures as an array.

        Raises
        ------
        TooLarge
            If they would take more than the free memory.
        """
        return replace(self, images=np.asarray(self.images))


@dataclass(frozen=True)
class Split:
    """Disjoint training and test pictures."""

    train: Pictures
    test: Pictures


class PictureDataset(Dataset[tuple[Tensor, Tensor]]):
    """Pictures as a torch data set of (input, label), each read and normalised when it is asked for.

    Parameters
    ----------
    pictures : Pictures
    dtype : torch.dtype
        Of the inputs.
    mean, std : three numbers
        By which each channel is normalised; `realnets.models.normalisation(model)` says those of a pretrained network.
    """

    def __init__(
        self,
        pictures: Pictures,
        *,
        dtype: torch.dtype = torch.float32,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        self.pictures, self.dtype, self.mean, self.std = pictures, dtype, tuple(mean), tuple(std)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        pixels = _normalised(np.asarray(self.pictures.images[index])[None], self.mean, self.std)[0]
        return torch.tensor(pixels, dtype=self.dtype).permute(2, 0, 1), torch.tensor(int(self.pictures.labels[index]))


def split(pictures: Pictures, n_train: int, n_test: int, seed: int) -> Split:
    """A random test set, and `n_train` of the other pictures; a larger training set holds the smaller ones of its seed.

    Training pictures are an independent sample, as the theory assumes: a small one may lack a class.

    Raises
    ------
    InvalidInput
        If there are too few pictures.
    """
    if n_train < 1 or n_test < 1 or n_train + n_test > len(pictures):
        raise InvalidInput(
            f"{n_train} training and {n_test} test pictures were asked for; each ≥ 1 and {len(pictures)} together are allowed"
        )
    order = generator("realnets.split", seed).permutation(len(pictures))
    train, test = pictures.take(order[n_test : n_test + n_train]), pictures.take(order[:n_test])
    return Split(train, test)


def balanced(pictures: Pictures, n: int, seed: int) -> Pictures:
    """`n` pictures, equally many of each class, drawn without replacement; `InvalidInput` if a class has too few."""
    each, rest = divmod(n, len(pictures.classes))
    counts = np.bincount(pictures.labels, minlength=len(pictures.classes))
    if rest or each < 1 or each > counts.min():
        raise InvalidInput(
            f"{n} pictures were asked for; a multiple of {len(pictures.classes)} up to {len(pictures.classes) * counts.min()} is allowed"
        )
    stream = generator("realnets.balanced", seed)
    chosen = [stream.permutation(np.flatnonzero(pictures.labels == c))[:each] for c in range(len(pictures.classes))]
    return pictures.take(np.concatenate(chosen))


def as_input(
    images: np.ndarray | LazyImages,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    *,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Tensor:
    """(n, size, size, 3) bytes -> (n, 3, size, size), each channel less its mean and over its standard deviation, channels last in memory.

    Raises
    ------
    TooLarge
        If they would take more than the free memory of this machine.
    """
    n, height, width, channels = images.shape
    needed, free = n * height * width * channels * dtype.itemsize, free_host_memory()
    if needed > free:
        raise TooLarge(
            f"{n} pictures of {height} × {width} as {dtype} need {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free; "
            "fewer or smaller ones, or PictureDataset, which reads one at a time, are allowed"
        )
    inputs = torch.empty((n, height, width, channels), dtype=dtype)
    for first in range(0, n, CHUNK):
        inputs[first : first + CHUNK] = torch.from_numpy(_normalised(np.asarray(images[first : first + CHUNK]), mean, std))
    return inputs.to(device).permute(0, 3, 1, 2)


def _normalised(pixels: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    # In NumPy's float64 first, so that float32 and float64 inputs are the same numbers up to one rounding.
    return (pixels / 255.0 - np.array(mean)) / np.array(std)
