"""The paper's figures: what stands where."""

import numpy as np
import pytest
import torch
from PIL import Image

from stylegan_fast.figures import paper
from stylegan_fast.figures.editing import edit_sheet
from stylegan_fast.figures.labelled import labelled_grid, print_cell
from stylegan_fast.figures.samples import SampleSettings, draw_seeds
from stylegan_fast.latent.named import Direction
from stylegan_fast.models import Generator
from tests.networks import small_generator

SETTINGS = SampleSettings(truncation_psi=1.0)


@pytest.fixture(params=[16, 64])
def generator(request: pytest.FixtureRequest) -> Generator:
    return small_generator(request.param)


def seen(G: Generator, seed: int, settings: SampleSettings = SETTINGS) -> np.ndarray:
    ((_, image),) = draw_seeds(G, [seed], settings)
    return image.astype(int)


def cell(figure: Image.Image, box: tuple[int, int, int], size: int) -> np.ndarray:
    """The picture of ``size`` pixels that is enlarged to ``box`` = (left, top, side)."""
    left, top, side = box
    pixels = np.asarray(figure).astype(int)[top : top + side, left : left + side]
    return pixels[side // size // 2 :: side // size, side // size // 2 :: side // size]


def grid_boxes(figure: Image.Image, side: int, columns: int, rows: int) -> list[list[tuple[int, int, int]]]:
    gap = max(side // 40, 2)
    left, top = figure.width - columns * (side + gap), figure.height - rows * (side + gap)
    return [[(left + x * (side + gap), top + y * (side + gap), side) for x in range(columns)] for y in range(rows)]


def test_uncurated_shows_consecutive_seeds_ever_smaller(generator: Generator) -> None:
    size = generator.img_resolution
    figure = paper.uncurated(generator, 3, SETTINGS)
    side = figure.height // 3
    assert figure.width == side + side // 2 + 2 * (side // 4) + 2 * (side // 8)
    assert np.abs(cell(figure, (0, side, side), size) - seen(generator, 4)).max() <= 1
    assert np.abs(cell(figure, (0, 2 * side, side), size) - seen(generator, 5)).max() <= 1
    assert np.abs(cell(figure, (side, 0, side // 2), size) - seen(generator, 6)).max() <= 1


def test_style_mixing_takes_each_rows_styles_from_its_source(generator: Generator) -> None:
    rows, cols = [0, 1, 2, 3], [7, 8]
    figure = paper.style_mixing(generator, rows, cols, SETTINGS)
    size = generator.img_resolution
    boxes = grid_boxes(figure, print_cell(size, 3), 3, 5)
    assert np.abs(cell(figure, boxes[0][2], size) - seen(generator, 8)).max() <= 1
    assert np.abs(cell(figure, boxes[2][0], size) - seen(generator, 1)).max() <= 1
    a, b = (paper.styles_of_seeds(generator, [seed], SETTINGS) for seed in (8, 1))
    mixed = a.clone()
    mixed[:, :4] = b[:, :4]  # the second of four rows is coarse
    expected = paper.draw_styles(generator, mixed)[0]
    assert np.abs(cell(figure, boxes[2][2], size) - expected).max() <= 1
    assert np.abs(cell(figure, boxes[2][2], size) - seen(generator, 8)).max() > 3


def test_noise_detail_shows_where_the_noise_is(generator: Generator) -> None:
    figure = paper.noise_detail(generator, [0], SETTINGS)
    size = generator.img_resolution
    (boxes,) = grid_boxes(figure, print_cell(size, 3, 1500), 3, 1)
    deviation = cell(figure, boxes[2], size)
    assert deviation.max() == 255
    for name, parameter in generator.named_parameters():
        if name.endswith("noise_strength"):
            parameter.zero_()
    still = paper.noise_detail(generator, [0], SETTINGS)
    assert cell(still, boxes[2], size).max() == 0


def test_noise_components_differ_in_the_layers_named(generator: Generator) -> None:
    figure = paper.noise_components(generator, [2], SETTINGS)
    size = generator.img_resolution
    (boxes,) = grid_boxes(figure, print_cell(size, 4), 4, 1)
    every, none, fine, coarse = (cell(figure, box, size) for box in boxes)
    assert np.abs(every - seen(generator, 2)).max() <= 1
    assert np.abs(none - seen(generator, 2, SampleSettings(1.0, noise_mode="none"))).max() <= 1
    for one, other in ((every, fine), (every, coarse), (none, fine), (none, coarse), (fine, coarse)):
        assert np.abs(one - other).max() > 3


def test_truncation_goes_through_the_mean(generator: Generator) -> None:
    figure = paper.truncation(generator, [0, 1], SETTINGS)
    size = generator.img_resolution
    boxes = grid_boxes(figure, print_cell(size, 6), 6, 2)
    assert np.abs(cell(figure, boxes[0][0], size) - seen(generator, 0)).max() <= 1
    halved = seen(generator, 1, SampleSettings(0.5, truncation_cutoff=64))
    assert np.abs(cell(figure, boxes[1][2], size) - halved).max() <= 1
    assert np.abs(cell(figure, boxes[0][3], size) - cell(figure, boxes[1][3], size)).max() <= 1


def test_an_edit_sheet_has_the_unchanged_image_in_the_middle(generator: Generator) -> None:
    direction = Direction(torch.nn.functional.normalize(torch.ones(8), dim=0), 2.0, "pca:0")
    figure = edit_sheet(generator, [0, 1], direction, [-3, 0, 3], SETTINGS)
    size = generator.img_resolution
    boxes = grid_boxes(figure, print_cell(size, 3, 1600), 3, 2)
    assert np.abs(cell(figure, boxes[1][1], size) - seen(generator, 1)).max() <= 1
    assert np.abs(cell(figure, boxes[1][2], size) - seen(generator, 1)).max() > 3


def test_labels_stand_above_and_beside_and_fit() -> None:
    pixels = np.zeros((8, 8, 1), np.uint8)
    plain = labelled_grid([[pixels] * 2] * 2, 64)
    labelled = labelled_grid([[pixels] * 2] * 2, 64, ["one", "a very long label that does not fit"], ["rows"])
    assert labelled.width > plain.width
    assert labelled.height > plain.height
    above = np.asarray(labelled)[: labelled.height - 2 * 66]
    assert (above < 100).any()
