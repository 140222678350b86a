"""The four element types as numpy stores them, and how much each of them can hold."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class DType(NamedTuple):
    """code: that of api.h. storage: as bytes travel (bf16: uint16). acc: the accumulation type. eps: one ulp of 1."""

    name: str
    code: int
    storage: np.dtype
    acc: np.dtype
    eps: float
    smallest: float

    def encode(self, values: Array) -> Array:
        """Rounds to nearest even."""
        if self.name != "bf16":
            with np.errstate(over="ignore"):
                return values.astype(self.storage)
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        rounded = ((bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))) >> 16).astype(np.uint16)
        return np.where(np.isnan(values.astype(np.float32)), np.uint16(0x7FFF), rounded)

    def decode(self, stored: Array) -> Array:
        if self.name != "bf16":
            return stored
        return (stored.astype(np.uint32) << 16).view(np.float32)


F32 = DType("f32", 0, np.dtype(np.float32), np.dtype(np.float32), 2.0**-23, 2.0**-149)
F64 = DType("f64", 1, np.dtype(np.float64), np.dtype(np.float64), 2.0**-52, 2.0**-1074)
F16 = DType("f16", 2, np.dtype(np.float16), np.dtype(np.float32), 2.0**-10, 2.0**-24)
BF16 = DType("bf16", 3, np.dtype(np.uint16), np.dtype(np.float32), 2.0**-7, 2.0**-133)
ALL = (F32, F64, F16, BF16)

# What truth is computed in: wide enough for float64 to be judged, too.
TRUTH = np.dtype(np.longdouble)


def to_memory(x: Array, channels_last: bool) -> Array:
    """[N, C, H, W] as it lies in memory."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1) if channels_last else x)


def from_memory(stored: Array, shape: tuple[int, int, int, int], channels_last: bool) -> Array:
    n, c, h, w = shape
    return stored.reshape(n, h, w, c).transpose(0, 3, 1, 2) if channels_last else stored.reshape(shape)


def assert_within(got: Array, truth: Array, own: Array, allowance: Array | float, what: str) -> None:
    """|got - truth| <= 2 * what the formula itself loses in this dtype (`own`) + allowance; NaN and Inf as in truth."""
    got, own = got.astype(TRUTH), own.astype(TRUTH)
    assert np.array_equal(np.isnan(got), np.isnan(truth)), f"{what}: NaN in other places than they should be"
    infinite = np.isinf(own) | np.isinf(truth)
    assert np.array_equal(got[infinite], own[infinite]), f"{what}: Inf in other places than they should be"
    finite = np.isfinite(truth) & np.isfinite(own)
    if not finite.any():
        return
    lost = np.abs(own - truth)[finite].max()
    bound = np.broadcast_to(2 * lost + allowance, truth.shape)
    excess = np.where(finite, np.abs(got - truth) - bound, -1)
    worst = np.unravel_index(int(np.argmax(excess)), truth.shape)
    assert excess[worst] <= 0, (
        f"{what}{list(map(int, worst))} = {got[worst]}, truth {truth[worst]}, "
        f"off by {abs(got[worst] - truth[worst]):.3g}, allowed {bound[worst]:.3g} (the formula itself loses {lost:.3g})"
    )
