"""The ops of the two families from their published definitions, one sum or one torch function at a time, in float64."""

import torch
from torch import Tensor
from torch.nn import functional as F


def up_fir_down(
    x: Tensor,
    f: Tensor | None,
    up: tuple[int, int] = (1, 1),
    down: tuple[int, int] = (1, 1),
    sides: tuple[int, int, int, int] = (0, 0, 0, 0),
    flip: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """Insert zeros, pad or crop, convolve, keep every down-th pixel. Pairs are (x, y), sides (x0, x1, y0, y1)."""
    n, c, h, w = x.shape
    spread = x.new_zeros(n, c, h * up[1], w * up[0])
    spread[:, :, :: up[1], :: up[0]] = x
    spread = F.pad(spread, sides)  # negative numbers crop
    taps = x.new_ones(1, 1) if f is None else f.to(x.dtype)
    taps = torch.outer(taps, taps) if taps.ndim == 1 else taps
    taps = taps if flip else taps.flip([0, 1])  # conv2d correlates
    y = F.conv2d(spread.flatten(0, 1)[:, None], taps[None, None] * gain)
    return y.view(n, c, *y.shape[2:])[:, :, :: down[1], :: down[0]]


def resampled_convolution(
    x: Tensor,
    w: Tensor,
    f: Tensor | None,
    up: int,
    down: int,
    sides: tuple[int, int, int, int],
    groups: int,
    flip_weight: bool,
    flip_filter: bool,
) -> Tensor:
    """Up-sample through f, convolve with w, down-sample through f; aligned so that sizes are those of the factors."""
    x0, x1, y0, y1 = sides
    fw, fh = (1, 1) if f is None else (f.shape[-1], f.shape[0])
    for factor, more in ((up, up - 1), (down, 1 - down)):
        if factor > 1:
            total_x, total_y = fw - 1, fh - 1
            before_x, before_y = (fw + more) // 2, (fh + more) // 2
            x0, x1, y0, y1 = x0 + before_x, x1 + total_x - before_x, y0 + before_y, y1 + total_y - before_y
    u = up_fir_down(x, f if up > 1 else None, (up, up), (1, 1), (x0, x1, y0, y1), flip_filter, up**2)
    u = F.conv2d(u, w if flip_weight else w.flip([2, 3]), groups=groups)
    return u if down == 1 else up_fir_down(u, f, down=(down, down), flip=flip_filter)


def bilinear(image: Tensor, grid: Tensor) -> Tensor:
    """Every pixel's tent at every place: slow, and differentiable as often as one likes."""
    height, width = image.shape[2:]
    x = ((grid[..., 0] + 1) * width - 1) / 2
    y = ((grid[..., 1] + 1) * height - 1) / 2
    tent_x = (1 - (x[..., None] - torch.arange(width)).abs()).clamp(min=0)
    tent_y = (1 - (y[..., None] - torch.arange(height)).abs()).clamp(min=0)
    return torch.einsum("nchw,nijh,nijw->ncij", image, tent_y, tent_x)
