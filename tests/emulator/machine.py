"""Builds csrc/cuda for the emulator with g++ and runs single ops in it; see emulator.h for what that is."""

from __future__ import annotations

import concurrent.futures
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

HERE = Path(__file__).resolve().parent
CSRC = HERE.parent.parent / "csrc"
COMPILER = os.environ.get("CXX") or shutil.which("g++") or "g++"
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
FLAGS = ["-std=c++17", "-O1", "-g1", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-DSTYLEGAN_FAST_EMULATOR"]
# The .cu files of each op; of adain also those alone that a change of adain_reading*.cuh reaches.
OPS = {
    "adain": ("adain_reading_backward", "adain_reading", "adain_backward", "adain"),
    "adain_reading": ("adain_reading_backward", "adain_reading"),
    "bias_act": ("bias_act",),
    "upfirdn2d": ("upfirdn2d",),
}

# The emulated threads' stacks are no leak, and a crash should end the process, not a debugger's patience.
ENVIRONMENT = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"}

Array = npt.NDArray[Any]


def compile_objects(jobs: Mapping[Path, Path], csrc: Path) -> None:
    """Compiles {source: object} against the headers in `csrc`, as many at a time as there are processors."""

    def compile_one(source: Path, target: Path) -> None:
        includes = [f"-I{HERE}", f"-I{csrc}"]
        command = [COMPILER, *FLAGS, *SANITIZERS, *includes, "-x", "c++", "-c", str(source), "-o", str(target)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{source.name} does not compile for the emulator:\n{done.stderr}")

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for job in [pool.submit(compile_one, source, target) for source, target in jobs.items()]:
            job.result()


def link(objects: Sequence[Path], program: Path) -> Path:
    subprocess.run([COMPILER, *SANITIZERS, *map(str, objects), "-o", str(program)], check=True)
    return program


class Objects:
    """The object files of an unchanged tree, by name: what every program is linked from."""

    def __init__(self, folder: Path) -> None:
        sources = [HERE / f"{name}.cpp" for name in ("driver", "fiber", "machine", "shared_memory")]
        sources += [CSRC / f"{name}.cpp" for name in ("status", "check")]
        # The slowest first, so that the last to finish is a short one.
        sources = [CSRC / "cuda" / f"{unit}.cu" for units in OPS.values() for unit in units] + sources
        self.files = {source.stem: folder / f"{source.stem}.o" for source in sources}
        compile_objects({source: self.files[source.stem] for source in sources}, CSRC)

    def program(self, folder: Path) -> Path:
        return link(list(self.files.values()), folder / "driver")

    def changed_program(
        self, folder: Path, op: str, changes: Sequence[tuple[str, str, str]], dtypes: Sequence[str] = ("f32",)
    ) -> Path:
        """A driver whose `op` is built from a copy of csrc with each (file, old, new) replaced. `old` is unique.

        Only `dtypes` are instantiated, which is what makes a build take seconds.
        """
        csrc = folder / "csrc"
        shutil.copytree(CSRC, csrc)
        others = [dtype for dtype in ("f32", "f64", "f16", "bf16") if dtype not in dtypes]
        launch = csrc / "cuda" / "launch.cuh"
        cases = [f"case DType::{dtype}: return" for dtype in others]
        kept = [line for line in launch.read_text().splitlines() if not any(case in line for case in cases)]
        launch.write_text("\n".join(kept).replace("switch (dtype) {", "switch (dtype) {\n    default: break;") + "\n")
        for name, old, new in changes:
            text = (csrc / "cuda" / name).read_text()
            if text.count(old) != 1:
                raise ValueError(f"{name} has {text.count(old)} times, not once: {old}")
            (csrc / "cuda" / name).write_text(text.replace(old, new))
        changed = {unit: folder / f"{unit}.o" for unit in OPS[op]}
        compile_objects({csrc / "cuda" / f"{unit}.cu": target for unit, target in changed.items()}, csrc)
        return link([changed.get(name, file) for name, file in self.files.items()], folder / "driver")


@dataclass(frozen=True)
class Outcome:
    """What a run left: the Status of api.h, last_error(), and the outputs."""

    status: int
    error: str
    outputs: dict[str, Array]


class EmulatorError(AssertionError):
    """The emulator, a sanitizer or the driver stopped the run; the message is what it said."""


def run(
    program: Path,
    op: str,
    numbers: Mapping[str, float],
    inputs: Mapping[str, Array],
    outputs: Mapping[str, tuple[tuple[int, ...], np.dtype]],
    offset_elements: int = 0,
) -> Outcome:
    """Runs one op under both schedules. Arrays go as they lie in memory, `offset_elements` into their allocation."""
    request = bytearray(f"op {op}\n".encode())
    for field, value in numbers.items():
        request += f"number {field} {float(value)!r}\n".encode()
    for field, array in inputs.items():
        request += f"input {field} {array.nbytes} {offset_elements * array.itemsize}\n".encode() + array.tobytes()
    for field, (shape, dtype) in outputs.items():
        size = int(np.prod(shape)) * dtype.itemsize
        request += f"output {field} {size} {offset_elements * dtype.itemsize}\n".encode()
    done = subprocess.run([str(program)], input=bytes(request), capture_output=True, env=ENVIRONMENT, timeout=600)
    if done.returncode != 0:
        raise EmulatorError(done.stderr.decode(errors="replace"))
    head, _, body = done.stdout.partition(b"\n")
    status, _, error = head.decode().partition(" ")
    arrays, at = {}, 0
    for field, (shape, dtype) in outputs.items():
        count = int(np.prod(shape))
        arrays[field] = np.frombuffer(body, dtype, count, at).reshape(shape).copy()
        at += count * dtype.itemsize
    return Outcome(int(status), error, arrays)
