"""What the numbers depend on and no option says: the chip, its cache, the free memory, the commit."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import torch

UNKNOWN_CACHE = 64 << 20  # more than most last-level caches, so that rotating buffers still leave it


def chip(device: torch.device) -> str:
    """The name of the processor or GPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def driver(device: torch.device) -> str | None:
    """The version of NVIDIA's driver; None on a CPU or where it cannot be asked."""
    if device.type != "cuda":
        return None
    return _said("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", f"--id={device.index or 0}")


def last_level_cache(device: torch.device) -> int:
    """Bytes of the outermost cache: of the GPU, or of all the CPUs this process may run on together."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).L2_cache_size
    if not hasattr(os, "sched_getaffinity"):
        return UNKNOWN_CACHE
    caches: dict[tuple[int, str], int] = {}
    for cpu in os.sched_getaffinity(0):
        for folder in Path(f"/sys/devices/system/cpu/cpu{cpu}/cache").glob("index*"):
            level, shared, size = ((folder / name).read_text().strip() for name in ("level", "shared_cpu_list", "size"))
            caches[int(level), shared] = _bytes(size)
    if not caches:
        return UNKNOWN_CACHE
    outermost = max(level for level, _ in caches)
    return sum(size for (level, _), size in caches.items() if level == outermost)


def _bytes(size: str) -> int:
    """ "32768K" as a number."""
    return int(size[:-1]) << {"K": 10, "M": 20, "G": 30}[size[-1]]


def free_memory(device: torch.device) -> int | None:
    """Bytes that can be allocated without pushing others out; None if unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    return None


def commit() -> str | None:
    """What BENCHMARK_COMMIT says, for a machine to which only the files went; else the commit of this checkout, with
    "+changes" where tracked files differ from it."""
    if given := os.environ.get("BENCHMARK_COMMIT"):
        return given
    here = str(Path(__file__).parent)
    head = _said("git", "-C", here, "rev-parse", "HEAD")
    if not head:
        return None
    changed = _said("git", "-C", here, "status", "--porcelain", "--untracked-files=no")
    return head + ("+changes" if changed else "")


def _said(*command: str) -> str | None:
    """What a program prints; None where it fails or does not exist."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
