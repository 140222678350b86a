"""Memory of one call: the most it allocates, and what it keeps for its backward pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from harness.work import Work

MEASURED = "the measured call"


def peak_bytes(work: Work, device: torch.device) -> int | None:
    """The most bytes torch's allocator handed out beyond the inputs at any moment of one call, results included.

    For the direction "bwd", beyond what the forward pass left. None where this torch cannot tell. Memory that a
    library takes elsewhere (a CPU kernel's stack, oneDNN's scratch) is not seen.
    """
    work.results[0] = None
    work.prepare(0, 1)
    return peak_of(lambda: work.call(0), device)


def peak_of(call: Callable[[], object], device: torch.device) -> int | None:
    """The same of any call."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    if not torch.profiler.kineto_available():
        return None
    # The profiler's allocation events are the only account of the CPU allocator that torch keeps.
    activities = [torch.profiler.ProfilerActivity.CPU]
    with (
        torch.profiler.profile(activities=activities, profile_memory=True) as profile,
        torch.profiler.record_function(MEASURED),
    ):
        call()
    assert profile.profiler is not None
    events = profile.profiler.kineto_results.events()
    start = next(e.start_ns() for e in events if e.name() == MEASURED)
    steps = [e for e in events if e.name() == "[memory]" and e.start_ns() >= start]
    held = peak = 0
    for step in sorted(steps, key=lambda e: e.start_ns()):
        held += step.nbytes()
        peak = max(peak, held)
    return peak


def saved_bytes(work: Work) -> int | None:
    """Bytes of the tensors that a forward pass keeps for its backward pass, each memory counted once; x is among them
    where the backward pass reads it. None for the direction "fwd"."""
    if work.direction == "fwd":
        return None
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        # Kept with its history, a result that its own graph saves would hold that graph, and itself, for ever.
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = work.function(*work.arguments[0])
    del y
    return sum(kept.values())
