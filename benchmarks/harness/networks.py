"""What the benchmarks of whole networks share: providers measured in interleaved rounds, rows, a table."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click
import torch

from harness import machine
from harness.memory import peak_of
from harness.timing import Effort, Timing, measure, synchronize
from stylegan_fast.errors import UserError
from stylegan_fast.version import __version__

Row = dict[str, Any]
# Compilers and allocators are at their ease after one; graphs are captured at the third.
WARM_UP_CALLS = 3
EFFORT, QUICK = Effort(rounds=9, seconds=240.0), Effort(rounds=3, seconds=30.0)
HEAD = f"{'':<12}{'provider':<34}{'ms':>10}{'+-':>6}{'images/s':>10}{'of floor':>10}{'vs best port':>14}{'peak MB':>10}"


class CallClock:
    """One call a block, from an idle device to an idle device."""

    graph = False

    def __init__(self, call: Callable[[], object], device: torch.device) -> None:
        self.call, self.device = call, device
        for _ in range(WARM_UP_CALLS):
            self.block()

    def block(self) -> float:
        synchronize(self.device)
        start = time.perf_counter()
        self.call()
        synchronize(self.device)
        return time.perf_counter() - start


@dataclass(frozen=True)
class Provider:
    """A name, the dtype of its features, and what is called; `port` where it is somebody else's.

    launched: the same without a captured graph, whose memory the allocator does not see: for the peak.
    """

    name: str
    dtype: str
    call: Callable[[], object]
    port: bool = False
    launched: Callable[[], object] | None = None


def common_columns(op: str, device: torch.device, memory: str) -> Row:
    return {
        "op": op,
        "device": device.type,
        "chip": machine.chip(device),
        "driver": machine.driver(device),
        "layout": "channels_last",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "memory": memory,
        "commit": machine.commit(),
        "version": __version__,
    }


def measured_rows(
    common: Row, providers: Sequence[Provider], images: int, floors: dict[str, float], device: torch.device, quick: bool
) -> list[Row]:
    """One row a provider. floors: seconds, by dtype; may lack some."""
    peaks = {provider.name: peak_of(provider.launched or provider.call, device) for provider in providers}
    clocks = {provider.name: CallClock(provider.call, device) for provider in providers}
    timings: dict[str, Timing] = measure(dict(clocks), QUICK if quick else EFFORT)
    rows = []
    for provider in providers:
        timing, floor = timings[provider.name], floors.get(provider.dtype)
        rows.append(
            {
                **common,
                "provider": provider.name,
                "port": provider.port,
                "dtype": provider.dtype,
                "ms": timing.ms,
                "spread": timing.spread,
                "rounds": timing.rounds,
                "images_per_s": images / timing.ms * 1e3,
                "floor_ms": None if floor is None else floor * 1e3,
                "roofline": None if floor is None else floor * 1e3 / timing.ms,
                "peak_bytes": peaks[provider.name],
            }
        )
    gc.collect()
    return rows


def show(title: str, rows: Sequence[Row]) -> None:
    ports = [row["ms"] for row in rows if row["port"]]
    for row in rows:
        against = f"{min(ports) / row['ms']:.2f}x" if ports else ""
        share = "" if row["roofline"] is None else f"{row['roofline']:.0%}"
        peak = "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 1e6:.0f}"
        click.echo(
            f"{title:<12}{row['provider']:<34}{row['ms']:>10.4g}{row['spread']:>6.0%}{row['images_per_s']:>10.3g}"
            f"{share:>10}{against:>14}{peak:>10}"
        )


def numbers(option: str, listed: str, least: int, most: int) -> list[int]:
    words = listed.split(",")
    if not all(word.isdigit() and least <= int(word) <= most for word in words):
        raise UserError(f"{option}: {listed!r} must be numbers from {least} to {most}, separated by commas")
    return [int(word) for word in words]
