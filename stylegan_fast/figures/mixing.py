"""The style-mixing sheet, figure 3 of the paper."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from stylegan_fast.errors import UserError
from stylegan_fast.figures.samples import SampleSettings, styles_of_seeds
from stylegan_fast.figures.sheet import cell_size, image_sheet, to_uint8
from stylegan_fast.models import Generator
from stylegan_fast.seeds import parse_ranges

# Two layers per resolution: 4x4 and 8x8, 16x16 and 32x32, and all above (paper section 3.1, figure 3).
NAMED_LAYERS = {"coarse": (0, 4), "middle": (4, 8), "fine": (8, 64)}


def parse_styles(text: str, num_ws: int, option: str = "--styles") -> list[int]:
    """Layers written as ``coarse``, ``middle``, ``fine`` or like ``0-3,6``, for a network of ``num_ws`` layers.

    Raises ``UserError`` where the network has no such layer.
    """
    if text in NAMED_LAYERS:
        first, end = NAMED_LAYERS[text]
        layers = list(range(first, min(end, num_ws)))
        if not layers:
            resolution = 2 ** (num_ws // 2 + 1)
            raise UserError(
                f"{option} {text}: those are the layers from {first} on, but a network of {resolution}x{resolution} "
                f"has only layers 0 to {num_ws - 1}"
            )
        return layers
    if any(ch.isalpha() for ch in text):
        raise UserError(f"{option} {text!r}: write coarse, middle, fine, or layers like 0-3")
    return sorted(set(parse_ranges(text, option, largest=num_ws - 1)))


def mixed_styles(a: Tensor, b: Tensor, layers: Sequence[int]) -> Tensor:
    """``[A, B, num_ws, w_dim]``: every ws of ``a [A, num_ws, w_dim]`` with its ``layers`` taken from every one of b."""
    mixed = a[:, None].repeat(1, len(b), 1, 1)
    mixed[:, :, list(layers)] = b[None, :, list(layers)]
    return mixed


@torch.no_grad()
def style_mixing_sheet(
    G: Generator,
    row_seeds: Sequence[int],
    col_seeds: Sequence[int],
    layers: Sequence[int],
    settings: SampleSettings,
    batch: int = 8,
) -> Image.Image:
    """A sheet whose first column and row show the sources, and whose other cells mix them.

    The cell of row r and column c is the image of ``row_seeds[r]`` with its styles in ``layers`` taken from
    ``col_seeds[c]``; noise is the network's stored noise.
    """
    rows = styles_of_seeds(G, row_seeds, settings)
    cols = styles_of_seeds(G, col_seeds, settings)
    mixed = mixed_styles(rows, cols, layers)
    all_ws = torch.cat([rows, cols, mixed.flatten(0, 1)])
    drawn = [
        image for part in all_ws.split(batch) for image in to_uint8(G.synthesis(part, noise_mode=settings.noise_mode))
    ]
    row_images, drawn = drawn[: len(row_seeds)], drawn[len(row_seeds) :]
    col_images, mixes = drawn[: len(col_seeds)], iter(drawn[len(col_seeds) :])
    cells = [None, *col_images]
    for image in row_images:
        cells += [image, *(next(mixes) for _ in col_seeds)]
    return image_sheet(cells, len(col_seeds) + 1, cell_size(drawn[0].shape[0]))
