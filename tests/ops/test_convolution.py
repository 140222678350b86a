"""The convolution whose derivatives of every order are convolutions, against torch's own."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional

from stylegan_fast.ops import convolution
from stylegan_fast.ops.convolution import conv2d, conv_transpose2d

# stride, padding, size of the kernel
WAYS = [(1, 1, (3, 3)), (2, 1, (4, 4)), ((2, 1), (1, 1), (4, 3)), (1, 1, (2, 2)), (1, 0, (1, 1))]
Function = Callable[[Tensor, Tensor], Tensor]


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only on CUDA, where it is faster."""
    monkeypatch.setattr(convolution, "_is_better", lambda x, weight: True)


def drawn(*shape: int, channels_last: bool = False) -> Tensor:
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))
    return x.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def third_order(call: Function, x: Tensor, weight: Tensor) -> list[Tensor]:
    """y, and derivatives of the first, second and third order of x and weight, each entering the next one."""
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    y = call(x, weight)
    found, value = [y], y.tanh().sum()
    for _ in range(3):
        gradients = torch.autograd.grad(value, [x, weight], create_graph=True)
        found += gradients
        value = sum((g.square().tanh().sum() for g in gradients), torch.zeros((), dtype=x.dtype))
    return [tensor.detach() for tensor in found]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("stride", "padding", "size"), WAYS)
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("transposed", [False, True])
def test_values_and_derivatives_of_three_orders_are_those_of_torch(
    everywhere: None,
    transposed: bool,
    groups: int,
    stride: int,
    padding: int,
    size: tuple[int, int],
    channels_last: bool,
) -> None:
    ours, theirs = (conv_transpose2d, functional.conv_transpose2d) if transposed else (conv2d, functional.conv2d)
    x = drawn(2, 3 * groups, 6, 8, channels_last=channels_last)
    weight = drawn(*((3 * groups, 5) if transposed else (5 * groups, 3)), *size) / 4
    found = third_order(lambda x, w: ours(x, w, stride, padding, groups), x, weight)
    expected = third_order(lambda x, w: theirs(x, w, stride=stride, padding=padding, groups=groups), x, weight)
    for mine, exact in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, exact, rtol=1e-9, atol=1e-10)
    if channels_last:
        assert found[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("stride", "padding", "size"), WAYS[:2])
def test_derivatives_match_finite_differences(
    everywhere: None, stride: int, padding: int, size: tuple[int, int]
) -> None:
    x, weight = drawn(2, 2, 4, 4).requires_grad_(), drawn(3, 2, *size).requires_grad_()
    assert gradcheck(lambda x, w: conv2d(x, w, stride, padding), [x, weight])
    assert gradgradcheck(lambda x, w: conv2d(x, w, stride, padding), [x, weight])


def test_nothing_is_computed_for_what_needs_no_gradient(everywhere: None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    computed = convolution._backward

    def spy(*arguments: object) -> Tensor:
        asked.append(arguments[-1])
        return computed(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(convolution, "_backward", spy)
    x, weight = drawn(1, 2, 4, 4), drawn(2, 2, 3, 3).requires_grad_()
    conv2d(x, weight, padding=1).sum().backward()
    assert asked == [1]


def test_traced_and_transformed_calls_are_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = drawn(1, 2, 4, 4), drawn(2, 2, 3, 3)
    gradient = torch.func.grad(lambda w: conv2d(x, w, padding=1).square().sum())(weight)
    leaf = weight.clone().requires_grad_()
    functional.conv2d(x, leaf, padding=1).square().sum().backward()
    torch.testing.assert_close(gradient, leaf.grad)
    compiled = torch.compile(lambda x, w: conv2d(x, w, padding=1), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, weight), functional.conv2d(x, weight, padding=1))


def test_a_penalty_on_the_gradient_of_x_computes_no_gradient_of_weights(
    everywhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = []
    backward = convolution._backward
    monkeypatch.setattr(convolution, "_backward", lambda *a: computed.append(a[-1]) or backward(*a))
    x, leaf = drawn(2, 3, 4, 4).requires_grad_(), drawn(3, 3, 3, 3).requires_grad_()
    weight = leaf * 2
    y = conv2d(conv2d(x, weight, padding=1).sin(), leaf, padding=1)
    (dx,) = torch.autograd.grad(y.sin().sum(), x, create_graph=True)
    assert computed == [0, 0]
    computed.clear()
    dx.square().sum().backward()
    assert computed.count(1) == 4  # of each convolution: as it is, and as its gradient passes through it
    torch.testing.assert_close(leaf.grad, _of_the_penalty(x, leaf))


def _of_the_penalty(x: Tensor, leaf: Tensor) -> Tensor:
    x, leaf = (tensor.detach().requires_grad_() for tensor in (x, leaf))
    y = functional.conv2d(functional.conv2d(x, leaf * 2, padding=1).sin(), leaf, padding=1)
    (dx,) = torch.autograd.grad(y.sin().sum(), x, create_graph=True)
    (gradient,) = torch.autograd.grad(dx.square().sum(), leaf)
    return gradient


def test_a_gradient_of_images_alone_computes_none_of_weights(everywhere: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a gradient penalty asks for it: the weights need gradients, but later."""
    asked = []
    computed = convolution._backward

    def spy(*arguments: object) -> Tensor:
        asked.append(arguments[-1])
        return computed(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(convolution, "_backward", spy)
    x, weight = drawn(1, 2, 4, 4).requires_grad_(), drawn(2, 2, 3, 3).requires_grad_()
    torch.autograd.grad(conv2d(x, weight, padding=1).square().sum(), x, create_graph=True)
    assert asked == [0]


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("call", "size"), [(conv2d, (3, 3)), (conv_transpose2d, (3, 3)), (conv2d, (4, 4))])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_penalty_s_gradient_of_the_weight_survives_sixteen_bits(
    call: Callable[..., Tensor], size: tuple[int, int], groups: int, dtype: torch.dtype
) -> None:
    """On a processor with AMX torch's own way loses it in bfloat16 at this size."""

    def gradient(dtype: torch.dtype) -> Tensor:
        x = drawn(4, 8 * groups, 16, 16).to(dtype).requires_grad_()
        weight = (drawn(8 * groups, 8, *size) / 8).to(dtype).requires_grad_()
        y = call(x, weight, 1, 1, groups)
        (dx,) = torch.autograd.grad(y, x, torch.linspace(-1, 1, y.numel()).view_as(y).to(dtype), create_graph=True)
        (dw,) = torch.autograd.grad(dx.float().square().sum(), weight)
        return dw.float()

    exact = gradient(torch.float32)
    assert (gradient(dtype) - exact).norm() < 0.02 * exact.norm()
