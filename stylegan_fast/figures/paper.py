"""The figures of the paper (arXiv 1812.04948) with any network: 2, 3, 4, 5 and 8.

Each function returns a picture ready for print, of the network's images enlarged by repeating pixels.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stylegan_fast.figures.labelled import enlarged, labelled_grid, print_cell
from stylegan_fast.figures.mixing import NAMED_LAYERS, mixed_styles
from stylegan_fast.figures.samples import SampleSettings, draw_seeds, styles_of_seeds
from stylegan_fast.figures.sheet import to_uint8
from stylegan_fast.models import Generator

PSIS = (1.0, 0.7, 0.5, 0.0, -0.5, -1.0)
NOISES = 100  # realisations of the noise, for its standard deviation
_MULTI_RESOLUTION = (0, 1, 2, 2, 3, 3)  # halvings of each column of figure 2
_UNCURATED_ROWS = 3


def uncurated(G: Generator, seed: int, settings: SampleSettings, batch: int = 8) -> Image.Image:
    """Figure 2: images of consecutive seeds, none left out, the later ones ever smaller."""
    count = sum(_UNCURATED_ROWS * 2**halvings for halvings in _MULTI_RESOLUTION)
    drawn = draw_seeds(G, range(seed, seed + count), settings, batch)
    columns = sum(2.0**-halvings for halvings in _MULTI_RESOLUTION)
    # By powers of two, so that the smaller ones too are whole multiples, or averages of whole blocks.
    side = drawn_size(G) << max(round(math.log2(2400 / columns / drawn_size(G))), 0)
    sheet = Image.new("RGB", (round(columns * side), _UNCURATED_ROWS * side), "white")
    left = 0
    for halvings in _MULTI_RESOLUTION:
        small = side >> halvings
        for row in range(_UNCURATED_ROWS * 2**halvings):
            _, pixels = next(drawn)
            sheet.paste(enlarged(pixels, small), (left, row * small))
        left += small
    return sheet


@torch.no_grad()
def style_mixing(
    G: Generator, row_seeds: Sequence[int], col_seeds: Sequence[int], settings: SampleSettings, batch: int = 8
) -> Image.Image:
    """Figure 3: images of the columns (source A) that take coarse, middle or fine styles from their row (source B).

    The rows are shared out among the groups of layers that the network has, half of them to the coarse.
    """
    groups = {name: range(first, min(end, G.num_ws)) for name, (first, end) in NAMED_LAYERS.items() if first < G.num_ws}
    names = [list(groups)[min(place * 2 // max(len(row_seeds), 1), 1)] for place in range(len(row_seeds))]
    if len(groups) == 3 and len(row_seeds) >= 3:
        names[-1] = "fine"
    if len(groups) == 1:
        names = list(groups) * len(row_seeds)
    sources_b, sources_a = styles_of_seeds(G, row_seeds, settings), styles_of_seeds(G, col_seeds, settings)
    rows = [
        mixed_styles(sources_a, sources_b[place : place + 1], groups[name])[:, 0] for place, name in enumerate(names)
    ]
    images = draw_styles(G, torch.cat([sources_a, sources_b, *rows]), settings.noise_mode, batch)
    columns = len(col_seeds)
    cells: list[list[np.ndarray | None]] = [[None, *images[:columns]]]
    mixes = images[columns + len(row_seeds) :]
    for place in range(len(row_seeds)):
        cells.append([images[columns + place], *mixes[place * columns : (place + 1) * columns]])
    labels = [f"{name} styles from B" if name not in names[:place] else "" for place, name in enumerate(names)]
    return labelled_grid(
        cells,
        print_cell(drawn_size(G), columns + 1),
        ["source B", *(["source A"] * columns)],
        ["source A", *labels],
    )


@torch.no_grad()
def noise_detail(G: Generator, seeds: Sequence[int], settings: SampleSettings, batch: int = 8) -> Image.Image:
    """Figure 4: an image, details of it under four realisations of the noise, and each pixel's standard deviation over
    ``NOISES`` of them (white: the largest of all)."""
    cells = []
    deviations = []
    side = print_cell(drawn_size(G), 3, 1500)
    for seed in seeds:
        ws = styles_of_seeds(G, [seed], settings)
        noise = torch.Generator().manual_seed(seed)
        drawn: list[np.ndarray] = []
        for part in torch.arange(NOISES).split(batch):
            images = G.synthesis(ws.expand(len(part), -1, -1), noise_mode="random", noise_generator=noise)
            drawn.extend(to_uint8(images))
        stacked = np.stack(drawn).astype(np.float64)
        deviations.append(stacked.mean(axis=3).std(axis=0))
        cells.append([drawn[0], _details(drawn[1:5], side)])
    largest = max(max(float(deviation.max()) for deviation in deviations), 1e-9)
    shades = [np.round(255 * deviation / largest).astype(np.uint8)[:, :, None] for deviation in deviations]
    rows = [[*row, shade] for row, shade in zip(cells, shades, strict=True)]
    words = f"deviation over {NOISES} noises (max {largest:.1f}/255)"
    return labelled_grid(rows, side, ["generated image", "four noises, upper half", words])


def _details(drawn: Sequence[np.ndarray], side: int) -> Image.Image:
    """The middle of the upper half, where hair is, of four images, two by two."""
    size = drawn[0].shape[0]
    crops = [pixels[size // 16 : size // 16 + size // 2, size // 4 : size // 4 + size // 2] for pixels in drawn]
    page = Image.new("RGB", (side, side), "white")
    for place, crop in enumerate(crops):
        y, x = divmod(place, 2)
        page.paste(enlarged(crop, side // 2 - 1), (x * (side // 2 + 1), y * (side // 2 + 1)))
    return page


@torch.no_grad()
def noise_components(G: Generator, seeds: Sequence[int], settings: SampleSettings, batch: int = 8) -> Image.Image:
    """Figure 5: noise in all layers, in none, in the fine ones and in the coarse ones.

    Fine is 64 x 64 and above, as in the paper; the upper half of the layers in a network too small for that.
    """
    split = NAMED_LAYERS["fine"][0]
    split = split if split < G.num_ws else G.num_ws // 2
    wanted = {
        "all layers": range(G.num_ws),
        "no noise": range(0),
        f"fine ({2 ** (split // 2 + 2)} and up)": range(split, G.num_ws),
        f"coarse (up to {2 ** ((split - 1) // 2 + 2)})": range(split),
    }
    ws = styles_of_seeds(G, seeds, settings)
    columns = [draw_styles(with_noise_in(G, layers), ws, "const", batch) for layers in wanted.values()]
    rows = [list(row) for row in zip(*columns, strict=True)]
    return labelled_grid(rows, print_cell(drawn_size(G), len(wanted)), list(wanted))


def with_noise_in(G: Generator, layers: Sequence[int]) -> Generator:
    """A copy whose stored noise is 0 but in these layers."""
    quiet = copy.deepcopy(G)
    stored = [noise for name, noise in quiet.synthesis.named_buffers() if name.endswith("noise_const")]
    for layer, noise in enumerate(sorted(stored, key=lambda noise: noise.shape[-1])):
        if layer not in layers:
            noise.zero_()
    return quiet


@torch.no_grad()
def truncation(G: Generator, seeds: Sequence[int], settings: SampleSettings, batch: int = 8) -> Image.Image:
    """Figure 8: the same images with psi from 1 over 0, the mean, to -1, in all layers."""
    ws = styles_of_seeds(G, seeds, SampleSettings(1.0, class_index=settings.class_index))
    truncated = torch.stack([G.mapping.truncate(ws, psi) for psi in PSIS], dim=1)
    images = draw_styles(G, truncated.flatten(0, 1), settings.noise_mode, batch)
    rows: list[list[np.ndarray | Image.Image | None]] = []
    for first in range(0, len(images), len(PSIS)):
        rows.append(list(images[first : first + len(PSIS)]))
    return labelled_grid(rows, print_cell(drawn_size(G), len(PSIS)), [f"psi = {psi:g}" for psi in PSIS])


@torch.no_grad()
def draw_styles(G: Generator, ws: Tensor, noise_mode: str = "const", batch: int = 8) -> list[np.ndarray]:
    """uint8 ``[H, W, C]`` of each of ws ``[N, num_ws, w_dim]``."""
    if noise_mode == "random":
        noise_mode = "const"  # figures compare images with each other: all have the same noise
    return [image for part in ws.split(batch) for image in to_uint8(G.synthesis(part, noise_mode=noise_mode))]


def drawn_size(G: Generator) -> int:
    """Side of the images it draws, smaller than its resolution while it grows."""
    return G.img_resolution >> int(G.lod)
