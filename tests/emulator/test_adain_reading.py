"""adain's CUDA kernels where they read through phases and blur, run in the emulator."""

from pathlib import Path

import numpy as np
import pytest

from .adain_cases import GRADIENTS, OPTIONS, WAYS, backward, check_backward, check_forward, forward, make
from .dtypes import ALL, BF16, F16, F32, F64, DType
from .formulas import AdaIN

Shape = tuple[int, int, int, int]

READING = [way for way in WAYS if way]
# Both sides of the cuts of the split tier: strips of 8 rows, tiles of 256 columns (channels_last: 16, fp64 8), bands,
# 32 channels a slab.
SHAPES = [(1, 2, 2, 2), (2, 3, 8, 6), (1, 33, 4, 10), (1, 2, 18, 34), (1, 1, 4, 262), (1, 2, 66, 64), (2, 1, 26, 20)]
# What only the blur takes.
ODD_SHAPES = [(1, 1, 1, 1), (2, 3, 1, 7), (1, 4, 9, 1), (1, 1, 3, 513), (1, 2, 1025, 3), (1, 2, 67, 65)]
# Contiguous planes in the warp and block tiers: rows of one pack of 4 or 8 pixels and of several, teams of 4 to 32
# lanes, more planes than a block has teams, the largest of the warp tier, the first of the block tier.
EDGES = [(3, 23, 2, 8), (1, 11, 4, 8), (2, 3, 16, 16), (1, 2, 32, 8), (1, 2, 10, 32), (2, 1, 32, 32), (1, 2, 2, 512)]
LARGE_EDGES = [(1, 2, 64, 64), (1, 1, 64, 160), (1, 1, 128, 128), (1, 1, 2, 8192), (1, 1, 2048, 8)]
LARGE_EDGES += [(1, 1, 130, 128), (1, 1, 256, 256), (1, 2, 2, 16384), (1, 1, 4098, 8)]  # of the cluster tier
LAYOUTS = [pytest.param(False, id="contiguous"), pytest.param(True, id="channels_last")]
DTYPES = [pytest.param(dtype, id=dtype.name) for dtype in ALL]


def check(program: Path, p: AdaIN, dtype: DType, channels_last: bool, offset: int = 0) -> None:
    check_forward(program, p, dtype, channels_last, offset)
    check_backward(program, p, dtype, channels_last, offset)


@pytest.mark.parametrize("channels_last", LAYOUTS)
@pytest.mark.parametrize("case", range(len(SHAPES)))
def test_forward_and_backward_match_the_formula(program: Path, case: int, channels_last: bool) -> None:
    """A covering subset: ways, dtypes, options and alignment rotate."""
    for way_at, way in enumerate(READING):
        pick = case + way_at + 2 * channels_last
        dtype = ALL[pick % 4]
        p = make(SHAPES[case], dtype, OPTIONS[(pick + 1) % 3], way=way)
        check(program, p, dtype, channels_last, int(pick % 5 == 4))


@pytest.mark.parametrize("case", range(len(EDGES)))
def test_resident_tiers_are_right_at_their_edges(program: Path, case: int) -> None:
    for way_at, way in enumerate(READING):
        dtype = (F32, BF16, F16)[(case + way_at) % 3]
        check(program, make(EDGES[case], dtype, OPTIONS[(case + way_at) % 3], way=way), dtype, False)


def test_the_largest_planes_of_a_block(program: Path) -> None:
    check(program, make((1, 1, 128, 128), BF16, "all", way="both"), BF16, False)


def test_a_cluster_holds_a_plane_that_no_block_can(program: Path) -> None:
    check(program, make((1, 2, 128, 160), BF16, "all", way="both"), BF16, False)
    check(program, make((1, 1, 130, 128), F32, "shared", way="blur"), F32, False)


