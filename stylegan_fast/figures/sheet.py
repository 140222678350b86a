"""From network outputs to PNG files: single images and sheets of many."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stylegan_fast.atomic import replacing

SMALLEST_CELL = 64  # pixels: smaller images are enlarged to it on a sheet, to be seen at all
SHEET_SIZE = (1280, 832)  # about how wide and high the sheets of a training run are, gaps left aside
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def to_uint8(images: Tensor) -> np.ndarray:
    """Float ``[N, C, H, W]``, -1 black, 1 white, to uint8 ``[N, H, W, C]``: ``trunc(clip(x * 127.5 + 128, 0, 255))``.

    A value that is not a number becomes 0, black.
    """
    return quantize(images).permute(0, 2, 3, 1).cpu().numpy()


def quantize(images: Tensor) -> Tensor:
    """The conversion of ``to_uint8``, left in place: uint8 ``[N, C, H, W]`` on the same device."""
    scaled = (images.detach().to(torch.float32) * 127.5 + 128).nan_to_num(nan=0.0).clamp(0, 255)
    return scaled.to(torch.uint8)


def picture(pixels: np.ndarray) -> Image.Image:
    """uint8 ``[H, W, C]`` to a gray, RGB or RGBA image, for C of 1, 3 or 4."""
    height, width, channels = pixels.shape
    if channels not in _MODES:
        raise ValueError(f"picture: expected 1, 3 or 4 channels, got {channels}")
    return Image.frombytes(_MODES[channels], (width, height), np.ascontiguousarray(pixels).tobytes())


def save_png(image: Image.Image, path: str | os.PathLike[str], dpi: int | None = None) -> None:
    """Write a PNG file that is either whole or not there; ``dpi``: pixels an inch, for printers."""
    with replacing(path) as file:
        image.save(file, format="PNG", **({} if dpi is None else {"dpi": (dpi, dpi)}))


def cell_size(resolution: int) -> int:
    """Side of an image on a sheet: its own, or a multiple of it that reaches ``SMALLEST_CELL``."""
    return resolution * max(-(-SMALLEST_CELL // resolution), 1)


def sheet_layout(resolution: int) -> tuple[int, int]:
    """(columns, rows) of a training run's sheets for images of this final resolution."""
    cell = cell_size(resolution)
    columns, rows = (max(side // cell, least) for side, least in zip(SHEET_SIZE, (3, 2), strict=True))
    return min(columns, 12), min(rows, 8)


def image_sheet(images: Sequence[np.ndarray | None], columns: int, cell: int) -> Image.Image:
    """Images side by side on white, row by row, each enlarged to ``cell`` x ``cell`` by repeating pixels.

    Args:
        images: uint8 ``[H, W, C]``; None leaves its place empty. Transparency is laid over the white.
        columns: images in a row.
        cell: side of each place in pixels; a larger image is reduced to it.
    """
    gap = max(cell // 32, 2)
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * (cell + gap) + gap, rows * (cell + gap) + gap), "white")
    for index, pixels in enumerate(images):
        if pixels is None:
            continue
        image = picture(pixels).convert("RGBA")
        if image.size != (cell, cell):
            filtering = Image.Resampling.NEAREST if image.width < cell else Image.Resampling.BOX
            image = image.resize((cell, cell), filtering)
        row, column = divmod(index, columns)
        sheet.paste(image, (gap + column * (cell + gap), gap + row * (cell + gap)), image)
    return sheet
