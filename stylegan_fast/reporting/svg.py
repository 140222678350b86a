"""A chart as SVG inside the page. Colours and fonts come from the page's style sheet."""

from __future__ import annotations

import html
import json

from stylegan_fast.reporting.charts import Chart, axis_label, axis_ticks

WIDTH, HEIGHT = 480, 230
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 14, 30


def svg(chart: Chart) -> str:
    """The chart as a ``<svg>`` element; the points are in it as JSON too, for the page's script to read out."""
    (x_low, x_high), (y_low, y_high) = chart.x_range, chart.y_range
    x_high = x_high if x_high > x_low else x_low + 1
    inner_width, inner_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def at_x(value: float) -> float:
        return LEFT + inner_width * (value - x_low) / (x_high - x_low)

    def at_y(value: float) -> float:
        return TOP + inner_height * (1 - (value - y_low) / (y_high - y_low))

    parts = []
    for value in axis_ticks(y_low, y_high, 4):
        y = at_y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{axis_label(value)}</text>')
    for value in axis_ticks(x_low, x_high, 5):
        parts.append(f'<text x="{at_x(value):.1f}" y="{HEIGHT - 10}" text-anchor="middle">{axis_label(value)}</text>')
    for index, series in enumerate(chart.series):
        points = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in series.points)
        if len(series.points) == 1:
            left, _, top = points.partition(",")
            parts.append(f'<circle class="dot c{index}" cx="{left}" cy="{top}" r="3"/>')
        else:
            parts.append(f'<polyline class="curve c{index}" points="{points}"/>')
    parts.append(f'<line class="cursor" y1="{TOP}" y2="{HEIGHT - BOTTOM}" visibility="hidden"/>')
    known = {
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "low": x_low,
        "high": x_high,
        "series": [{"label": s.label, "points": [[_short(x), _short(y)] for x, y in s.points]} for s in chart.series],
    }
    title = html.escape(chart.title)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title} over kimg" '
        f'data-chart="{html.escape(json.dumps(known))}">{"".join(parts)}</svg>'
    )


def legend(chart: Chart) -> str:
    """The names of the curves, each with its colour."""
    names = (
        f'<span class="key"><i class="c{index}"></i>{html.escape(series.label)}</span>'
        for index, series in enumerate(chart.series)
    )
    return "".join(names)


def _short(value: float) -> float:
    return float(f"{value:.5g}")
