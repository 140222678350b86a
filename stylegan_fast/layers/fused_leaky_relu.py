"""Bias and leaky ReLU in one pass."""

import math

import torch
from torch import Tensor, nn

from stylegan_fast.ops.bias_act import bias_act


class FusedLeakyReLU(nn.Module):
    """Per-channel bias, leaky ReLU and gain in one pass over memory.

    ::

        y = gain * leaky_relu(x + bias[c], negative_slope)

    Gain convention: the default sqrt(2) keeps the variance of a unit Gaussian roughly, as StyleGAN 2 and its relatives
    do it after the activation. StyleGAN 1 has its sqrt(2) in the weights instead: there use ``gain=1``.

    Args:
        channels: size of dimension 1 of x.
        negative_slope: slope below zero.
        gain: factor after the activation.

    Shapes: x ``[N, channels, ...]`` -> y of the same shape, dtype and memory format. `bias` [channels] starts at 0.

        >>> act = FusedLeakyReLU(64)
        >>> y = act(torch.nn.functional.conv2d(x, weight, padding=1))   # weight [64, C, 3, 3]
        >>> y.shape                                                     # [N, 64, H, W]
    """

    def __init__(self, channels: int, negative_slope: float = 0.2, gain: float = math.sqrt(2)) -> None:
        super().__init__()
        self.channels = channels
        self.negative_slope = negative_slope
        self.gain = gain
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return bias_act(x, self.bias, dim=1, act="lrelu", alpha=self.negative_slope, gain=self.gain)

    def extra_repr(self) -> str:
        return f"{self.channels}, negative_slope={self.negative_slope:g}, gain={self.gain:.4g}"