@pytest.mark.parametrize("device", [{"capability": 80}, {"clusters_fit": 0}, {"capability": 75}], ids=str)
def test_where_a_tier_cannot_run_the_split_tier_takes_its_planes(program: Path, device: dict[str, float]) -> None:
    shape = (1, 1, 96, 128) if device.get("capability") == 75 else (1, 1, 32, 516)  # 48 KB of dt; a cluster's
    p = make(shape, F32, "all", way="both")
    resident = check_forward(program, p, F32, False).outputs["rstd"]
    other = check_forward(program, p, F32, False, device=device).outputs["rstd"]
    check_backward(program, p, F32, False, device=device)
    assert np.allclose(resident, other, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [F32, F16, BF16], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("way", READING)
@pytest.mark.parametrize("shape", [*EDGES, *LARGE_EDGES], ids=str)
def test_resident_tiers_are_right_at_their_edges_everywhere(
    program: Path, shape: Shape, way: str, dtype: DType
) -> None:
    for options in OPTIONS:
        p = make(shape, dtype, options, way=way)
        check(program, p, dtype, False)
        check_backward(program, p, dtype, False, device={"capability": 75})


@pytest.mark.parametrize("way", READING)
def test_one_tier_gives_what_another_gives(program: Path, way: str) -> None:
    """v rounds alike in all of them: the same pivot, the same signs."""
    p = make((1, 2, 24, 40), F32, "shared", way=way)
    y = [
        check_forward(program, p, F32, last, offset).outputs["y"]
        for last, offset in ((False, 0), (False, 1), (True, 0))
    ]
    for other in y[1:]:
        assert np.array_equal(other == 0, y[0] == 0)
        assert np.allclose(other, y[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels_last", LAYOUTS)
@pytest.mark.parametrize("case", range(len(ODD_SHAPES)))
def test_blurred_planes_may_have_any_size(program: Path, case: int, channels_last: bool) -> None:
    dtype = ALL[(case + channels_last) % 4]
    check(program, make(ODD_SHAPES[case], dtype, OPTIONS[(case + 1) % 3], way="blur"), dtype, channels_last)


@pytest.mark.slow
@pytest.mark.parametrize("channels_last", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("way", READING)
@pytest.mark.parametrize("shape", [*SHAPES, (1, 64, 16, 16), (2, 3, 32, 32), (1, 1, 40, 516)], ids=str)
def test_forward_and_backward_match_the_formula_everywhere(
    program: Path, shape: Shape, way: str, dtype: DType, channels_last: bool
) -> None:
    for options in OPTIONS:
        for offset in (0, 1):
            check(program, make(shape, dtype, options, way=way), dtype, channels_last, offset)


@pytest.mark.parametrize("channels_last", LAYOUTS)
def test_a_constant_image_in_phases_gives_exactly_shift(program: Path, channels_last: bool) -> None:
    p = make((2, 3, 12, 16), F32, "all", way="phases")
    constant = 1000 * np.random.default_rng(1).standard_normal((2, 1, 3, 1, 1)).astype(np.float32)
    x = np.broadcast_to(constant, (2, 4, 3, 7, 9)).reshape(p.x.shape)
    y = forward(program, AdaIN(x, shift=p.shift, bias=p.bias, phases=True), F32, channels_last).outputs["y"]
    assert p.shift is not None
    assert np.array_equal(y, np.broadcast_to(p.shift[..., None, None], y.shape))


@pytest.mark.parametrize("channels_last", LAYOUTS)
def test_what_no_phase_reads_is_never_read_and_its_gradient_is_zero(program: Path, channels_last: bool) -> None:
    p = make((1, 3, 10, 12), F32, "all", way="both")
    phases = p.x.reshape(1, 2, 2, 3, 6, 7).copy()
    unread = np.zeros(phases.shape, bool)
    unread[:, 1, :, :, 0] = unread[:, 0, :, :, -1] = unread[:, :, 1, :, :, 0] = unread[:, :, 0, :, :, -1] = True
    phases[unread] = np.nan
    p.x = phases.reshape(p.x.shape)
    check_forward(program, p, F32, channels_last)
    dx = check_backward(program, p, F32, channels_last).outputs["dx"].reshape(phases.shape)
    assert not dx[unread].any()
    assert dx[~unread].all()


@pytest.mark.parametrize("channels_last", LAYOUTS)
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_non_finite_value_stays_in_its_plane(program: Path, poison: float, channels_last: bool) -> None:
    p = make((1, 3, 24, 16), F32, "all", way="both")
    clean = forward(program, p, F32, channels_last).outputs["y"]
    p.x = p.x.copy()
    p.x[0, 4, 5, 6] = poison  # of channel 1
    y = forward(program, p, F32, channels_last).outputs["y"]
    assert np.isnan(y[0, 1]).all()
    assert np.array_equal(np.delete(y, 1, axis=1), np.delete(clean, 1, axis=1))
    dx = backward(program, p, np.ones_like(y), F32, channels_last, ("dx",)).outputs["dx"].reshape(4, 3, 13, 9)
    assert np.isfinite(dx[:, [0, 2]]).all()


@pytest.mark.parametrize("channels_last", LAYOUTS)
@pytest.mark.parametrize("wanted", [("dx",), ("dbias",), ("dscale", "dshift", "dnoise"), ("dshift",)], ids=str)
def test_gradients_come_alone_as_they_come_together(
    program: Path, wanted: tuple[str, ...], channels_last: bool
) -> None:
    p = make((2, 3, 16, 24), BF16, "all", way="both")
    together = check_backward(program, p, BF16, channels_last).outputs
    dy = np.random.default_rng(p.x.size).standard_normal(p.shape).astype(np.float32)
    alone = backward(program, p, BF16.decode(BF16.encode(dy)), BF16, channels_last, wanted).outputs
    for name in wanted:
        assert np.array_equal(alone[name], together[name])


@pytest.mark.parametrize("channels_last", LAYOUTS)
@pytest.mark.parametrize("shape", [(2, 3, 0, 4), (2, 3, 4, 0), (1, 2, 0, 0), (0, 3, 4, 4), (2, 0, 4, 4)], ids=str)
def test_phases_of_an_empty_image_have_zero_gradients(program: Path, shape: Shape, channels_last: bool) -> None:
    p = make(shape, F64, "all", way="both")
    assert forward(program, p, F64, channels_last).status == 0
    done = backward(program, p, np.zeros(shape), F64, channels_last, GRADIENTS)
    assert (done.status, done.error) == (0, "")
    assert all(not gradient.any() for gradient in done.outputs.values())
