"""From network outputs to files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stylegan_fast.figures.sheet import cell_size, image_sheet, picture, save_png, sheet_layout, to_uint8
from tests import golden_data as golden


def test_to_uint8_equals_the_official_conversion_exactly() -> None:
    arrays = golden.load("ops_small")
    images = torch.from_numpy(arrays["to_uint8/in"])
    assert np.array_equal(to_uint8(images), arrays["to_uint8/out"].transpose(0, 2, 3, 1))
    halved = torch.nn.functional.avg_pool2d(images, 2)
    assert np.array_equal(to_uint8(halved), arrays["to_uint8/out_nhwc_shrink2"])


def test_to_uint8_truncates_saturates_and_survives_what_is_not_a_number() -> None:
    values = torch.tensor([-1.0, 1.0, 0.0, 2.0, -2.0, 1.99 / 127.5 - 1, float("nan"), float("inf"), float("-inf")])
    assert to_uint8(values.reshape(1, 1, 1, -1)).ravel().tolist() == [0, 255, 128, 255, 0, 2, 0, 255, 0]


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_a_saved_picture_opens_as_it_was(channels: int, mode: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, channels), dtype=np.uint8)
    save_png(picture(pixels), tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        assert image.mode == mode
        assert np.array_equal(np.asarray(image).reshape(pixels.shape), pixels)
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


def test_a_sheet_shows_each_image_in_its_place() -> None:
    colours = [(255, 0, 0), (0, 255, 0), None, (0, 0, 255)]
    images = [None if c is None else np.full((8, 8, 3), c, np.uint8) for c in colours]
    sheet = image_sheet(images, columns=2, cell=64)
    centres = [sheet.getpixel((2 + 32 + 66 * (i % 2), 2 + 32 + 66 * (i // 2))) for i in range(4)]
    assert centres == [colours[0], colours[1], (255, 255, 255), colours[3]]
    assert sheet.size == (2 + 2 * 66, 2 + 2 * 66)
    assert sheet.getpixel((0, 0)) == sheet.getpixel((2 + 64, 10)) == (255, 255, 255)


def test_transparent_pixels_show_the_white_of_the_sheet() -> None:
    clear = np.zeros((64, 64, 4), np.uint8)
    assert image_sheet([clear], 1, 64).getpixel((30, 30)) == (255, 255, 255)


@pytest.mark.parametrize("resolution", [8, 16, 32, 64, 128, 256, 512, 1024])
def test_sheets_have_a_size_that_can_be_looked_at(resolution: int) -> None:
    columns, rows = sheet_layout(resolution)
    assert columns >= 3
    assert rows >= 2
    assert 192 <= columns * cell_size(resolution) <= 3072
    assert cell_size(resolution) % resolution == 0
