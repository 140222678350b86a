"""The measurements of one case at one shape, as rows."""

from __future__ import annotations

import gc
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
import torch._dynamo
import torch._functorch.config

from harness import machine
from harness.benchmark import Case, Setting
from harness.memory import peak_bytes, saved_bytes
from harness.providers import functions_of
from harness.shapes import bytes_moved, bytes_of
from harness.timing import Clock, Effort, clock_of, fastest, measure
from harness.work import Work, copies_of, disagreements, draw_inputs, sets_beyond
from stylegan_fast.errors import UserError
from stylegan_fast.ops.library import use_backend
from stylegan_fast.version import __version__

COPIES = ("copy", "fresh copy")
# Of relative L2 distance between providers, in y and dx: some roundings of the dtype. In bf16 x + b is 0 for one number
# in a thousand, where our leaky ReLU has the slope 1 and eager's the other one: 0.036 to 0.039 in dx at 4x512x4x4, four
# seeds, and no difference at all in the other numbers.
TOLERANCES = {"fp32": 1e-3, "fp16": 1e-2, "bf16": 6e-2}
# A parameter's gradient is a sum over planes in which most cancels; wrong ones are off by 100 %.
PARAMETER_TOLERANCES = {"fp32": 1e-2, "fp16": 0.1, "bf16": 0.4}
# The eager epilogue of 16-bit numbers holds some ten fp32 tensors at a time.
WORKING_TENSORS = 12

Row = dict[str, Any]


@dataclass(frozen=True)
class Session:
    """What does not change from shape to shape."""

    op: str
    setting: Setting
    providers: list[str]
    peer_module: ModuleType | None
    effort: Effort
    optional: frozenset[str]  # providers left out with a note where they cannot run
    common: Row


def start_session(
    op: str,
    setting: Setting,
    providers: list[str],
    peer_module: ModuleType | None,
    effort: Effort,
    optional: frozenset[str],
    memory: str = "default",
) -> Session:
    common = {
        "op": op,
        "device": setting.device.type,
        "chip": machine.chip(setting.device),
        "driver": machine.driver(setting.device),
        "dtype": setting.dtype,
        "layout": setting.layout,
        "direction": setting.direction,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "memory": memory,
        "commit": machine.commit(),
        "version": __version__,
    }
    return Session(op, setting, providers, peer_module, effort, optional, common)


def measure_shape(session: Session, name: str, case: Case, resolution: int) -> list[Row]:
    """One row per provider and per kind of copy; none where memory does not suffice."""
    setting = session.setting
    cache = machine.last_level_cache(setting.device)
    x_shape, y_shape = case.x_shape(resolution, setting.batch), case.y_shape(resolution, setting.batch)
    if not _fits(x_shape, y_shape, session, cache):
        note(f"{name} at {resolution}x{resolution} is left out: it needs more memory than is free; lower --batch")
        return []
    inputs = draw_inputs(case, resolution, setting, cache)
    works: dict[str, Work] = {}
    with use_backend(setting.device.type):
        for provider in session.providers:
            work = _work(session, provider, case, inputs)
            if work is not None:
                works[provider] = work
        _check_agreement(works, setting, name)
        memory = {provider: (peak_bytes(w, setting.device), saved_bytes(w)) for provider, w in works.items()}
        in_place, fresh = copies_of(inputs, y_shape, setting)
        copies = dict(zip(COPIES, (fastest(in_place, setting.device), fresh), strict=True))
        timings = measure(
            {label: _clock(label, work, setting) for label, work in {**works, **copies}.items()}, session.effort
        )
    itemsize = setting.torch_dtype.itemsize
    x_bytes, y_bytes = bytes_of(x_shape, itemsize), bytes_of(y_shape, itemsize)
    copied = 2 * max(x_bytes, y_bytes)
    copy_gbps, fresh_gbps = (copied / timings[label].ms / 1e6 for label in COPIES)
    rows = []
    for label, timing in timings.items():
        moved = copied if label in COPIES else bytes_moved(session.op, setting.direction, x_bytes, y_bytes)
        split = bytes_moved(session.op, setting.direction, x_bytes, y_bytes, resident=False)
        peak, saved = memory.get(label, (None, None))
        gbps = moved / timing.ms / 1e6
        rows.append(
            {
                **session.common,
                "case": name,
                "shape": list(x_shape),
                "resolution": resolution,
                "provider": label,
                "ms": timing.ms,
                "spread": timing.spread,
                "rounds": timing.rounds,
                "cuda_graph": timing.graph,
                "gbps": gbps,
                "roofline": gbps / copy_gbps,
                "fresh_roofline": gbps / fresh_gbps,
                "split_gbps": split / timing.ms / 1e6 if session.op == "adain" and label not in COPIES else None,
                "peak_bytes": peak,
                "saved_bytes": saved,
                "x_bytes": x_bytes,
            }
        )
    del works, copies, in_place, fresh, inputs
    gc.collect()
    if setting.device.type == "cuda":
        torch.cuda.empty_cache()
    return rows


