"""Tensors beyond 2^31 elements and grids beyond CUDA's limits, where the device has the memory."""

import math

import pytest
import torch
from torch import Tensor

from stylegan_fast.ops import (
    adain,
    adain_reference,
    bias_act,
    bias_act_reference,
    philox_normal,
    setup_filter,
    upsample2d,
)
from tests.philox_formula import assert_normal_of

from .device import DEVICE, back, there

pytestmark = pytest.mark.gpu

BEYOND = 2**31
BOTH_LAYOUTS = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)


def needs_memory(gigabytes: float) -> None:
    torch.cuda.empty_cache()
    free = torch.cuda.mem_get_info()[0] / 1e9
    if free < gigabytes:
        pytest.skip(f"needs {gigabytes:.0f} GB of free device memory, there are {free:.0f}")


def drawn(shape: tuple[int, ...], layout: torch.memory_format = torch.contiguous_format) -> Tensor:
    x = torch.empty(shape, dtype=torch.bfloat16, device=DEVICE, memory_format=layout)
    assert x.numel() > BEYOND
    return x.normal_(generator=torch.Generator(DEVICE).manual_seed(0))


def assert_near(ours: Tensor, truth: Tensor) -> None:
    """To two ulp of bfloat16 of the largest value."""
    torch.testing.assert_close(back(ours).double(), truth, rtol=0, atol=2**-7 * float(truth.abs().max()))


@BOTH_LAYOUTS
@pytest.mark.parametrize("shape", [(2, 67, 4096, 4096), (33, 256, 512, 512)], ids=str)
def test_adain_beyond_2_to_the_31_elements(shape: tuple[int, ...], layout: torch.memory_format) -> None:
    needs_memory(4 * 2 * math.prod(shape) / 1e9 + 2)  # x, y, dx and what the allocator wastes, in bfloat16
    n, c, h, w = shape
    x = drawn(shape, layout).requires_grad_()
    scale = torch.linspace(0.5, 2, n * c, device=DEVICE).reshape(n, c).requires_grad_()
    y = adain(x, scale, negative_slope=0.2)
    y.backward(y.detach())
    for i, j in {(0, 0), (n - 1, c - 1), (BEYOND // (c * h * w), BEYOND // (h * w) % c)}:
        plane = back(x.detach()[i : i + 1, j : j + 1]).double().requires_grad_()
        gain = back(scale.detach()[i : i + 1, j : j + 1]).double().requires_grad_()
        truth = adain_reference(plane, gain, negative_slope=0.2)
        assert_near(y.detach()[i : i + 1, j : j + 1], truth.detach())
        dy = back(y.detach()[i : i + 1, j : j + 1]).double()
        dx, dscale = torch.autograd.grad(truth, [plane, gain], dy)
        assert_near(x.grad[i : i + 1, j : j + 1], dx)
        torch.testing.assert_close(back(scale.grad[i, j]).double(), dscale[0, 0], rtol=1e-2, atol=0)


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((70_001, 3, 2, 2), torch.contiguous_format),
        ((2, 70_001, 2, 2), torch.contiguous_format),
        ((70_001, 2, 2, 2), torch.channels_last),
        ((1, 32 * 65_600, 1, 2), torch.channels_last),
    ],
    ids=str,
)
def test_adain_of_more_samples_or_slabs_than_a_grid_is_high(
    shape: tuple[int, ...], layout: torch.memory_format
) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 3
    truth = adain_reference(x.double(), eps=1e-2)
    y = adain(there(x).contiguous(memory_format=layout), eps=1e-2)
    torch.testing.assert_close(back(y).double(), truth, rtol=0, atol=1e-5)


@pytest.mark.parametrize("act", ["lrelu", "swish"])
def test_bias_act_beyond_2_to_the_31_elements(act: str) -> None:
    needs_memory(24)
    x = drawn((33, 256, 512, 512)).requires_grad_()
    b = torch.linspace(-1, 1, 256, device=DEVICE)
    y = bias_act(x, b, act=act)
    (dx,) = torch.autograd.grad(y, x, x.detach())
    for sample in (0, 31, 32):
        piece = back(x.detach()[sample : sample + 1, :, -2:]).double().requires_grad_()
        truth = bias_act_reference(piece, back(b).double(), act=act)
        assert_near(y.detach()[sample : sample + 1, :, -2:], truth.detach())
        assert_near(dx[sample : sample + 1, :, -2:], *torch.autograd.grad(truth, piece, piece.detach()))


@BOTH_LAYOUTS
def test_upfirdn2d_beyond_2_to_the_31_elements(layout: torch.memory_format) -> None:
    needs_memory(10)
    x = torch.empty((1, 9, 8192, 8192), dtype=torch.bfloat16, device=DEVICE, memory_format=layout)
    x.normal_(generator=torch.Generator(DEVICE).manual_seed(0))
    y = upsample2d(x, there(setup_filter([1, 1])))  # nearest neighbours: exact
    assert y.numel() > BEYOND
    for channel, row in ((0, 0), (7, 8000), (8, 8190)):
        piece = x[0, channel, row : row + 2]
        expected = piece.repeat_interleave(2, 0).repeat_interleave(2, 1)
        assert torch.equal(y[0, channel, 2 * row : 2 * row + 4], expected)


def test_philox_normal_beyond_2_to_the_31_numbers() -> None:
    needs_memory(10)
    rows, width = BEYOND // 2**16 + 1, 2**16
    last = philox_normal(torch.tensor([-5], device=DEVICE), rows, width)[0, 0, -1]
    assert_normal_of(back(last).numpy(), -5, first=BEYOND)
