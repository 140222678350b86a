"""Figures for print: grids of pictures with words above columns and beside rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stylegan_fast.figures.sheet import picture

DPI = 300  # of the files: a column of a page, 3.3 inches, is 1,000 pixels
INK = (30, 30, 30)


def print_cell(resolution: int, columns: int, width: int = 2000) -> int:
    """Side of a picture in a figure ``width`` pixels wide: a whole multiple of its resolution, at least once."""
    return resolution * max(round(width / columns / resolution), 1)


def enlarged(pixels: np.ndarray, side: int) -> Image.Image:
    """uint8 ``[H, W, C]`` at ``side`` x ``side`` on white, by repeating pixels or, to make it smaller, averaging."""
    image = picture(pixels).convert("RGBA")
    if image.size != (side, side):
        filtering = Image.Resampling.NEAREST if image.width < side else Image.Resampling.BOX
        image = image.resize((side, side), filtering)
    page = Image.new("RGBA", image.size, "white")
    page.alpha_composite(image)
    return page.convert("RGB")


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, about ``size`` pixels high."""
    try:
        return ImageFont.load_default(size)
    except (TypeError, ImportError):  # before Pillow 10.1, or without FreeType: one size only
        return ImageFont.load_default()


def labelled_grid(
    cells: Sequence[Sequence[np.ndarray | Image.Image | None]],
    side: int,
    column_labels: Sequence[str] = (),
    row_labels: Sequence[str] = (),
    gap: int | None = None,
) -> Image.Image:
    """Rows of pictures on white.

    Args:
        cells: rows of uint8 ``[H, W, C]``, ready images of ``side`` x ``side``, or None for an empty place.
        side: of a place in pixels.
        column_labels, row_labels: words above and (turned, reading upwards) beside; "" for none. A row's label stands
            for the rows after it too, as long as theirs are "".
        gap: between pictures.
    """
    gap = max(side // 40, 2) if gap is None else gap
    columns, rows = max(len(row) for row in cells), len(cells)
    size = _fitting_size(column_labels, side, max(side // 8, 12))
    top = round(1.7 * size) if any(column_labels) else gap
    left = round(1.7 * size) if any(row_labels) else gap
    step = side + gap
    page = Image.new("RGB", (left + columns * step, top + rows * step), "white")
    for y, row in enumerate(cells):
        for x, cell in enumerate(row):
            if cell is not None:
                image = cell if isinstance(cell, Image.Image) else enlarged(cell, side)
                page.paste(image, (left + x * step, top + y * step))
    for x, words in enumerate(column_labels):
        page.paste(_words(words, size, side, top), (left + x * step, 0))
    for y, words in enumerate(row_labels):
        if words:
            following = next((k for k in range(y + 1, len(row_labels)) if row_labels[k]), rows)
            length = (following - y) * step - gap
            turned = _words(words, size, length, left).rotate(90, expand=True)
            page.paste(turned, (0, top + y * step))
    return page


def _fitting_size(labels: Sequence[str], width: int, size: int) -> int:
    """The largest size of letters up to ``size`` at which every label fits into the width."""
    lengths = [font(size).getlength(words) for words in labels]
    return max(min([size, *(math.floor(size * width / length) for length in lengths if length > width)]), 6)


def _words(words: str, size: int, width: int, height: int) -> Image.Image:
    """Words in the middle of a white strip."""
    strip = Image.new("RGB", (width, height), "white")
    fitting = font(_fitting_size([words], width, size))
    ImageDraw.Draw(strip).text((width / 2, height / 2), words, fill=INK, font=fitting, anchor="mm")
    return strip
