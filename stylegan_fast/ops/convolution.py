"""torch's 2-D convolution, with derivatives of every order that are convolutions of the usual kinds.

::

    y = conv2d(x, w)         dL/dx = transposed conv of dy with w        dL/dw = sum over images and pixels of x * dy

Each of the three is linear in both of its arguments, and the derivatives of each are the other two. torch computes them
so in a first backward pass; in a second one (as a gradient penalty needs) it writes dL/dw as a convolution whose kernel
is as large as the image, for which cuDNN has no fast algorithm: on an H200 seven kernels taken to be these were 229 ms
of a training step at 1024x1024 that took 278. There the functions here ask for the weight gradient by its name instead.
On the CPU torch's own way was as fast; but in bfloat16 on a processor with AMX (torch 2.13) nothing of that gradient
was left at some sizes, like 8 images of 8x8 or 4 of 16x16, so in bfloat16 it is asked for by its name there, too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from stylegan_fast.ops import library
from stylegan_fast.ops.derivatives import is_asked_for

Pair = tuple[int, int]


def conv2d(x: Tensor, weight: Tensor, stride: int | Pair = 1, padding: int | Pair = 0, groups: int = 1) -> Tensor:
    """``torch.nn.functional.conv2d`` without bias and dilation.

    Args:
        x: ``[N, I, H, W]``, any floating dtype, any layout.
        weight: ``[O, I / groups, k, l]``, of the dtype of x.
    """
    if not _is_better(x, weight):
        return functional.conv2d(x, weight, stride=stride, padding=padding, groups=groups)
    y: Tensor = _Convolution.apply(x, weight, _pair(stride), _pair(padding), groups)
    return y


def conv_transpose2d(
    x: Tensor, weight: Tensor, stride: int | Pair = 1, padding: int | Pair = 0, groups: int = 1
) -> Tensor:
    """``torch.nn.functional.conv_transpose2d`` without bias, dilation and output padding.

    Args:
        x: ``[N, I, H, W]``.
        weight: ``[I, O / groups, k, l]``.
    """
    if not _is_better(x, weight):
        return functional.conv_transpose2d(x, weight, stride=stride, padding=padding, groups=groups)
    strides, paddings = _pair(stride), _pair(padding)
    size = [(x.shape[2 + axis] - 1) * strides[axis] - 2 * paddings[axis] + weight.shape[2 + axis] for axis in range(2)]
    y: Tensor = _InputGradient.apply(
        x, weight, (x.shape[0], weight.shape[1] * groups, *size), strides, paddings, groups
    )
    return y


def _is_better(x: Tensor, weight: Tensor) -> bool:
    return (
        (x.is_cuda or (x.is_cpu and x.dtype == torch.bfloat16))
        and torch.is_grad_enabled()
        and library.is_eager(x, weight)
        and not torch.is_autocast_enabled(x.device.type)
    )


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else value


def _format(tensor: Tensor) -> torch.memory_format:
    channels_last = tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()
    return torch.channels_last if channels_last else torch.contiguous_format


def _backward(dy: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair, groups: int, which: int) -> Tensor:
    """dL/dx (which = 0) or dL/dw (1); of the one asked for only the shape is read."""
    mask = [which == 0, which == 1, False]
    gradients = torch.ops.aten.convolution_backward(
        dy, x, weight, None, stride, padding, (1, 1), False, (0, 0), groups, mask
    )
    gradient: Tensor = gradients[which]
    return gradient


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: Pair, padding: Pair, groups: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.how = stride, padding, groups
        return functional.conv2d(x, weight, stride=stride, padding=padding, groups=groups)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        dx = _InputGradient.apply(dy, weight, tuple(x.shape), *ctx.how) if is_asked_for(ctx, 0) else None
        dw = _WeightGradient.apply(dy, x, tuple(weight.shape), *ctx.how) if is_asked_for(ctx, 1) else None
        return dx, dw, None, None, None


class _InputGradient(torch.autograd.Function):
    """Also the transposed convolution; `shape` is that of the result."""

    @staticmethod
    def forward(
        ctx: Any, dy: Tensor, weight: Tensor, shape: tuple[int, ...], stride: Pair, padding: Pair, groups: int
    ) -> Tensor:
        ctx.save_for_backward(dy, weight)
        ctx.how = stride, padding, groups
        x = torch.empty(shape, dtype=dy.dtype, device=dy.device, memory_format=_format(dy))
        return _backward(dy, x, weight, stride, padding, groups, 0)

    @staticmethod
    def backward(ctx: Any, ddx: Tensor) -> tuple[Tensor | None, ...]:
        dy, weight = ctx.saved_tensors
        ddy = _Convolution.apply(ddx, weight, *ctx.how) if is_asked_for(ctx, 0) else None
        dw = _WeightGradient.apply(dy, ddx, tuple(weight.shape), *ctx.how) if is_asked_for(ctx, 1) else None
        return ddy, dw, None, None, None, None


class _WeightGradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, dy: Tensor, x: Tensor, shape: tuple[int, ...], stride: Pair, padding: Pair, groups: int
    ) -> Tensor:
        ctx.save_for_backward(dy, x)
        ctx.how = stride, padding, groups
        weight = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=_format(x))
        return _backward(dy, x, weight, stride, padding, groups, 1)

    @staticmethod
    def backward(ctx: Any, ddw: Tensor) -> tuple[Tensor | None, ...]:
        dy, x = ctx.saved_tensors
        ddy = _Convolution.apply(x, ddw, *ctx.how) if is_asked_for(ctx, 0) else None
        dx = _InputGradient.apply(dy, ddw, tuple(x.shape), *ctx.how) if is_asked_for(ctx, 1) else None
        return ddy, dx, None, None, None, None
