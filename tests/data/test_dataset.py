from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylegan_fast.data import face_attributes, open_dataset
from stylegan_fast.data.drawing import draw_face
from stylegan_fast.data.pyramid import levels, shrink
from stylegan_fast.errors import UserError

from .pictures import encoded, make_folder, make_zip, noise, noise_files


@pytest.mark.parametrize("limit", [2**30, 0], ids=["cached", "on the fly"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_read_gives_the_pictures_asked_for_at_every_level(tmp_path: Path, channels: int, limit: int) -> None:
    path = make_folder(tmp_path, noise_files(5, 32))
    dataset = open_dataset(path, channels=channels, cache_limit_bytes=limit)
    assert (dataset.resolution, dataset.channels, len(dataset)) == (32, channels, 5)
    order = [4, 0, 0, 2]
    full = np.stack([np.asarray(Image.open(path / f"{place:03d}.png").convert("RGBA")) for place in order])
    if channels == 1:
        full = np.stack([np.asarray(Image.open(path / f"{place:03d}.png").convert("L"))[..., None] for place in order])
    expected = shrink(full[..., :channels].transpose(0, 3, 1, 2), levels(32))
    for resolution in levels(32):
        pixels = dataset.read(order, resolution)
        assert pixels.dtype == np.uint8
        assert pixels.flags.writeable
        assert np.array_equal(pixels, expected[resolution])
    assert dataset.read([], 8).shape == (0, channels, 8, 8)
    dataset.close()


def test_faces_are_read_as_drawn() -> None:
    dataset = open_dataset("faces:6", resolution=32)
    assert np.array_equal(dataset.read([5, 1], 32), np.stack([draw_face(face_attributes(i), 32) for i in (5, 1)]))
    assert dataset.attributes([5]) == [face_attributes(5)]  # type: ignore[attr-defined]


def test_resolution_by_default_is_the_power_of_two_below_the_median_side(tmp_path: Path) -> None:
    sizes = {"tiny.png": (9, 9), "a.png": (70, 90), "b.png": (200, 64), "c.png": (300, 300), "d.png": (100, 90)}
    path = make_folder(tmp_path, {name: encoded(Image.new("RGB", size)) for name, size in sizes.items()})
    assert open_dataset(path).resolution == 64
    assert open_dataset(path, resolution=16).resolution == 16


def test_mixed_sizes_are_cut_to_the_square_in_the_middle(tmp_path: Path) -> None:
    wide = Image.new("RGB", (64, 32), (0, 0, 255))
    wide.paste((255, 0, 0), (0, 0, 16, 32))
    tall = wide.transpose(Image.Transpose.ROTATE_90)
    dataset = open_dataset(make_folder(tmp_path, {"a.png": encoded(wide), "b.png": encoded(tall)}), resolution=16)
    assert np.unique(dataset.read([0, 1], 16)[:, 0]).tolist() == [0]


def test_channels_by_default_follow_the_images_and_the_data_set_tool(tmp_path: Path) -> None:
    gray = {"a.png": encoded(Image.new("L", (8, 8))), "b.png": encoded(Image.new("1", (8, 8)))}
    assert open_dataset(make_folder(tmp_path / "g", gray)).channels == 1
    mixed = {**gray, "c.png": encoded(Image.new("RGBA", (8, 8)))}
    assert open_dataset(make_folder(tmp_path / "m", mixed)).channels == 3
    assert open_dataset(make_zip(tmp_path / "x.zip", mixed, {"labels": None, "channels": 4})).channels == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"resolution": 48}, "resolution 48 must be a power of two from 8 to 1024"),
        ({"resolution": 4}, "resolution 4 must be a power of two"),
        ({"resolution": 2048}, "resolution 2048 must be"),
        ({"channels": 2}, "channels 2 must be 1"),
        ({"cache_limit_bytes": -1}, "the cache limit must be 0 bytes or more, got -1"),
    ],
)
def test_wrong_options_are_mistakes_told_in_one_line(tmp_path: Path, options: dict[str, int], words: str) -> None:
    with pytest.raises(UserError, match=words):
        open_dataset(make_folder(tmp_path, noise_files(1)), **options)  # type: ignore[arg-type]


