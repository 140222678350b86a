"""Rows as a table for people, as JSON for programs, and their sums."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stylegan_fast.atomic import replacing

Row = dict[str, Any]

RIVALS = ("eager", "compile", "peer")
NAMES = {"compile": "torch.compile", "peer": "StyleGAN3"}
COLUMNS = ("shape", "provider", "ms", "+-", "GB/s", "of copy", "of fresh", "vs eager", "vs compile", "peak", "saved")
WIDTHS = (18, 14, 10, 6, 8, 9, 9, 9, 11, 10, 10)


def write_json(rows: Sequence[Row], path: Path) -> None:
    """A list of objects, one a line. The file is whole at any moment."""
    text = "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"
    with replacing(path) as file:
        file.write(text.encode())


def heading(common: Row, batch: int) -> str:
    """Two lines on what is measured and how to read it."""
    return (
        f"{common['op']} {common['direction']} on {chip_words(common)}: {common['dtype']}, {common['layout']}, "
        f"batch {batch}; torch {common['torch']}\n"
        "GB/s: bytes an ideal kernel moves / median time; of copy: of a copy into memory in use, of fresh: into newly "
        "allocated memory,\n  both in this run at this size; +-: interquartile range; peak, saved: in units of x"
    )


def chip_words(row: Row) -> str:
    """The chip, and on how many threads of it."""
    if row["device"] != "cpu":
        return str(row["chip"])
    kept = ", freed memory kept" if row.get("memory") == "kept" else ""
    return f"{row['chip']}, {row['threads']} thread{'s' if row['threads'] > 1 else ''}{kept}"


def provider_words(provider: str) -> str:
    return NAMES.get(provider, provider)


def table_head() -> str:
    return _line(COLUMNS)


def table_lines(rows: Sequence[Row]) -> list[str]:
    """The lines of one case at one shape."""
    by_provider = {row["provider"]: row for row in rows}
    return [_line(_cells(row, by_provider)) for row in rows]


def _cells(row: Row, by_provider: dict[str, Row]) -> list[str]:
    speed = ["", ""]
    for column, rival in enumerate(("eager", "compile")):
        if rival in by_provider and row["provider"] in ("ours", *RIVALS):
            speed[column] = f"{by_provider[rival]['ms'] / row['ms']:.2f}x"
    return [
        "x".join(map(str, row["shape"])),
        provider_words(str(row["provider"])),
        f"{row['ms']:.4g}",
        f"{row['spread']:.0%}",
        f"{row['gbps']:.4g}",
        f"{row['roofline']:.0%}",
        f"{row['fresh_roofline']:.0%}",
        *speed,
        _in_planes(row["peak_bytes"], row["x_bytes"]),
        _in_planes(row["saved_bytes"], row["x_bytes"]),
    ]


def _in_planes(count: int | None, x_bytes: int) -> str:
    return "" if count is None else f"{count / x_bytes:.2f}"


def _line(cells: Sequence[str]) -> str:
    left, *right = (
        f"{cell:<{width}}" if i < 2 else f"{cell:>{width}}" for i, (cell, width) in enumerate(_sized(cells))
    )
    return (left + "".join(right)).rstrip()


def _sized(cells: Sequence[str]) -> list[tuple[str, int]]:
    return list(zip(cells, WIDTHS, strict=True))


def speedups(rows: Sequence[Row], rival: str) -> list[tuple[float, Row]]:
    """How many times faster ours is than the rival, for each row of ours that has one."""
    times = {_place(row): row["ms"] for row in rows if row["provider"] == rival}
    return [(times[_place(row)] / row["ms"], row) for row in rows if row["provider"] == "ours" and _place(row) in times]


def _place(row: Row) -> tuple[Any, ...]:
    return (*(row[key] for key in ("op", "case", "device", "dtype", "layout", "direction")), *row["shape"])


def summary_lines(rows: Sequence[Row]) -> list[str]:
    """Per case and rival: geometric mean and worst of the speed-ups, and where the worst is."""
    lines = []
    for case in dict.fromkeys(row["case"] for row in rows):
        of_case = [row for row in rows if row["case"] == case]
        for rival in RIVALS:
            found = speedups(of_case, rival)
            if found:
                mean = geometric_mean([ratio for ratio, _ in found])
                worst, where = min(found, key=lambda pair: pair[0])
                at = "x".join(map(str, where["shape"]))
                lines.append(
                    f"{case}: ours is {mean:.2f}x as fast as {provider_words(rival)} (geometric mean of {len(found)} "
                    f"shape{'s' if len(found) > 1 else ''}), at worst {worst:.2f}x at {at}"
                )
    return lines


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))
