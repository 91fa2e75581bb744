"""Data sets that torchvision knows: it downloads and parses, and pictures are read when they are asked for.

Pictures are the set's own, cropped to their central square and resized; splits are the set's own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from realnets.data.folders import Listing, check_split, pictures_of
from realnets.data.lazy import ArrayReader, LazyImages
from realnets.data.pictures import Pictures
from theory.errors import InvalidInput

Found = tuple[np.ndarray, Sequence[int], Sequence[str]] | Listing
"""Pictures (n, h, w) or (n, h, w, 3), labels and classes; or files."""


@dataclass(frozen=True, kw_only=True)
class KnownSet:
    """A set of torchvision.

    Attributes
    ----------
    title : str
    credit : str
        Whom to credit, and the licence.
    size : str
        Of the download.
    splits : mapping
        Name of each split to what torchvision calls it: a keyword and its value.
    classname : str
        Of the class in `torchvision.datasets`.
    found : callable
        Pictures and labels of an instance.
    files : bool
        Whether the class takes a `loader`, which then gives paths in place of pictures.
    """

    title: str
    credit: str
    size: str
    splits: Mapping[str, tuple[str, Any]]
    classname: str
    found: Callable[[Any], Found]
    files: bool = False


def torchvision_set(name: str, size: int, split: str | None, folder: Path, download: bool) -> Pictures:
    """Pictures of one of `SETS`, read when they are asked for.

    Raises
    ------
    InvalidInput
        For a split that the set has not; a set that is not in the folder, cannot be downloaded, or is damaged.
    """
    known = SETS[name]
    chosen = check_split(split, tuple(known.splits), known.title)
    dataset = _opened(known, dict([known.splits[chosen]]) if chosen else {}, folder, download)
    try:
        found = known.found(dataset)
    except Exception as error:  # a damaged list of files raises what its first bad line leads to
        raise InvalidInput(f"{known.title} in {str(folder)!r} is damaged: {error!r}") from None
    if isinstance(found, Listing):
        return pictures_of(found, size, folder, known.credit)
    pictures, labels, classes = found
    return _of_array(pictures, np.asarray(labels, dtype=np.int64), tuple(classes), size, known)


def _opened(known: KnownSet, settings: dict[str, Any], folder: Path, download: bool) -> Any:
    try:
        datasets = importlib.import_module("torchvision.datasets")
    except ImportError as error:
        raise InvalidInput(f"torchvision cannot be imported ({error}); pip install 'ptoq[real]' brings it") from None
    settings = {**settings, "root": str(folder), "download": download}
    if known.files:
        settings["loader"] = Path
    try:
        return getattr(datasets, known.classname)(**settings)
    except MemoryError:
        raise
    except Exception as error:  # missing files, damaged files, networks and disks fail in many ways
        reason = (str(error).splitlines() or [type(error).__name__])[0].split(" You can use download=True")[0].rstrip(".")
        if download:
            raise InvalidInput(f"{known.title} cannot be downloaded to {str(folder)!r}: {reason}") from None
        raise InvalidInput(
            f"{known.title} is not in {str(folder)!r}, or is damaged there: {reason}; download=True fetches it ({known.size}), "
            "or folder= names another place"
        ) from None


def _of_array(pictures: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], size: int, known: KnownSet) -> Pictures:
    if len(pictures) != len(labels) or not len(labels) or labels.min() < 0 or labels.max() >= len(classes):
        raise InvalidInput(f"{known.title} is damaged: {len(pictures)} pictures, {len(labels)} labels of {len(classes)} classes")
    names = tuple(f"{i:06d}" for i in range(len(labels)))
    images = LazyImages(reader=ArrayReader(pictures), size=size, indices=np.arange(len(labels)), names=names)
    return Pictures(images=images, labels=labels, classes=classes, names=names, source=known.credit)


def _cifar(dataset: Any) -> Found:
    return dataset.data, dataset.targets, dataset.classes


def _stl10(dataset: Any) -> Found:
    return dataset.data.transpose(0, 2, 3, 1), dataset.labels, dataset.classes


def _svhn(dataset: Any) -> Found:
    return dataset.data.transpose(0, 2, 3, 1), dataset.labels.reshape(-1), "0123456789"


def _mnist(dataset: Any) -> Found:
    return dataset.data.numpy(), dataset.targets.numpy(), "0123456789"


def _usps(dataset: Any) -> Found:
    return dataset.data, dataset.targets, "0123456789"


def _listed(dataset: Any) -> Found:
    items = [dataset[i] for i in range(len(dataset))]
    return Listing(tuple(path for path, _ in items), np.array([label for _, label in items], dtype=np.int64), tuple(dataset.classes))


def _pets(dataset: Any) -> Found:
    return Listing(tuple(dataset._images), np.array(dataset._labels, dtype=np.int64), tuple(dataset.classes))


def _caltech101(dataset: Any) -> Found:
    top = Path(dataset.root) / "101_ObjectCategories"
    paths = tuple(top / dataset.categories[y] / f"image_{i:04d}.jpg" for y, i in zip(dataset.y, dataset.index, strict=True))
    return Listing(paths, np.array(dataset.y, dtype=np.int64), tuple(dataset.categories))


_BY_TRAIN = {"train": ("train", True), "test": ("train", False)}


def _splits(*names: str) -> dict[str, tuple[str, Any]]:
    return {name: ("split", name) for name in names}


SETS: dict[str, KnownSet] = {
    "cifar10": KnownSet(
        title="CIFAR-10",
        credit="CIFAR-10, Krizhevsky 2009; no licence stated",
        size="170 MB",
        splits=_BY_TRAIN,
        classname="CIFAR10",
        found=_cifar,
    ),
    "cifar100": KnownSet(
        title="CIFAR-100",
        credit="CIFAR-100, Krizhevsky 2009; no licence stated",
        size="169 MB",
        splits=_BY_TRAIN,
        classname="CIFAR100",
        found=_cifar,
    ),
    "stl10": KnownSet(
        title="STL-10",
        credit="STL-10, Coates, Lee and Ng 2011; pictures from ImageNet, under its terms of access",
        size="2.6 GB",
        splits=_splits("train", "test"),
        classname="STL10",
        found=_stl10,
    ),
    "svhn": KnownSet(
        title="SVHN",
        credit="SVHN, Netzer et al. 2011; for non-commercial use only",
        size="182 MB, test 64 MB, extra 1.3 GB",
        splits=_splits("train", "test", "extra"),
        classname="SVHN",
        found=_svhn,
    ),
    "mnist": KnownSet(
        title="MNIST",
        credit="MNIST, LeCun et al. 1998, CC BY-SA 3.0",
        size="12 MB",
        splits=_BY_TRAIN,
        classname="MNIST",
        found=_mnist,
    ),
    "usps": KnownSet(
        title="USPS",
        credit="USPS, Hull 1994; no licence stated",
        size="7 MB, test 2 MB",
        splits=_BY_TRAIN,
        classname="USPS",
        found=_usps,
    ),
    "food101": KnownSet(
        title="Food-101",
        credit="Food-101, Bossard, Guillaumin and Van Gool 2014; pictures from Foodspotting, for scientific fair use",
        size="5 GB",
        splits=_splits("train", "test"),
        classname="Food101",
        found=_listed,
        files=True,
    ),
    "flowers102": KnownSet(
        title="Flowers-102",
        credit="Oxford 102 Flowers, Nilsback and Zisserman 2008; no licence stated",
        size="345 MB",
        splits=_splits("train", "val", "test"),
        classname="Flowers102",
        found=_listed,
        files=True,
    ),
    "fgvcaircraft": KnownSet(
        title="FGVC-Aircraft",
        credit="FGVC-Aircraft, Maji et al. 2013; for non-commercial research only",
        size="2.8 GB",
        splits=_splits("train", "val", "trainval", "test"),
        classname="FGVCAircraft",
        found=_listed,
        files=True,
    ),
    "dtd": KnownSet(
        title="DTD",
        credit="Describable Textures Dataset, Cimpoi et al. 2014; for research",
        size="625 MB",
        splits=_splits("train", "val", "test"),
        classname="DTD",
        found=_listed,
        files=True,
    ),
    "oxfordpets": KnownSet(
        title="Oxford-IIIT Pet",
        credit="Oxford-IIIT Pet, Parkhi et al. 2012, CC BY-SA 4.0",
        size="811 MB",
        splits={"train": ("split", "trainval"), "test": ("split", "test")},
        classname="OxfordIIITPet",
        found=_pets,
    ),
    "caltech101": KnownSet(
        title="Caltech-101",
        credit="Caltech-101, Li, Andreeto, Ranzato and Perona 2022, CC BY 4.0",
        size="137 MB",
        splits={},
        classname="Caltech101",
        found=_caltech101,
    ),
}
"""By name in small letters and figures alone."""
