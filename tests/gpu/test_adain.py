"""adain on a CUDA device against fp64 on the CPU: the matrix of tests/ops/test_adain.py, and what breaks kernels."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from stylegan_fast.ops import adain, adain_reference
from tests.ops import test_adain as matrix
from tests.ops.cases import DTYPES, LAYOUTS, assert_within_bound, laid_out, narrower
from tests.ops.test_adain_gradients import everything, leaves

from .device import DEVICE, back, there

pytestmark = pytest.mark.gpu

BOTH_LAYOUTS = pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
# Both sides of where the work is cut: 8 pixels a thread, 32 channels a slab, slices from 4096 pixels of a contiguous
# plane and 128 of a channels_last one; then the sizes of real networks; then, channels_last, slabs of channels in a
# block, in a cluster and in slices, and contiguous vectors in slices.
LARGER_SHAPES = [(1, 31, 9, 15), (3, 33, 67, 65), (1, 513, 2, 2), (4, 512, 4, 4), (2, 64, 128, 128), (1, 16, 256, 192)]
LARGER_SHAPES += [(2, 36, 24, 35), (1, 68, 64, 64), (2, 12, 129, 128), (1, 3, 260, 260)]


def magnitudes_of_sums(found: dict, dy: Tensor, gradients: list[Tensor]) -> list[Tensor]:
    """For every result the magnitude its rounding goes with. That of a sum, however small it comes out, is the sum of
    the magnitudes of its terms: these kernels add in the accumulation type, those of the CPU in double."""
    found = {k: v.double() if isinstance(v, Tensor) else v for k, v in found.items()}
    dy, dx = dy.double(), gradients[1]
    normalised = adain_reference(**{k: v for k, v in found.items() if k not in ("scale", "shift")})
    over_style = (0, 2, 3) if found.get("scale", dx).ndim == 1 else (2, 3)
    terms = {
        "scale": lambda: (dy * normalised).abs().sum(over_style),
        "shift": lambda: dy.abs().sum(over_style),
        "noise": lambda: (dx * found["noise_strength"][:, None, None]).abs().sum(1, keepdim=True),
        "noise_strength": lambda: (dx * found["noise"]).abs().sum((0, 2, 3)),
        "bias": lambda: dx.abs().sum((0, 2, 3)),
    }
    names = [k for k, v in found.items() if isinstance(v, Tensor) and k != "x"]
    return [gradients[0], dx, *(terms[name]() for name in names)]


def assert_as_good_as_the_reference(option: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    found, dy = matrix.arguments(shape, dtype, option), matrix.arguments(shape, dtype, "plain", seed=1)["x"]
    dy = dy / 16  # or sums over large planes are beyond the range of float16
    truth = matrix.differentiated(adain_reference, matrix.widened(found), dy.double(), "contiguous")
    narrow = matrix.arguments(shape, narrower(dtype), option)
    reference = matrix.differentiated(adain_reference, narrow, dy, "contiguous")
    sizes = magnitudes_of_sums(found, dy, truth)
    for layout in ("contiguous", "channels_last"):
        ours = back(matrix.differentiated(adain, there(found), there(dy), layout))
        for mine, theirs, exact, size in zip(ours, reference, truth, sizes, strict=True):
            assert_within_bound(mine, theirs, exact, max(matrix.largest(size), matrix.largest(exact)))


@pytest.mark.parametrize("shape", matrix.SHAPES, ids=str)
@pytest.mark.parametrize("option", matrix.OPTIONS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_kernel_and_its_gradients_are_as_good_as_the_reference(
    dtype: torch.dtype, option: str, shape: tuple[int, ...]
) -> None:
    assert_as_good_as_the_reference(option, shape, dtype)


@pytest.mark.parametrize("shape", LARGER_SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_sizes_on_both_sides_of_every_cut(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    assert_as_good_as_the_reference("epilogue", shape, dtype)


def second_derivatives(call, found: dict, dy: Tensor, layout: str) -> list[Tensor]:
    """The gradients, for dy and every tensor, of the first gradients weighted with fixed numbers."""
    found = {k: v.detach().clone().requires_grad_() if isinstance(v, Tensor) else v for k, v in found.items()}
    dy = dy.detach().clone().requires_grad_()
    sources = [v for v in found.values() if isinstance(v, Tensor)]
    x = found.pop("x")
    y = call(laid_out(x, layout), **found)
    first = torch.autograd.grad(y, sources, dy.to(y.dtype), create_graph=True)
    weights = [matrix.arguments((1, 1, 1, g.numel()), g.dtype, "plain", seed=7 + i)["x"] for i, g in enumerate(first)]
    weights = [w.reshape(g.shape).to(g.device) for w, g in zip(weights, first, strict=True)]
    second = torch.autograd.grad(first, [dy, *sources], weights, allow_unused=True)
    return [torch.zeros_like(t) if g is None else g for g, t in zip(second, [dy, *sources], strict=True)]


@BOTH_LAYOUTS
@pytest.mark.parametrize("shape", [(1, 2, 3, 2), (2, 3, 4, 4), (2, 70, 5, 3), (1, 5, 33, 29)], ids=str)
@pytest.mark.parametrize("option", ["plain", "epilogue", "all"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_second_derivatives_are_as_good_as_the_reference(
    dtype: torch.dtype, option: str, shape: tuple[int, ...], layout: str
) -> None:
    found, dy = matrix.arguments(shape, dtype, option), matrix.arguments(shape, dtype, "plain", seed=1)["x"]
    truth = second_derivatives(adain_reference, matrix.widened(found), dy.double(), layout)
    narrow = matrix.arguments(shape, narrower(dtype), option)
    reference = second_derivatives(adain_reference, narrow, dy.to(narrower(dtype)), layout)
    ours = back(second_derivatives(adain, there(found), there(dy), layout))
    pixel = max(matrix.largest(truth[0]), matrix.largest(truth[1]))  # of dy and x: what the others are sums of
    for mine, theirs, exact in zip(ours, reference, truth, strict=True):
        length = math.sqrt(math.prod(shape) / exact.numel())
        assert_within_bound(mine, theirs, exact, 2 * length * pixel + matrix.largest(exact))


@BOTH_LAYOUTS
def test_derivatives_match_finite_differences(layout: str) -> None:
    inputs = [t.detach().to(DEVICE).requires_grad_() for t in leaves()]

    def call(x: Tensor, *parameters: Tensor) -> Tensor:
        return everything(laid_out(x, layout), *parameters)

    assert gradcheck(call, inputs)
    assert gradgradcheck(call, inputs)


@BOTH_LAYOUTS
@pytest.mark.parametrize("size", [1, 4, 32, 65, 256])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_constant_planes_give_exactly_shift(dtype: torch.dtype, size: int, layout: str) -> None:
    g = torch.Generator().manual_seed(size)
    values = there(3 * torch.randn(2, 19, 1, 1, generator=g))  # both signs, so that the activation rounds
    x = laid_out(values.expand(2, 19, size, size).to(dtype), layout)
    shift = there(torch.randn(2, 19, generator=g)).to(dtype)
    noise = {"noise": torch.ones(1, 1, size, size), "noise_strength": torch.randn(19, generator=g)}
    for more in ({}, there(noise | {"bias": torch.randn(19, generator=g)})):
        y = adain(x, torch.full((2, 19), 7.0, device=DEVICE), shift, negative_slope=0.2, **more)
        assert torch.equal(y, shift[..., None, None].expand_as(y))


@BOTH_LAYOUTS
@pytest.mark.parametrize("case", ["far_mean", "outlier_first", "outlier_inside", "subnormal"])
def test_extreme_planes_are_as_good_as_the_reference(case: str, layout: str) -> None:
    x = torch.randn(2, 21, 64, 80, generator=torch.Generator().manual_seed(3))
    if case == "far_mean":
        x = x + 3000
    elif case == "outlier_first":
        x[..., 0, 0] = 1e4
    elif case == "outlier_inside":
        x[..., 33, 7] = 1e4
    else:
        x = x * 1e-40
    truth = adain_reference(x.double())
    rstd = (x.double().var((2, 3), correction=0, keepdim=True) + 1e-8).rsqrt()
    magnitude = torch.maximum(truth.abs(), rstd * x.double().mean((2, 3), keepdim=True).abs())
    assert_within_bound(back(adain(laid_out(there(x), layout))), adain_reference(x), truth, magnitude)


@BOTH_LAYOUTS
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_stay_in_their_plane(poison: float, layout: str) -> None:
    clean = there(torch.randn(2, 38, 65, 67))
    poisoned = clean.clone()
    poisoned[1, 7, 3, 4] = poison
    results = []
    for x in (clean, poisoned):
        x = laid_out(x, layout).requires_grad_()
        y = adain(x, negative_slope=0.2)
        results.append([y.detach(), *torch.autograd.grad(y, x, clean)])
    for expected, got in zip(*results, strict=True):
        assert got[1, 7].isnan().all()
        got[1, 7] = expected[1, 7]
        assert torch.equal(got, expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_any_strides_give_the_same_numbers_and_dense_ones_are_kept(dtype: torch.dtype, layout: str) -> None:
    found = matrix.arguments((2, 5, 6, 7), dtype, "all")
    truth = adain_reference(**matrix.widened(found))
    reference = adain_reference(**found)
    moved = there(found)
    y = adain(laid_out(moved.pop("x"), layout), **moved)
    assert_within_bound(back(y), reference, truth)
    expected = torch.channels_last if layout.startswith("channel") else torch.contiguous_format
    assert y.is_contiguous(memory_format=expected)


def test_halves_of_one_style_tensor_give_what_copies_of_them_give() -> None:
    x, style = there(torch.randn(2, 37, 9, 9)), there(torch.randn(2, 74))
    halves = style.chunk(2, dim=1)
    assert not halves[1].is_contiguous()
    assert torch.equal(adain(x, *halves), adain(x, *(half.contiguous() for half in halves)))
