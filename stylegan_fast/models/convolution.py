"""How the 3x3 convolutions of both networks are computed: decided here and nowhere else.

A convolution has several *forms*, which give the same sums; a composition makes the weight of a form from the scaled
3x3 weight. Which form is fastest depends on the device, the dtype and the shape; docs/performance.md has what was
measured.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylegan_fast.layers import Blur, EqualConv2d
from stylegan_fast.ops import library
from stylegan_fast.ops.arguments import memory_format as memory_format_of
from stylegan_fast.ops.convolution import conv2d, conv_transpose2d

# On CUDA, in 16 bits, channels_last. cuDNN is far from the chip's speed below 64 channels.
# Input channels up to which so many neighbouring pixels are convolved as one: twice the multiplications, in less time.
_PIXELS_AS_ONE = ((32, 2),)
# Output rows from which an up-convolution is made in phases.
_PHASES_FROM = 128


def _is_for_tensor_cores(x: Tensor) -> bool:
    return (
        x.is_cuda
        and x.dtype in (torch.float16, torch.bfloat16)
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch.is_autocast_enabled(x.device.type)
    )


def pixels_as_one(x: Tensor) -> int:
    """How many neighbouring pixels of a row `Conv3x3` takes as one."""
    if not _is_for_tensor_cores(x):
        return 1
    return next(
        (pixels for channels, pixels in _PIXELS_AS_ONE if x.shape[1] <= channels and x.shape[3] % pixels == 0), 1
    )


class Conv3x3(EqualConv2d):
    """3x3 convolution that keeps the size, see `EqualConv2d`; gain sqrt(2)."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True, activation: str = "linear") -> None:
        super().__init__(in_channels, out_channels, 3, bias=bias, gain=math.sqrt(2), activation=activation)

    def convolve(self, x: Tensor) -> Tensor:
        pixels = pixels_as_one(x)
        if pixels == 1:
            return super().convolve(x)
        weight = self.used_weight(x.dtype, _COMPOSITIONS[pixels])
        return split_pixels(conv2d(join_pixels(x, pixels), weight, padding=1), pixels)


