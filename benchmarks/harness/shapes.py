"""The shapes of StyleGAN's layers and the bytes an op must move over them."""

from __future__ import annotations

import math

from stylegan_fast.models.growth import channels_at

RESOLUTIONS = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
QUICK_RESOLUTIONS = (4, 16, 64, 256)

Shape = tuple[int, int, int, int]


def layer_shape(resolution: int, batch: int, channels_of: int | None = None) -> Shape:
    """``[batch, C, resolution, resolution]``, C as the 1024x1024 networks of arXiv 1812.04948 have it at resolution
    `channels_of` (default: the same resolution): 512 up to 32x32, halved with every doubling from there."""
    return batch, channels_at(channels_of or resolution, 8192, 512), resolution, resolution


def bytes_of(shape: tuple[int, ...], itemsize: int) -> int:
    return math.prod(shape) * itemsize


def bytes_moved(op: str, direction: str, x_bytes: int, y_bytes: int, resident: bool = True) -> int:
    """The fewest bytes between chip and memory: every plane-sized input read once, every output written once.

        adain      forward  x -> y        backward  x, dy -> dx
        bias_act   forward  x -> y        backward  dy, y -> dx
        upfirdn2d  forward  x -> y        backward  dy -> dx

    The noise map, which all channels share, and parameters per channel are left out: at most 3 % at 16 channels. With
    ``resident=False``, what adain moves where a plane does not fit on the chip: forward x, x -> y, backward
    x, dy, x, dy -> dx.
    """
    forward = x_bytes + y_bytes
    backward = {"adain": x_bytes + y_bytes, "bias_act": 2 * y_bytes, "upfirdn2d": y_bytes}[op] + x_bytes
    if op == "adain" and not resident:
        forward += x_bytes
        backward += x_bytes + y_bytes
    return {"fwd": forward, "bwd": backward, "fwdbwd": forward + backward}[direction]
