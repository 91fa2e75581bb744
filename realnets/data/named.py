"""A data set by name: bundled, torchvision's, or a folder of pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from realnets.data.bundled import digits, mnist
from realnets.data.emoji import openmoji
from realnets.data.folders import TRAINING, image_folder
from realnets.data.lazy import check_size
from realnets.data.pictures import Pictures
from realnets.data.torchvision_sets import SETS, torchvision_set
from sim.records import Cache
from theory.errors import InvalidInput

_BUNDLED: dict[str, Callable[[int], Pictures]] = {"openmoji": lambda size: openmoji(size=size), "mnist": mnist, "digits": digits}

DATASETS = tuple(_BUNDLED)
"""Bundled sets, which need no download."""

_ALIASES = {"oxfordiiitpet": "oxfordpets", "pets": "oxfordpets", "aircraft": "fgvcaircraft", "food": "food101", "flowers": "flowers102"}


def load(name: str, size: int = 64, *, split: str | None = None, folder: Path | str | None = None, download: bool = False) -> Pictures:
    """A data set by name. Bundled sets are in memory; the pictures of others are read when they are asked for.

    Parameters
    ----------
    name : str
        One of `DATASETS`; a set of torchvision, such as `"CIFAR-10"` or `"torchvision/mnist"` (the prefix tells it from the bundled one);
        or the path of a folder of pictures, with a `/` in it (`image_folder` has the layouts).
    size : int
        Pixels a side.
    split : str, optional
        A split that the set defines; `None` for a set that defines none, such as all bundled ones; or `"training"`: the one for that,
        whatever its name, and all of a set without splits.
    folder : path, optional
        Where torchvision's files are, by default `data` in ptoq's cache folder.
    download : bool
        Fetch torchvision's files if they are not in the folder.

    Raises
    ------
    InvalidInput
        For an unknown name, split or size, or a set that is missing or damaged.
    """
    if name in _BUNDLED:
        if split not in (None, TRAINING) or folder is not None or download:
            raise InvalidInput(f"{name!r} is bundled: it has no split, folder or download (realnets.data.split draws a split)")
        return _BUNDLED[name](size)
    key = "".join(c for c in name.removeprefix("torchvision/").lower() if c.isalnum())
    key = _ALIASES.get(key, key)
    if ("/" in name or "\\" in name) and not name.startswith("torchvision/"):
        if folder is not None or download:
            raise InvalidInput(f"{name!r} is a folder; it takes no folder= and no download")
        return image_folder(name, size, split)
    if key not in SETS:
        known = [*DATASETS, *(known.title for known in SETS.values())]
        raise InvalidInput(f"there is no data set {name!r}; {', '.join(map(repr, known))}, or a path with a '/', are allowed")
    return torchvision_set(key, check_size(size), split, Path(folder) if folder is not None else Cache().folder / "data", download)
