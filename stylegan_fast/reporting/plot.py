"""All curves of a run in one picture, drawn with Pillow: there without any extra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from stylegan_fast.reporting.charts import Chart, axis_label, axis_ticks

COLUMNS = 3
SIZE = (480, 270)  # of one chart in the finished picture
SHARPER = 2  # drawn so many times larger, then reduced: Pillow's lines have no soft edges
COLOURS = ("#2f6fdf", "#d9541e", "#2a9d5c", "#8a4fd0")
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 16, 40, 34


def curves_picture(charts: Sequence[Chart]) -> Image.Image:
    """Three charts in a row, each with its axes; x is thousands of images."""
    rows = max(-(-len(charts) // COLUMNS), 1)
    width, height = SIZE[0] * SHARPER, SIZE[1] * SHARPER
    sheet = Image.new("RGB", (COLUMNS * width, rows * height), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13 * SHARPER)
    for index, chart in enumerate(charts):
        row, column = divmod(index, COLUMNS)
        _draw_chart(draw, chart, column * width, row * height, font)
    return sheet.resize((COLUMNS * SIZE[0], rows * SIZE[1]), Image.Resampling.BOX)


def _draw_chart(draw: ImageDraw.ImageDraw, chart: Chart, x0: int, y0: int, font: Any) -> None:
    (x_low, x_high), (y_low, y_high) = chart.x_range, chart.y_range
    x_high = x_high if x_high > x_low else x_low + 1
    left, top = x0 + _LEFT * SHARPER, y0 + _TOP * SHARPER
    right, bottom = x0 + (SIZE[0] - _RIGHT) * SHARPER, y0 + (SIZE[1] - _BOTTOM) * SHARPER

    def at(x: float, y: float) -> tuple[float, float]:
        across, up = (x - x_low) / (x_high - x_low), (y - y_low) / (y_high - y_low)
        return left + (right - left) * across, bottom - (bottom - top) * up

    for value in axis_ticks(y_low, y_high, 4):
        _, y = at(x_low, value)
        draw.line([(left, y), (right, y)], fill="#dddddd", width=SHARPER)
        draw.text((left - 6 * SHARPER, y), axis_label(value), fill="#555555", font=font, anchor="rm")
    for value in axis_ticks(x_low, x_high, 5):
        x, _ = at(value, y_low)
        draw.text((x, bottom + 8 * SHARPER), axis_label(value), fill="#555555", font=font, anchor="mt")
    title = chart.title + (f" ({chart.unit})" if chart.unit else "")
    draw.text((left, y0 + 12 * SHARPER), title, fill="black", font=font, anchor="lt")
    key = float(right)
    for index, series in reversed(list(enumerate(chart.series))):
        colour = COLOURS[index % len(COLOURS)]
        if len(chart.series) > 1:
            draw.text((key, y0 + 12 * SHARPER), series.label, fill=colour, font=font, anchor="rt")
            key -= draw.textlength(series.label, font=font) + 14 * SHARPER
        points = [at(x, y) for x, y in series.points]
        if len(points) == 1:
            (x, y), radius = points[0], 3 * SHARPER
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour)
        draw.line(points, fill=colour, width=2 * SHARPER, joint="curve")
