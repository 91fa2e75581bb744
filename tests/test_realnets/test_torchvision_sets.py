"""Sets of torchvision: tiny files of each set's format are parsed by the real code, and downloaded from a server in this process."""

from __future__ import annotations

import functools
import http.server
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest

from realnets import data
from tests.test_realnets.picture_files import MAKERS, SIZE, cifar10, dtd, food101, md5, mnist, usps
from theory.errors import InvalidInput


@pytest.fixture
def offline(monkeypatch):
    """Any attempt to reach a network fails the test."""
    monkeypatch.setattr("socket.getaddrinfo", lambda *a, **k: pytest.fail("the network was asked for"))
    monkeypatch.setattr("socket.socket.connect", lambda *a, **k: pytest.fail("the network was asked for"))


def test_every_set_has_a_test():
    assert len(MAKERS) == len(data.SETS)


@pytest.mark.parametrize("name", MAKERS)
def test_each_split_of_a_set_is_read_as_it_was_written(name, tmp_path, monkeypatch, offline):
    for split, expected in MAKERS[name](tmp_path, monkeypatch).items():
        size = expected.images.shape[1]
        found = data.load(name, size, split=split, folder=tmp_path)
        assert isinstance(found.images, data.LazyImages)
        assert found.labels.tolist() == expected.labels
        assert found.labels.dtype == np.int64
        assert len(found.classes) == expected.classes
        assert len(set(found.names)) == len(found)
        assert np.array_equal(np.asarray(found.images), expected.images)
        assert "20" in found.source or "19" in found.source


@pytest.mark.parametrize("name", MAKERS)
def test_an_absent_set_says_where_it_was_looked_for_and_what_to_do(name, tmp_path, offline):
    split = None if name == "Caltech-101" else "train"
    with pytest.raises(InvalidInput, match=rf"is not in '{tmp_path}', or is damaged there: .*download=True fetches it \(.*[MG]B.*folder="):
        data.load(name, SIZE, split=split, folder=tmp_path)


def test_names_are_read_in_any_spelling(tmp_path, monkeypatch):
    cifar10(tmp_path, monkeypatch)
    hashes = {data.load(name, split="test", folder=tmp_path).content_hash for name in ("cifar10", "CIFAR_10", "torchvision/CIFAR-10")}
    assert len(hashes) == 1


def test_files_are_looked_for_in_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PTOQ_CACHE", str(tmp_path))
    usps(tmp_path / "data", monkeypatch)
    assert len(data.load("usps", 16, split="train")) == 3


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"split": None}, "split is None; 'train', 'test' are allowed for CIFAR-10"),
        ({"split": "val"}, "split is 'val'; 'train', 'test' are allowed for CIFAR-10"),
        ({"split": "train", "size": 4}, "size is 4; a whole number from 8 to 1024"),
    ],
)
def test_bad_splits_and_sizes(tmp_path, monkeypatch, settings, words):
    cifar10(tmp_path, monkeypatch)
    with pytest.raises(InvalidInput, match=words):
        data.load("cifar10", folder=tmp_path, **settings)


def test_a_set_without_splits_takes_none(tmp_path):
    with pytest.raises(InvalidInput, match="split is 'train', but Caltech-101 defines no splits"):
        data.load("caltech101", split="train", folder=tmp_path)
    with pytest.raises(InvalidInput, match=r"'digits' is bundled: .*realnets\.data\.split"):
        data.load("digits", 32, split="train")


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("maker", "name", "file", "damage"),
    [
        (cifar10, "cifar10", "cifar-10-batches-py/data_batch_2", _flip),
        (usps, "usps", "usps.bz2", _flip),
        (mnist, "torchvision/mnist", "MNIST/raw/train-images-idx3-ubyte", lambda path: path.write_bytes(path.read_bytes()[:100])),
        (food101, "food101", "food-101/meta/train.json", lambda path: path.write_text('{"sushi": [')),
        (dtd, "dtd", "dtd/dtd/labels/train1.txt", lambda path: path.write_text("banded banded_0.jpg")),
    ],
)
def test_damaged_files_of_a_set_are_refused(tmp_path, monkeypatch, maker, name, file, damage):
    maker(tmp_path, monkeypatch)
    damage(tmp_path / file)
    with pytest.raises(InvalidInput, match="damaged"):
        data.load(name, 32, split="train", folder=tmp_path)


def test_a_listed_picture_that_is_missing_or_damaged_is_named(tmp_path, monkeypatch):
    dtd(tmp_path, monkeypatch)
    path = tmp_path / "dtd" / "dtd" / "images" / "banded" / "banded_0.jpg"
    path.write_bytes(path.read_bytes()[:300])
    found = data.load("dtd", 64, split="train", folder=tmp_path)
    with pytest.raises(InvalidInput, match=r"cannot read the picture '.*banded_0\.jpg'"):
        np.asarray(found.images)
    path.unlink()
    with pytest.raises(InvalidInput, match=r"1 of 2 listed pictures are missing, '.*banded_0\.jpg'"):
        data.load("dtd", 64, split="train", folder=tmp_path)
    with pytest.raises(InvalidInput, match=r"cannot read the picture '.*banded_0\.jpg'"):
        _ = found.content_hash


@pytest.fixture
def server(tmp_path):
    """Serves a folder of this machine over HTTP."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.02,))
        thread.start()
        yield folder, f"http://127.0.0.1:{found.server_port}"
        found.shutdown()
        thread.join()


def test_a_set_is_downloaded_where_asked_checked_and_read(tmp_path, monkeypatch, server):
    folder, address = server
    expected = cifar10(tmp_path / "made", monkeypatch)["test"]
    with tarfile.open(folder / "cifar.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "made" / "cifar-10-batches-py", "cifar-10-batches-py")
    monkeypatch.setattr("torchvision.datasets.CIFAR10.url", f"{address}/cifar.tar.gz")
    monkeypatch.setattr("torchvision.datasets.CIFAR10.tgz_md5", md5(folder / "cifar.tar.gz"))
    found = data.load("cifar10", 32, split="test", folder=tmp_path / "here", download=True)
    assert np.array_equal(np.asarray(found.images), expected.images)
    # Once it is there, nothing is asked of the network.
    (folder / "cifar.tar.gz").unlink()
    assert data.load("cifar10", 32, split="test", folder=tmp_path / "here", download=True).content_hash == found.content_hash


def test_a_download_that_fails_or_is_not_what_was_published_says_so(tmp_path, monkeypatch, server):
    folder, address = server
    monkeypatch.setattr("torchvision.datasets.CIFAR10.url", f"{address}/cifar.tar.gz")
    with pytest.raises(InvalidInput, match=rf"CIFAR-10 cannot be downloaded to '{tmp_path / 'here'}': .*404"):
        data.load("cifar10", 32, split="test", folder=tmp_path / "here", download=True)
    (folder / "cifar.tar.gz").write_bytes(b"another file")
    with pytest.raises(InvalidInput, match=r"CIFAR-10 cannot be downloaded to .*not found or corrupted"):
        data.load("cifar10", 32, split="test", folder=tmp_path / "here", download=True)
