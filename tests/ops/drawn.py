"""What hypothesis draws for the tests of the ops: shapes, layouts and tensors, awkward ones among them.

A tensor is drawn as a seed, so that a failing case is a handful of numbers. Its values are multiples of 1/16 up to 4,
which every dtype holds, and whose sums and products float32 does: a value meets the corner of an activation in all
dtypes or in none, and exact zeros are frequent.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from .cases import DTYPES, LAYOUTS, laid_out

dtypes = st.sampled_from(DTYPES)
seeds = st.integers(0, 2**16)
# 17 and 33 channels are one more than a register or a cache line holds; 513 more than any network has.
channels = st.one_of(st.integers(1, 6), st.sampled_from([8, 17, 33, 70, 513]))
sides = st.one_of(st.integers(1, 9), st.sampled_from([16, 23, 33]))


def examples(count: int) -> Callable:
    """The same cases on every run, on every machine, and nothing kept on disk."""
    return settings(max_examples=count, derandomize=True, deadline=None, database=None)


@st.composite
def shapes(draw: st.DrawFn, smallest_side: int = 1) -> tuple[int, int, int, int]:
    n, c, h, w = draw(st.integers(0, 3)), draw(channels), draw(sides), draw(sides)
    if n * c * h * w > 40_000:  # awkward in one way is enough
        h = w = 5
    return n, c, max(h, smallest_side), max(w, smallest_side)


def grid(shape: tuple[int, ...], seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return (torch.randint(-64, 65, shape, generator=g).double() / 16).to(dtype)


def units(shape: tuple[int, ...], seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Multiples of 1/64 from -1 to 1: gradients that overflow nowhere, not even times 1 / sqrt(eps) in float16."""
    g = torch.Generator().manual_seed(seed)
    return (torch.randint(-64, 65, shape, generator=g).double() / 64).to(dtype)


KINDS = ("grid", "constant", "one_differs", "far_mean", "outlier", "subnormal")
SMALLEST = {torch.float32: 2.0**-130, torch.bfloat16: 2.0**-130, torch.float16: 2.0**-20, torch.float64: 2.0**-1030}


def planes(kind: str, shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> Tensor:
    """Values of x in fp64, each of which dtype holds."""
    x, place = grid(shape, seed), seed % max(shape[2] * shape[3], 1)
    flat = x.flatten(2)
    if kind in ("constant", "one_differs") and flat.shape[2]:
        first = flat[..., :1].clone()
        flat[:] = first
        if kind == "one_differs":
            flat[..., place : place + 1] += 1 / 16
    elif kind == "far_mean":
        x += 3000 * 2.33  # the standard deviation of the grid is 2.33
    elif kind == "outlier":
        # Off the grid: equal numbers added to a large one all round the same way; see test_adain_extremes.py.
        x += torch.rand(shape, generator=torch.Generator().manual_seed(seed)) / 64
        flat[..., place : place + 1] = 1e4
    elif kind == "subnormal":
        x *= SMALLEST[dtype]
    return x.to(dtype).double()


# How a tensor's values lie in memory, and which of its axes are one number repeated (stride 0).
layouts = st.one_of(
    st.sampled_from([(layout, ()) for layout in LAYOUTS]),
    st.sets(st.integers(0, 3), min_size=1).map(lambda axes: ("expanded", tuple(sorted(axes)))),
)


def in_layout(x: Tensor, layout: tuple[str, tuple[int, ...]]) -> Tensor:
    """x in other strides; expanded axes repeat their first value, so that there the values change too."""
    name, axes = layout
    if name != "expanded":
        return laid_out(x, name)
    shape = x.shape
    for axis in axes:
        x = x.narrow(axis, 0, min(1, shape[axis]))
    return x.expand(shape)
