"""Which curves are drawn of a run, and the geometry that both ways of drawing them share."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from stylegan_fast.reporting.record import Row, RunRecord, number

MOST_POINTS = 400  # of a curve: about as many as there are pixels across
_KNOWN = ("tick", "kimg", "images", "seconds", "seconds_per_kimg", "resolution", "batch", "skipped_steps")
# Title, what its numbers are, and the columns of stats.jsonl it shows.
_GROUPS: Sequence[tuple[str, str, Sequence[tuple[str, str]]]] = (
    ("Losses", "", (("D_loss", "D"), ("G_loss", "G"))),
    ("Scores", "", (("score_real", "reals"), ("score_fake", "fakes"))),
    ("R1 penalty", "", (("R1", "R1"),)),
    ("Augmentation and overfitting", "", (("augment_p", "p"), ("sign_real", "mean sign of D(real)"))),
    ("Learning rate", "", (("lr", "lr"),)),
    ("Level of detail", "", (("lod", "lod"),)),
    ("Speed", "images/s", (("images_per_second", "images/s"),)),
    ("Waiting for data", "share of the time", (("data_wait", "wait"),)),
    ("Memory", "GB", (("memory_gb", "GB"),)),
)


@dataclass(frozen=True)
class Series:
    """One curve: ``(kimg, value)`` in order of kimg."""

    label: str
    points: list[tuple[float, float]]


@dataclass(frozen=True)
class Chart:
    title: str
    unit: str
    series: list[Series]

    @property
    def x_range(self) -> tuple[float, float]:
        xs = [x for series in self.series for x, _ in series.points]
        return min(0.0, *xs), max(xs)

    @property
    def y_range(self) -> tuple[float, float]:
        """With some room, and never empty."""
        ys = [y for series in self.series for _, y in series.points]
        low, high = min(ys), max(ys)
        if low == high:
            room = abs(low) / 2 or 0.5
            return low - room, high + room
        room = (high - low) * 0.05
        # A quantity that never falls below 0 has its axis there.
        return (0.0 if 0 <= low < (high - low) else low - room), high + room


def charts_of(record: RunRecord) -> list[Chart]:
    """The charts for which the run has numbers: those above, then its metrics, then what else its ticks hold."""
    charts = []
    shown = set(_KNOWN)
    for title, unit, columns in _GROUPS:
        shown |= {column for column, _ in columns}
        series = [Series(label, _column(record.ticks, column)) for column, label in columns]
        charts.append(Chart(title, unit, series))
    for name, points in metric_values(record.metrics).items():
        charts.append(Chart(name, "", [Series(name, thinned(points))]))
    others = sorted({name for row in record.ticks for name in row} - shown)
    charts += [Chart(name, "", [Series(name, _column(record.ticks, name))]) for name in others]
    filled = [Chart(c.title, c.unit, [s for s in c.series if s.points]) for c in charts]
    return [chart for chart in filled if chart.series]


def metric_values(rows: Sequence[Row]) -> dict[str, list[tuple[float, float]]]:
    """``(kimg, value)`` of each number in ``metrics.jsonl``, whose rows are ``{"kimg", "metric", "results": {name:
    value}}``."""
    values: dict[str, dict[float, float]] = {}
    for row in rows:
        kimg = number(row, "kimg")
        if kimg is None:
            continue
        found = row.get("results")
        results: Row = found if isinstance(found, dict) else {}
        for name in results:
            value = number(results, name)
            if value is not None:
                metric = str(row.get("metric", name))
                label = metric if metric == name else f"{metric}: {name}"
                values.setdefault(label, {})[kimg] = value  # measured again, it counts as last measured
    return {name: sorted(points.items()) for name, points in values.items()}


def thinned(points: Sequence[tuple[float, float]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """At most ``most`` points: means of neighbours where there are more."""
    if len(points) <= most:
        return list(points)
    edges = [round(index * len(points) / most) for index in range(most + 1)]
    groups = [points[start:end] for start, end in itertools.pairwise(edges)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


def axis_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten) from ``low`` to ``high``, some ``about`` of them."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    return [index * step for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def axis_label(value: float) -> str:
    """``0.002``, ``12.5``, ``25k``, ``3e-06``: few characters, no digits that say nothing."""
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{0.0 if abs(value) < 1e-12 else value:.4g}"


def _column(rows: Sequence[Row], name: str) -> list[tuple[float, float]]:
    pairs = ((number(row, "kimg"), number(row, name)) for row in rows)
    return thinned([(x, y) for x, y in pairs if x is not None and y is not None])
