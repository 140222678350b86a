"""Blur, upsampling and downsampling with a small fixed filter."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stylegan_fast.ops.upfirdn2d import downsample2d, filter2d, setup_filter, upsample2d


def _filter(taps: Sequence[float]) -> Tensor:
    # On the default device, where the other tensors of a module under construction are, "meta" included.
    return setup_filter(list(taps), device=torch.get_default_device())


class Blur(nn.Module):
    """Low-pass filter of every channel at constant size.

    ::

        y[n, c] = x[n, c] * outer(f, f) / sum(f)^2        (convolution, zeros beyond the border)

    Gain convention: the filter sums to 1. The zero border darkens the outermost pixels, as in StyleGAN.

    Args:
        f: the 1-D filter, applied along both axes. (1, 2, 1) is StyleGAN 1's, (1, 3, 3, 1) StyleGAN 2's.

    Shapes: x ``[N, C, H, W]`` -> y of the same shape, dtype and memory format. No parameters, nothing in the
    state dict.

        >>> blur = Blur()
        >>> y = blur(torch.randn(4, 64, 32, 32))
        >>> y.shape                                                     # torch.Size([4, 64, 32, 32])
    """

    f: Tensor

    def __init__(self, f: Sequence[float] = (1, 2, 1)) -> None:
        super().__init__()
        self.taps = tuple(float(tap) for tap in f)
        self.register_buffer("f", _filter(self.taps), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return filter2d(x, self.f)

    def extra_repr(self) -> str:
        return f"f={list(self.taps)}"


class _ByAFactor(nn.Module):
    """What both ways share: the factor, and a filter whose default is `factor` ones."""

    f: Tensor

    def __init__(self, factor: int = 2, f: Sequence[float] | None = None) -> None:
        super().__init__()
        self.factor = factor
        self.taps = (1.0,) * factor if f is None else tuple(float(tap) for tap in f)
        self.register_buffer("f", _filter(self.taps), persistent=False)

    def extra_repr(self) -> str:
        return f"factor={self.factor}, f={list(self.taps)}"


class Upsample(_ByAFactor):
    """Enlarges every channel by a whole factor: zeros between the pixels, then a low-pass filter.

    ::

        y[n, c] = factor^2 * (x[n, c] with factor-1 zeros after every pixel) * outer(f, f) / sum(f)^2

    Gain convention: the mean brightness stays. The default filter, `factor` ones, repeats every pixel (nearest
    neighbour, StyleGAN 1); (1, 3, 3, 1) with factor 2 is StyleGAN 2's.

    Args:
        factor: enlargement of both axes.
        f: the 1-D filter; None is nearest neighbour.

    Shapes: x ``[N, C, H, W]`` -> y ``[N, C, H * factor, W * factor]``, same dtype and memory format. No parameters,
    nothing in the state dict.

        >>> up = Upsample()
        >>> y = up(torch.randn(4, 64, 32, 32))
        >>> y.shape                                                     # torch.Size([4, 64, 64, 64])
    """

    def forward(self, x: Tensor) -> Tensor:
        return upsample2d(x, self.f, up=self.factor)


class Downsample(_ByAFactor):
    """Shrinks every channel by a whole factor: a low-pass filter, then every factor-th pixel.

    ::

        y[n, c] = (x[n, c] * outer(f, f) / sum(f)^2)[::factor, ::factor]

    Gain convention: the mean brightness stays. The default filter, `factor` ones, is the mean of each block of pixels
    (box filter, StyleGAN 1); (1, 3, 3, 1) with factor 2 is StyleGAN 2's.

    Args:
        factor: reduction of both axes.
        f: the 1-D filter; None is the box.

    Shapes: x ``[N, C, H, W]`` -> y ``[N, C, H / factor, W / factor]``, same dtype and memory format. No parameters,
    nothing in the state dict.

        >>> down = Downsample()
        >>> y = down(torch.randn(4, 64, 32, 32))
        >>> y.shape                                                     # torch.Size([4, 64, 16, 16])
    """

    def forward(self, x: Tensor) -> Tensor:
        return downsample2d(x, self.f, down=self.factor)
