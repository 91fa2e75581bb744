"""Tiny data sets in the formats of the real ones."""

from __future__ import annotations

import bz2
import hashlib
import json
import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

SIZE = 32


@dataclass(frozen=True)
class Expected:
    """What must be read of one split: pictures (n, size, size, 3), labels, and the number of classes."""

    images: np.ndarray
    labels: list[int]
    classes: int


def noise(count: int, size: int, seed: int, channels: int = 3) -> np.ndarray:
    """(count, size, size, channels) random bytes."""
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, channels), dtype=np.uint8)


def write_picture(path: Path, seed: int, size: int = SIZE) -> np.ndarray:
    """A picture file; what a decoder makes of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(1, size, seed)[0]).save(path)
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def grey3(images: np.ndarray) -> np.ndarray:
    """(n, h, w) -> (n, h, w, 3)."""
    return np.repeat(images[..., None], 3, axis=-1)


def _written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


Splits = dict[str | None, Expected]


def cifar10(root: Path, patch: Any) -> Splits:
    return _cifar(root, patch, "CIFAR10", "cifar-10-batches-py", [f"data_batch_{i}" for i in range(1, 6)], ["test_batch"], "labels", 10)


def cifar100(root: Path, patch: Any) -> Splits:
    return _cifar(root, patch, "CIFAR100", "cifar-100-python", ["train"], ["test"], "fine_labels", 100)


def _cifar(root: Path, patch: Any, classname: str, folder: str, train: list[str], test: list[str], key: str, classes: int) -> Splits:
    names = {"CIFAR10": ("batches.meta", "label_names"), "CIFAR100": ("meta", "fine_label_names")}[classname]
    found: Splits = {}
    for split, files in (("train", train), ("test", test)):
        parts, labels = [], []
        listed = []
        for index, file in enumerate(files):
            images = noise(3, 32, 100 * index + len(files))
            own = [(7 * index + i) % classes for i in range(3)]
            content = pickle.dumps({"data": images.transpose(0, 3, 1, 2).reshape(3, -1), key: own})
            path = _written(root / folder / file, content)
            listed.append([file, md5(path)])
            parts.append(images)
            labels += own
        # The published sums are those of the real files.
        patch.setattr(f"torchvision.datasets.{classname}.{split}_list", listed)
        found[split] = Expected(np.concatenate(parts), labels, classes)
    meta = _written(root / folder / names[0], pickle.dumps({names[1]: [f"class {i}" for i in range(classes)]}))
    patch.setattr(f"torchvision.datasets.{classname}.meta", {"filename": names[0], "key": names[1], "md5": md5(meta)})
    return found


def stl10(root: Path, patch: Any) -> Splits:
    folder = root / "stl10_binary"
    found: Splits = {}
    sums = {}
    for split, labels in (("train", [1, 10, 3]), ("test", [2, 2])):
        images = noise(len(labels), 96, len(labels))
        # Column-major: each channel is stored with its columns one after the other.
        x = _written(folder / f"{split}_X.bin", images.transpose(0, 3, 2, 1).tobytes())
        y = _written(folder / f"{split}_y.bin", np.array(labels, dtype=np.uint8).tobytes())
        sums[split] = [[x.name, md5(x)], [y.name, md5(y)]]
        found[split] = Expected(images, [label - 1 for label in labels], 10)
    _written(folder / "class_names.txt", "\n".join(f"class {i}" for i in range(10)).encode())
    unlabelled = _written(folder / "unlabeled_X.bin", noise(1, 96, 0).tobytes())
    patch.setattr("torchvision.datasets.STL10.train_list", [*sums["train"], [unlabelled.name, md5(unlabelled)]])
    patch.setattr("torchvision.datasets.STL10.test_list", sums["test"])
    return found


def svhn(root: Path, patch: Any) -> Splits:
    found: Splits = {}
    listed = {}
    for split, labels in (("train", [1, 10, 9]), ("test", [10, 2]), ("extra", [5])):
        images = noise(len(labels), 32, len(labels))
        path = root / f"{split}_32x32.mat"
        root.mkdir(parents=True, exist_ok=True)
        savemat(path, {"X": images.transpose(1, 2, 3, 0), "y": np.array(labels)[:, None]})
        listed[split] = ["nowhere", path.name, md5(path)]
        found[split] = Expected(images, [label % 10 for label in labels], 10)
    patch.setattr("torchvision.datasets.SVHN.split_list", listed)
    return found


def mnist(root: Path, patch: Any) -> Splits:
    found: Splits = {}
    for split, prefix, labels in (("train", "train", [5, 0, 4]), ("test", "t10k", [7, 2])):
        images = noise(len(labels), 28, len(labels), 1)[..., 0]
        raw = root / "MNIST" / "raw"
        _written(raw / f"{prefix}-images-idx3-ubyte", struct.pack(">IIII", 0x803, len(labels), 28, 28) + images.tobytes())
        _written(raw / f"{prefix}-labels-idx1-ubyte", struct.pack(">II", 0x801, len(labels)) + bytes(labels))
        found[split] = Expected(grey3(images), labels, 10)
    return found


def usps(root: Path, patch: Any) -> Splits:
    found: Splits = {}
    for split, file, labels in (("train", "usps.bz2", [1, 10, 3]), ("test", "usps.t.bz2", [2, 2])):
        images = noise(len(labels), 16, len(labels), 1)[..., 0]
        # Half a grey level more, so that the reader's cut at whole numbers gives the byte back.
        values = (images.reshape(len(labels), -1) + 0.5) / 255 * 2 - 1
        lines = [f"{y} " + " ".join(f"{i}:{v:.6f}" for i, v in enumerate(row, 1)) for y, row in zip(labels, values, strict=True)]
        _written(root / file, bz2.compress("\n".join(lines).encode()))
        found[split] = Expected(grey3(images), [label - 1 for label in labels], 10)
    return found


def food101(root: Path, patch: Any) -> Splits:
    top = root / "food-101"
    found: Splits = {}
    for split, ids in (("train", {"sushi": [11, 12], "apple_pie": [13]}), ("test", {"apple_pie": [21], "sushi": [22]})):
        listed = {name: [f"{name}/{i}" for i in numbers] for name, numbers in ids.items()}
        images = [write_picture(top / "images" / f"{path}.jpg", int(path.split("/")[1])) for paths in listed.values() for path in paths]
        _written(top / "meta" / f"{split}.json", json.dumps(listed).encode())
        found[split] = Expected(np.stack(images), [["apple_pie", "sushi"].index(n) for n, paths in listed.items() for _ in paths], 2)
    return found


def flowers102(root: Path, patch: Any) -> Splits:
    top = root / "flowers-102"
    images = {i: write_picture(top / "jpg" / f"image_{i:05d}.jpg", i) for i in range(1, 7)}
    labels = np.array([1, 102, 3, 4, 5, 6], dtype=np.uint8)
    savemat(top / "imagelabels.mat", {"labels": labels[None]})
    ids = {"trnid": [2, 4], "valid": [1, 6], "tstid": [3, 5]}
    savemat(top / "setid.mat", {name: np.array(value)[None] for name, value in ids.items()})
    real = {"image": ("102flowers.tgz", "none")}
    sums = {key: (name, md5(top / name)) for key, name in (("label", "imagelabels.mat"), ("setid", "setid.mat"))}
    patch.setattr("torchvision.datasets.Flowers102._file_dict", {**real, **sums})
    return {
        split: Expected(np.stack([images[i] for i in ids[key]]), [int(labels[i - 1]) - 1 for i in ids[key]], 102)
        for split, key in (("train", "trnid"), ("val", "valid"), ("test", "tstid"))
    }


def fgvc_aircraft(root: Path, patch: Any) -> Splits:
    top = root / "fgvc-aircraft-2013b" / "data"
    variants = ["707-320", "A300B4", "Cessna 172"]
    _written(top / "variants.txt", "\n".join(variants).encode())
    found: Splits = {}
    for split, rows in (
        ("train", [(101, 2), (102, 0)]),
        ("val", [(103, 1)]),
        ("trainval", [(101, 2), (102, 0), (103, 1)]),
        ("test", [(104, 2)]),
    ):
        _written(top / f"images_variant_{split}.txt", "\n".join(f"{i:07d} {variants[y]}" for i, y in rows).encode())
        images = [write_picture(top / "images" / f"{i:07d}.jpg", i) for i, _ in rows]
        found[split] = Expected(np.stack(images), [y for _, y in rows], 3)
    return found


def dtd(root: Path, patch: Any) -> Splits:
    top = root / "dtd" / "dtd"
    found: Splits = {}
    for seed, split in enumerate(("train", "val", "test")):
        files = [f"zigzagged/zigzagged_{seed}.jpg", f"banded/banded_{seed}.jpg"]
        _written(top / "labels" / f"{split}1.txt", "\n".join(files).encode())
        found[split] = Expected(np.stack([write_picture(top / "images" / f, seed + len(f)) for f in files]), [1, 0], 2)
    return found


def oxford_pets(root: Path, patch: Any) -> Splits:
    top = root / "oxford-iiit-pet"
    found: Splits = {}
    for split, file, start in (("train", "trainval", 1), ("test", "test", 50)):
        rows = [(f"Abyssinian_{start}", 1), (f"yorkshire_terrier_{start}", 2), (f"Abyssinian_{start + 1}", 1)]
        _written(top / "annotations" / f"{file}.txt", "\n".join(f"{name} {label} {label} 1" for name, label in rows).encode())
        images = [write_picture(top / "images" / f"{name}.jpg", start + i) for i, (name, _) in enumerate(rows)]
        found[split] = Expected(np.stack(images), [label - 1 for _, label in rows], 2)
    return found


def caltech101(root: Path, patch: Any) -> Splits:
    top = root / "caltech101" / "101_ObjectCategories"
    write_picture(top / "BACKGROUND_Google" / "image_0001.jpg", 9)
    files = ["Faces/image_0001.jpg", "Faces/image_0002.jpg", "airplanes/image_0001.jpg"]
    images = [write_picture(top / file, seed) for seed, file in enumerate(files)]
    return {None: Expected(np.stack(images), [0, 0, 1], 2)}


MAKERS: dict[str, Callable[[Path, Any], Splits]] = {
    "CIFAR-10": cifar10,
    "CIFAR-100": cifar100,
    "STL-10": stl10,
    "SVHN": svhn,
    "torchvision/mnist": mnist,
    "USPS": usps,
    "Food-101": food101,
    "Flowers-102": flowers102,
    "FGVC-Aircraft": fgvc_aircraft,
    "DTD": dtd,
    "Oxford pets": oxford_pets,
    "Caltech-101": caltech101,
}
