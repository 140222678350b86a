"""The least time a network can take: its multiplications at the speed of the best convolution call, and the bytes of
what surrounds them at the speed of a copy."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from harness.timing import synchronize
from stylegan_fast.models import Discriminator, Generator
from stylegan_fast.models.growth import channels_at

COPIED = 64 << 20
# A convolution that changes the resolution needs 4x4 taps on the smaller side, in one step with the resampling.
TAPS, RESAMPLING_TAPS = 9, 16


@dataclass(frozen=True)
class Work:
    """Of one image at one resolution: multiplications-and-additions of convolutions, counted as two, and numbers read
    or written by what follows them."""

    resolution: int
    channels: int
    flops: float
    numbers: float


def generator_work(G: Generator) -> list[Work]:
    """Both layers of each resolution. An epilogue reads its input and writes its output."""
    base, most = G.init_kwargs["channel_base"], G.init_kwargs["channel_max"]
    found, resolution = [], 4
    while resolution <= G.img_resolution:
        c, below, pixels = channels_at(resolution, base, most), channels_at(resolution // 2, base, most), resolution**2
        flops = 2.0 * TAPS * c * c * pixels
        if resolution > 4:
            flops += 2.0 * RESAMPLING_TAPS * below * c * pixels / 4
        if resolution == G.img_resolution:
            flops += 2.0 * G.img_channels * c * pixels
        found.append(Work(resolution, c, flops, 4.0 * c * pixels))
        resolution *= 2
    return found


def discriminator_work(D: Discriminator) -> list[Work]:
    """Both layers of each resolution. The bias and activation after each, and the blur, read and write."""
    base, most = D.init_kwargs["channel_base"], D.init_kwargs["channel_max"]
    found, resolution = [], D.img_resolution
    while resolution >= 4:
        c, below, pixels = channels_at(resolution, base, most), channels_at(resolution // 2, base, most), resolution**2
        flops = 2.0 * TAPS * c * c * pixels
        if resolution > 4:
            flops += 2.0 * RESAMPLING_TAPS * c * below * pixels / 4
        found.append(Work(resolution, c, flops, 2.0 * (2 * c * pixels + below * pixels / 4)))
        resolution //= 2
    return found


@dataclass(frozen=True)
class Speeds:
    """flops: of the best 3x3 convolution call, by resolution, per second. bytes: of a copy, read and written."""

    flops: dict[int, float]
    bytes: float

    def seconds(self, work: list[Work], batch: int, itemsize: int) -> float:
        return batch * sum(w.flops / self.flops[w.resolution] + w.numbers * itemsize / self.bytes for w in work)


def measured_speeds(work: list[Work], batch: int, dtype: torch.dtype, device: torch.device) -> Speeds:
    flops = {}
    for w in work:
        times = []
        for layout in (torch.channels_last, torch.contiguous_format):
            x = _drawn(dtype, device, batch, w.channels, w.resolution, w.resolution).contiguous(memory_format=layout)
            weight = _drawn(dtype, device, w.channels, w.channels, 3, 3).contiguous(memory_format=layout)
            times.append(_median(lambda x=x, weight=weight: functional.conv2d(x, weight, padding=1), device))
        flops[w.resolution] = 2.0 * TAPS * w.channels**2 * w.resolution**2 * batch / min(times)
    source = torch.ones(COPIED, dtype=torch.uint8, device=device)
    target = torch.ones_like(source)
    return Speeds(flops, 2 * COPIED / _median(lambda: target.copy_(source), device))


def _drawn(dtype: torch.dtype, device: torch.device, *shape: int) -> Tensor:
    return torch.randn(shape, device=device).to(dtype)


def _median(call: Callable[[], Tensor], device: torch.device) -> float:
    found = []
    with torch.no_grad():
        for turn in range(6):
            synchronize(device)
            start = time.perf_counter()
            call()
            synchronize(device)
            if turn:
                found.append(time.perf_counter() - start)
    return statistics.median(found)
