"""One similarity at a time: labels without pictures, pictures without labels."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from realnets import data
from realnets.data.lazy import ArrayReader, LazyImages
from tests.helpers import assert_z
from theory.errors import InvalidInput


@pytest.fixture
def noise() -> data.Pictures:
    stream = np.random.default_rng(3)
    images = stream.integers(0, 256, (240, 12, 12, 3), dtype=np.uint8)
    labels = np.repeat(np.arange(6), 40)
    return data.Pictures(images=images, labels=labels, classes=tuple("abcdef"), names=tuple(f"{i:03d}" for i in range(240)), source="noise")


def _lazy(pictures: data.Pictures) -> data.Pictures:
    images = LazyImages(reader=ArrayReader(pictures.images), size=pictures.size, indices=np.arange(len(pictures)), names=pictures.names)
    return dataclasses.replace(pictures, images=images)


LABELS = {
    "shuffled_labels": lambda p: data.shuffled_labels(p, 0.5, seed=1),
    "permuted_classes": lambda p: data.permuted_classes(p, seed=1),
    "merged_classes": lambda p: data.merged_classes(p, 2, seed=1),
}
IMAGES = {
    "grey": data.grey,
    "inverted": data.inverted,
    "blurred": lambda p: data.blurred(p, 1.5),
    "shuffled_blocks": lambda p: data.shuffled_blocks(p, 4, seed=1),
}


@pytest.mark.parametrize("change", LABELS.values(), ids=LABELS)
def test_pictures_stay_where_labels_change(noise, change):
    images, labels = noise.images.copy(), noise.labels.copy()
    found = change(noise)
    assert np.array_equal(found.images, images)
    assert not np.array_equal(found.labels, labels)
    assert np.array_equal(noise.labels, labels)
    assert found.names == noise.names


@pytest.mark.parametrize("change", IMAGES.values(), ids=IMAGES)
def test_labels_stay_where_pictures_change(noise, change):
    images = noise.images.copy()
    found = change(noise)
    assert np.array_equal(found.labels, noise.labels)
    assert found.classes == noise.classes
    assert (found.images != images).any(axis=(1, 2, 3)).all()
    assert found.images.dtype == np.uint8
    assert np.array_equal(noise.images, images)


@pytest.mark.parametrize("change", IMAGES.values(), ids=IMAGES)
def test_a_changed_sample_is_a_sample_of_the_changed_and_files_are_as_arrays(noise, change):
    some = np.array([5, 200, 17])
    whole = change(noise)
    assert np.array_equal(change(noise.take(some)).images, whole.images[some])
    assert np.array_equal(np.asarray(change(_lazy(noise)).take(some).images), whole.images[some])
    twice = data.inverted(change(_lazy(noise)))
    assert np.array_equal(np.asarray(twice.images), 255 - whole.images)


@pytest.mark.parametrize("change", [*LABELS.values(), *IMAGES.values()], ids=[*LABELS, *IMAGES])
def test_what_was_done_is_on_record_and_in_the_hash(noise, change):
    found = data.inverted(change(noise))
    assert len(found.changes) == 2
    assert found.changes[1] == "inverted"
    assert change(noise).content_hash == change(noise).content_hash != noise.content_hash
    assert found.source == noise.source


def test_the_notes_name_the_settings(noise):
    changed = data.blurred(data.shuffled_labels(data.merged_classes(noise, [["a", "b", "c"], ["d", "e", "f"]]), 0.25, seed=3), 0.5)
    assert changed.changes == (
        "merged_classes(groups=[['a', 'b', 'c'], ['d', 'e', 'f']])",
        "shuffled_labels(share=0.25, seed=3)",
        "blurred(sigma=0.5)",
    )


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_shuffled_labels_keep_every_class_its_number(noise, share):
    found = data.shuffled_labels(noise, share, seed=4)
    assert np.array_equal(np.bincount(found.labels), np.bincount(noise.labels))
    assert (found.labels != noise.labels).sum() <= share * len(noise)


def test_as_many_labels_are_wrong_as_the_share_says(noise):
    wrong = np.array([np.mean(data.shuffled_labels(noise, 0.5, seed=s).labels != noise.labels) for s in range(200)])
    assert 6 * wrong.std(ddof=1) / np.sqrt(len(wrong)) < 0.01  # a share one point off would be found
    # Of 120 pictures, one keeps its own label on average; another picture's is another class's in 200 of 239 cases.
    assert_z(wrong, 0.5 * 119 / 120 * 200 / 239)


def test_a_larger_share_shuffles_the_pictures_of_a_smaller_one_too(noise):
    touched = [set(np.flatnonzero(data.shuffled_labels(_distinct(noise), share, seed=2).labels != np.arange(240))) for share in (0.2, 0.6)]
    kept = 144 - len(touched[1])  # pictures of the larger share that got their own label back
    assert kept < 6
    assert len(touched[0]) > 40
    assert len(touched[0] - touched[1]) <= kept


def _distinct(noise: data.Pictures) -> data.Pictures:
    return dataclasses.replace(noise, labels=np.arange(240), classes=tuple(map(str, range(240))))


def test_permuted_classes_are_all_moved_and_keep_their_pictures(noise):
    for seed in range(20):
        found = data.permuted_classes(noise, seed=seed)
        assert (found.labels != noise.labels).all()
        assert sorted(found.classes) == sorted(noise.classes)
        # The name moves with the pictures.
        assert [found.classes[y] for y in found.labels] == [noise.classes[y] for y in noise.labels]
        assert len(set(zip(found.labels, noise.labels, strict=True))) == 6
    assert len({tuple(data.permuted_classes(noise, seed=s).labels[::40]) for s in range(20)}) > 5


def test_merged_classes_are_unions(noise):
    found = data.merged_classes(noise, [["a", "f"], ["b", "c", "d"], ["e"]])
    assert found.classes == ("a+f", "b+c+d", "e")
    assert found.labels[::40].tolist() == [0, 1, 1, 1, 2, 0]
    drawn = data.merged_classes(noise, 4, seed=7)
    assert sorted(name for group in drawn.classes for name in group.split("+")) == list("abcdef")
    assert sorted(len(group.split("+")) for group in drawn.classes) == [1, 1, 2, 2]
    assert [noise.classes[y] in drawn.classes[z] for y, z in zip(noise.labels, drawn.labels, strict=True)] == [True] * 240


def test_grey_is_the_luma_of_the_standard(noise):
    found = data.grey(noise).images
    assert (found[..., 0] == found[..., 1]).all() and (found[..., 1] == found[..., 2]).all()
    expected = np.rint(noise.images.astype(float) @ [0.299, 0.587, 0.114])
    assert np.array_equal(found[..., 0], expected)
    assert np.array_equal(data.grey(data.grey(noise)).images, found)


def test_inverting_twice_gives_the_pictures_back(noise):
    assert np.array_equal(data.inverted(data.inverted(noise)).images, noise.images)


@pytest.mark.parametrize("sigma", [0.4, 1.5])
def test_a_blur_is_the_convolution_with_a_gaussian_mirrored_at_the_edges(noise, sigma):
    size = noise.size
    places = np.arange(-8 * size, 9 * size)
    mirrored = np.where(places // size % 2 == 0, places % size, size - 1 - places % size)
    weights = np.zeros((size, size))
    for i in range(size):
        np.add.at(weights[i], mirrored, np.exp(-((places - i) ** 2) / (2 * sigma**2)))
    weights /= weights.sum(axis=1, keepdims=True)
    exact = np.einsum("ai,bj,nijc->nabc", weights, weights, noise.images.astype(float), optimize=True)
    # Half a byte of rounding, and what lies beyond four sigmas, where the filter is cut, in each of two directions.
    assert np.abs(data.blurred(noise, sigma).images - exact).max() <= 0.5 + 2 * 255 * math.erfc(4 / math.sqrt(2))


def test_blocks_are_moved_whole_and_each_picture_has_its_own_order(noise):
    found = data.shuffled_blocks(noise, 3, seed=5)

    def blocks(picture: np.ndarray) -> list[bytes]:
        return [picture[i : i + 3, j : j + 3].tobytes() for i in range(0, 12, 3) for j in range(0, 12, 3)]

    orders = []
    for before, after in zip(noise.images[:20], found.images[:20], strict=True):
        assert sorted(blocks(before)) == sorted(blocks(after))
        orders.append(tuple(blocks(before).index(block) for block in blocks(after)))
    assert len(set(orders)) == 20
    assert not np.array_equal(data.shuffled_blocks(noise, 3, seed=6).images, found.images)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p: data.shuffled_labels(p, 1.5), r"share is 1\.5; a number in \[0, 1\]"),
        (lambda p: data.shuffled_labels(p, float("nan")), "share is nan"),
        (lambda p: data.shuffled_labels(p, 0.5, seed=-1), "seed is -1"),
        (lambda p: data.permuted_classes(dataclasses.replace(p, classes=("a",))), "1 classes"),
        (lambda p: data.merged_classes(p, 1), "groups is 1; a whole number from 2 to 6"),
        (lambda p: data.merged_classes(p, 7), "groups is 7"),
        (lambda p: data.merged_classes(p, [["a", "b"], ["c", "d", "e"]]), "each of .*'f'.* once"),
        (lambda p: data.merged_classes(p, [list("abcdef")]), "in two groups or more"),
        (lambda p: data.blurred(p, 0), "sigma is 0; a number > 0"),
        (lambda p: data.blurred(p, float("inf")), "sigma is inf"),
        (lambda p: data.shuffled_blocks(p, 5), r"block is 5; one of \[1, 2, 3, 4, 6\]"),
        (lambda p: data.shuffled_blocks(p, 12), "block is 12"),
    ],
)
def test_bad_arguments(noise, call, words):
    with pytest.raises(InvalidInput, match=words):
        call(noise)
