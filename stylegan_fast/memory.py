"""Memory that stays with the process: on the CPU a fresh page costs more than the arithmetic done in it.

By default glibc takes every block of 32 MB or more from the system and gives it back when it is freed, so that each
result of a layer is zeroed by the system, 4 KiB at a time, before the layer writes it.
"""

from __future__ import annotations

import ctypes
import sys

# Numbers of glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
LARGEST_KEPT = 1 << 30
TOP_PAD = 64 << 20


def keep_freed_memory() -> bool:
    """Makes the C library keep what the process frees, for the next allocation, up to blocks of 1 GiB.

    For the whole process, and from then on. The process holds on to the most memory it ever needed; a generator at
    256x256 needs a third less time. The command lines of the package do this at their start; who imports the package
    may.

    Returns:
        Whether it was done: only glibc, on Linux, can.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl and others have none
        return False
    settings = ((M_MMAP_THRESHOLD, LARGEST_KEPT), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, TOP_PAD))
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)
