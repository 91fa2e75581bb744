"""Pictures in folders: a folder a class, with or without train and test above it; or listed as CUB-200, Stanford Cars and Places365 are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from realnets.data.lazy import FileReader, LazyImages, check_size
from realnets.data.pictures import Pictures
from theory.errors import InvalidInput

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
"""Of files that count as pictures; others are passed over."""

SPLITS = ("train", "val", "valid", "validation", "test")
"""Names of folders that hold a split: a folder whose subfolders all have such names, two or more, is a set with splits."""


@dataclass(frozen=True)
class Listing:
    """Picture files, their labels (n,) and the classes these index."""

    paths: tuple[Path, ...]
    labels: np.ndarray
    classes: tuple[str, ...]


def image_folder(folder: Path | str, size: int = 224, split: str | None = None) -> Pictures:
    """Pictures in a folder, read when they are asked for.

    Layouts: a folder a class (Office-31's `webcam` or `webcam/images`, Caltech-101); `train` beside `val` or `test`, each with a folder
    a class (ImageNet, Places); `images.txt`, `image_class_labels.txt`, `train_test_split.txt` and `classes.txt` (CUB-200);
    `devkit/cars_meta.mat` (Stanford Cars); `categories_places365.txt` (Places365, small or high resolution).

    Parameters
    ----------
    folder : path
    size : int
        Pixels a side.
    split : str, optional
        A split that the layout has; `None` for a layout without splits.

    Raises
    ------
    InvalidInput
        For a folder that is missing or holds no pictures, a split that is not there, a listed picture that is missing, or a list that
        cannot be read. A damaged picture is named when it is read.
    """
    top = Path(folder)
    check_size(size)
    if not top.is_dir():
        raise InvalidInput(f"there is no folder {str(top)!r}; a folder of pictures is allowed")
    listing = _listing(top, split)
    return pictures_of(listing, size, top, f"pictures in the folder {top.name!r}; their licence is for you to know")


def pictures_of(listing: Listing, size: int, top: Path, source: str) -> Pictures:
    """Pictures of listed files, all of which must exist; named by their paths from `top`."""
    if not listing.paths:
        raise InvalidInput(f"the list of pictures for {str(top)!r} is empty; at least one is needed")
    missing = [path for path in listing.paths if not path.is_file()]
    if missing:
        raise InvalidInput(f"{len(missing)} of {len(listing.paths)} listed pictures are missing, {str(missing[0])!r} among them")
    if listing.labels.min() < 0 or listing.labels.max() >= len(listing.classes):
        raise InvalidInput(
            f"labels from {listing.labels.min()} to {listing.labels.max()} for {len(listing.classes)} classes in {str(top)!r}"
        )
    names = tuple(path.relative_to(top).as_posix() for path in listing.paths)
    images = LazyImages(reader=FileReader(listing.paths), size=size, indices=np.arange(len(names)), names=names)
    return Pictures(images=images, labels=listing.labels, classes=listing.classes, names=names, source=source)


TRAINING = "training"
"""As a split: the one called `train`, the first one of a set that has others, or all of a set that has none."""

TRAINING_SPLIT = "train"


def check_split(split: str | None, allowed: Sequence[str], what: str) -> str:
    """`split` if it is allowed, else `InvalidInput`; `""` for none of a set without splits. `TRAINING` is what there is for it."""
    if split == TRAINING:
        return TRAINING_SPLIT if TRAINING_SPLIT in allowed else next(iter(allowed), "")
    if not allowed:
        if split is not None:
            raise InvalidInput(f"split is {split!r}, but {what} defines no splits; None is allowed (realnets.data.split draws one)")
        return ""
    if split is None or split not in allowed:
        raise InvalidInput(f"split is {split!r}; {', '.join(map(repr, allowed))} are allowed for {what}")
    return split


def _listing(top: Path, split: str | None) -> Listing:
    if (top / "image_class_labels.txt").is_file() and (top / "images.txt").is_file():
        return _cub(top, check_split(split, ("train", "test"), f"the layout of CUB-200 in {str(top)!r}"))
    if (top / "devkit" / "cars_meta.mat").is_file():
        return _cars(top, check_split(split, ("train", "test"), f"the layout of Stanford Cars in {str(top)!r}"))
    if (top / "categories_places365.txt").is_file():
        return _places(top, check_split(split, ("train", "val"), f"the layout of Places365 in {str(top)!r}"))
    inner = _subfolders(top)
    if len(inner) > 1 and all(path.name in SPLITS for path in inner):
        chosen = check_split(split, [path.name for path in inner], repr(str(top)))
        classes = _classes(top / "train") if (top / "train").is_dir() else None
        return _class_folders(top / chosen, classes)
    check_split(split, (), f"the folder {str(top)!r}")
    if [path.name for path in inner] == ["images"] and _subfolders(inner[0]):  # Office-31
        return _class_folders(inner[0])
    return _class_folders(top)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))


def _classes(folder: Path) -> tuple[str, ...]:
    return tuple(path.name for path in _subfolders(folder))


def _class_folders(folder: Path, classes: tuple[str, ...] | None = None) -> Listing:
    """A folder a class; `classes` are those of the training split, which index the labels of all splits."""
    here = _classes(folder)
    if not here:
        raise InvalidInput(f"{str(folder)!r} has no folders in it; a folder of pictures a class is needed")
    classes = classes or here
    if extra := sorted(set(here) - set(classes)):
        raise InvalidInput(f"{str(folder / extra[0])!r} is a class that the training split has not; its {len(classes)} classes are allowed")
    paths: list[Path] = []
    labels: list[int] = []
    for name in here:
        found = _pictures_in(folder / name)
        paths += found
        labels += [classes.index(name)] * len(found)
    return Listing(tuple(paths), np.array(labels, dtype=np.int64), classes)


def _pictures_in(folder: Path) -> list[Path]:
    found = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not found:
        deeper = next((path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES), None)
        hint = f"; there are pictures deeper in: name the folder {str(deeper.parent.parent)!r}, or another like it" if deeper else ""
        raise InvalidInput(f"the class folder {str(folder)!r} holds no pictures ({', '.join(SUFFIXES)}){hint}")
    return found


def _cub(top: Path, split: str) -> Listing:
    names = _table(top / "classes.txt")
    files = _table(top / "images.txt")
    classes = _table(top / "image_class_labels.txt")
    training = _table(top / "train_test_split.txt")
    ids = {key: index for index, key in enumerate(names)}
    chosen = [key for key in files if _entry(training, key, top / "train_test_split.txt") == ("1" if split == "train" else "0")]
    labels = [_entry(ids, _entry(classes, key, top / "image_class_labels.txt"), top / "classes.txt") for key in chosen]
    return Listing(tuple(top / "images" / files[key] for key in chosen), np.array(labels, dtype=np.int64), tuple(names.values()))


def _places(top: Path, split: str) -> Listing:
    index = _table(top / "categories_places365.txt", backwards=True)
    classes = tuple(name.removeprefix("/") for name in index.values())
    size = next((s for s in ("256", "large") if (top / f"{'data' if split == 'train' else 'val'}_{s}").is_dir()), None)
    folder = "data" if split == "train" else "val"
    if size is None:
        raise InvalidInput(
            f"{str(top)!r} holds neither {folder}_256 nor {folder}_large; the pictures of Places365 are needed in one of them"
        )
    lists = ("places365_train_standard.txt", "places365_train_challenge.txt") if split == "train" else ("places365_val.txt",)
    listed = next((top / name for name in lists if (top / name).is_file()), top / lists[0])
    table = _table(listed)
    ids = {key: position for position, key in enumerate(index)}
    labels = [_entry(ids, label, top / "categories_places365.txt") for label in table.values()]
    paths = tuple(top / f"{folder}_{size}" / name.removeprefix("/") for name in table)
    return Listing(paths, np.array(labels, dtype=np.int64), classes)


def _cars(top: Path, split: str) -> Listing:
    annotations = top / "devkit" / "cars_train_annos.mat" if split == "train" else top / "cars_test_annos_withlabels.mat"
    if split == "test" and not annotations.is_file():
        annotations = top / "devkit" / annotations.name
    rows = np.atleast_1d(_matlab(annotations, "annotations"))
    names = np.atleast_1d(_matlab(top / "devkit" / "cars_meta.mat", "class_names"))
    try:
        paths = tuple(top / f"cars_{split}" / str(row["fname"]) for row in rows)
        labels = np.array([int(row["class"]) - 1 for row in rows], dtype=np.int64)
    except (TypeError, ValueError, IndexError) as error:
        raise InvalidInput(f"{str(annotations)!r} does not list pictures as Stanford Cars does: {error}") from None
    return Listing(paths, labels, tuple(map(str, names)))


def _matlab(path: Path, name: str) -> Any:
    from scipy.io import loadmat

    return _read(path, lambda: loadmat(str(path), squeeze_me=True)[name])


def _table(path: Path, backwards: bool = False) -> dict[str, str]:
    """Lines `key value` of a text file, or `value key`."""
    found: dict[str, str] = {}
    for number, line in enumerate(_read(path, lambda: path.read_text(encoding="utf-8")).splitlines(), 1):
        key, _, value = line.strip().rpartition(" ") if backwards else line.strip().partition(" ")
        if backwards:
            key, value = value, key
        if not key or not value or key in found:
            raise InvalidInput(f"line {number} of {str(path)!r} is {line!r}; a new name and its value are allowed")
        found[key] = value
    return found


def _entry(table: dict[str, Any], key: str, path: Path) -> Any:
    if key not in table:
        raise InvalidInput(f"{str(path)!r} has no line for {key!r}, which other lists name")
    return table[key]


def _read(path: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except OSError as error:
        raise InvalidInput(f"cannot read {str(path)!r}: {error.strerror or error}") from None
    except Exception as error:  # a damaged file raises what its first bad byte leads to
        raise InvalidInput(f"{str(path)!r} is damaged: {error!r}") from None
