"""adain's CUDA kernels, run in the emulator."""

from pathlib import Path

import numpy as np
import pytest

from .adain_cases import (
    GRADIENTS,
    OPTIONS,
    backward,
    check_backward,
    check_forward,
    forward,
    make,
    replace,
)
from .dtypes import ALL, BF16, F16, F32, F64, DType
from .formulas import AdaIN, AdaINResult

# Both sides of every cut of the split tier: 8 pixels per thread and batch, 32 channels per slab, and the slices of a
# channels_last plane, which begin at 128 pixels.
SHAPES = [(1, 1, 1, 1), (2, 3, 4, 4), (3, 1, 5, 7), (2, 33, 3, 5), (1, 31, 9, 15), (1, 2, 67, 65)]

# Contiguous planes at the edges of the tiers that hold them in registers (csrc/cuda/adain_tiers.cuh): more planes than
# a block of the warp tier has teams; 4, 8 and 32 lanes; the last plane of the warp tier and the first of the block
# tier, with 16-byte accesses (even widths) and without; samples that a block of the warp tier adds up in two rounds,
# and more than it adds up; one warp and two; the largest plane of the block tier, and the first and the largest of the
# cluster tier.
EDGES = [
    (3, 23, 4, 4),
    (1, 11, 4, 8),
    (1, 2, 3, 11),
    (2, 3, 16, 16),
    (11, 2, 16, 16),
    (33, 1, 9, 16),
    (1, 2, 1, 257),
    (1, 2, 8, 33),
    (1, 2, 31, 33),
    (2, 1, 32, 32),
    (1, 2, 64, 64),
]
LARGE_EDGES = [(1, 1, 128, 128), (1, 1, 3, 5461), (1, 1, 16385, 1), (1, 2, 32, 513), (1, 1, 256, 256)]
# Planes in slices of vectors: one, two and three of them, the last one shorter.
VECTOR_SLICES = [(1, 2, 128, 132), (2, 1, 130, 128), (1, 1, 160, 172), (1, 1, 223, 224)]
LAYOUTS = [pytest.param(False, id="contiguous"), pytest.param(True, id="channels_last")]
DTYPES = [pytest.param(dtype, id=dtype.name) for dtype in ALL]


@pytest.mark.parametrize("channels_last", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", range(2))
def test_forward_and_backward_match_the_formula(program: Path, case: int, dtype: DType, channels_last: bool) -> None:
    """A covering subset: each dtype and layout meets two shapes, each shape and option is met."""
    pick = 4 * case + dtype.code + 2 * channels_last
    p = make(SHAPES[(pick + 1) % len(SHAPES)], dtype, OPTIONS[(pick + 1) % len(OPTIONS)])
    check_forward(program, p, dtype, channels_last)
    check_backward(program, p, dtype, channels_last)


@pytest.mark.parametrize("case", range(len(EDGES)))
def test_resident_tiers_are_right_at_their_edges(program: Path, case: int) -> None:
    """A covering subset: dtypes and options rotate; every third case lies unaligned, and so without vectors."""
    dtype = (F32, BF16, F16)[case % 3]
    p = make(EDGES[case], dtype, OPTIONS[(case + 1) % 3])
    check_forward(program, p, dtype, False, int(case % 4 == 3))
    check_backward(program, p, dtype, False, int(case % 4 == 3))


@pytest.mark.parametrize("case", range(len(VECTOR_SLICES)))
def test_slices_of_vectors_are_right_at_their_edges(program: Path, case: int) -> None:
    """A covering subset: dtypes and options rotate."""
    dtype = (F32, BF16, F32, F16)[case]
    p = make(VECTOR_SLICES[case], dtype, OPTIONS[(case + 1) % 3])
    check_forward(program, p, dtype, False)
    check_backward(program, p, dtype, False)


@pytest.mark.parametrize("name", ["mean is 3000 sigma", "the pivot is an outlier", "denormal"])
def test_hard_planes_in_slices_of_vectors_keep_the_bound(program: Path, name: str) -> None:
    p = make((1, 1, 130, 128), F32, "plain")
    p = replace(p, x=ADVERSARIAL[name](p.x).astype(np.float32), scale=np.full((1, 1), 1.5, np.float32))
    check_forward(program, p, F32, False)
    check_backward(program, p, F32, False)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("shape", VECTOR_SLICES, ids=str)
def test_slices_of_vectors_are_right_at_their_edges_in_every_dtype(
    program: Path, shape: tuple[int, int, int, int], options: str, dtype: DType
) -> None:
    p = make(shape, dtype, options)
    check_forward(program, p, dtype, False)
    check_backward(program, p, dtype, False)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("shape", [*EDGES, *LARGE_EDGES], ids=str)
def test_resident_tiers_are_right_at_their_edges_in_every_dtype(
    program: Path, shape: tuple[int, int, int, int], options: str, dtype: DType
) -> None:
    for offset in (0, 1):
        p = make(shape, dtype, options)
        check_forward(program, p, dtype, False, offset)
        check_backward(program, p, dtype, False, offset)


@pytest.mark.slow
@pytest.mark.parametrize("channels_last", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("shape", [*SHAPES, (1, 513, 2, 2), (2, 1, 127, 129), (1, 64, 16, 16), (5, 7, 32, 32)], ids=str)
def test_forward_and_backward_match_the_formula_everywhere(
    program: Path, shape: tuple[int, int, int, int], options: str, dtype: DType, channels_last: bool
) -> None:
    for offset in (0, 1):
        p = make(shape, dtype, options)
        check_forward(program, p, dtype, channels_last, offset)
        check_backward(program, p, dtype, channels_last, offset)


@pytest.mark.parametrize("channels_last", LAYOUTS)
def test_unaligned_storage_is_as_good(program: Path, channels_last: bool) -> None:
    p = make((2, 3, 4, 5), BF16, "all")
    aligned, unaligned = (check_forward(program, p, BF16, channels_last, offset) for offset in (0, 1))
    assert np.array_equal(aligned.outputs["y"], unaligned.outputs["y"])
    check_backward(program, p, BF16, channels_last, 1)


@pytest.mark.parametrize("channels_last", LAYOUTS)
@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (1, 2, 45, 46), (1, 1, 130, 130)], ids=str)
def test_a_constant_plane_gives_exactly_shift(
    program: Path, shape: tuple[int, int, int, int], channels_last: bool
) -> None:
    p = make(shape, F32, "all")
    constant = np.random.default_rng(1).standard_normal((*shape[:2], 1, 1)).astype(np.float32)
    p = replace(p, x=np.broadcast_to(1000 * constant, shape), noise=None, noise_strength=None)
    y = forward(program, p, F32, channels_last).outputs["y"]
    assert p.shift is not None
    assert np.array_equal(y, np.broadcast_to(p.shift[..., None, None], shape))


