"""Progressive growing: what `lod` means, and how wide each resolution is.

`lod` (level of detail) counts the halvings between the full resolution and the one in use: 0 is full resolution, 1 half
of it; 1.25 is half of it with a quarter of the quarter-resolution picture still faded in.
"""

import math
from dataclasses import dataclass

from torch import Tensor, nn

MIN_RESOLUTION = 8
MAX_RESOLUTION = 1024
IMAGE_CHANNELS = (1, 3, 4)


def check_image_shape(network: str, img_resolution: int, img_channels: int) -> None:
    """Raises ValueError unless a network for such images can be built."""
    is_power_of_two = img_resolution > 0 and img_resolution & (img_resolution - 1) == 0
    if not is_power_of_two or not MIN_RESOLUTION <= img_resolution <= MAX_RESOLUTION:
        raise ValueError(
            f"{network}: img_resolution is {img_resolution}, "
            f"expected a power of two from {MIN_RESOLUTION} to {MAX_RESOLUTION}"
        )
    if img_channels not in IMAGE_CHANNELS:
        raise ValueError(f"{network}: img_channels is {img_channels}, expected 1, 3 or 4")


def channels_at(resolution: int, channel_base: int, channel_max: int) -> int:
    """Feature maps at a resolution (4, 8, ...): ``min(channel_base / 2^(log2(resolution) - 1), channel_max)``."""
    return max(min(channel_base * 2 // resolution, channel_max), 1)


def num_layers_at(img_resolution: int, lod: float = 0.0) -> int:
    """Style layers that have an effect at this lod: two per resolution in use, ``2 log2(R) - 2 - 2 floor(lod)``."""
    return 2 * int(math.log2(img_resolution)) - 2 - 2 * int(lod)


@dataclass(frozen=True)
class StaticLod:
    """A lod whose whole part is a plain number and whose fraction is a 0-d tensor on the device.

    A step captured in a CUDA graph with it can fade without the device being waited for, and cannot grow.
    """

    level: int
    amount: Tensor | None  # None: nothing is faded

    def __int__(self) -> int:
        return self.level

    def __floor__(self) -> int:
        return self.level


Lod = float | Tensor | StaticLod


def split_lod(lod: Lod, img_resolution: int) -> tuple[int, float | Tensor | None]:
    """The number of halvings in force, and how far the next coarser resolution is still faded in.

    Args:
        lod: from 0 (full resolution) to log2(img_resolution) - 2 (4x4). A 0-d tensor keeps its fraction a tensor, so
            that a compiled step can fade without being built again for every lod; see `StaticLod` for captured ones.

    Returns:
        level: ``floor(lod)``.
        fade: ``lod - level``, or None where the coarser resolution is not needed: at 4x4, and for a whole Python
            number. (A whole 0-d tensor gives the same pictures through a fade of 0.)

    Raises:
        ValueError: lod lies outside that range or is not a number.
    """
    if isinstance(lod, StaticLod):
        return lod.level, lod.amount
    coarsest = int(math.log2(img_resolution)) - 2
    number = float(lod)
    if not 0 <= number <= coarsest:
        raise ValueError(f"lod is {number:g}, expected 0 to {coarsest} at resolution {img_resolution}")
    level = int(number)
    if level == coarsest or (not isinstance(lod, Tensor) and number == level):
        return level, None
    return level, lod - level


def fade(image: Tensor, coarser: Tensor, amount: float | Tensor) -> Tensor:
    """``image + (coarser - image) * amount``."""
    if isinstance(amount, Tensor):
        amount = amount.to(image)
    return image.lerp(coarser, amount)


def resize_by_halves(image: Tensor, halves_or_doubles: nn.Module, times: int) -> Tensor:
    """Applies an x2 up- or downsampling layer several times."""
    for _ in range(times):
        image = halves_or_doubles(image)
    return image
