"""upfirdn2d's CUDA kernel, run in the emulator."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from .dtypes import ALL, BF16, F16, F32, TRUTH, Array, DType, assert_within, from_memory, to_memory
from .formulas import upfirdn2d
from .machine import Outcome, run

LAYOUTS = [pytest.param(False, id="contiguous"), pytest.param(True, id="channels_last")]
DTYPES = [pytest.param(dtype, id=dtype.name) for dtype in ALL]


class Resampling(NamedTuple):
    """up, down: (y, x). padding: (y0, y1, x0, x1). size: of the image, filter: of the filter, (height, width)."""

    up: tuple[int, int] = (1, 1)
    down: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    size: tuple[int, int] = (6, 7)
    filter: tuple[int, int] = (3, 3)
    flip_filter: bool = False

    def output(self) -> tuple[int, int]:
        room = [self.size[i] * self.up[i] + sum(self.padding[2 * i : 2 * i + 2]) - self.filter[i] for i in range(2)]
        return room[0] // self.down[0] + 1, room[1] // self.down[1] + 1


CASES = {
    "blur": Resampling(padding=(1, 1, 1, 1)),
    "up 2": Resampling(up=(2, 2), padding=(2, 1, 2, 1), filter=(4, 4)),
    "down 2": Resampling(down=(2, 2), padding=(1, 1, 1, 1), filter=(4, 4), size=(8, 6)),
    "box": Resampling(down=(2, 2), filter=(2, 2), size=(8, 6)),
    "crop": Resampling(padding=(-1, -2, -2, 0), size=(9, 11)),
    "crop between the zeros": Resampling(up=(3, 2), padding=(-2, 1, -1, -3), filter=(4, 5), flip_filter=True),
    "up and down": Resampling((3, 2), (2, 3), (4, 3, 2, 5), (5, 4), (5, 7)),
    "one row": Resampling((1, 2), (1, 1), (0, 0, 3, 2), (1, 9), (1, 6), True),
    "filter larger than image": Resampling((1, 1), (1, 1), (5, 5, 6, 6), (2, 1), (7, 9)),
    "padding beyond the filter": Resampling(padding=(9, 4, 3, 8), size=(3, 2)),
    "one pixel": Resampling(size=(1, 1), filter=(1, 1)),
}

# What the strips tier takes (csrc/cuda/upfirdn2d_strips.cuh), in images as wide as its vectors ask: heights that are no
# multiple of a strip's, one strip and several, rows beyond the end, an output that is not the usual size.
STRIPS = {
    "3 taps": Resampling(padding=(1, 1, 1, 1), size=(7, 24)),
    "3 taps, one row": Resampling(padding=(1, 1, 1, 1), size=(1, 8)),
    "3 taps, cropped below": Resampling(padding=(1, -2, 1, 1), size=(9, 16)),
    "3 taps, padded far": Resampling(padding=(1, 9, 1, 9), size=(3, 8)),
    "4 taps": Resampling(padding=(2, 1, 2, 1), size=(6, 16), filter=(4, 4)),
    "4 taps, adjoint": Resampling(padding=(1, 2, 1, 2), size=(5, 16), filter=(4, 4)),
    "up 2, 2 taps": Resampling(up=(2, 2), padding=(1, 0, 1, 0), size=(5, 16), filter=(2, 2)),
    "up 2, 4 taps": Resampling(up=(2, 2), padding=(2, 1, 2, 1), size=(3, 12), filter=(4, 4)),
    "down 2, 2 taps": Resampling(down=(2, 2), size=(10, 32), filter=(2, 2)),
    "down 2, 4 taps": Resampling(down=(2, 2), padding=(1, 1, 1, 1), size=(14, 16), filter=(4, 4)),
    "down 2, 4 taps, odd height": Resampling(down=(2, 2), padding=(1, 1, 1, 1), size=(9, 48), filter=(4, 4)),
}

# What the pixels tier takes (csrc/cuda/upfirdn2d_pixels.cuh): the same resamplings, (planes, case). Widths that are no
# multiple of a group of columns, bands that end with the image and before, slabs with idle lanes (17 packs of 8), packs
# of 16 bytes and of one channel.
PIXELS = {
    "3 taps": ((1, 16), Resampling(padding=(1, 1, 1, 1), size=(7, 9))),
    "3 taps, one pixel": ((2, 8), Resampling(padding=(1, 1, 1, 1), size=(1, 1))),
    "3 taps, idle lanes": ((1, 136), Resampling(padding=(1, 1, 1, 1), size=(3, 2))),
    "3 taps, colours": ((2, 3), Resampling(padding=(1, 1, 1, 1), size=(5, 6))),
    "3 taps, cropped": ((2, 8), Resampling(padding=(1, -2, 1, -1), size=(9, 5))),
    "3 taps, padded far": ((1, 8), Resampling(padding=(1, 9, 1, 9), size=(3, 4))),
    "4 taps": ((1, 8), Resampling(padding=(2, 1, 2, 1), size=(6, 7), filter=(4, 4))),
    "4 taps, adjoint": ((1, 16), Resampling(padding=(1, 2, 1, 2), size=(5, 4), filter=(4, 4))),
    "up 2, 2 taps": ((1, 8), Resampling(up=(2, 2), padding=(1, 0, 1, 0), size=(5, 3), filter=(2, 2))),
    "up 2, 2 taps, colours": ((2, 3), Resampling(up=(2, 2), padding=(1, 0, 1, 0), size=(3, 4), filter=(2, 2))),
    "up 2, 4 taps": ((2, 8), Resampling(up=(2, 2), padding=(2, 1, 2, 1), size=(3, 5), filter=(4, 4))),
    "up 2, 4 taps, odd": ((1, 8), Resampling(up=(2, 2), padding=(2, 0, 2, 0), size=(4, 3), filter=(4, 4))),
    "down 2, 2 taps": ((1, 8), Resampling(down=(2, 2), size=(10, 7), filter=(2, 2))),
    "down 2, 4 taps": ((1, 16), Resampling(down=(2, 2), padding=(1, 1, 1, 1), size=(14, 6), filter=(4, 4))),
    "down 2, 4 taps, odd": ((2, 3), Resampling(down=(2, 2), padding=(1, 1, 1, 1), size=(9, 5), filter=(4, 4))),
}


def resample(
    program: Path, p: Resampling, x: Array, f: Array, dtype: DType, channels_last: bool, gain: float, offset: int
) -> Outcome:
    n, c = x.shape[:2]
    out_h, out_w = p.output()
    numbers = {"dtype": dtype.code, "layout": int(channels_last), "n": n, "c": c, "gain": gain}
    numbers |= {"in_h": p.size[0], "in_w": p.size[1], "out_h": out_h, "out_w": out_w}
    numbers |= {"up_y": p.up[0], "up_x": p.up[1], "down_y": p.down[0], "down_x": p.down[1]}
    numbers |= dict(zip(("pad_y0", "pad_y1", "pad_x0", "pad_x1"), p.padding, strict=True))
    numbers |= {"filter_h": p.filter[0], "filter_w": p.filter[1], "flip_filter": int(p.flip_filter)}
    inputs = {"x": to_memory(dtype.encode(x), channels_last), "filter": f}
    shape = (n, c, out_h, out_w)
    done = run(program, "upfirdn2d", numbers, inputs, {"y": (shape, dtype.storage)}, offset)
    done.outputs["y"] = dtype.decode(from_memory(done.outputs["y"], shape, channels_last))
    return done


def check(
    program: Path,
    p: Resampling,
    dtype: DType,
    channels_last: bool,
    planes: tuple[int, int] = (2, 3),
    offset: int = 0,
    separable: bool = False,
) -> None:
    rng = np.random.default_rng(sum(p.size))
    x = dtype.decode(dtype.encode(rng.standard_normal((*planes, *p.size)).astype(dtype.acc)))
    f = rng.standard_normal(p.filter).astype(dtype.acc)
    if separable:
        f = np.outer(*(rng.uniform(0.5, 2, taps).astype(dtype.acc) for taps in p.filter))
    done = resample(program, p, x, f, dtype, channels_last, 1.7, offset)
    assert (done.status, done.error) == (0, "")

    def formula(acc: np.dtype) -> Array:
        return upfirdn2d(x.astype(acc), f.astype(acc), p.up, p.down, p.padding, p.flip_filter, acc.type(1.7))

    truth, own = formula(TRUTH), dtype.decode(dtype.encode(formula(dtype.acc)))
    size = upfirdn2d(np.abs(x.astype(TRUTH)), np.abs(f), p.up, p.down, p.padding, p.flip_filter, 1.7)
    rounding = 4 * np.finfo(dtype.acc).eps * size + 4 * dtype.eps * np.abs(truth)
    assert_within(done.outputs["y"], truth, own, rounding + dtype.smallest, "y")


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_resampling_matches_its_definition(program: Path, name: str) -> None:
    channels_last = list(CASES).index(name) % 2 == 1
    check(program, CASES[name], F32, channels_last)


@pytest.mark.parametrize("name", STRIPS)
def test_strips_match_the_definition(program: Path, name: str) -> None:
    """A covering subset: dtypes rotate, the flip with them. A filter that is an outer product, one that is none, and
    every case once unaligned, and so in no strips."""
    number = list(STRIPS).index(name)
    p, dtype = STRIPS[name]._replace(flip_filter=number % 2 == 1), (F32, BF16, F16)[number % 3]
    check(program, p, dtype, False, separable=True)
    check(program, p, dtype, False)
    check(program, p, dtype, False, (1, 2), 1)


@pytest.mark.parametrize("name", PIXELS)
def test_pixels_match_the_definition(program: Path, name: str) -> None:
    """The same for channels_last: a filter that is an outer product, one that is none, and unaligned once."""
    number = list(PIXELS).index(name)
    planes, p = PIXELS[name]
    p, dtype = p._replace(flip_filter=number % 2 == 1), (BF16, F16, F32)[number % 3]
    check(program, p, dtype, True, planes, separable=True)
    check(program, p, dtype, True, planes)
    check(program, p, dtype, True, (1, planes[1]), 1, separable=True)


@pytest.mark.parametrize("channels_last", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_layout_matches_the_definition(program: Path, dtype: DType, channels_last: bool) -> None:
    check(program, CASES["up and down"], dtype, channels_last)


@pytest.mark.slow
@pytest.mark.parametrize("channels_last", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*CASES, *STRIPS, *PIXELS])
def test_everything_matches_everywhere(program: Path, name: str, dtype: DType, channels_last: bool) -> None:
    case = {**CASES, **STRIPS, **{name: p for name, (_, p) in PIXELS.items()}}[name]
    for planes in ((2, 3), (1, 35), (1, 1), (2, 16)):
        for offset in (0, 1):
            for flip in (False, True):
                check(program, case._replace(flip_filter=flip), dtype, channels_last, planes, offset, separable=flip)


def test_unaligned_storage_is_as_good(program: Path) -> None:
    check(program, CASES["blur"], BF16, False, offset=1)


def test_inserted_zeros_and_padding_never_meet_an_inf_in_the_filter(program: Path) -> None:
    """Up 2 with [1, inf]: the output pixels of the finite phase stay finite."""
    p = Resampling(up=(1, 2), size=(1, 4), filter=(1, 2), padding=(0, 0, 1, 0), flip_filter=True)
    f = np.array([[np.inf, 1.0]], np.float32)
    y = resample(program, p, np.ones((1, 1, 1, 4), np.float32), f, F32, False, 1.0, 0).outputs["y"]
    assert np.isinf(y).sum() == 4
    assert (y[np.isfinite(y)] == 1).all()


@pytest.mark.parametrize("tier", ["general", "strips", "pixels"])
def test_a_nan_stays_where_the_filter_carries_it(program: Path, tier: str) -> None:
    width = 7 if tier == "general" else 8
    x = np.zeros((2, 4, 6, width), np.float32)
    x[1, 0, 3, 4] = np.nan
    p = CASES["blur"]._replace(size=(6, width))
    y = resample(program, p, x, np.ones((3, 3), np.float32), F32, tier == "pixels", 1.0, 0).outputs["y"]
    spoilt = np.zeros_like(x, dtype=bool)
    spoilt[1, 0, 2:5, 3:6] = True
    assert np.array_equal(np.isnan(y), spoilt)


@pytest.mark.parametrize("channels_last", LAYOUTS)
@pytest.mark.parametrize("corner", [0.0, np.inf, np.nan, 1e-20], ids=str)
def test_only_a_sound_filter_is_taken_apart(program: Path, corner: float, channels_last: bool) -> None:
    """Rows that are multiples of the first, but for its first tap, by which everything would be divided."""
    f = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32)
    f[0, 0] = corner
    p, x = CASES["blur"]._replace(size=(5, 8), flip_filter=True), np.zeros((1, 4, 5, 8), np.float32)
    x[0, 1, 2, 3] = 1
    y = resample(program, p, x, f, F32, channels_last, 1.0, 0).outputs["y"]
    with np.errstate(invalid="ignore"):
        expected = upfirdn2d(x, f, p.up, p.down, p.padding, True, 1.0)
    near = np.zeros_like(x, dtype=bool)
    near[:, 1, 1:4, 2:5] = True
    assert np.array_equal(y[near], expected[near], equal_nan=True)


def test_nothing_is_launched_for_nothing(program: Path) -> None:
    x = np.zeros((0, 3, 6, 7), np.float32)
    assert resample(program, CASES["blur"], x, np.ones((3, 3), np.float32), F32, False, 1.0, 0).status == 0


def test_what_no_kernel_accepts_is_named(program: Path) -> None:
    p = CASES["blur"]._replace(up=(0, 1), down=(1, 1))
    done = resample(program, p, np.zeros((1, 1, 6, 7), np.float32), np.ones((3, 3), np.float32), F32, False, 1.0, 0)
    assert done.status == 1
    assert done.error.startswith("upfirdn2d: up and down must be at least 1")
