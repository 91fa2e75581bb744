"""Pictures that are read when they are asked for: from files or from a large array, cropped to a square and resized."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np

from theory.errors import InvalidInput, TooLarge
from theory.host_memory import free_host_memory

CHUNK = 256
"""Pictures that are in floating point at once."""

SIZES = range(8, 1025)
"""Pixels a side that pictures may have."""

Change = Callable[[np.ndarray, str], np.ndarray]
"""What a transformation does to one picture, (size, size, 3) bytes -> the same, given the picture's name."""


class Reader(Protocol):
    """Where pictures come from: one at a time, as bytes for hashing and as an RGB array of its own size."""

    def read(self, index: int) -> np.ndarray:
        """The picture, (h, w, 3) bytes."""
        ...

    def raw(self, index: int) -> bytes:
        """What it is read from."""
        ...


@dataclass(frozen=True)
class FileReader:
    """Picture files; `InvalidInput` names the one that is missing or damaged."""

    paths: tuple[Path, ...]

    def read(self, index: int) -> np.ndarray:
        """The picture in RGB, a transparent one on white."""
        from PIL import Image

        path = self.paths[index]
        try:
            with Image.open(path) as image:
                if image.has_transparency_data:
                    white = Image.new("RGBA", image.size, "white")
                    return np.asarray(Image.alpha_composite(white, image.convert("RGBA")).convert("RGB"))
                return np.asarray(image.convert("RGB"))
        except MemoryError:
            raise
        except Exception as error:  # whatever the decoder makes of a damaged file is one answer to the user
            raise InvalidInput(f"cannot read the picture {str(path)!r}: {error}; replace the file or take it out of the set") from None

    def raw(self, index: int) -> bytes:
        """The file's bytes."""
        try:
            return self.paths[index].read_bytes()
        except OSError as error:
            raise InvalidInput(f"cannot read the picture {str(self.paths[index])!r}: {error.strerror}") from None


@dataclass(frozen=True, eq=False)
class ArrayReader:
    """Pictures (n, h, w) or (n, h, w, 3) of uint8."""

    pictures: np.ndarray

    def read(self, index: int) -> np.ndarray:
        """The picture; a grey one in three equal channels."""
        picture = self.pictures[index]
        return picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, axis=2)

    def raw(self, index: int) -> bytes:
        """The picture's bytes, after its shape."""
        return f"{self.pictures[index].shape}".encode() + np.ascontiguousarray(self.pictures[index]).tobytes()


@dataclass(frozen=True, kw_only=True, eq=False)
class LazyImages:
    """Pictures that look like an array (n, size, size, 3) of uint8 and are read when indexed.

    An index gives one picture, indices or a slice give LazyImages, `numpy.asarray` reads all.

    Attributes
    ----------
    reader : Reader
    size : int
        Pixels a side: the central square of a picture, resized (bilinear, antialiased).
    indices : (n,) array of int64
        Of the pictures in the reader.
    names : tuple of str
        One for each picture in the reader.
    changes : tuple of callables
        Applied to each picture in turn after it was resized.
    labels_of_changes : tuple of str
        What they are, in words.
    """

    reader: Reader
    size: int
    indices: np.ndarray
    names: tuple[str, ...]
    changes: tuple[Change, ...] = ()
    labels_of_changes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, size, size, 3)."""
        return len(self), self.size, self.size, 3

    @overload
    def __getitem__(self, index: int | np.integer) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: np.ndarray | slice) -> LazyImages: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, (int, np.integer)):
            at = int(self.indices[index])
            picture = squared(self.reader.read(at), self.size)
            for change in self.changes:
                picture = change(picture, self.names[at])
            return picture
        return replace(self, indices=self.indices[index])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        needed, free = len(self) * self.size**2 * 3, free_host_memory()
        if needed > free:
            raise TooLarge(
                f"{len(self)} pictures of {self.size} × {self.size} need {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free; "
                "fewer or smaller ones, or PictureDataset, which reads one at a time, are allowed"
            )
        pictures = np.empty(self.shape, dtype=np.uint8)
        for i in range(len(self)):
            pictures[i] = self[i]
        return pictures if dtype is None else pictures.astype(dtype, copy=False)

    def changed(self, change: Change, label: str) -> LazyImages:
        """The same pictures with one more transformation."""
        return replace(self, changes=(*self.changes, change), labels_of_changes=(*self.labels_of_changes, label))

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of what the pictures are read from, their size and transformations; every file is read for it, none is decoded."""
        found = hashlib.sha256(repr((self.size, self.labels_of_changes)).encode())
        for index in self.indices:
            found.update(hashlib.sha256(self.reader.raw(int(index))).digest())
            if self.changes:  # they may depend on it
                found.update(hashlib.sha256(self.names[int(index)].encode()).digest())
        return found.hexdigest()


def squared(picture: np.ndarray, size: int) -> np.ndarray:
    """The central square of a picture, resized: (h, w, 3) -> (size, size, 3), bytes; bilinear with antialiasing."""
    if picture.shape[:2] == (size, size):
        return picture
    from PIL import Image, ImageOps

    return np.asarray(ImageOps.fit(Image.fromarray(picture), (size, size), method=Image.Resampling.BILINEAR))


def check_size(size: int) -> int:
    """`size` if it is among `SIZES`, else `InvalidInput`."""
    if isinstance(size, bool) or not isinstance(size, int) or size not in SIZES:
        raise InvalidInput(f"size is {size!r}; a whole number from {SIZES[0]} to {SIZES[-1]} is allowed")
    return size


def digest(*arrays: np.ndarray) -> str:
    """SHA-256 of dtypes, shapes and contents."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()
