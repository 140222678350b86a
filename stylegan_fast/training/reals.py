"""From stored pixels to what the discriminator sees."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def pixels_to_float(pixels: Tensor) -> Tensor:
    """uint8 ``[N, C, r, r]`` to float32 in [-1, 1]: ``x * 2 / 255 - 1``."""
    return pixels.to(torch.float32).mul_(2.0 / 255.0).sub_(1.0)


def mirror(images: Tensor, coins: Tensor) -> Tensor:
    """Flip left to right each image ``[N, C, H, W]`` whose coin (boolean ``[N]``) is set."""
    return torch.where(coins[:, None, None, None], images.flip(3), images)


def fade_reals(images: Tensor, lod: float) -> Tensor:
    """``lerp(x, up(down(x)), frac(lod))``: reals lose detail as far as the generator cannot draw it yet.

    ``images`` ``[N, C, r, r]`` have the active size; down is the 2x2 mean, up the nearest neighbour.
    """
    fraction = lod - math.floor(lod)
    if fraction == 0.0:
        return images
    coarse = F.interpolate(F.avg_pool2d(images, 2), scale_factor=2.0, mode="nearest")
    return torch.lerp(images, coarse, fraction)
