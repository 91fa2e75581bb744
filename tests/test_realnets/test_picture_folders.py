"""Folders of pictures in their layouts, and pictures that are read when they are asked for."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torch.utils.data import DataLoader

from realnets import data
from realnets.data import lazy, pictures
from realnets.data.folders import check_split
from tests.helpers import assert_exact
from tests.test_realnets.picture_files import write_picture
from theory.errors import InvalidInput, TooLarge


def _make(top: Path, files: list[str]) -> np.ndarray:
    return np.stack([write_picture(top / file, seed) for seed, file in enumerate(files)])


def _office(top: Path) -> None:
    for seed, domain in enumerate(("amazon", "webcam")):
        for name in ("bike", "mug"):
            write_picture(top / domain / "images" / name / "frame_0001.jpg", seed)


def test_a_folder_a_class(tmp_path):
    images = _make(tmp_path, ["bike/1.jpg", "bike/2.PNG", "mug/1.bmp"])
    for passed_over in ("bike/notes.txt", "bike/._1.jpg", "Thumbs.db"):
        (tmp_path / passed_over).write_text("no picture")
    (tmp_path / ".hidden").mkdir()
    found = data.image_folder(tmp_path, 32)
    assert found.classes == ("bike", "mug")
    assert found.labels.tolist() == [0, 0, 1]
    assert found.names == ("bike/1.jpg", "bike/2.PNG", "mug/1.bmp")
    assert np.array_equal(np.asarray(found.images), images)
    assert data.load(f"{tmp_path}/", 32).content_hash == found.content_hash


def test_office_31_is_read_a_domain_at_a_time(tmp_path):
    _office(tmp_path)
    for folder in (tmp_path / "webcam", tmp_path / "webcam" / "images"):
        found = data.image_folder(folder, 32)
        assert found.classes == ("bike", "mug")
        assert len(found) == 2
    with pytest.raises(InvalidInput, match=r"amazon' holds no pictures .*deeper in: name the folder '.*amazon/images'"):
        data.image_folder(tmp_path, 32)


def test_splits_above_the_classes_share_the_training_classes(tmp_path):
    images = _make(tmp_path, ["train/a/1.jpg", "train/b/1.jpg", "train/c/1.jpg", "val/c/2.jpg", "val/a/2.jpg"])
    train, val = (data.image_folder(tmp_path, 32, split) for split in ("train", "val"))
    assert train.classes == val.classes == ("a", "b", "c")
    assert val.labels.tolist() == [0, 2]
    assert np.array_equal(np.asarray(val.images), images[[4, 3]])
    with pytest.raises(InvalidInput, match="split is None; 'train', 'val' are allowed"):
        data.image_folder(tmp_path, 32)
    write_picture(tmp_path / "val" / "d" / "1.jpg", 0)
    with pytest.raises(InvalidInput, match=r"val/d' is a class that the training split has not; its 3 classes"):
        data.image_folder(tmp_path, 32, "val")


def test_a_class_called_train_is_no_split(tmp_path):
    _make(tmp_path, ["bus/1.jpg", "train/1.jpg"])
    assert data.image_folder(tmp_path, 32).classes == ("bus", "train")
    with pytest.raises(InvalidInput, match=r"split is 'train', but the folder .* defines no splits"):
        data.image_folder(tmp_path, 32, "train")


def _cub(top: Path) -> np.ndarray:
    names = ["001.Black_footed_Albatross", "002.Laysan_Albatross"]
    files = [f"{names[0]}/a_1.jpg", f"{names[1]}/b_1.jpg", f"{names[0]}/a_2.jpg"]
    images = _make(top / "images", files)
    (top / "classes.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(names, 1)))
    (top / "images.txt").write_text("".join(f"{i} {file}\n" for i, file in enumerate(files, 1)))
    (top / "image_class_labels.txt").write_text("1 1\n2 2\n3 1\n")
    (top / "train_test_split.txt").write_text("1 1\n2 0\n3 0\n")
    return images


def test_cub_200_lists_its_pictures_classes_and_split(tmp_path):
    images = _cub(tmp_path)
    train, test = (data.image_folder(tmp_path, 32, split) for split in ("train", "test"))
    assert train.labels.tolist() == [0]
    assert test.labels.tolist() == [1, 0]
    assert test.classes == ("001.Black_footed_Albatross", "002.Laysan_Albatross")
    assert np.array_equal(np.asarray(test.images), images[1:])


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("images.txt", "1 a.jpg\n1 b.jpg\n", r"line 2 of '.*images\.txt' is '1 b.jpg'; a new name"),
        ("images.txt", "1\n", r"line 1 of '.*images\.txt' is '1'"),
        ("train_test_split.txt", "1 1\n2 0\n", r"train_test_split\.txt' has no line for '3'"),
        ("image_class_labels.txt", "1 1\n2 2\n3 9\n", r"classes\.txt' has no line for '9'"),
        ("classes.txt", None, r"cannot read '.*classes\.txt': No such file"),
        ("images.txt", "1 a/gone.jpg\n2 a/gone2.jpg\n3 a/b.jpg\n", r"2 of 2 listed pictures are missing, '.*gone2\.jpg'"),
    ],
)
def test_lists_of_cub_200_that_do_not_agree(tmp_path, file, text, words):
    _cub(tmp_path)
    (tmp_path / file).unlink() if text is None else (tmp_path / file).write_text(text)
    with pytest.raises(InvalidInput, match=words):
        data.image_folder(tmp_path, 32, "test")


def _cars(top: Path) -> np.ndarray:
    images = _make(top, ["cars_train/00001.jpg", "cars_train/00002.jpg", "cars_test/00001.jpg"])
    (top / "devkit").mkdir()
    savemat(top / "devkit" / "cars_meta.mat", {"class_names": np.array(["AM General Hummer", "Acura RL"], dtype=object)})
    fields = [(name, object) for name in ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")]
    for path, rows in (
        ("devkit/cars_train_annos.mat", [(2, "00001.jpg"), (1, "00002.jpg")]),
        ("cars_test_annos_withlabels.mat", [(2, "00001.jpg")]),
    ):
        savemat(top / path, {"annotations": np.array([(1, 1, 5, 5, *row) for row in rows], dtype=fields)})
    return images


def test_stanford_cars_list_their_pictures_in_matlab_files(tmp_path):
    images = _cars(tmp_path)
    train, test = (data.image_folder(tmp_path, 32, split) for split in ("train", "test"))
    assert train.labels.tolist() == [1, 0]
    assert test.labels.tolist() == [1]
    assert train.classes == ("AM General Hummer", "Acura RL")
    assert np.array_equal(np.asarray(train.images), images[:2])
    (tmp_path / "devkit" / "cars_train_annos.mat").write_bytes(b"MATLAB 5.0")
    with pytest.raises(InvalidInput, match=r"cars_train_annos\.mat' is damaged"):
        data.image_folder(tmp_path, 32, "train")


def test_places_365_lists_its_pictures_in_text_files(tmp_path):
    images = _make(tmp_path, ["data_256/a/airfield/1.jpg", "data_256/b/bank/indoor/1.jpg", "val_256/Places365_val_00000001.jpg"])
    (tmp_path / "categories_places365.txt").write_text("/a/airfield 0\n/b/bank/indoor 1\n")
    (tmp_path / "places365_train_standard.txt").write_text("/b/bank/indoor/1.jpg 1\n/a/airfield/1.jpg 0\n")
    (tmp_path / "places365_val.txt").write_text("Places365_val_00000001.jpg 1\n")
    train, val = (data.image_folder(tmp_path, 32, split) for split in ("train", "val"))
    assert train.classes == ("a/airfield", "b/bank/indoor")
    assert train.labels.tolist() == [1, 0]
    assert np.array_equal(np.asarray(train.images), images[[1, 0]])
    assert val.labels.tolist() == [1]
    (tmp_path / "places365_val.txt").write_text("Places365_val_00000001.jpg 7\n")
    with pytest.raises(InvalidInput, match=r"categories_places365\.txt' has no line for '7'"):
        data.image_folder(tmp_path, 32, "val")
    (tmp_path / "val_256").rename(tmp_path / "elsewhere")
    with pytest.raises(InvalidInput, match="neither val_256 nor val_large"):
        data.image_folder(tmp_path, 32, "val")


def test_folders_that_hold_nothing(tmp_path):
    with pytest.raises(InvalidInput, match=r"there is no folder '.*gone'"):
        data.image_folder(tmp_path / "gone", 32)
    with pytest.raises(InvalidInput, match="has no folders in it"):
        data.image_folder(tmp_path, 32)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match=r"empty' holds no pictures \(\.jpg"):
        data.image_folder(tmp_path, 32)
    with pytest.raises(InvalidInput, match="takes no folder= and no download"):
        data.load(f"{tmp_path}/", 32, download=True)


def test_pictures_are_cropped_to_their_central_square_and_resized():
    half = np.zeros((8, 24, 3), dtype=np.uint8)
    half[:, 8:16] = 200
    assert (lazy.squared(half, 8) == 200).all()
    stripes = np.tile(np.array([0, 200], dtype=np.uint8)[None, :, None], (16, 8, 3))
    assert (lazy.squared(stripes, 8)[:, 1:-1] == 100).all()  # antialiased: halving averages the stripes
    assert lazy.squared(half, 40).shape == (40, 40, 3)


def test_grey_palette_and_transparent_pictures_become_rgb_on_white(tmp_path):
    (tmp_path / "a").mkdir()
    pixels = np.full((8, 8, 4), [10, 20, 30, 255], dtype=np.uint8)
    pixels[:4, :, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "a" / "1.png")
    Image.fromarray(np.full((8, 8), 7, dtype=np.uint8)).save(tmp_path / "a" / "2.png")
    palette = Image.fromarray(np.full((8, 8, 3), 50, dtype=np.uint8)).convert("P", palette=Image.Palette.ADAPTIVE)
    palette.save(tmp_path / "a" / "3.png", transparency=bytes([255]))
    images = np.asarray(data.image_folder(tmp_path, 8).images)
    assert (images[0, :4] == 255).all()
    assert (images[0, 4:] == [10, 20, 30]).all()
    assert (images[1] == 7).all()
    assert (images[2] == 50).all()


@pytest.fixture
def folder(tmp_path) -> data.Pictures:
    _make(tmp_path, [f"{'ab'[i % 2]}/{i}.png" for i in range(12)])
    return data.image_folder(tmp_path, 16)


def test_indices_read_nothing_and_arrays_read_all(folder, monkeypatch):
    whole = np.asarray(folder.images)
    read = []
    monkeypatch.setattr(lazy.FileReader, "read", lambda self, index: read.append(index) or np.zeros((16, 16, 3), np.uint8))
    part = folder.take(np.array([3, 1, 5])).take(np.array([2, 0]))
    assert not read
    assert part.names == (folder.names[5], folder.names[3])
    assert part.images.shape == (2, 16, 16, 3)
    np.asarray(part.images)
    assert read == [5, 3]
    monkeypatch.undo()
    assert np.array_equal(np.asarray(part.images), whole[[5, 3]])
    assert np.array_equal(part.images[0], whole[5])
    assert part.in_memory().images.dtype == np.uint8


def test_samples_are_drawn_from_files_as_from_arrays(folder):
    memory = folder.in_memory()
    lazily, at_once = data.split(folder, 6, 4, seed=2), data.split(memory, 6, 4, seed=2)
    assert torch.equal(data.as_input(lazily.train.images), data.as_input(at_once.train.images))
    assert lazily.test.names == at_once.test.names
    assert data.balanced(folder, 4, seed=1).names == data.balanced(memory, 4, seed=1).names


def test_a_torch_data_set_gives_the_same_inputs_one_at_a_time(folder):
    for dtype in (torch.float32, torch.float64):
        dataset = data.PictureDataset(folder, dtype=dtype)
        inputs, labels = next(iter(DataLoader(dataset, batch_size=len(folder))))
        assert torch.equal(inputs, data.as_input(folder.images, dtype=dtype))
        assert labels.tolist() == folder.labels.tolist()
    other = data.PictureDataset(folder, dtype=torch.float64, mean=(0.5, 0.5, 0.5), std=(0.5, 0.25, 1))
    expected = (np.asarray(folder.images[0]) / 255 - 0.5) / np.array([0.5, 0.25, 1])
    assert_exact(other[0][0], torch.tensor(expected).permute(2, 0, 1), ulps=1)


def test_pictures_travel_to_other_processes(folder):
    changed = data.shuffled_blocks(data.grey(folder), 4, seed=1)
    again = pickle.loads(pickle.dumps(data.PictureDataset(changed)))
    assert torch.equal(again[3][0], data.PictureDataset(changed)[3][0])


def test_the_hash_of_files_is_that_of_their_contents_size_labels_and_classes(folder, tmp_path):
    same = data.image_folder(tmp_path, 16)
    assert same.content_hash == folder.content_hash
    others = [
        data.image_folder(tmp_path, 24),
        folder.take(np.arange(11)),
        folder.take(np.arange(12)[::-1]),
        data.grey(folder),
        data.blurred(folder, 1),
        data.blurred(folder, 2),
        data.permuted_classes(folder),
    ]
    write_picture(tmp_path / "a" / "0.png", 99)
    hashes = [folder.content_hash, data.image_folder(tmp_path, 16).content_hash, *(o.content_hash for o in others)]
    assert len(set(hashes)) == len(hashes)


def test_more_pictures_than_memory_holds_are_refused_with_the_numbers(folder, monkeypatch):
    monkeypatch.setattr(lazy, "free_host_memory", lambda: 9000)
    with pytest.raises(TooLarge, match=r"12 pictures of 16 × 16 need 0\.0 GiB.*PictureDataset"):
        folder.in_memory()
    assert len(folder.take(np.arange(11)).in_memory()) == 11
    monkeypatch.undo()
    monkeypatch.setattr(pictures, "free_host_memory", lambda: 4 * 12 * 768 - 1)
    with pytest.raises(TooLarge, match=r"12 pictures of 16 × 16 as torch\.float32 need"):
        data.as_input(folder.images)


def test_inputs_do_not_depend_on_the_chunks_that_they_are_made_in(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)
    whole = data.as_input(images)
    monkeypatch.setattr(pictures, "CHUNK", 3)
    assert torch.equal(data.as_input(images), whole)


def test_digits_are_dark_on_white_in_ten_classes():
    digits = data.load("digits", 16)
    assert digits.images.shape == (1797, 16, 16, 3)
    assert np.bincount(digits.labels).min() > 170
    assert digits.images[:, 0, 0].min() == 255
    assert np.asarray(digits.images)[..., 0].min() == 0
    assert "CC BY 4.0" in digits.source
    assert data.load("digits", 8).images[5, 3, 3, 0] == round(255 * (1 - data.bundled.digits_images()[0][5, 3, 3] / 16))


@pytest.mark.parametrize(
    ("allowed", "chosen"), [(("train", "test"), "train"), (("test", "train"), "train"), (("one", "two"), "one"), ((), "")]
)
def test_what_there_is_for_training(allowed, chosen):
    assert check_split("training", allowed, "this set") == chosen
