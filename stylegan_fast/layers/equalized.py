"""Layers with an equalised learning rate: weights are stored unscaled and scaled each time they are used.

"Progressive Growing of GANs" (arXiv 1710.10196), section 4.1.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylegan_fast.ops import library
from stylegan_fast.ops.bias_act import bias_act
from stylegan_fast.ops.convolution import conv2d

# Every leaky ReLU of the StyleGAN networks.
LEAKY_SLOPE = 0.2

_ACTIVATIONS = ("linear", "lrelu")


Composition = Callable[[Tensor], Tensor]


def as_it_is(weight: Tensor) -> Tensor:
    """The composition that changes nothing."""
    return weight


class _Equalized(nn.Module):
    """What the equalised layers share: a weight and a bias stored unscaled, and an activation."""

    _kept: dict[tuple[Composition, torch.dtype], Tensor] | None

    def __init__(
        self, weight_shape: tuple[int, ...], bias: bool, gain: float, lr_multiplier: float, activation: str
    ) -> None:
        super().__init__()
        if activation not in _ACTIVATIONS:
            raise ValueError(
                f"{type(self).__name__}: activation is {activation!r}, expected one of {', '.join(_ACTIVATIONS)}"
            )
        self.gain = gain
        self.lr_multiplier = lr_multiplier
        self.activation = activation
        self.weight = nn.Parameter(torch.randn(weight_shape) / lr_multiplier)
        self.bias = nn.Parameter(torch.zeros(weight_shape[0])) if bias else None
        self._kept = None

    @property
    def weight_scale(self) -> float:
        """What the stored weight is multiplied by when it is used."""
        return self.gain / math.sqrt(math.prod(self.weight.shape[1:])) * self.lr_multiplier

    def scaled_bias(self) -> Tensor | None:
        """The bias as it is added: None, or one number an output."""
        if self.bias is None or self.lr_multiplier == 1:
            return self.bias
        return self.bias * self.lr_multiplier

    def scaled_weight(self) -> Tensor:
        """The weight with its scale."""
        return self.weight * self.weight_scale

    def used_weight(self, dtype: torch.dtype, compose: Composition = as_it_is) -> Tensor:
        """The scaled weight in the form and dtype in which it is computed with, ``compose(scaled_weight()).to(dtype)``
        but for rounding; worked out once for each of them after `keep_weights`.

        Args:
            compose: a linear function, of a module, not made anew for each call.
        """
        if self._kept is None:
            return _scaled(compose(self.weight), self.weight_scale, dtype)
        if (compose, dtype) in self._kept:
            return self._kept[compose, dtype]
        with torch.inference_mode(False), torch.no_grad():
            weight = _scaled(compose(self.weight), self.weight_scale, dtype)
            if weight.ndim == 4:  # a convolution with such a weight makes channels_last of whatever comes
                weight = weight.contiguous(memory_format=torch.channels_last)
        if not torch.compiler.is_compiling():
            self._kept[compose, dtype] = weight
        return weight

    def keep_weights(self) -> None:
        """For inference: from now on a weight is worked out when it is first used. Later changes of the parameters have
        no effect."""
        self._kept = {}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        if self._kept is not None:  # on another device they are worked out again
            self._kept = {}
        return super()._apply(fn, recurse)


def _scaled(weight: Tensor, scale: float, dtype: torch.dtype) -> Tensor:
    """``(weight * scale).to(dtype)``."""
    if weight.dtype == dtype or not library.is_eager(weight):
        return (weight * scale).to(dtype)
    scaled: Tensor = _ScaledCast.apply(weight, scale, dtype)
    return scaled


class _ScaledCast(torch.autograd.Function):
    """The same in one pass on CUDA, and so is its gradient; in a training step all weights go this way, and back.

    Both multiply in the dtype of the weight: a number would not widen a gradient of 16 bits, a tensor does.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, scale: float, dtype: torch.dtype) -> Tensor:
        ctx.scale, ctx.dtype = scale, weight.dtype
        if weight.is_cpu:  # there one pass over a weight in channels_last takes five times as long as two
            return (weight * scale).to(dtype)
        return torch.mul(weight, scale, out=torch.empty_like(weight, dtype=dtype))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        scale = gradient.new_full((1,) * gradient.ndim, ctx.scale, dtype=ctx.dtype)
        return gradient * scale, None, None


