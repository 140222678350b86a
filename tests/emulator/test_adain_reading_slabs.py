"""adain's CUDA kernels of channels_last where they read through blur: slabs of 4 channels a thread, in the emulator."""

from pathlib import Path

import numpy as np
import pytest

from .adain_cases import backward, check_backward, check_forward, forward, make
from .dtypes import BF16, F16, F32, DType
from .formulas import AdaIN
from .test_adain_reading import check

Shape = tuple[int, int, int, int]

# Both sides of where the work is cut: fewer columns than a block has and more, several threads below one another, one
# row and several batches of rows, channels that do not fill a slab, two slabs, tiles with columns beside them (from 65
# or 129 columns on, or 257 of fewer channels).
SHAPES = [
    (1, 4, 2, 2),
    (2, 8, 8, 6),
    (1, 36, 4, 10),
    (2, 12, 18, 34),
    (1, 16, 66, 64),
    (1, 68, 6, 70),
    (1, 16, 10, 132),
]
SHAPES += [(1, 4, 4, 262), (1, 20, 130, 6)]
ODD_SHAPES = [
    (1, 4, 1, 1),
    (2, 8, 1, 7),
    (1, 4, 9, 1),
    (1, 16, 67, 65),
    (1, 16, 5, 129),
    (1, 4, 3, 513),
    (1, 8, 1025, 3),
]
DTYPES = (F32, BF16, F16)


@pytest.mark.parametrize("case", range(len(SHAPES)))
def test_forward_and_backward_match_the_formula(program: Path, case: int) -> None:
    for at, way in enumerate(("blur", "both")):
        dtype = DTYPES[(case + at) % 3]
        check(program, make(SHAPES[case], dtype, ("all", "plain")[(case // 2 + at) % 2], way=way), dtype, True)


@pytest.mark.parametrize("case", range(len(ODD_SHAPES)))
def test_blurred_planes_may_have_any_size(program: Path, case: int) -> None:
    dtype = DTYPES[case % 3]
    check(program, make(ODD_SHAPES[case], dtype, "all", way="blur"), dtype, True)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("way", ["blur", "both"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_forward_and_backward_match_the_formula_everywhere(program: Path, shape: Shape, way: str, dtype: DType) -> None:
    for options in ("plain", "all"):
        check(program, make(shape, dtype, options, way=way), dtype, True)


@pytest.mark.parametrize("way", ["blur", "both"])
def test_slabs_give_what_planes_give(program: Path, way: str) -> None:
    """v rounds alike in both: the same pivot, the same signs; and so where an activation leaves it to another tier."""
    p = make((1, 8, 24, 40), F32, "all", way=way)
    y = [
        check_forward(program, p, F32, last, offset).outputs["y"] for last, offset in ((True, 0), (False, 0), (True, 1))
    ]
    for other in y[1:]:
        assert np.array_equal(other == 0, y[0] == 0)
        assert np.allclose(other, y[0], rtol=1e-4, atol=1e-5)


def test_an_activation_after_the_style_is_left_to_another_tier(program: Path) -> None:
    check(program, make((2, 8, 12, 10), BF16, "shared", way="both"), BF16, True)


def test_what_no_phase_reads_is_never_read_and_its_gradient_is_zero(program: Path) -> None:
    p = make((1, 8, 10, 140), F32, "all", way="both")
    phases = p.x.reshape(1, 2, 2, 8, 6, 71).copy()
    unread = np.zeros(phases.shape, bool)
    unread[:, 1, :, :, 0] = unread[:, 0, :, :, -1] = unread[:, :, 1, :, :, 0] = unread[:, :, 0, :, :, -1] = True
    phases[unread] = np.nan
    p.x = phases.reshape(p.x.shape)
    check_forward(program, p, F32, True)
    dx = check_backward(program, p, F32, True).outputs["dx"].reshape(phases.shape)
    assert not dx[unread].any()
    assert dx[~unread].all()


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_non_finite_value_stays_in_its_plane(program: Path, poison: float) -> None:
    p = make((1, 8, 24, 16), F32, "all", way="blur")
    clean = forward(program, p, F32, True).outputs["y"]
    p.x = p.x.copy()
    p.x[0, 5, 5, 6] = poison
    y = forward(program, p, F32, True).outputs["y"]
    assert np.isnan(y[0, 5]).all()
    assert np.array_equal(np.delete(y, 5, axis=1), np.delete(clean, 5, axis=1))
    dx = backward(program, p, np.ones_like(y), F32, True, ("dx",)).outputs["dx"]
    assert np.isfinite(np.delete(dx, 5, axis=1)).all()


@pytest.mark.parametrize("wanted", [("dx",), ("dbias",), ("dscale", "dshift", "dnoise"), ("dshift",)], ids=str)
def test_gradients_come_alone_as_they_come_together(program: Path, wanted: tuple[str, ...]) -> None:
    p = make((2, 8, 16, 24), BF16, "all", way="both")
    together = check_backward(program, p, BF16, True).outputs
    dy = np.random.default_rng(p.x.size).standard_normal(p.shape).astype(np.float32)
    alone = backward(program, p, BF16.decode(BF16.encode(dy)), BF16, True, wanted).outputs
    for name in wanted:
        assert np.array_equal(alone[name], together[name])


def test_an_image_of_constant_v_gives_exactly_shift_away_from_its_border(program: Path) -> None:
    """Without a border there would be no deviation at all; with one, pixels alike in v are alike in y."""
    p = make((1, 8, 20, 24), F32, "all", way="blur")
    x = np.broadcast_to(p.x[:, :, :1, :1], p.x.shape).copy()
    y = forward(program, AdaIN(x, scale=p.scale, shift=p.shift, bias=p.bias, blur=True), F32, True).outputs["y"]
    inner = y[:, :, 1:-1, 1:-1]
    assert np.array_equal(inner, np.broadcast_to(inner[:, :, :1, :1], inner.shape))
