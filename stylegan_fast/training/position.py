"""Where a run stands, and on what data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stylegan_fast.data import Dataset


@dataclass
class Position:
    """Where a run stands; with the trainer's state, all there is to know."""

    step: int = 0  # pairs of steps taken
    images: int = 0  # shown to the discriminator
    phase_images: int = 0  # `images` at the last evaluation of the schedule
    levels: tuple[int, int] | None = None  # floor and ceil of lod then
    tick: int = 0  # ticks completed
    tick_images: int = 0  # `images` at the last of them
    seconds: float = 0.0  # of training, over all sittings
    best_images: int | None = None  # `images` at the snapshot of the best quality reported so far
    best_quality: float | None = None


def describe(dataset: Dataset) -> dict[str, Any]:
    """What must be the same in the data for a run to go on."""
    return {"images": len(dataset), "channels": dataset.channels, "label_dim": dataset.label_dim}