ADVERSARIAL = {
    "mean is 3000 sigma": lambda x: x + 3000,
    "the pivot is an outlier": lambda x: np.where(np.arange(x.shape[3]) + np.arange(x.shape[2])[:, None] == 0, 1e4, x),
    "the last pixel is an outlier": lambda x: np.concatenate([x[..., :-1], 0 * x[..., -1:] - 1e4], axis=3),
    "denormal": lambda x: x * 1e-40,
    "huge": lambda x: x * 1e17,
    "one of a kind": lambda x: 0 * x + (np.arange(x.shape[3]) == 3),
}


@pytest.mark.parametrize("channels_last", LAYOUTS)
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_hard_planes_keep_the_bound(program: Path, name: str, channels_last: bool) -> None:
    p = make((1, 2, 48, 90), F32, "plain")
    p = replace(p, x=ADVERSARIAL[name](p.x).astype(np.float32), scale=np.full((1, 2), 1.5, np.float32))
    check_forward(program, p, F32, channels_last)
    if name != "huge":  # rstd**2 leaves fp32
        check_backward(program, p, F32, channels_last)


@pytest.mark.parametrize("channels_last", LAYOUTS)
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_non_finite_value_stays_in_its_plane(program: Path, poison: float, channels_last: bool) -> None:
    p = make((2, 3, 12, 13), F32, "all")
    spoilt = p.x.copy()
    spoilt[1, 1, 7, 9] = poison
    clean = check_forward(program, p, F32, channels_last).outputs["y"]
    y = forward(program, replace(p, x=spoilt), F32, channels_last).outputs["y"]
    assert np.isnan(y[1, 1]).all()
    y[1, 1] = clean[1, 1]
    assert np.array_equal(y, clean)
    dy = np.ones_like(p.x)
    dx = backward(program, replace(p, x=spoilt), dy, F32, channels_last, ("dx",)).outputs["dx"]
    assert np.isnan(dx[1, 1]).all()
    assert np.isfinite(np.delete(dx.reshape(6, -1), 4, axis=0)).all()


@pytest.mark.parametrize("wanted", [("dx",), ("dbias",), ("dscale", "dshift", "dnoise"), ("dshift",)], ids=str)
def test_gradients_come_alone_as_they_come_together(program: Path, wanted: tuple[str, ...]) -> None:
    p = make((2, 3, 12, 24), F32, "all")
    together = check_backward(program, p, F32, False).outputs
    dy = np.random.default_rng(p.x.size).standard_normal(p.x.shape).astype(np.float32)
    alone = backward(program, p, dy, F32, False, wanted).outputs
    for name in wanted:
        assert np.array_equal(alone[name], together[name])


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4), (2, 3, 0, 4)], ids=str)
def test_an_empty_tensor_launches_nothing(program: Path, shape: tuple[int, int, int, int]) -> None:
    p = AdaIN(np.zeros(shape, np.float32))
    done = forward(program, p, F32, False)
    assert done.status == 0
    assert np.isnan(done.outputs["mean"]).all()  # as the driver left it
    assert backward(program, p, p.x, F32, False, ("dx",)).status == 0


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 3, 0, 4)], ids=str)
def test_the_sums_over_an_empty_tensor_are_zeros(program: Path, shape: tuple[int, int, int, int]) -> None:
    p = AdaIN(np.zeros(shape, np.float32))
    for name, sums in backward(program, p, p.x, F32, False, ("dscale", "dshift", "dbias")).outputs.items():
        assert sums.shape == ((3,) if name == "dbias" else shape[:2])
        assert not sums.any()


@pytest.mark.parametrize("channels_last", LAYOUTS)
@pytest.mark.parametrize("shape", [(2, 3, 0, 4), (2, 0, 3, 4)], ids=str)
def test_sums_over_nothing_are_zero(program: Path, shape: tuple[int, int, int, int], channels_last: bool) -> None:
    p = make(shape, F32, "all")
    done = backward(program, p, p.x, F32, channels_last, GRADIENTS)
    assert (done.status, done.error) == (0, "")
    assert all(not gradient.any() for gradient in done.outputs.values())


def test_double_keeps_double_precision(program: Path) -> None:
    p = make((1, 2, 9, 9), F64, "all")
    y = forward(program, p, F64, False).outputs["y"]
    assert np.abs(y - AdaINResult(p, np.dtype(np.longdouble)).y).max() < 1e-13


def test_what_no_kernel_accepts_is_named(program: Path) -> None:
    p = make((2, 3, 4, 4), F32, "all")
    done = forward(program, replace(p, noise_strength=None), F32, False)
    assert done.status == 1
    assert done.error.startswith("adain_forward: ")
    assert "noise_strength" in done.error
