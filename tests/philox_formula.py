"""philox_normal's definition in numpy, words in unsigned 64-bit arithmetic, numbers in fp64: what its tests go by."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# A relative error no number may have; the docstring of stylegan_fast/ops/philox.py promises it.
LARGEST_ERROR = 4 * 2.0**-23

SEEDS = [0, 1, -1, 0x13198A2E03707344, -(2**63), 2**63 - 1]

# counter, key, result: the known answers that Random123, the authors' library, publishes for philox4x32-10.
KNOWN = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


def words_of(counters: Array, key: tuple[int, int]) -> Array:
    """The words ``[count, 4]`` that counters ``[count, 4]`` become under a key; uint64, each below 2^32."""
    word, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    c0, c1, c2, c3 = counters.astype(np.uint64).T
    k0, k1 = key
    for _ in range(10):
        p0, p2 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (p2 >> half) ^ c1 ^ np.uint64(k0), p2 & word, (p0 >> half) ^ c3 ^ np.uint64(k1), p0 & word
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1)


def normal_of(seed: int, size: int, first: int = 0) -> Array:
    """`size` numbers of a seed from number `first` on, a multiple of 4; fp64."""
    q = np.arange(first // 4, (first + size + 3) // 4, dtype=np.uint64)
    counters = np.stack([q & np.uint64(0xFFFFFFFF), q >> np.uint64(32), 0 * q, 0 * q], axis=1)
    words = words_of(counters, (seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF))
    u = ((words >> np.uint64(9)).astype(np.float64) + 0.5) * 2.0**-23
    radius, angle = np.sqrt(-2 * np.log(u[:, ::2])), 2 * math.pi * u[:, 1::2]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1).reshape(-1)[:size]


def assert_normal_of(numbers: Array, seed: int, first: int = 0) -> None:
    truth = normal_of(seed, numbers.size, first)
    error = np.abs(numbers.reshape(-1).astype(np.float64) - truth)
    assert (error <= LARGEST_ERROR * np.abs(truth)).all(), f"seed {seed}: off by {(error / np.abs(truth)).max():.3g}"