class EqualLinear(_Equalized):
    """Fully connected layer with an equalised learning rate.

    ::

        y = act(x @ (weight * gain / sqrt(in_features) * lr_multiplier)^T + bias * lr_multiplier)

    Gain convention: `gain` is part of the weight's scale (sqrt(2) before a leaky ReLU, 1 before nothing); nothing is
    multiplied after the activation. `weight` [out_features, in_features] starts as N(0, 1) / `lr_multiplier`, so the
    first output does not depend on `lr_multiplier`; `bias` [out_features] starts at 0. Dropping the optimiser's
    effective learning rate by `lr_multiplier` is the trick of StyleGAN's mapping network (0.01; arXiv 1812.04948,
    appendix C).

    Args:
        in_features, out_features: widths of the last dimension of x and y.
        bias: learn an additive bias.
        gain: standard deviation of y for x of unit variance, before bias and activation.
        lr_multiplier: scale of weight and bias.
        activation: "linear", or "lrelu" (slope 0.2, gain 1).

    Shapes: x ``[..., in_features]`` -> y ``[..., out_features]``, computed in the dtype of x.

        >>> layer = EqualLinear(512, 256, gain=2 ** 0.5, activation="lrelu")
        >>> y = layer(torch.randn(4, 512))
        >>> y.shape                                                     # torch.Size([4, 256])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        gain: float = 1.0,
        lr_multiplier: float = 1.0,
        activation: str = "linear",
    ) -> None:
        super().__init__((out_features, in_features), bias, gain, lr_multiplier, activation)
        self.in_features = in_features
        self.out_features = out_features

    def project(self, x: Tensor) -> Tensor:
        """The matrix product alone, without bias and activation."""
        return functional.linear(x, self.used_weight(x.dtype))

    def forward(self, x: Tensor) -> Tensor:
        bias = self.scaled_bias()
        if self.activation == "linear" and bias is not None:
            return functional.linear(x, self.used_weight(x.dtype), bias.to(x.dtype))
        return bias_act(self.project(x), bias, dim=x.ndim - 1, act=self.activation, gain=1)

    def extra_repr(self) -> str:
        return (
            f"{self.in_features}, {self.out_features}, bias={self.bias is not None}, gain={self.gain:.4g}, "
            f"lr_multiplier={self.lr_multiplier:g}, activation={self.activation}"
        )


class EqualConv2d(_Equalized):
    """2-D convolution with an equalised learning rate.

    ::

        y = act(conv2d(x, weight * gain / sqrt(in_channels * kernel_size^2) * lr_multiplier) + bias * lr_multiplier)

    Gain convention: `gain` is part of the weight's scale (sqrt(2) before a leaky ReLU, 1 before nothing); nothing is
    multiplied after the activation. `weight` [out_channels, in_channels, k, k] starts as N(0, 1) / `lr_multiplier`,
    `bias` [out_channels] at 0.

    Args:
        in_channels, out_channels, kernel_size, stride: as in `torch.nn.Conv2d`.
        padding: zeros on every side; None keeps the size of odd kernels (``kernel_size // 2``).
        bias, gain, lr_multiplier, activation: as in `EqualLinear`.

    Shapes: x ``[N, in_channels, H, W]`` -> y ``[N, out_channels, H', W']``, computed in the dtype of x.

        >>> conv = EqualConv2d(3, 64, kernel_size=3, gain=2 ** 0.5, activation="lrelu")
        >>> y = conv(torch.randn(4, 3, 32, 32))
        >>> y.shape                                                     # torch.Size([4, 64, 32, 32])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int | None = None,
        bias: bool = True,
        gain: float = 1.0,
        lr_multiplier: float = 1.0,
        activation: str = "linear",
    ) -> None:
        super().__init__((out_channels, in_channels, kernel_size, kernel_size), bias, gain, lr_multiplier, activation)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = kernel_size // 2 if padding is None else padding

    def convolve(self, x: Tensor) -> Tensor:
        """The convolution alone, without bias and activation."""
        return conv2d(x, self.used_weight(x.dtype), stride=self.stride, padding=self.padding)

    def forward(self, x: Tensor) -> Tensor:
        y, bias = self.convolve(x), self.scaled_bias()
        return y if bias is None and self.activation == "linear" else bias_act(y, bias, act=self.activation, gain=1)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, bias={self.bias is not None}, gain={self.gain:.4g}, "
            f"lr_multiplier={self.lr_multiplier:g}, activation={self.activation}"
        )
