"""What is in the folder of a run."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylegan_fast.errors import UserError

Row = dict[str, Any]

_FAKES = re.compile(r"fakes(\d{6,12})\.png")
# A tick's line is in stats.jsonl too; everything else in the log is something that happened.
_TICK_LINE = re.compile(r"tick \d+ ")


@dataclass(frozen=True)
class Snapshot:
    """A sheet of samples; ``kimg`` None for the untrained generator's."""

    kimg: int | None
    path: Path

    @property
    def label(self) -> str:
        return "before training" if self.kimg is None else f"{self.kimg} kimg"


@dataclass(frozen=True)
class Phase:
    """The ticks at one resolution that follow each other, while it fades in or after."""

    resolution: int
    fading: bool
    kimg: float  # length
    seconds: float
    data_wait: float  # share of the seconds
    memory_gb: float | None  # largest

    @property
    def label(self) -> str:
        return f"{self.resolution}×{self.resolution}" + (", fading in" if self.fading else "")

    @property
    def images_per_second(self) -> float:
        return 1000 * self.kimg / self.seconds


@dataclass(frozen=True)
class RunRecord:
    """All that is shown of a run. ``ticks`` and ``metrics`` are the lines of their files, in order."""

    path: Path
    config: Row
    ticks: list[Row]
    log: list[str]
    metrics: list[Row]
    snapshots: list[Snapshot]
    reals: Path | None

    @property
    def name(self) -> str:
        return self.path.resolve().name

    def events(self) -> list[str]:
        """The lines of the log that are no ticks, and for each tick that left out steps, how many."""
        events = [line for line in self.log if line.strip() and not _TICK_LINE.match(line)]
        before = 0.0
        for row in self.ticks:
            skipped = number(row, "skipped_steps") or 0.0
            if skipped > before:
                kimg = number(row, "kimg") or math.nan
                events.append(f"{skipped - before:g} steps skipped, their gradients not finite, up to {kimg:.3f} kimg")
            before = skipped
        return events

    def phases(self) -> list[Phase]:
        """Speed by phase of growth."""
        phases: list[Phase] = []
        before = 0.0
        for row in self.ticks:
            images, speed, lod = (number(row, name) for name in ("images", "images_per_second", "lod"))
            resolution = number(row, "resolution")
            if images is None or not speed or lod is None or resolution is None:
                continue
            kimg = (images - before) / 1000
            before = images
            seconds = 1000 * kimg / speed
            wait, memory = number(row, "data_wait") or 0.0, number(row, "memory_gb")
            tick = Phase(int(resolution), lod != math.floor(lod), kimg, seconds, wait, memory)
            if phases and (phases[-1].resolution, phases[-1].fading) == (tick.resolution, tick.fading):
                tick = _together(phases.pop(), tick)
            phases.append(tick)
        return phases


def read_run(path: str | Path) -> RunRecord:
    """Read a run's folder. Files that are missing, and lines that are damaged, are left out.

    Raises ``UserError`` where the folder is not that of a run.
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"{str(path)!r}: no such folder; expected the folder of a run of train")
    if not (path / "config.json").is_file() and not (path / "stats.jsonl").is_file():
        raise UserError(
            f"{str(path)!r}: neither config.json nor stats.jsonl in it; expected the folder of a run of train"
        )
    config = _json_lines(_text(path / "config.json").replace("\n", " "))
    numbered = sorted((int(match[1]), file) for file in path.iterdir() if (match := _FAKES.fullmatch(file.name)))
    snapshots = [Snapshot(kimg, file) for kimg, file in numbered]
    if (path / "fakes_init.png").is_file():
        snapshots.insert(0, Snapshot(None, path / "fakes_init.png"))
    reals = path / "reals.png"
    return RunRecord(
        path=path,
        config=config[0] if config else {},
        ticks=_json_lines(_text(path / "stats.jsonl")),
        log=_text(path / "log.txt").splitlines(),
        metrics=_json_lines(_text(path / "metrics.jsonl")),
        snapshots=snapshots,
        reals=reals if reals.is_file() else None,
    )


def number(row: Row, name: str) -> float | None:
    """A finite number in a row, else None."""
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _together(first: Phase, second: Phase) -> Phase:
    seconds = first.seconds + second.seconds
    known = [phase.memory_gb for phase in (first, second) if phase.memory_gb is not None]
    return Phase(
        first.resolution,
        first.fading,
        first.kimg + second.kimg,
        seconds,
        (first.data_wait * first.seconds + second.data_wait * second.seconds) / seconds if seconds else 0.0,
        max(known, default=None),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def _json_lines(text: str) -> list[Row]:
    rows = []
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows
