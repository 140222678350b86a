"""Convolutions with the surface of ``torch_utils.ops.conv2d_gradfix``.

Those without dilation, output padding and padding by name are `stylegan_fast.ops.convolution`'s; the others are
PyTorch's own, which have had derivatives of any order since 1.11. `enabled` may be set, as the projects do, and changes
nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from stylegan_fast.ops import convolution

enabled = False
weight_gradients_disabled = False

_Size = int | tuple[int, int] | list[int]


@contextlib.contextmanager
def no_weight_gradients(disable: bool = True) -> Iterator[None]:
    """Backward passes inside give the weights of these convolutions no gradient."""
    global weight_gradients_disabled
    before = weight_gradients_disabled
    weight_gradients_disabled = before or disable
    try:
        yield
    finally:
        weight_gradients_disabled = before


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: _Size = 1,
    padding: _Size = 0,
    dilation: _Size = 1,
    groups: int = 1,
) -> Tensor:
    """`torch.nn.functional.conv2d`."""
    if input.ndim == 4 and _pair(dilation) == (1, 1) and not isinstance(padding, str):
        return _biased(convolution.conv2d(input, _gated(weight), _pair(stride), _pair(padding), groups), bias)
    return functional.conv2d(input, _gated(weight), bias, stride, padding, dilation, groups)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: _Size = 1,
    padding: _Size = 0,
    output_padding: _Size = 0,
    groups: int = 1,
    dilation: _Size = 1,
) -> Tensor:
    """`torch.nn.functional.conv_transpose2d`."""
    if input.ndim == 4 and _pair(dilation) == (1, 1) and _pair(output_padding) == (0, 0):
        y = convolution.conv_transpose2d(input, _gated(weight), _pair(stride), _pair(padding), groups)
        return _biased(y, bias)
    return functional.conv_transpose2d(input, _gated(weight), bias, stride, padding, output_padding, groups, dilation)


def _pair(size: _Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[-1])


def _biased(y: Tensor, bias: Tensor | None) -> Tensor:
    return y if bias is None else y + bias.to(y.dtype)[:, None, None]


def _gated(weight: Tensor) -> Tensor:
    return _Gate.apply(weight) if weight.requires_grad and torch.is_grad_enabled() else weight


class _Gate(torch.autograd.Function):
    """The tensor itself, and its gradient unless `weight_gradients_disabled` when that is computed."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor | None:
        return None if weight_gradients_disabled else gradient
