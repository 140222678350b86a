"""bias_act on a CUDA device against fp64 on the CPU: the matrix of tests/ops/test_bias_act.py, all three kernels."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from stylegan_fast.ops import bias_act, bias_act_reference
from stylegan_fast.ops.bias_act import ACTIVATIONS
from tests.ops.cases import DTYPES, LAYOUTS, assert_within_bound, laid_out, narrower
from tests.ops.test_bias_act import SHAPES, draw

from .device import DEVICE, back, there

pytestmark = pytest.mark.gpu

# A bias that changes within a 16-byte vector, between vectors, and never; a tail shorter than a vector.
LARGER_SHAPES = [((5, 1031), 1), ((1031, 5), 0), ((3, 64, 65, 67), 1), ((1 << 20,), None)]


def derivatives(call, x: Tensor, b: Tensor | None, dy: Tensor, v: Tensor, **options) -> list[Tensor]:
    """y; dx and db; then the gradients of sum(v * dx) for dy, x and b."""
    x, dy = x.detach().requires_grad_(), dy.detach().requires_grad_()
    b = None if b is None else b.detach().requires_grad_()
    sources = [x] if b is None else [x, b]
    y = call(x, b, **options)
    first = torch.autograd.grad(y, sources, dy, create_graph=True)
    second = torch.autograd.grad(first[0], [dy, *sources], v, allow_unused=True)
    second = [torch.zeros_like(t) if g is None else g for g, t in zip(second, [dy, *sources], strict=True)]
    return [t.detach() for t in (y, *first, *second)]


def assert_as_good_as_the_reference(shape: tuple[int, ...], dim: int | None, dtype: torch.dtype, **options) -> None:
    x, dy, v = draw(shape, dtype), draw(shape, dtype, 1), draw(shape, dtype, 3)
    b = None if dim is None else draw((shape[dim],), dtype, 2)
    u = x if b is None else x + b.reshape([-1 if i == dim % x.ndim else 1 for i in range(x.ndim)])
    x = torch.where(u == 0, x + 1, x)  # a corner has no second derivative
    options = {"dim": dim or 0, **options}
    tensors = [x, b, dy, v]

    def in_dtype(wider: torch.dtype) -> list[Tensor | None]:
        return [None if t is None else t.to(wider) for t in tensors]

    truth = derivatives(bias_act_reference, *in_dtype(torch.float64), **options)
    reference = derivatives(bias_act_reference, *in_dtype(narrower(dtype)), **options)
    ours = back(derivatives(bias_act, *there(tensors), **options))
    if x.numel() == 0:
        assert all(mine.shape == exact.shape and not mine.any() for mine, exact in zip(ours, truth, strict=True))
        return
    # A slope comes from y, rounded to an ulp of 1 (swish apart); a sum over the others adds those up.
    gain = options.get("gain") or ACTIVATIONS[options["act"]].gain
    up, across = 2 * gain * float(dy.abs().max()), 2 * gain * float(v.abs().max())
    both = 2 * up * float(v.abs().max())
    length = 1.0 if b is None else math.sqrt(x.numel() / b.numel())
    sizes = [None, up, across, both] if b is None else [None, up, up * length, across, both, both * length]
    for mine, theirs, exact, size in zip(ours, reference, truth, sizes, strict=True):
        assert_within_bound(mine, theirs, exact, size)


@pytest.mark.parametrize(("shape", "dim"), SHAPES, ids=str)
@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_kernels_are_as_good_as_the_reference(
    dtype: torch.dtype, act: str, shape: tuple[int, ...], dim: int | None
) -> None:
    assert_as_good_as_the_reference(shape, dim, dtype, act=act)


@pytest.mark.parametrize(("shape", "dim"), LARGER_SHAPES, ids=str)
@pytest.mark.parametrize("act", ["lrelu", "swish"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_larger_sizes(dtype: torch.dtype, act: str, shape: tuple[int, ...], dim: int | None) -> None:
    assert_as_good_as_the_reference(shape, dim, dtype, act=act)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("act", ["lrelu", "swish"])
def test_parameters_of_16_bits_need_no_conversion(act: str, layout: str) -> None:
    """The same numbers as with the bias in fp32, and gradients of its dtype, to the second order."""
    x = laid_out(there(draw((2, 16, 6, 8), torch.bfloat16)), layout)
    b, v = there(draw((16,), torch.bfloat16, 1)), there(draw((2, 16, 6, 8), torch.bfloat16, 3))
    dy = laid_out(there(draw((2, 16, 6, 8), torch.bfloat16, 2)), layout)
    narrow = derivatives(bias_act, x, b, dy, v, act=act)
    wide = derivatives(bias_act, x, b.float(), dy, v, act=act)
    for ours, same in zip(narrow, wide, strict=True):
        assert ours.dtype == torch.bfloat16
        assert torch.equal(ours, same.to(torch.bfloat16))


# Planes of one vector to several slices, rows of one vector and of 64; what no vector fits is summed by PyTorch.
SUMMED = [((2, 3, 4, 4), "contiguous"), ((2, 5, 24, 24), "contiguous"), ((2, 3, 96, 96), "contiguous")]
SUMMED += [((1, 2, 130, 132), "contiguous"), ((3, 8, 5, 3), "channels_last"), ((2, 512, 9, 8), "channels_last")]
SUMMED += [((8, 1, 9, 9), "contiguous"), ((8, 1, 1, 2), "contiguous"), ((4, 1, 8, 8), "contiguous")]
SUMMED += [((2, 24, 64, 63), "channels_last"), ((2, 3, 5, 7), "contiguous"), ((2, 12, 5, 7), "channels_last")]


@pytest.mark.parametrize("act", ["linear", "relu", "lrelu", "swish"])
@pytest.mark.parametrize(("shape", "layout"), SUMMED, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_bias_gradient_is_the_sum_of_dx(dtype: torch.dtype, shape: tuple[int, ...], layout: str, act: str) -> None:
    """Where nothing is to be differentiated again, which is when the kernel itself sums."""
    x, b = (
        laid_out(there(draw(shape, dtype)), layout).requires_grad_(),
        there(draw(shape[1:2], dtype, 1)).requires_grad_(),
    )
    for clamp in (None, 0.7):
        y = bias_act(x, b, act=act, gain=1.3, clamp=clamp)
        dy = laid_out(there(draw(shape, dtype, 2)), layout)
        dx, db = back(torch.autograd.grad(y, [x, b], dy, retain_graph=True))
        again, _ = back(torch.autograd.grad(y, [x, b], dy, create_graph=True))
        assert torch.equal(dx, again.detach())
        exact, size = dx.double().sum((0, 2, 3)), dx.double().abs().sum((0, 2, 3))
        # Of dx before its sum here, and of the sum there.
        rounding = max(torch.finfo(dtype).eps, 2**-20)
        assert ((db.double() - exact).abs() <= rounding * size + 1e-30).all()


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_gain_and_clamp(act: str) -> None:
    for dtype in (torch.float32, torch.float64):
        assert_as_good_as_the_reference((2, 3, 5, 7), 1, dtype, act=act, gain=1.7, clamp=1.3)


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_clamped_values_have_no_gradient_in_any_dtype(dtype: torch.dtype, act: str) -> None:
    x = there(torch.linspace(-4, 4, 97).to(dtype)).requires_grad_()
    y = bias_act(x, act=act, dim=0, clamp=0.3)  # no number of any dtype: it rounds up in some and down in others
    (dx,) = back(torch.autograd.grad(y.sum(), x))
    limit = torch.tensor(0.3, dtype=torch.float64).to(dtype)
    clamped = bias_act_reference(back(x.detach()).double(), act=act, dim=0).abs() > 0.31
    assert clamped.any()
    assert back(y.detach()).abs().max() == limit
    assert (dx[clamped] == 0).all()


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_derivatives_match_finite_differences(act: str) -> None:
    x = draw((3, 4, 2), torch.float64).to(DEVICE).requires_grad_()
    b = draw((4,), torch.float64, 5).to(DEVICE).requires_grad_()
    for options in ({}, {"clamp": 1.3, "gain": 1.7}):
        assert gradcheck(lambda x, b, o=options: bias_act(x, b, act=act, **o), [x, b])
        assert gradgradcheck(lambda x, b, o=options: bias_act(x, b, act=act, **o), [x, b])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_any_strides_and_alignments_give_the_same_bits(dtype: torch.dtype, layout: str) -> None:
    x, b = there(draw((2, 5, 6, 7), dtype)), there(draw((5,), dtype, 1))
    y = bias_act(laid_out(x, layout), b, act="swish")
    assert torch.equal(y, bias_act(x, b, act="swish"))
    kept = torch.channels_last if layout.startswith("channel") else torch.contiguous_format
    assert y.is_contiguous(memory_format=kept)


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_nan_and_infinity_stay_where_they_are(act: str) -> None:
    x = torch.tensor([float("nan"), float("inf"), -3.0, 2.0] * 9)
    y = back(bias_act(there(x), dim=0, act=act))
    assert y[0::4].isnan().all()
    assert not y[1::4].isnan().any()
    expected = bias_act_reference(torch.tensor([-3.0, 2.0]), dim=0, act=act)
    torch.testing.assert_close(y.reshape(9, 4)[:, 2:], expected.expand(9, 2))
