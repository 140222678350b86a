"""Compiles every csrc/cuda/*.cu for the given architectures; fails on a compile error, a warning or a register spill.

    python tools/check_cuda.py --archs 75,90,120 [--jobs 2] [--json PATH]

Needs nvcc (CUDA_HOME or PATH), no GPU. Exit status 0: all is well; 1: the lines above the summary say what is not.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

CUDA_SOURCES = Path(__file__).resolve().parent.parent / "csrc" / "cuda"


class Kernel(NamedTuple):
    """What ptxas reports of one kernel for one architecture; bytes per thread, shared memory per block."""

    source: str
    arch: str
    name: str
    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    shared: int


def find_nvcc() -> str:
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    candidate = shutil.which("nvcc", path=os.path.join(home, "bin")) if home else None
    nvcc = candidate or shutil.which("nvcc")
    if nvcc is None:
        sys.exit("check_cuda: no nvcc in CUDA_HOME/bin or on PATH")
    return nvcc


def parse_ptxas(source: str, arch: str, log: str) -> list[Kernel]:
    """Reads the output of `nvcc -Xptxas -v`: a name, then its stack and spills, then its registers."""
    kernels = []
    name, stack, stores, loads = "", 0, 0, 0
    for line in log.splitlines():
        if found := re.search(r"Compiling entry function '(\w+)'", line):
            name, stack, stores, loads = found[1], 0, 0, 0
        elif found := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            stack, stores, loads = int(found[1]), int(found[2]), int(found[3])
        elif (found := re.search(r"Used (\d+) registers", line)) and name:
            shared = re.search(r"(\d+) bytes smem", line)
            shared_bytes = int(shared[1]) if shared else 0
            kernels.append(Kernel(source, arch, name, int(found[1]), stack, stores, loads, shared_bytes))
            name = ""
    return kernels


def demangle(names: list[str]) -> dict[str, str]:
    tool = shutil.which("c++filt") or shutil.which("cu++filt")
    if tool is None or not names:
        return {name: name for name in names}
    out = subprocess.run([tool], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    return dict(zip(names, out.splitlines(), strict=True))


def compile_one(nvcc: str, source: Path, arch: str, folder: Path) -> tuple[list[Kernel], list[str], float]:
    """The kernels of one source for one architecture, what is wrong with it, and the seconds it took."""
    started = time.monotonic()
    command = [nvcc, "-std=c++17", "-O3", f"-gencode=arch=compute_{arch},code=sm_{arch}", "-Xptxas", "-v", "-c"]
    command += [str(source), "-o", str(folder / f"{source.stem}.{arch}.o")]
    done = subprocess.run(command, capture_output=True, text=True)
    log = done.stdout + done.stderr
    where = f"{source.name} sm_{arch}"
    kernels = parse_ptxas(source.name, arch, log)
    wrong = []
    if done.returncode != 0:
        wrong.append(f"{where}: does not compile\n{log}")
    elif not kernels:
        wrong.append(f"{where}: no kernels in it")
    wrong += [f"{where}: {line}" for line in log.splitlines() if "warning" in line.lower()]
    return kernels, wrong, time.monotonic() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--archs", default="75,90,120", help="compute capabilities without the dot, comma separated")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="write every kernel's registers, stack and spills here")
    parser.add_argument("sources", nargs="*", type=Path, help=f"default: {CUDA_SOURCES}/*.cu")
    args = parser.parse_args()
    nvcc = find_nvcc()
    sources = args.sources or sorted(CUDA_SOURCES.glob("*.cu"))
    if not sources:
        sys.exit(f"check_cuda: no .cu files in {CUDA_SOURCES}")

    kernels: list[Kernel] = []
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        jobs = [
            pool.submit(compile_one, nvcc, source, arch, Path(folder))
            for arch in args.archs.split(",")
            for source in sources
        ]
        for job in jobs:
            compiled, complaints, seconds = job.result()
            kernels += compiled
            wrong += complaints
            if compiled:
                first = compiled[0]
                most = max(kernel.registers for kernel in compiled)
                title = f"{first.source:16} sm_{first.arch:4}"
                print(f"{title} {len(compiled):3} kernels, <= {most} registers, {seconds:.1f} s")

    names = demangle([kernel.name for kernel in kernels])
    for kernel in kernels:
        if kernel.spill_stores or kernel.spill_loads or kernel.stack:
            wrong.append(
                f"{kernel.source} sm_{kernel.arch}: {names[kernel.name]}: {kernel.stack} bytes stack, "
                f"{kernel.spill_stores} spill stores, {kernel.spill_loads} spill loads"
            )
    if args.json:
        rows = [{**kernel._asdict(), "name": names[kernel.name]} for kernel in kernels]
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    for line in wrong:
        print(line)
    print(f"{len(kernels)} kernels compiled, {len(wrong)} complaints")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
