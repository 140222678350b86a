"""Interleaved, repeated timing: CPU wall time, or device time of captured CUDA graphs.

A round measures a block of calls of every provider, one after the other, so that whatever slows the machine for a
while slows them all; the order turns from round to round. A provider's time is the median of its blocks.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from dataclasses import dataclass
from typing import Protocol

import torch

from harness.work import Work

BLOCK_SECONDS = 0.02  # long against the resolution of any clock, short against the moods of a shared machine
# Results of the first pass over the inputs are fresh memory, mostly those of the second, too: nothing has been freed.
# At 16x16 on a CPU with a cache of 300 MB they took four times as long as the calls after them.
WARM_UP_PASSES = 3
WARM_UP_SECONDS = 3.0


@dataclass(frozen=True)
class Effort:
    """rounds: at least three, and as many as fit in `seconds` per shape up to `rounds`."""

    rounds: int
    seconds: float


@dataclass(frozen=True)
class Timing:
    """ms: median per call. spread: interquartile range over the median. rounds: how many blocks. graph: whether a
    captured CUDA graph was replayed."""

    ms: float
    spread: float
    rounds: int
    graph: bool


class Clock(Protocol):
    graph: bool

    def block(self) -> float:
        """Runs a block of calls and returns the seconds of one call."""


class CpuClock:
    """Wall time of a block of calls, what they need prepared before the clock starts."""

    graph = False

    def __init__(self, work: Work) -> None:
        self.work, self.calls, self.next = work, 1, 0
        self._fill()
        # No more calls than there are inputs, so that none of them meets a graph already used up.
        self.calls = max(1, min(work.inputs.count, math.ceil(BLOCK_SECONDS / self.block())))

    def _fill(self) -> None:
        """Lets allocators and caches reach the state they stay in, up to a time limit."""
        start = time.perf_counter()
        for index in range(WARM_UP_PASSES * self.work.inputs.count):
            self.work.prepare(index, 1)
            self.work.call(index)
            if time.perf_counter() - start > WARM_UP_SECONDS:
                return

    def block(self) -> float:
        first, self.next = self.next, self.next + self.calls
        self.work.prepare(first, self.calls)
        start = time.perf_counter()
        for index in range(first, first + self.calls):
            self.work.call(index)
        return (time.perf_counter() - start) / self.calls


class GraphClock:
    """Device time of a CUDA graph of one call on each of the inputs: no launch overhead, no allocation, all results in
    memory of their own."""

    graph = True

    def __init__(self, work: Work) -> None:
        self.calls, self.replays = work.inputs.count, 1
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        # Backward kernels run on the stream of their forward pass: make all of that the captured one.
        work.start_over()
        with torch.cuda.stream(stream):
            work.prepare(0, self.calls)
            for index in range(min(3, self.calls)):
                work.call(index)
        stream.synchronize()
        self.captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.captured, stream=stream):
            for index in range(self.calls):
                work.call(index)
        self.block()
        self.replays = max(1, math.ceil(BLOCK_SECONDS / (self.block() * self.calls)))

    def block(self) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(self.replays):
            self.captured.replay()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3 / self.calls / self.replays


class EventClock:
    """Device time between events around calls launched one by one, for what cannot be captured."""

    graph = False

    def __init__(self, work: Work) -> None:
        self.work, self.calls = work, 3
        work.start_over()
        work.prepare(0, work.inputs.count)
        self.block()
        self.calls = max(1, math.ceil(BLOCK_SECONDS / self.block()))

    def block(self) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for index in range(self.calls):
            self.work.call(index)
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3 / self.calls


def clock_of(work: Work, device: torch.device, capture: bool = True) -> Clock:
    if device.type != "cuda":
        return CpuClock(work)
    return GraphClock(work) if capture else EventClock(work)


def measure(clocks: dict[str, Clock], effort: Effort) -> dict[str, Timing]:
    """The timing of each clock's work, from interleaved rounds."""
    names = list(clocks)
    blocks: dict[str, list[float]] = {name: [] for name in names}
    gc.collect()
    gc.disable()
    start = time.perf_counter()
    try:
        for turn in range(effort.rounds):
            for step in range(len(names)):
                name = names[(turn + step) % len(names)]
                blocks[name].append(clocks[name].block())
            if turn >= 2 and time.perf_counter() - start > effort.seconds:
                break
    finally:
        gc.enable()
    return {name: summary(found, clocks[name].graph) for name, found in blocks.items()}


def summary(seconds: list[float], graph: bool = False) -> Timing:
    """Median and spread of the seconds per call of the blocks."""
    median = statistics.median(seconds)
    quarter, _, three_quarters = statistics.quantiles(seconds, n=4, method="inclusive")
    return Timing(median * 1e3, (three_quarters - quarter) / median, len(seconds), graph)


def fastest(works: list[Work], device: torch.device) -> Work:
    """The work with the shortest call of a few."""
    if len(works) == 1:
        return works[0]
    best = [math.inf] * len(works)
    for turn in range(5):
        for position, work in enumerate(works):
            work.prepare(turn, 1)
            synchronize(device)
            start = time.perf_counter()
            work.call(turn)
            synchronize(device)
            best[position] = min(best[position], time.perf_counter() - start)
    return works[best.index(min(best))]


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
