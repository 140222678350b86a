"""The CPU kernels' own cases: planes that share a register, slabs of odd width, tiles of resampled images, threads."""

import pytest
import torch

from stylegan_fast.ops import adain, filter2d, setup_filter, upfirdn2d, upfirdn2d_reference, use_backend

from .cases import CAPABILITIES, assert_within_bound, capability, laid_out, needs_extension

pytestmark = needs_extension
BOTH_LAYOUTS = ["contiguous", "channels_last"]


def epilogue(x: torch.Tensor, **more: torch.Tensor) -> torch.Tensor:
    return adain(x, negative_slope=0.2, **more)


@pytest.mark.parametrize("layout", BOTH_LAYOUTS)
@pytest.mark.parametrize("shape", [(3, 37, 4, 4), (2, 64, 33, 31)], ids=str)
def test_the_number_of_threads_changes_no_bit(shape: tuple[int, ...], layout: str) -> None:
    x = laid_out(torch.randn(shape), layout).requires_grad_()
    dy, threads, found = torch.randn(shape), torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            with use_backend("cpu"):
                y = epilogue(x, scale=torch.full(shape[:2], 0.7), bias=torch.linspace(-1, 1, shape[1]))
            found.append((y.detach(), *torch.autograd.grad(y, x, dy)))
    finally:
        torch.set_num_threads(threads)
    for y, dx in found[1:]:
        assert torch.equal(y, found[0][0])
        assert torch.equal(dx, found[0][1])


@pytest.mark.parametrize("isa", CAPABILITIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_small_planes_are_as_good_as_those_of_channels_last(dtype: torch.dtype, isa: str) -> None:
    x = torch.randn(2, 21, 4, 4).to(dtype)
    strength, bias, noise = torch.randn(21).to(dtype), torch.randn(21).to(dtype), torch.randn(2, 1, 4, 4).to(dtype)
    with use_backend("cpu"), capability(isa):
        y = epilogue(x, noise=noise, noise_strength=strength, bias=bias)
        other = epilogue(laid_out(x, "channels_last"), noise=noise, noise_strength=strength, bias=bias)
    assert torch.equal(y, other.contiguous()), "both are lanes of the same kernel"


@pytest.mark.parametrize("layout", BOTH_LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(1, 2, 70, 600), (3, 67, 21, 19), (1, 700, 3, 2)], ids=str)
@pytest.mark.parametrize(
    "options",
    [{"padding": [2, 1]}, {"up": 2, "padding": [2, 1]}, {"down": 2, "padding": 1}, {"up": [2, 1], "down": [1, 2]}],
    ids=str,
)
def test_images_of_several_tiles_are_as_good_as_the_reference(
    options: dict, shape: tuple[int, ...], dtype: torch.dtype, layout: str
) -> None:
    x, f = laid_out(torch.randn(shape).to(dtype), layout), setup_filter([1, 2, -5, 3], normalize=False)
    if x.shape[2] < 4:
        options = {**options, "padding": 2}
    with use_backend("cpu"):
        y = upfirdn2d(x, f, **options)
    assert_within_bound(y, upfirdn2d_reference(x, f, **options), upfirdn2d_reference(x.double(), f, **options))


def test_a_filter_that_is_no_product_is_not_taken_for_one() -> None:
    x, f = torch.randn(1, 3, 20, 20), torch.tensor([[1.0, 2.0], [2.0, 4.001]])
    with use_backend("cpu"):
        expected = upfirdn2d_reference(x.double(), f, padding=[1, 0, 1, 0])
        torch.testing.assert_close(filter2d(x, f).double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("layout", BOTH_LAYOUTS)
def test_infinity_reaches_no_further_than_the_taps_that_meet_it(layout: str) -> None:
    x = torch.zeros(2, 20, 12, 12)
    x[1, 5, 6, 6] = float("inf")
    with use_backend("cpu"):
        y = upfirdn2d(laid_out(x, layout), setup_filter([1, 2, 1]), up=2, padding=[2, 1])
        wrong = ~y.isfinite()
    assert wrong.sum() == 9
    assert wrong[1, 5].sum() == 9
    assert not y.isnan().any()