class UpConv2d(EqualConv2d):
    """Nearest-neighbour x2, 3x3 convolution: ``conv(up(x))``.

    The blur that follows an up-convolution in StyleGAN is part of the epilogue: ``LayerEpilogue(..., blur=True)``. So
    are the bias, which comes after it, and the interleaving of phases, where they are made instead. With ``bias=True``
    there is a bias before the blur.

    Shapes: x ``[N, in_channels, H, W]`` -> y ``[N, out_channels, 2H, 2W]``, not blurred.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = False) -> None:
        super().__init__(in_channels, out_channels, 3, bias=bias, gain=math.sqrt(2))

    def convolve(self, x: Tensor) -> Tensor:
        return conv_transpose2d(x, self.used_weight(x.dtype, transposed_weight), stride=2, padding=1)

    def is_best_in_phases(self, x: Tensor) -> bool:
        return self.bias is None and _is_for_tensor_cores(x) and 2 * x.shape[2] >= _PHASES_FROM

    def phases(self, x: Tensor) -> Tensor:
        """y as `stylegan_fast.ops.subpixel` takes it: ``[N, 4 * out_channels, H + 1, W + 1]``."""
        return conv2d(x, self.used_weight(x.dtype, phases_weight), padding=1)


class DownConv2d(EqualConv2d):
    """Blur [1, 2, 1] (if wanted), 3x3 convolution, mean over 2x2, bias, leaky ReLU:
    ``lrelu(down(conv(blur(x))) + bias)``.

    Shapes: x ``[N, in_channels, H, W]`` -> y ``[N, out_channels, H / 2, W / 2]``.
    """

    def __init__(self, in_channels: int, out_channels: int, blur: bool = True) -> None:
        super().__init__(in_channels, out_channels, 3, gain=math.sqrt(2), activation="lrelu")
        self.blur = Blur() if blur else nn.Identity()

    def convolve(self, x: Tensor) -> Tensor:
        x = self.blur(x)
        if pixels_as_one(x) == 1:
            return conv2d(x, self.used_weight(x.dtype, strided_weight), stride=2, padding=1)
        weight = self.used_weight(x.dtype, strided_weight_of_pairs)
        return conv2d(join_pixels(x, 2), weight, stride=(2, 1), padding=1)


def join_pixels(x: Tensor, pixels: int) -> Tensor:
    """Neighbours in a row as one pixel of all their channels, ``[N, C, H, W]`` -> ``[N, pixels * C, H, W / pixels]``;
    in channels_last memory that is what lies there already."""
    n, c, h, w = x.shape
    return x.permute(0, 2, 3, 1).reshape(n, h, w // pixels, pixels * c).permute(0, 3, 1, 2)


def split_pixels(x: Tensor, pixels: int) -> Tensor:
    """The inverse of `join_pixels`."""
    n, c, h, w = x.shape
    return x.permute(0, 2, 3, 1).reshape(n, h, w * pixels, c // pixels).permute(0, 3, 1, 2)


def widened_weight(weight: Tensor, pixels: int) -> Tensor:
    """The 3x3 weight with which joined pixels are convolved: ``[O, I, 3, 3]`` to ``[pixels * O, pixels * I, 3, 3]``.

    Output column q of a joined pixel sees columns q - 1 to q + 1, of the 3 * pixels that three joined pixels are.
    """
    taps = [functional.pad(weight, [pixels + q - 1, 2 * pixels - 2 - q]) for q in range(pixels)]
    spread = torch.stack(taps).unflatten(-1, (3, pixels))  # [q, O, I, row, joined pixel, column in it]
    return spread.permute(0, 1, 5, 2, 3, 4).flatten(0, 1).flatten(1, 2)


def pairs_weight(weight: Tensor) -> Tensor:
    return widened_weight(weight, 2)


def quads_weight(weight: Tensor) -> Tensor:
    return widened_weight(weight, 4)


_COMPOSITIONS = {2: pairs_weight, 4: quads_weight}


def transposed_weight(weight: Tensor) -> Tensor:
    """Of an up-convolution as one transposed convolution, ``[O, I, 3, 3]`` to ``[I, O, 4, 4]``: 16 multiplications per
    input pixel instead of 36, no enlarged tensor."""
    # A transposed convolution turns the kernel by 180 degrees, so it is turned before.
    # And a mean times 4, which is exact, is a sum: exporters do not know the pooling that sums.
    return (4 * _means(weight.flip(2, 3))).transpose(0, 1)


def phases_weight(weight: Tensor) -> Tensor:
    """Of an up-convolution as one 2x2 convolution with four times the outputs, ``[O, I, 3, 3]`` to
    ``[4 * O, I, 2, 2]``: the taps that fall on the same small pixel are added."""
    above, middle, below = weight.unbind(2)
    rows = torch.stack([torch.stack([above, middle + below], 2), torch.stack([above + middle, below], 2)])
    left, middle, right = rows.unbind(4)
    columns = torch.stack([torch.stack([left, middle + right], 4), torch.stack([left + middle, right], 4)], 1)
    return columns.flatten(0, 2)  # of [row phase, column phase, O, I, 2, 2]


def strided_weight(weight: Tensor) -> Tensor:
    """Of a convolution and the mean over 2x2 as one strided convolution, ``[O, I, 3, 3]`` to ``[O, I, 4, 4]``: 16
    multiplications per output pixel instead of 36."""
    return _means(weight)


def _means(weight: Tensor) -> Tensor:
    """Of 2x2 neighbours, beyond the border zeros: ``[..., 3, 3]`` to ``[..., 4, 4]``."""
    means = functional.avg_pool2d(weight, 2, stride=1, padding=1)
    if means.requires_grad and weight.is_cpu and library.is_eager(weight):
        # On the CPU a gradient in another layout than the weight's takes pooling backward 20 times as long.
        memory_format = memory_format_of(means)
        means.register_hook(lambda gradient: gradient.contiguous(memory_format=memory_format))
    return means


def strided_weight_of_pairs(weight: Tensor) -> Tensor:
    """The same for joined pairs of pixels, which are already as many as the outputs of a row: ``[O, 2 * I, 4, 3]``."""
    spread = functional.pad(strided_weight(weight), [1, 1]).unflatten(-1, (3, 2))  # [O, I, row, pair, column in it]
    return spread.permute(0, 4, 1, 2, 3).flatten(1, 2)
