"""Sliced Wasserstein distance between patches of two sets of images, level by level of a Laplacian pyramid.

As in the progressive GAN paper (Karras, Aila, Laine, Lehtinen 2017, arXiv 1710.10196, section 5)::

    pyramid           of each image in 0..255, down to 16 x 16, with the filter [1, 4, 6, 4, 1] / 16
    descriptors       at each level, 128 patches of 7 x 7 pixels per image, at random places
    normalised        each channel of a set's descriptors to mean 0 and standard deviation 1
    SWD(A, B)         mean over 512 random directions d of mean |sort(A d) - sort(B d)|

times 1000. Small at the coarse levels: alike in shape; at the fine ones: alike in texture. Needs no network and no
download. Numbers of different counts of images cannot be compared: fewer images give larger distances.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from stylegan_fast.metrics.collector import Collector, RowStore
from stylegan_fast.metrics.images import Block
from stylegan_fast.seeds import keyed_seed

PATCH = 7
PATCHES_PER_IMAGE = 128
COARSEST = 16
DIRECTIONS = 512
_CHUNK = 1 << 16  # descriptors in memory at a time
_GROUP = 16  # directions sorted at a time: 2^21 descriptors are 134 MB then


def pyramid_sizes(resolution: int) -> list[int]:
    """The levels of the pyramid, finest first: resolution, ..., 32, 16 (the image alone where it is smaller)."""
    sizes = [resolution]
    while sizes[-1] // 2 >= COARSEST:
        sizes.append(sizes[-1] // 2)
    return sizes


def laplacian_pyramid(images: Tensor) -> list[Tensor]:
    """Levels ``[N, C, r, r]`` of ``pyramid_sizes``: each the image minus what the next coarser one tells of it."""
    levels = [images]
    for _ in pyramid_sizes(images.shape[-1])[1:]:
        coarser = _smooth(levels[-1])[:, :, ::2, ::2]
        levels[-1] = levels[-1] - _enlarged(coarser)
        levels.append(coarser)
    return levels


def _smooth(x: Tensor, gain: float = 1.0) -> Tensor:
    weights = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=x.dtype, device=x.device) / 16
    channels = x.shape[1]
    kernel = (gain * weights[:, None] * weights).expand(channels, 1, 5, 5)
    return functional.conv2d(functional.pad(x, (2, 2, 2, 2), mode="reflect"), kernel, groups=channels)


def _enlarged(x: Tensor) -> Tensor:
    spread = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    spread[:, :, ::2, ::2] = x
    return _smooth(spread, gain=4.0)


def patches(level: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Patches ``[N, P, C, 7, 7]`` of ``[N, C, r, r]`` whose upper left corners are at rows, columns ``[N, P]``."""
    offsets = torch.arange(PATCH, device=level.device)
    y = rows[:, :, None, None] + offsets[:, None]  # [N, P, 7, 1]
    x = columns[:, :, None, None] + offsets  # [N, P, 1, 7]
    images = torch.arange(level.shape[0], device=level.device)[:, None, None, None]
    return level.permute(0, 2, 3, 1)[images, y, x].permute(0, 1, 4, 2, 3)


class Descriptors(Collector):
    """Patches at every level of the pyramid, ``[n, levels, 128, C, 7, 7]`` of a block."""

    kind = "swd"

    def __init__(self) -> None:
        self._levels: list[RowStore] = []

    def extract(self, block: Block) -> Tensor:
        generator = block.generator("patches")
        found = []
        for level in laplacian_pyramid(block.images.float()):
            places = level.shape[-1] - PATCH + 1
            corners = torch.randint(places, (level.shape[0], PATCHES_PER_IMAGE, 2), generator=generator)
            rows, columns = corners.to(level.device).unbind(2)
            found.append(patches(level, rows, columns))
        return torch.stack(found, dim=1)

    def absorb(self, part: np.ndarray) -> None:
        if not self._levels:
            self._levels = [RowStore() for _ in range(part.shape[1])]
        for store, rows in zip(self._levels, part.swapaxes(0, 1), strict=True):
            store.append(rows.reshape(-1, *rows.shape[2:]))

    def levels(self) -> list[np.ndarray]:
        """For each level, finest first, the descriptors ``[images * 128, C, 7, 7]``."""
        return [store.rows() for store in self._levels]


def sliced_wasserstein(a: np.ndarray, b: np.ndarray, seed: int = 0, device: str | torch.device = "cpu") -> float:
    """The distance, not times 1000, of descriptors ``[M, C, h, w]``, as many of one set as of the other."""
    if a.shape != b.shape:
        raise ValueError(f"sliced_wasserstein: descriptors {a.shape} and {b.shape}, expected the same shape")
    width = int(np.prod(a.shape[1:]))
    generator = torch.Generator().manual_seed(keyed_seed(seed, "directions"))
    directions = torch.randn(width, DIRECTIONS, generator=generator)
    directions = (directions / directions.norm(dim=0)).to(device)
    normalised = [_normalisation(descriptors) for descriptors in (a, b)]
    total = 0.0
    for group in directions.split(_GROUP, dim=1):
        one, other = (
            _sorted_projections(descriptors, *normalisation, group)
            for descriptors, normalisation in zip((a, b), normalised, strict=True)
        )
        total += float((one - other).abs().mean(dim=1).double().sum())
    return total / DIRECTIONS


def _normalisation(descriptors: np.ndarray) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each number of a descriptor ``[C * h * w]``: those of its channel."""
    count = descriptors.size // descriptors.shape[1]
    axes = (0, 2, 3)
    chunks = [descriptors[first : first + _CHUNK] for first in range(0, len(descriptors), _CHUNK)]
    mean = sum(chunk.sum(axis=axes, dtype=np.float64) for chunk in chunks) / count
    centre = mean[None, :, None, None]
    variance = sum(((chunk - centre) ** 2).sum(axis=axes) for chunk in chunks) / count
    # A channel that never varies is 0 after subtracting its mean, whatever it is divided by.
    deviation = np.where(variance > 0, np.sqrt(variance), 1.0)
    repeats = descriptors.shape[2] * descriptors.shape[3]
    return tuple(torch.from_numpy(np.repeat(x, repeats)).float() for x in (mean, deviation))  # type: ignore[return-value]


def _sorted_projections(descriptors: np.ndarray, mean: Tensor, deviation: Tensor, directions: Tensor) -> Tensor:
    """``[directions, M]``, each row sorted."""
    weights = (directions / deviation.to(directions.device)[:, None]).T
    offset = weights @ mean.to(directions.device)
    projected = directions.new_empty(directions.shape[1], len(descriptors))
    for first in range(0, len(descriptors), _CHUNK):
        chunk = torch.from_numpy(np.array(descriptors[first : first + _CHUNK])).flatten(1).to(directions.device)
        projected[:, first : first + len(chunk)] = weights @ chunk.T - offset[:, None]
    if projected.device.type == "cpu":
        projected.numpy().sort(axis=1)  # with vector instructions: a quarter of the time of torch's
        return projected
    return projected.sort(dim=1).values