def note(message: str) -> None:
    print(f"note: {message}", file=sys.stderr, flush=True)


def _fits(x_shape: tuple[int, ...], y_shape: tuple[int, ...], session: Session, cache: int) -> bool:
    free = machine.free_memory(session.setting.device)
    if free is None:
        return True
    itemsize = session.setting.torch_dtype.itemsize
    x_bytes, y_bytes = bytes_of(x_shape, itemsize), bytes_of(y_shape, itemsize)
    sets = sets_beyond(cache, x_bytes + y_bytes)
    # Inputs and output gradients once, results for each provider and copy, and what the hungriest call needs.
    rotating = sets * (x_bytes + y_bytes) * (1 + len(session.providers) + len(COPIES))
    return rotating + WORKING_TENSORS * max(x_bytes, y_bytes) * 4 // itemsize < 0.8 * free


def _work(session: Session, provider: str, case: Case, inputs: Any) -> Work | None:
    """Its fastest way of writing the op, called once so that it is compiled. None where it cannot run."""
    setting = session.setting
    # Graphs are captured once and replayed, so that what backward kernels read must outlive them.
    keep = setting.device.type == "cuda"
    functions = functions_of(provider, case, setting, session.peer_module)
    works = [Work(function, inputs, setting.direction, keep) for function in functions]
    try:
        with torch._functorch.config.patch(donated_buffer=not (keep and setting.direction == "bwd")):
            for work in works:
                work.prepare(0, 1)
                work.call(0)
            return fastest(works, setting.device) if works else None
    except torch._dynamo.exc.TorchDynamoException as failure:
        reason = " ".join(str(failure).split())[:200]
        if provider not in session.optional:
            raise UserError(f"--providers {provider}: torch.compile does not work here: {reason}") from None
        note(f"torch.compile is left out: {reason}")
        return None
    except Exception as failure:
        # A checkout of others, compiled here on first use: whatever goes wrong there is no bug of this program.
        if provider != "peer" or isinstance(failure, torch.OutOfMemoryError):
            raise
        reason = " ".join(str(failure).split())[:200]
        raise UserError(f"--peer: its {session.op} does not run here: {type(failure).__name__}: {reason}") from failure


def _clock(label: str, work: Work, setting: Setting) -> Clock:
    try:
        return clock_of(work, setting.device)
    except RuntimeError as failure:
        if setting.device.type != "cuda" or isinstance(failure, torch.OutOfMemoryError):
            raise
        note(
            f"{label} cannot be captured in a CUDA graph and is timed with launches ({' '.join(str(failure).split())})"
        )
        return clock_of(work, setting.device, capture=False)


def _check_agreement(works: dict[str, Work], setting: Setting, name: str) -> None:
    """Raises where a provider computes something else than the first: its time would mean nothing."""
    if not works:
        raise UserError("no provider can run here")
    labels = list(works)
    for work in works.values():
        work.prepare(0, 1)
        work.call(0)
    expected = works[labels[0]].result(0)
    for label in labels[1:]:
        distances = disagreements(works[label].result(0), expected)
        for position, distance in enumerate(distances):
            tolerance = (PARAMETER_TOLERANCES if position else TOLERANCES)[setting.dtype]
            if distance > tolerance:
                raise RuntimeError(
                    f"{name}: {label} and {labels[0]} differ by {distance:.2g} (relative L2) in result {position}"
                )
