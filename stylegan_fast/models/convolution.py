"""Convolutions that change the resolution. How they are computed is decided here and nowhere else."""

import math

from torch import Tensor
from torch.nn import functional

from stylegan_fast.layers import Blur, EqualConv2d


class UpConv2d(EqualConv2d):
    """Nearest-neighbour x2, 3x3 convolution: ``conv(up(x))``.

    The blur that follows an up-convolution in StyleGAN is part of the epilogue: ``LayerEpilogue(..., blur=True)``. So
    is the bias, which comes after it; with ``bias=True`` there is one before it.

    Shapes: x ``[N, in_channels, H, W]`` -> y ``[N, out_channels, 2H, 2W]``, not blurred.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = False) -> None:
        super().__init__(in_channels, out_channels, 3, bias=bias, gain=math.sqrt(2))

    def composed_weight(self) -> Tensor:
        # The same sum as one transposed convolution: 16 multiplications per input pixel instead of 36, no enlarged
        # tensor. It turns the kernel by 180 degrees, so the kernel is turned before.
        return _sum_of_shifts(self.scaled_weight().flip(2, 3)).transpose(0, 1)

    def convolve(self, x: Tensor) -> Tensor:
        return functional.conv_transpose2d(x, self.used_weight(x.dtype), stride=2, padding=1)


class DownConv2d(EqualConv2d):
    """Blur [1, 2, 1], 3x3 convolution, mean over 2x2, bias, leaky ReLU: ``lrelu(down(conv(blur(x))) + bias)``.

    Shapes: x ``[N, in_channels, H, W]`` -> y ``[N, out_channels, H / 2, W / 2]``.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, gain=math.sqrt(2), activation="lrelu")
        self.blur = Blur()

    def composed_weight(self) -> Tensor:
        # Convolution and mean in one: 16 multiplications per output pixel instead of 36.
        return _sum_of_shifts(self.scaled_weight()) / 4

    def convolve(self, x: Tensor) -> Tensor:
        return functional.conv2d(self.blur(x), self.used_weight(x.dtype), stride=2, padding=1)


def _sum_of_shifts(weight: Tensor) -> Tensor:
    """A 3x3 kernel convolved with 2x2 ones: ``[O, I, 3, 3]`` to ``[O, I, 4, 4]``."""
    padded = functional.pad(weight, [1, 1, 1, 1])
    rows = padded[:, :, 1:] + padded[:, :, :-1]
    return rows[..., 1:] + rows[..., :-1]
