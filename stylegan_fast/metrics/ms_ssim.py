"""Multi-scale structural similarity between pairs of drawn images: how little a network varies.

As in the progressive GAN paper (arXiv 1710.10196, section 5), after Wang, Simoncelli, Bovik 2003, of images in 0..255::

    l, cs at a scale    Gaussian window of 11 pixels (fewer where the image is smaller), sigma 1.5, K1 0.01, K2 0.03
    MS-SSIM             product of max(cs, 0)^weight over four scales, times max(l * cs, 0)^weight of the fifth

weights 0.0448, 0.2856, 0.3001, 0.2363, 0.1333; from one scale to the next 2 x 2 pixels are averaged. Larger means that
images are more alike; the value of the real images is what a network should come near.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from stylegan_fast.metrics.collector import Collector
from stylegan_fast.metrics.images import Block

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """The similarity ``[N]`` of each pair of images ``[N, C, H, W]`` in 0 to 255, H and W powers of two."""
    # Variances are differences of squares of up to 255: float32 would keep two or three digits of a flat area's.
    dtype = torch.float32 if a.device.type == "mps" else torch.float64
    a, b = a.to(dtype), b.to(dtype)
    result = a.new_ones(a.shape[0])
    for scale, weight in enumerate(WEIGHTS):
        whole, contrast = _similarity(a, b)
        last = scale == len(WEIGHTS) - 1
        result = result * (whole if last else contrast).clamp(min=0) ** weight
        if min(a.shape[2:]) > 1:
            a, b = functional.avg_pool2d(a, 2), functional.avg_pool2d(b, 2)
    return result


def _similarity(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Means over the image of l * cs and of cs, ``[N]`` each."""
    size = min(_WINDOW, a.shape[2], a.shape[3])
    places = torch.arange(size, dtype=a.dtype, device=a.device) - (size - 1) / 2
    bell = torch.exp(-(places**2) / (2 * (size * _SIGMA / _WINDOW) ** 2))
    bell = bell / bell.sum()
    channels = a.shape[1]

    def blurred(x: Tensor) -> Tensor:
        x = functional.conv2d(x, bell.reshape(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
        return functional.conv2d(x, bell.reshape(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)

    mean_a, mean_b = blurred(a), blurred(b)
    squares, product = mean_a**2 + mean_b**2, mean_a * mean_b
    contrast = (2 * (blurred(a * b) - product) + _C2) / (blurred(a**2) + blurred(b**2) - squares + _C2)
    luminance = (2 * product + _C1) / (squares + _C1)
    return (luminance * contrast).mean(dim=(1, 2, 3)), contrast.mean(dim=(1, 2, 3))


class PairSimilarities(Collector):
    """The similarity of images 0 and 1, 2 and 3, ...; an odd one at the end is left out."""

    kind = "msssim"

    def __init__(self) -> None:
        self._values: list[np.ndarray] = []

    def extract(self, block: Block) -> Tensor:
        pairs = block.images.shape[0] // 2
        return ms_ssim(block.images[0 : 2 * pairs : 2], block.images[1 : 2 * pairs : 2])

    def absorb(self, part: np.ndarray) -> None:
        self._values.append(part)

    def mean(self) -> float:
        return float(np.concatenate(self._values).mean())

    def arrays(self) -> dict[str, np.ndarray]:
        return {"values": np.concatenate(self._values)}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        self._values = [arrays["values"]]
