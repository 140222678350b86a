from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stylegan_fast.data import open_dataset
from stylegan_fast.data.attributes import HAIR_STYLES
from stylegan_fast.data.labels import labels_from_folders
from stylegan_fast.errors import UserError

from .pictures import encoded, make_folder, make_zip, noise, noise_files


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_labels_come_from_dataset_json_one_hot(tmp_path: Path, kind: str) -> None:
    description = {"labels": [["002.png", 3], ["000.png", 0], ["./001.png", 1], ["gone.png", 2]]}
    path = tmp_path / "x.zip"
    if kind == "zip":
        make_zip(path, noise_files(3), description)
    else:
        path = make_folder(tmp_path / "f", noise_files(3), description)
    dataset = open_dataset(path, use_labels=True)
    assert dataset.label_dim == 4
    assert dataset.class_names is None
    assert dataset.labels([0, 1, 2]).dtype == np.float32
    assert np.array_equal(dataset.labels([2, 0, 1]), np.eye(4)[[3, 0, 1]])
    assert open_dataset(path).labels([0, 1]).shape == (2, 0)


def test_class_names_are_read_where_they_fit(tmp_path: Path) -> None:
    labels = [["000.png", 0], ["001.png", 1]]
    path = make_folder(tmp_path, noise_files(2), {"labels": labels, "classes": ["cat", "dog", "bird"]})
    dataset = open_dataset(path, use_labels=True)
    assert (dataset.label_dim, dataset.class_names) == (3, ["cat", "dog", "bird"])
    make_folder(tmp_path, {}, {"labels": labels, "classes": ["cat"]})
    assert open_dataset(path, use_labels=True).class_names is None


def test_without_dataset_json_the_folders_are_the_classes(tmp_path: Path) -> None:
    image = encoded(noise(0))
    names = ["pets/dog/1.png", "pets/cat/old/1.png", "pets/cat/2.png", "pets/dog/3.png"]
    dataset = open_dataset(make_folder(tmp_path, dict.fromkeys(names, image)), use_labels=True)
    assert dataset.class_names == ["cat", "dog"]
    assert dataset.labels(range(4)).argmax(1).tolist() == [0, 0, 1, 1]


def test_a_single_folder_is_no_class() -> None:
    assert labels_from_folders(["pets/1.png", "pets/2.png"]) is None
    assert labels_from_folders(["1.png"]) is None
    assert labels_from_folders([]) is None


def test_null_labels_mean_unlabelled(tmp_path: Path) -> None:
    path = make_folder(tmp_path, {"a/1.png": encoded(noise(0)), "b/2.png": encoded(noise(1))}, {"labels": None})
    assert open_dataset(path).label_dim == 0
    with pytest.raises(UserError, match=r"has no labels: it needs a dataset\.json"):
        open_dataset(path, use_labels=True)


def test_images_without_labels_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    path = make_folder(tmp_path, noise_files(4), {"labels": [["000.png", 0], ["003.png", 1]]})
    with pytest.raises(UserError, match=r"2 of 4 images in .* have no label; the first is '001\.png'"):
        open_dataset(path, use_labels=True)
    image = encoded(noise(0))
    beside = make_folder(tmp_path / "g", {"a/1.png": image, "b/2.png": image, "3.png": image})
    with pytest.raises(UserError, match=r"1 of 3 images in .* the first is '3\.png'"):
        open_dataset(beside, use_labels=True)


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ({"labels": [["000.png", -1]]}, "the label of '000.png' .* is -1; it must be an integer from 0 to 65535"),
        ({"labels": [["000.png", 10**9]]}, "is 1000000000; it must be"),
        ({"labels": [["000.png", True]]}, "is True; it must be"),
        ({"labels": [["000.png", 0.5]]}, "is 0.5; it must be"),
        ({"labels": [["000.png", [0.1, 0.9]]]}, "it must be an integer"),
        ({"labels": [["000.png"]]}, r"it must be \[name, class\]"),
        ({"labels": [[0, 0]]}, r"it must be \[name, class\]"),
        ({"labels": {"000.png": 0}}, r"must be a list of \[name, class\]"),
        ([["000.png", 0]], "must hold an object with 'labels', got list"),
        ({"labels": []}, "has no labels"),
    ],
)
def test_wrong_labels_are_mistakes_told_in_one_line(tmp_path: Path, description: object, words: str) -> None:
    with pytest.raises(UserError, match=words) as raised:
        open_dataset(make_folder(tmp_path, noise_files(1), description), use_labels=True)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe", b"[" * 100_000], ids=["cut", "empty", "binary", "deep"])
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_broken_dataset_json_is_a_mistake_told_in_one_line(tmp_path: Path, content: bytes, kind: str) -> None:
    files = {**noise_files(1), "dataset.json": content}
    path = make_zip(tmp_path / "x.zip", files) if kind == "zip" else make_folder(tmp_path / "f", files)
    with pytest.raises(UserError, match=r"dataset\.json in .* is not valid JSON") as raised:
        open_dataset(path, use_labels=True)
    assert "\n" not in str(raised.value)


def test_the_class_of_a_built_in_face_is_its_hair_style() -> None:
    dataset = open_dataset("faces:40", resolution=8, use_labels=True)
    assert dataset.class_names == list(HAIR_STYLES)
    styles = [face.hair_style for face in dataset.attributes(range(40))]  # type: ignore[attr-defined]
    assert [HAIR_STYLES[label] for label in dataset.labels(range(40)).argmax(1)] == styles
