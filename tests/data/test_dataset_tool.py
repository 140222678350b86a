from __future__ import annotations

import errno
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylegan_fast import dataset_tool
from stylegan_fast.command import exit_status
from stylegan_fast.data import open_dataset
from stylegan_fast.dataset_tool import main

from .pictures import encoded, make_folder, make_zip, noise, noise_files, quadrants


def convert(source: Path | str, dest: Path, *options: str) -> int:
    return exit_status(main, ["--source", str(source), "--dest", str(dest), *options])


def read_as_stylegan2_ada_does(path: Path) -> tuple[np.ndarray, list[int] | None]:
    """Images in sorted order and labels, by that project's rules for a ZIP."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".png"))
        images = [np.array(Image.open(io.BytesIO(archive.read(name)))) for name in names]
        labels = json.loads(archive.read("dataset.json"))["labels"]
    return np.stack(images), labels and [dict(labels)[name] for name in names]


def test_any_images_become_a_zip_that_stylegan2_ada_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {
        "dog/b.jpg": encoded(quadrants(64), "JPEG"),
        "cat/a.png": encoded(quadrants(40).convert("P")),
        "cat/c.gif": encoded(quadrants(16).convert("L"), "GIF"),
    }
    dest = tmp_path / "new" / "x.zip"
    assert convert(make_folder(tmp_path / "f", files), dest, "--resolution", "32", "--channels", "3") == 0
    images, labels = read_as_stylegan2_ada_does(dest)
    assert images.shape == (3, 32, 32, 3)
    assert labels == [0, 0, 1]
    with zipfile.ZipFile(dest) as archive:
        assert [entry.filename for entry in archive.infolist()] == [
            "00000/img00000000.png", "00000/img00000001.png", "00000/img00000002.png", "dataset.json"
        ]  # fmt: skip
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        assert json.loads(archive.read("dataset.json"))["classes"] == ["cat", "dog"]
    said = capsys.readouterr().out.splitlines()
    assert said[-1].startswith(f"{dest}: 3 images, 32 x 32 RGB, 2 classes, ")
    assert said[-1].endswith("; 0 bad images skipped")


def test_what_was_written_is_read_back_unchanged(tmp_path: Path) -> None:
    path = make_folder(tmp_path / "f", noise_files(3))
    assert convert(path, tmp_path / "x.zip") == 0
    assert convert(tmp_path / "x.zip", tmp_path / "y.zip") == 0
    assert (tmp_path / "x.zip").read_bytes() == (tmp_path / "y.zip").read_bytes()
    assert read_as_stylegan2_ada_does(tmp_path / "x.zip")[1] is None
    dataset = open_dataset(tmp_path / "y.zip")
    assert (dataset.resolution, dataset.channels, dataset.label_dim) == (16, 3, 0)
    assert np.array_equal(dataset.read([2], 16)[0], noise(2).transpose(2, 0, 1))


@pytest.mark.parametrize(("channels", "mode"), [("1", "L"), ("3", "RGB"), ("4", "RGBA")])
def test_channels_and_fit_do_what_they_say(tmp_path: Path, channels: str, mode: str) -> None:
    path = make_folder(tmp_path / "f", {"a.png": encoded(Image.new("RGB", (64, 32), (255, 0, 0)))})
    dest = tmp_path / "x.zip"
    assert convert(path, dest, "--resolution", "16", "--fit", "pad", "--channels", channels) == 0
    with zipfile.ZipFile(dest) as archive:
        image = Image.open(io.BytesIO(archive.read("00000/img00000000.png")))
        image.load()
    assert image.mode == mode
    assert image.getpixel((8, 0)) == {"L": 255, "RGB": (255,) * 3, "RGBA": (255, 255, 255, 0)}[mode]
    assert image.getpixel((8, 8)) == {"L": 76, "RGB": (255, 0, 0), "RGBA": (255, 0, 0, 255)}[mode]
    assert open_dataset(dest).channels == int(channels)


def test_bad_images_are_named_skipped_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {**noise_files(4), "001.png": b"nothing"}
    path = make_folder(tmp_path / "f", files, {"labels": [[name, i] for i, name in enumerate(sorted(files))]})
    assert convert(path, tmp_path / "x.zip") == 0
    said = capsys.readouterr()
    assert "skipped '001.png': not an image of a known format, or damaged" in said.err
    assert said.out.splitlines()[-1].endswith("1 bad image skipped")
    images, labels = read_as_stylegan2_ada_does(tmp_path / "x.zip")
    assert labels == [0, 2, 3]
    assert np.array_equal(images[1], noise(2))


def test_partly_labelled_images_are_written_without_labels_and_this_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_folder(tmp_path / "f", noise_files(3), {"labels": [["000.png", 0]]})
    assert convert(path, tmp_path / "x.zip") == 0
    assert "2 of 3 images have no label (the first is '001.png'): written without labels" in capsys.readouterr().err
    assert read_as_stylegan2_ada_does(tmp_path / "x.zip")[1] is None


def test_the_built_in_faces_can_be_written_out(tmp_path: Path) -> None:
    assert convert("faces:3", tmp_path / "x.zip", "--resolution", "32") == 0
    images, labels = read_as_stylegan2_ada_does(tmp_path / "x.zip")
    faces = open_dataset("faces:3", resolution=32, use_labels=True)
    assert np.array_equal(images.transpose(0, 3, 1, 2), faces.read(range(3), 32))
    assert labels == faces.labels(range(3)).argmax(1).tolist()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--strict"], "bad image '001.png' in "),
        (["--resolution", "48"], "resolution 48 must be a power of two from 8 to 1024"),
        (["--fit", "squeeze"], "'squeeze' is not one of 'crop', 'pad', 'stretch'"),
        (["--channels", "2"], "'2' is not one of '1', '3', '4'"),
        (["--source", "nowhere"], "data set nowhere does not exist"),
        (["--dest", "x.tar"], "--dest x.tar must end in .zip"),
    ],
)
def test_mistakes_end_with_one_line_and_status_2_and_nothing_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    path = make_folder(tmp_path / "f", {**noise_files(2), "001.png": b"nothing"})
    (tmp_path / "out").mkdir()
    assert convert(path, tmp_path / "out" / "x.zip", *options) == 2
    error = capsys.readouterr().err.splitlines()
    assert error[-1].startswith("error: ")
    assert words in error[-1]
    assert list((tmp_path / "out").iterdir()) == []


def test_all_images_bad_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_folder(tmp_path / "f", {"a.png": b"nothing"})
    assert convert(path, tmp_path / "x.zip", "--resolution", "16", "--channels", "3") == 2
    assert "all 1 images in" in capsys.readouterr().err
    assert not (tmp_path / "x.zip").exists()


def test_an_existing_file_is_replaced_only_with_force_and_never_the_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_zip(tmp_path / "f.zip", noise_files(2))
    (tmp_path / "x.zip").write_text("dear to somebody")
    assert convert(path, tmp_path / "x.zip") == 2
    assert "exists already; give another name, or --force to replace it" in capsys.readouterr().err
    assert (tmp_path / "x.zip").read_text() == "dear to somebody"
    assert convert(path, tmp_path / "x.zip", "--force") == 0
    assert len(open_dataset(tmp_path / "x.zip")) == 2
    before = path.read_bytes()
    assert convert(path, path, "--force") == 2
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("failure", "status", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 2, "the disk is full"),
        (KeyboardInterrupt(), 130, "interrupted: "),
    ],
    ids=["full disk", "Ctrl-C"],
)
def test_an_interrupted_conversion_leaves_no_half_file(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    failure: BaseException,
    status: int,
    words: str,
) -> None:
    write = zipfile.ZipFile.writestr

    def failing(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, content: bytes) -> None:
        if "00000002" in entry.filename:
            raise failure
        write(archive, entry, content)

    monkeypatch.setattr(dataset_tool.zipfile.ZipFile, "writestr", failing)
    path = make_folder(tmp_path / "f", noise_files(5))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x.zip").write_text("the old one")
    assert convert(path, tmp_path / "out" / "x.zip", "--force") == status
    assert words in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["x.zip"]
    assert (tmp_path / "out" / "x.zip").read_text() == "the old one"
