"""Folders of runs that never were, to make reports of."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stylegan_fast.figures.sheet import cell_size, image_sheet, sheet_layout

RESOLUTION = 16


def row(tick: int, **other: Any) -> dict[str, Any]:
    """A tick of 1 kimg: 8x8 for three, then a fade of three, then 16x16."""
    lod = 1.0 if tick <= 3 else max(1 - (tick - 3) / 4, 0.0) if tick <= 6 else 0.0
    resolution = 8 if lod == 1.0 else 16
    return {
        "tick": tick, "kimg": float(tick), "images": 1000 * tick, "lod": lod, "resolution": resolution, "batch": 8,
        "lr": 0.001, "D_loss": 1.3 + math.sin(tick), "G_loss": 1.0, "R1": 0.1, "score_real": 0.5, "score_fake": -0.5,
        "images_per_second": 100.0 if resolution == 8 else 25.0, "data_wait": 0.1, "memory_gb": 0.5,
        "skipped_steps": 0, "seconds": 10.0 * tick, **other,
    }  # fmt: skip


def sheet_of(brightness: int, first: int | None = None) -> Image.Image:
    """A sheet of one brightness; ``first`` is that of its first image."""
    columns, rows = sheet_layout(RESOLUTION)
    images = [np.full((RESOLUTION, RESOLUTION, 3), brightness, dtype=np.uint8) for _ in range(columns * rows)]
    if first is not None:
        images[0][:] = first
    return image_sheet(images, columns, cell_size(RESOLUTION))


def write_run(folder: Path, ticks: int = 9, snapshots: int = 3, **other: Any) -> Path:
    """A run of 16x16 whose snapshots become brighter."""
    folder.mkdir(parents=True)
    config = {"data": "cats.zip", "resolution": RESOLUTION, "kimg": 10.0, "lr": None, "dataset": {"images": 300}}
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    (folder / "stats.jsonl").write_text("".join(json.dumps(row(t, **other)) + "\n" for t in range(1, ticks + 1)))
    (folder / "log.txt").write_text(
        "run      somewhere\n" + "tick 1    kimg 1.0/10  lod 1.00\n" * ticks + "resuming at 4.000 kimg\n"
    )
    sheet_of(250).save(folder / "reals.png")
    sheet_of(0).save(folder / "fakes_init.png")
    for index in range(1, snapshots + 1):
        sheet_of(min(40 * index, 250), first=200).save(folder / f"fakes{3 * index:06d}.png")
    return folder
