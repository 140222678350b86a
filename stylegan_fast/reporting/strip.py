"""The progress strip: the same latents at each snapshot, one row each."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from stylegan_fast.figures.sheet import cell_size, sheet_layout
from stylegan_fast.reporting.record import Snapshot

MOST_ROWS = 40
_LABEL_WIDTH = 110
_CELL = 96  # at most; a sheet's first row of 1024 x 1024 would be wider than a screen


def evenly(items: Sequence[Snapshot], most: int) -> list[Snapshot]:
    """At most ``most`` of them, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(index * (len(items) - 1) / (most - 1))] for index in range(most)]


def progress_strip(snapshots: Sequence[Snapshot], resolution: int) -> Image.Image | None:
    """The first row of each sheet under that of the one before, at most 40 evenly chosen; None without a sheet.

    Args:
        snapshots: sheets of a training run, in order.
        resolution: the final one of the run, which says where on a sheet its first row is.
    """
    side = cell_size(resolution)
    gap = max(side // 32, 2)
    columns, _ = sheet_layout(resolution)
    box = (0, 0, columns * (side + gap) + gap, side + gap)
    scale = min(_CELL / side, 1.0)
    width, height = round(box[2] * scale), round(box[3] * scale)
    rows = []
    for snapshot in evenly(snapshots, MOST_ROWS):
        try:
            with Image.open(snapshot.path) as sheet:
                rows.append((snapshot.label, sheet.convert("RGB").crop(box).resize((width, height))))
        except (OSError, SyntaxError, Image.DecompressionBombError):
            continue  # the page, which shows the same sheets, names it
    if not rows:
        return None
    strip = Image.new("RGB", (_LABEL_WIDTH + width, len(rows) * height), "white")
    draw = ImageDraw.Draw(strip)
    font = ImageFont.load_default(size=14)
    for index, (label, row) in enumerate(rows):
        strip.paste(row, (_LABEL_WIDTH, index * height))
        draw.text((_LABEL_WIDTH - 8, (index + 0.5) * height), label, fill="black", font=font, anchor="rm")
    return strip
