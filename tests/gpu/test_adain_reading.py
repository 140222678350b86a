"""adain that reads its input through phases and blur, on a CUDA device against fp64 on the CPU."""

import pytest
import torch

from stylegan_fast.ops import adain, adain_reference
from stylegan_fast.ops.subpixel import read_through
from tests.ops import test_adain as matrix
from tests.ops.cases import DTYPES, assert_within_bound, laid_out, narrower
from tests.ops.test_adain_reading import ODD_SHAPES, SHAPES, WAYS, reading

from .device import back, there
from .test_adain import magnitudes_of_sums

pytestmark = pytest.mark.gpu

# Both sides of where the tiers and the bands are cut, then the sizes of real networks.
LARGER_SHAPES = [(3, 41, 8, 8), (1, 2, 16, 24), (2, 33, 64, 64), (1, 2, 128, 136), (1, 64, 256, 256), (1, 16, 30, 1028)]


def assert_as_good(shape: tuple[int, ...], dtype: torch.dtype, option: str, way: str) -> None:
    found, dy = reading(shape, dtype, option, way), matrix.arguments(shape, dtype, "plain", seed=1)["x"]
    dy = dy / 16  # or sums over large planes are beyond the range of float16
    truth = matrix.differentiated(adain_reference, matrix.widened(found), dy.double(), "contiguous")
    narrow = reading(shape, narrower(dtype), option, way)
    reference = matrix.differentiated(adain_reference, narrow, dy, "contiguous")
    # The bound's magnitudes are those of what comes after the reading.
    whole = {k: v for k, v in found.items() if k not in ("phases", "blur")}
    whole["x"] = read_through(found["x"].double(), *WAYS[way])
    after = matrix.differentiated(adain_reference, matrix.widened(whole), dy.double(), "contiguous")
    sizes = magnitudes_of_sums(whole, dy, after)
    for layout in ("contiguous", "channels_last"):
        ours = back(matrix.differentiated(adain, there(found), there(dy), layout))
        for mine, theirs, exact, size in zip(ours, reference, truth, sizes, strict=True):
            assert_within_bound(mine, theirs, exact, max(matrix.largest(size), matrix.largest(exact)))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", [*SHAPES, *LARGER_SHAPES], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_kernels_are_as_good_as_the_reference(dtype: torch.dtype, shape: tuple[int, ...], way: str) -> None:
    assert_as_good(shape, dtype, "all", way)


@pytest.mark.parametrize("shape", ODD_SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_blurred_planes_of_any_size(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    for option in ("plain", "epilogue"):
        assert_as_good(shape, dtype, option, "blur")


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("size", [4, 32, 128, 192])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_constant_images_in_phases_give_exactly_shift(dtype: torch.dtype, size: int, layout: str) -> None:
    g = torch.Generator().manual_seed(size)
    values = 3 * torch.randn(2, 1, 19, 1, 1, generator=g)
    x = values.expand(2, 4, 19, size // 2 + 1, size // 2 + 1).flatten(1, 2)
    shift = torch.randn(2, 19, generator=g).to(dtype)
    x, shift = there((laid_out(x.to(dtype), layout), shift))
    y = adain(x, torch.full_like(shift, 7.0), shift, negative_slope=0.2, phases=True)
    assert torch.equal(y, shift[..., None, None].expand_as(y))


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("size", [8, 64, 256])
def test_what_no_phase_reads_is_never_read(size: int, layout: str) -> None:
    x = torch.randn(2, 4 * 5, size // 2 + 1, size // 2 + 1, generator=torch.Generator().manual_seed(1))
    phases = x.unflatten(1, (2, 2, 5))
    unread = torch.zeros_like(phases, dtype=torch.bool)
    unread[:, 1, :, :, 0] = unread[:, 0, :, :, -1] = unread[:, :, 1, :, :, 0] = unread[:, :, 0, :, :, -1] = True
    spoilt = there(laid_out(phases.masked_fill(unread, float("nan")).flatten(1, 3), layout)).requires_grad_()
    clean = adain(there(laid_out(x, layout)), phases=True, blur=True)
    y = adain(spoilt, phases=True, blur=True)
    assert torch.equal(y, clean)
    (dx,) = torch.autograd.grad(y, spoilt, clean)
    dx = back(dx).unflatten(1, (2, 2, 5))
    assert not dx[unread].any()
    assert dx.isfinite().all()
