"""upfirdn2d on a CUDA device against fp64 on the CPU: the matrix of tests/ops/test_upfirdn2d.py."""

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from stylegan_fast.ops import filter2d, setup_filter, upfirdn2d, upfirdn2d_reference, upsample2d
from tests.ops.cases import DTYPES, LAYOUTS, assert_within_bound, laid_out, narrower
from tests.ops.test_upfirdn2d import CALLS, SHAPES, a_filter, draw

from .device import DEVICE, back, there

pytestmark = pytest.mark.gpu

BOTH_LAYOUTS = pytest.mark.parametrize("layout", ["contiguous", "channels_last"])


def derivatives(call, x: Tensor, f: Tensor | None, options: dict) -> list[Tensor]:
    """y, dx, and the gradient of sum(v * dx) for dy, which is the op applied to v."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = call(x, f, **options)
    dy = draw(tuple(y.shape), y.dtype, 1).to(y.device).requires_grad_()
    v = draw(tuple(x.shape), x.dtype, 2).to(x.device)
    (dx,) = torch.autograd.grad(y, x, dy, create_graph=True)
    (second,) = torch.autograd.grad(dx, dy, v)
    return [y.detach(), dx.detach(), second]


def assert_as_good_as_the_reference(name: str, x: Tensor) -> None:
    f, options = CALLS[name]
    f = a_filter(f)
    truth = derivatives(upfirdn2d_reference, x.double(), f, options)
    reference = derivatives(upfirdn2d_reference, x.to(narrower(x.dtype)), f, options)
    for layout in ("contiguous", "channels_last"):
        ours = back(derivatives(upfirdn2d, laid_out(there(x), layout), there(f), options))
        for mine, theirs, exact in zip(ours, reference, truth, strict=True):
            assert_within_bound(mine, theirs, exact)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_kernel_and_its_adjoint_are_as_good_as_the_reference(
    dtype: torch.dtype, name: str, shape: tuple[int, ...]
) -> None:
    assert_as_good_as_the_reference(name, draw(shape, dtype))


@pytest.mark.parametrize("name", ["blur", "nearest", "up", "down", "box"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_sizes_of_real_networks(dtype: torch.dtype, name: str) -> None:
    for shape in ((2, 64, 64, 64), (1, 3, 256, 256), (1, 512, 4, 4), (3, 24, 33, 47)):
        assert_as_good_as_the_reference(name, draw(shape, dtype))


@BOTH_LAYOUTS
@pytest.mark.parametrize("name", [name for name in CALLS if name != "all_cropped"])
def test_derivatives_match_finite_differences(name: str, layout: str) -> None:
    f, options = CALLS[name]
    f = there(a_filter(f))
    x = draw((1, 2, 5, 4), torch.float64).to(DEVICE).requires_grad_()
    assert gradcheck(lambda x: upfirdn2d(laid_out(x, layout), f, **options), [x])
    assert gradgradcheck(lambda x: upfirdn2d(laid_out(x, layout), f, **options), [x])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_strides_give_the_same_numbers_and_dense_ones_are_kept(layout: str) -> None:
    x, f = draw((2, 5, 6, 7), torch.float64), setup_filter([1, 3, 3, 1])
    y = upsample2d(laid_out(there(x), layout), there(f))
    torch.testing.assert_close(back(y), upsample2d(x, f, impl="ref"), rtol=0, atol=1e-14)
    kept = torch.channels_last if layout.startswith("channel") else torch.contiguous_format
    assert y.is_contiguous(memory_format=kept)


@BOTH_LAYOUTS
def test_nan_stays_in_its_plane(layout: str) -> None:
    x = draw((2, 5, 6, 6), torch.float32)
    x[1, 3, 2, 2] = float("nan")
    bad = filter2d(laid_out(there(x), layout), there(setup_filter([1, 2, 1]))).isnan()
    assert bad[1, 3].sum() == 9
    assert bad.sum() == 9
