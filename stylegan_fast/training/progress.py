"""What a person sees while a run goes: one line a tick, and a bar on a terminal."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from stylegan_fast.durations import duration
from stylegan_fast.training.schedule import Schedule

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

COST_PER_DOUBLING = 3.0  # of a resolution not yet seen, over the one below; only for the time left


class TimeLeft:
    """Estimates the seconds left from the rates seen so far, resolution by resolution.

    Early resolutions are many times faster than late ones, so the rate of the moment says little about the whole.
    """

    def __init__(self, schedule: Schedule, total_images: int) -> None:
        self._schedule, self._total = schedule, total_images
        self._seconds_per_image: dict[int, float] = {}

    def saw(self, resolution: int, seconds_per_image: float) -> None:
        self._seconds_per_image[resolution] = seconds_per_image

    def seconds(self, num_images: int, steps: int = 200) -> float:
        """Time from ``num_images`` to the end; call after the first ``saw``."""
        piece = max(self._total - num_images, 0) / steps
        middles = (num_images + (index + 0.5) * piece for index in range(steps))
        return sum(piece * self._rate(self._schedule.at(int(middle)).resolution) for middle in middles)

    def _rate(self, resolution: int) -> float:
        known = self._seconds_per_image
        nearest = max((r for r in known if r <= resolution), default=min(known))
        doublings = (resolution // nearest).bit_length() - 1 if resolution > nearest else 0
        return known[nearest] * COST_PER_DOUBLING**doublings


class ProgressBar:
    """A bar on stderr if that is a terminal; otherwise lines only."""

    def __init__(self, total_images: int, num_images: int, hidden: bool = False) -> None:
        shown = sys.stderr.isatty() and not hidden
        self._bar = tqdm(
            total=total_images,
            initial=num_images,
            unit="img",
            unit_scale=True,
            dynamic_ncols=True,
            disable=not shown,
            bar_format="{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} img {rate_fmt}{postfix}",
        )

    def advance(self, images: int) -> None:
        self._bar.update(images)

    def describe(self, text: str) -> None:
        self._bar.set_postfix_str(text, refresh=False)

    def line(self, text: str) -> None:
        """Print a line above the bar."""
        self._bar.write(text, file=sys.stdout)
        sys.stdout.flush()

    def close(self) -> None:
        self._bar.close()


def memory_gb(device: torch.device) -> float:
    """Gigabytes (10^9 bytes) in use: of the device where it is a GPU, else resident in this process; NaN if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 1e9
    if device.type == "mps":
        return torch.mps.driver_allocated_memory() / 1e9
    if resource is None:
        return math.nan
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e9
    except OSError:  # no /proc: the largest size so far, in bytes on macOS and in KiB elsewhere
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9


def tick_line(row: dict[str, float], total_kimg: float, seconds_left: float) -> str:
    """One tick in words, from its row of ``stats.jsonl``."""
    digits = 1 if total_kimg >= 10 else 3
    skipped = f"  skipped {row['skipped_steps']:.0f}" if row["skipped_steps"] else ""
    augmented = f"  aug p {row['augment_p']:.3f}" if "augment_p" in row else ""
    return (
        f"tick {row['tick']:<4.0f} kimg {row['kimg']:.{digits}f}/{total_kimg:g}  lod {row['lod']:.2f}  "
        f"{row['resolution']:.0f}x{row['resolution']:.0f}  D {row['D_loss']:.3f}  G {row['G_loss']:.3f}  "
        f"R1 {row['R1']:.3f}  {row['images_per_second']:.1f} img/s  {row['seconds_per_kimg']:.2f} s/kimg  "
        f"mem {row['memory_gb']:.1f} GB  data wait {100 * row['data_wait']:.0f}%{augmented}{skipped}  "
        f"time {duration(row['seconds'])}  left {duration(seconds_left)}"
    )


def bar_text(row: dict[str, float], seconds_left: float) -> str:
    """The last tick in few words, for beside the bar, which itself shows images and images per second."""
    return (
        f"lod {row['lod']:.2f} {row['resolution']:.0f}x{row['resolution']:.0f} D {row['D_loss']:.2f} "
        f"G {row['G_loss']:.2f} {row['seconds_per_kimg']:.1f}s/kimg {row['memory_gb']:.1f}GB "
        f"wait {100 * row['data_wait']:.0f}% left {duration(seconds_left)}"
    )