def test_faces_have_their_own_bounds() -> None:
    with pytest.raises(UserError, match="resolution 512: the built-in faces are drawn up to 256"):
        open_dataset(None, resolution=512)
    with pytest.raises(UserError, match="channels 4: the built-in faces"):
        open_dataset(None, channels=4)


def test_wrong_reads_are_errors_that_name_the_argument(tmp_path: Path) -> None:
    dataset = open_dataset(make_folder(tmp_path, noise_files(2)))
    with pytest.raises(IndexError, match="from 0 to 1, got 0 to 2"):
        dataset.read([0, 2], 8)
    with pytest.raises(IndexError, match="got -1 to -1"):
        dataset.labels([-1])
    for resolution in (32, 12, 2):
        with pytest.raises(ValueError, match=f"a power of two from 4 to 16, got {resolution}"):
            dataset.read([0], resolution)


def test_bad_images_are_named_counted_and_skipped(tmp_path: Path) -> None:
    files = noise_files(6)
    files["001.png"], files["004.png"] = b"nothing", files["004.png"][:200]
    path = make_folder(tmp_path, files)
    said: list[str] = []
    dataset = open_dataset(path, report=said.append)
    assert len(dataset) == 4
    assert [name for name, _ in dataset.skipped] == ["001.png", "004.png"]
    assert "skipped '001.png': not an image of a known format, or damaged" in said
    assert said[-1].startswith("2 of 6 images in ")
    assert np.array_equal(dataset.read([1], 16)[0], noise(2).transpose(2, 0, 1))
    again: list[str] = []
    assert len(open_dataset(path, report=again.append)) == 4
    assert again == said[-3:]  # the cache remembers them


@pytest.mark.parametrize("cached_before", [False, True])
def test_strict_stops_at_a_bad_image(tmp_path: Path, cached_before: bool) -> None:
    path = make_folder(tmp_path, {**noise_files(3), "001.png": b"nothing"})
    if cached_before:
        open_dataset(path).close()
    with pytest.raises(UserError, match=r"001\.png"):
        open_dataset(path, strict=True)


def test_a_folder_of_bad_images_only_is_a_mistake(tmp_path: Path) -> None:
    path = make_folder(tmp_path, {f"{i}.png": b"nothing" for i in range(3)})
    with pytest.raises(UserError, match=r"no readable image"):
        open_dataset(path)
    with pytest.raises(UserError, match=r"all 3 images in .* are bad; the first is '0\.png'"):
        open_dataset(path, resolution=8, channels=3)
    with pytest.raises(UserError, match=r"every image in .* is bad; the first is"):
        open_dataset(path, resolution=8, channels=3, cache_limit_bytes=0).read([0], 8)


def test_on_the_fly_a_bad_image_and_its_label_are_replaced_by_the_next(tmp_path: Path) -> None:
    files = {**noise_files(3), "001.png": b"nothing"}
    path = make_folder(tmp_path, files, {"labels": [["000.png", 0], ["001.png", 1], ["002.png", 2]]})
    said: list[str] = []
    dataset = open_dataset(path, use_labels=True, cache_limit_bytes=0, report=said.append)
    pixels, labels = dataset.batch([1, 1, 0], 16)
    assert np.array_equal(pixels, np.stack([noise(i).transpose(2, 0, 1) for i in (2, 2, 0)]))
    assert labels.argmax(1).tolist() == [2, 2, 0]
    assert said[1:] == ["skipped '001.png': not an image of a known format, or damaged (1 bad so far)"]
    with pytest.raises(UserError, match=r"bad image '001\.png'"):
        open_dataset(path, cache_limit_bytes=0, strict=True).read([1], 16)
