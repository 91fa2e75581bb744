"""One similarity at a time: the same pictures with other labels, or the same labels with other pictures.

Each takes pictures and gives new ones, and writes what it did in `changes`. What is drawn for a picture depends on the seed and its name
alone, so that it is the same in every sample of a set; labels are drawn for a set as a whole.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter

from realnets.data.lazy import Change, LazyImages
from realnets.data.pictures import Pictures
from sim.rng import generator
from theory.errors import InvalidInput
from theory.ranges import check_count

_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Grey:
    """Luma in all channels."""

    def __call__(self, picture: np.ndarray, name: str) -> np.ndarray:
        """(size, size, 3) bytes -> the same."""
        return np.repeat(np.rint(picture @ np.array(_LUMA)).astype(np.uint8)[:, :, None], 3, axis=2)


@dataclass(frozen=True)
class Inverted:
    """Negative."""

    def __call__(self, picture: np.ndarray, name: str) -> np.ndarray:
        """(size, size, 3) bytes -> the same."""
        return 255 - picture


@dataclass(frozen=True)
class Blurred:
    """Gaussian blur in each channel."""

    sigma: float

    def __call__(self, picture: np.ndarray, name: str) -> np.ndarray:
        """(size, size, 3) bytes -> the same."""
        return np.rint(gaussian_filter(picture.astype(np.float64), (self.sigma, self.sigma, 0), mode="reflect")).astype(np.uint8)


@dataclass(frozen=True)
class ShuffledBlocks:
    """Blocks in a random order, which the seed and the picture's name fix."""

    block: int
    seed: int

    def __call__(self, picture: np.ndarray, name: str) -> np.ndarray:
        """(size, size, 3) bytes -> the same."""
        side, b = len(picture) // self.block, self.block
        key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
        order = generator("realnets.shuffled_blocks", self.seed, key).permutation(side * side)
        blocks = picture.reshape(side, b, side, b, 3).swapaxes(1, 2).reshape(side * side, b, b, 3)
        return blocks[order].reshape(side, side, b, b, 3).swapaxes(1, 2).reshape(picture.shape)


def shuffled_labels(pictures: Pictures, share: float, seed: int = 0) -> Pictures:
    """The same pictures, with the labels of a share of them permuted among these: every class keeps its number of pictures.

    Pictures of a larger share hold those of a smaller one of the same seed. A picture may get its own label back: of `c` classes of one
    size, about a share of `share·(1 − 1/c)` is wrong in the end.

    Parameters
    ----------
    share : float in [0, 1]
        Rounded to a whole number of pictures.
    """
    if not 0 <= share <= 1:
        raise InvalidInput(f"share is {share!r}; a number in [0, 1] is allowed")
    stream = generator("realnets.shuffled_labels", _checked(seed))
    chosen = stream.permutation(len(pictures))[: round(share * len(pictures))]
    labels = pictures.labels.copy()
    labels[chosen] = labels[generator("realnets.shuffled_labels.order", seed).permutation(chosen)]
    return _noted(replace(pictures, labels=labels), f"shuffled_labels(share={share:g}, seed={seed})")


def permuted_classes(pictures: Pictures, seed: int = 0) -> Pictures:
    """The same pictures, with every class under the label of another, by one random cycle through all of them.

    Labels change, the groups that they make do not.

    Raises
    ------
    InvalidInput
        For fewer than two classes.
    """
    count = len(pictures.classes)
    if count < 2:
        raise InvalidInput(f"{count} classes were given; at least two can be permuted")
    cycle = generator("realnets.permuted_classes", _checked(seed)).permutation(count)
    new = np.empty(count, dtype=np.int64)
    new[cycle] = np.roll(cycle, -1)
    classes = [""] * count
    for old, label in enumerate(new):
        classes[label] = pictures.classes[old]
    changed = replace(pictures, labels=new[pictures.labels], classes=tuple(classes))
    return _noted(changed, f"permuted_classes(seed={seed})")


