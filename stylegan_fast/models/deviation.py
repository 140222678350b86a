"""The convolution that follows the minibatch standard deviation."""

import math

import torch
from torch import Tensor

from stylegan_fast.layers import EqualConv2d, MinibatchStdDev
from stylegan_fast.ops.convolution import conv2d


class DeviationConv2d(EqualConv2d):
    """``lrelu(conv(mbstd(x)) + bias)``: a 3x3 convolution of x and, as another channel, its deviation.

    That channel is one number s a sample, so it adds ``s[n] * taps[o, i, j]``, where taps is the sum of the channel's
    weights that fall inside the image. An odd number of channels (513), for which cuDNN's kernels are ten to thirty
    times slower, never exists.

    Args:
        channels: of x and y.
        group_size: see `MinibatchStdDev`.

    Shapes: x ``[N, channels, H, W]`` -> y of the same shape. `weight` is ``[channels, channels + 1, 3, 3]``.
    """

    def __init__(self, channels: int, group_size: int) -> None:
        super().__init__(channels + 1, channels, 3, gain=math.sqrt(2), activation="lrelu")
        self.mbstd = MinibatchStdDev(group_size)

    def convolve(self, x: Tensor) -> Tensor:
        taps = conv2d(x.new_ones(1, 1, *x.shape[2:]), self.used_weight(x.dtype, _of_deviation), padding=1)
        statistic = self.mbstd.deviation(x)[:, :, None, None]
        y = conv2d(x, self.used_weight(x.dtype, _of_features), padding=1)
        return y + (statistic * taps).to(y.dtype)


def _of_features(weight: Tensor) -> Tensor:
    return weight[:, :-1].contiguous(memory_format=torch.channels_last)


def _of_deviation(weight: Tensor) -> Tensor:
    return weight[:, -1:]
