"""adain's derivatives: first, second and third order against finite differences, and autograd's own rules."""

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from stylegan_fast.ops import adain, use_backend

from .cases import Spy, laid_out, needs_extension

BACKENDS = ["reference", pytest.param("cpu", marks=needs_extension)]
pytestmark = pytest.mark.parametrize("backend", BACKENDS)


def leaves(n: int = 2, c: int = 3, h: int = 3, w: int = 4) -> list[Tensor]:
    """x, scale, shift, noise, noise_strength, bias; no activation's corner is near (asserted below)."""
    g = torch.Generator().manual_seed(2)
    sizes = [(n, c, h, w), (n, c), (n, c), (1, 1, h, w), (c,), (c,)]
    return [torch.randn(s, generator=g, dtype=torch.float64, requires_grad=True) for s in sizes]


def everything(x: Tensor, scale: Tensor, shift: Tensor, noise: Tensor, strength: Tensor, bias: Tensor) -> Tensor:
    return adain(
        x,
        scale,
        shift,
        noise=noise,
        noise_strength=strength,
        bias=bias,
        negative_slope=0.2,
        eps=1e-2,
        output_negative_slope=0.3,
    )


def test_the_chosen_numbers_are_away_from_the_corners(backend: str) -> None:
    x, scale, shift, noise, strength, bias = leaves()
    with use_backend(backend):
        t = x + strength[:, None, None] * noise + bias[:, None, None]
        y = everything(x, scale, shift, noise, strength, bias)
    assert t.abs().min() > 1e-3
    assert y.abs().min() > 1e-3


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_first_and_second_derivatives(backend: str, layout: str) -> None:
    inputs = leaves()

    def call(x: Tensor, *parameters: Tensor) -> Tensor:
        return everything(laid_out(x, layout), *parameters)

    with use_backend(backend):
        assert gradcheck(call, inputs)
        assert gradgradcheck(call, inputs)


def test_second_derivatives_of_plain_instance_norm(backend: str) -> None:
    (x, *_) = leaves(1, 2, 3, 3)
    with use_backend(backend):
        assert gradgradcheck(lambda x: adain(x, eps=1e-2), [x])


def test_third_derivative(backend: str) -> None:
    x, scale, shift, *_ = leaves(1, 1, 2, 3)

    def gradient(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        y = adain(x, scale, shift, eps=1e-1)
        (dx,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
        return dx

    with use_backend(backend):
        assert gradgradcheck(gradient, [x, scale, shift])


def test_one_tensor_as_two_arguments_gets_the_gradient_of_both(backend: str) -> None:
    x, style, *_ = leaves()
    with use_backend(backend):
        assert gradgradcheck(lambda x, s: adain(x, s, s, eps=1e-2), [x, style])


def test_parameters_of_other_dtypes_get_gradients_of_their_own(backend: str) -> None:
    x = torch.randn(2, 3, 4, 4, dtype=torch.bfloat16, requires_grad=True)
    scale = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.bfloat16, requires_grad=True)
    with use_backend(backend):
        y = adain(x, scale, bias=bias)
        y.float().square().sum().backward()
    assert (y.dtype, x.grad.dtype, scale.grad.dtype, bias.grad.dtype) == (
        torch.bfloat16,
        torch.bfloat16,
        torch.float64,
        torch.bfloat16,
    )


def test_autocast_leaves_the_dtype_of_x(backend: str) -> None:
    x = torch.randn(2, 3, 4, 4)
    with use_backend(backend), torch.autocast("cpu", dtype=torch.bfloat16):
        y = adain(x, torch.randn(3, dtype=torch.bfloat16))
        assert y.dtype == torch.float32
        assert adain(x.bfloat16()).dtype == torch.bfloat16


def test_backward_runs_on_the_backend_of_its_forward(backend: str, spy: Spy) -> None:
    x = torch.randn(1, 2, 3, 3, requires_grad=True)
    with use_backend(backend):
        y = adain(x)
    with use_backend("reference" if backend == "cpu" else "cpu"):
        y.square().sum().backward()
    assert spy.ran == (["adain_forward", "adain_backward"] if backend == "cpu" else [])