def merged_classes(pictures: Pictures, groups: int | Sequence[Sequence[str]], seed: int = 0) -> Pictures:
    """The same pictures, with classes merged into groups, which are the new classes, named `a+b`.

    Parameters
    ----------
    groups : int or sequence of sequences of str
        A number of random groups, as equal in size as possible; or the classes of each group, every class in one.

    Raises
    ------
    InvalidInput
        For a number outside 2 to the number of classes, or groups that do not hold every class once.
    """
    count = len(pictures.classes)
    if isinstance(groups, int):
        if isinstance(groups, bool) or not 2 <= groups <= count:
            raise InvalidInput(f"groups is {groups!r}; a whole number from 2 to {count}, or lists of classes, are allowed")
        order = generator("realnets.merged_classes", _checked(seed)).permutation(count)
        members = [sorted(int(c) for c in part) for part in np.array_split(order, groups)]
        note = f"merged_classes(groups={groups}, seed={seed})"
    else:
        names = [name for group in groups for name in group]
        if sorted(names) != sorted(pictures.classes) or not all(len(group) for group in groups) or len(groups) < 2:
            raise InvalidInput(f"groups hold {names}; each of {list(pictures.classes)} once, in two groups or more, is allowed")
        members = [[pictures.classes.index(name) for name in group] for group in groups]
        note = f"merged_classes(groups={[list(group) for group in groups]})"
    new = np.empty(count, dtype=np.int64)
    for label, group in enumerate(members):
        new[group] = label
    classes = tuple("+".join(pictures.classes[c] for c in group) for group in members)
    return _noted(replace(pictures, labels=new[pictures.labels], classes=classes), note)


def grey(pictures: Pictures) -> Pictures:
    """The same labels, with pictures in shades of grey: each channel the luma `0.299 R + 0.587 G + 0.114 B` (ITU-R BT.601)."""
    return _changed(pictures, Grey(), "grey")


def inverted(pictures: Pictures) -> Pictures:
    """The same labels, with the negatives of the pictures, `255 − x`."""
    return _changed(pictures, Inverted(), "inverted")


def blurred(pictures: Pictures, sigma: float) -> Pictures:
    """The same labels, with pictures blurred by a Gaussian of standard deviation `sigma` pixels, mirrored at the edges.

    Raises
    ------
    InvalidInput
        For a `sigma` that is not a positive number.
    """
    if not (math.isfinite(sigma) and sigma > 0):
        raise InvalidInput(f"sigma is {sigma!r}; a number > 0 is allowed")
    return _changed(pictures, Blurred(float(sigma)), f"blurred(sigma={sigma:g})")


def shuffled_blocks(pictures: Pictures, block: int, seed: int = 0) -> Pictures:
    """The same labels, with each picture's blocks of `block` × `block` pixels in a random order of its own.

    Local patterns stay, their places go.

    Raises
    ------
    InvalidInput
        For a block that does not divide the pictures' size.
    """
    size = pictures.size
    if isinstance(block, bool) or not isinstance(block, int) or block < 1 or size % block or block == size:
        allowed = [b for b in range(1, size) if size % b == 0]
        raise InvalidInput(f"block is {block!r}; one of {allowed} is allowed for pictures of {size} pixels")
    return _changed(pictures, ShuffledBlocks(block, _checked(seed)), f"shuffled_blocks(block={block}, seed={seed})")


def _changed(pictures: Pictures, change: Change, note: str) -> Pictures:
    if isinstance(pictures.images, LazyImages):
        images: np.ndarray | LazyImages = pictures.images.changed(change, note)
    else:
        images = np.empty_like(pictures.images)
        for i, name in enumerate(pictures.names):
            images[i] = change(pictures.images[i], name)
    return _noted(replace(pictures, images=images), note)


def _noted(pictures: Pictures, note: str) -> Pictures:
    return replace(pictures, changes=(*pictures.changes, note))


def _checked(seed: int) -> int:
    check_count("seed", seed, 0)
    return seed
