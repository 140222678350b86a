"""The sizes of one picture: full, half, quarter ... down to 4 x 4."""

from __future__ import annotations

import numpy as np

SMALLEST_LEVEL = 4


def levels(resolution: int) -> list[int]:
    """The sizes kept of a picture of ``resolution`` (a power of two), largest first."""
    sizes = []
    while resolution >= SMALLEST_LEVEL:
        sizes.append(resolution)
        resolution //= 2
    return sizes


def shrink(pixels: np.ndarray, sizes: list[int]) -> dict[int, np.ndarray]:
    """Box-filtered copies of ``pixels`` (uint8 ``[..., R, R]``) at ``sizes`` (powers of two <= R, any order).

    A pixel at size r is the mean of its ``(R/r) x (R/r)`` block of the full picture, rounded once, ties to even. The
    means are exact: 255 x (R/r)^2 stays below 2^24 for R/r <= 256, so float32 loses nothing on the way down.
    """
    made: dict[int, np.ndarray] = {}
    size = pixels.shape[-1]
    mean = pixels.astype(np.float32)
    for wanted in sorted(sizes, reverse=True):
        while size > wanted:
            mean = (mean[..., ::2, ::2] + mean[..., ::2, 1::2] + mean[..., 1::2, ::2] + mean[..., 1::2, 1::2]) * 0.25
            size //= 2
        made[wanted] = pixels if size == pixels.shape[-1] else np.rint(mean).astype(np.uint8)
    return made
