"""Perceptual path length (paper section 4.1): how smoothly pictures change along a way through latent space.

::

    l = mean of LPIPS(g(t), g(t + eps)) / eps^2,   eps = 1e-4

between pairs of latents, g on the great circle between two z ("z") or the straight line between two w ("w"), t uniform
in [0, 1] ("full") or 0 ("end"). Both pictures have the same noise. Distances below the 1st and above the 99th
percentile are dropped. No truncation. The pictures are cut to the middle of the face (rows 3/8 to 7/8, columns 2/8 to
6/8), reduced to 256 pixels where they are larger, and scaled to 0..255.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from stylegan_fast.data import Dataset
from stylegan_fast.latent.interpolation import lerp, slerp
from stylegan_fast.metrics.detector import Detector
from stylegan_fast.metrics.images import BLOCK, block_latents
from stylegan_fast.metrics.options import MetricOptions
from stylegan_fast.models import Generator
from stylegan_fast.seeds import keyed_seed

PAIRS = 100_000
EPSILON = 1e-4
LARGEST = 256
PAIRS_PER_BLOCK = BLOCK // 2


@torch.no_grad()
def path_distances(
    G: Generator, lpips: Detector, space: str, ends_only: bool, options: MetricOptions, blocks: range, pairs: int,
    classes: Dataset | None = None,
) -> Iterator[np.ndarray]:  # fmt: skip
    """The distances ``[n]`` of each block of pairs, both pictures of all in it with the same noise maps.

    Args:
        space: "z" or "w".
        ends_only: t is 0 instead of uniform.
        blocks: the numbers of the blocks wanted, of 32 pairs each.
        pairs: in all blocks together: the last one may hold fewer.
    """
    G = copy.deepcopy(G)  # its stored noise is redrawn for every block
    for number in blocks:
        size = min(PAIRS_PER_BLOCK, pairs - number * PAIRS_PER_BLOCK)
        z, c = block_latents(G, number, 2 * size, options.drawing, classes, f"ppl_{space}")
        generator = torch.Generator().manual_seed(keyed_seed(options.drawing.seed, "ppl", number))
        redraw_stored_noise(G, generator)
        t = torch.rand(size, 1, generator=generator).to(z.device) * (0.0 if ends_only else 1.0)
        first, second = z[0::2], z[1::2]
        # A pair has one class, as a way between two pictures of different classes would not stay in the data.
        c = None if c is None else c[0::2]
        if space == "z":
            ends = (slerp(first, second, t), slerp(first, second, t + EPSILON))
            ws = torch.stack([G.mapping(end, c) for end in ends], dim=1)
        else:
            w0, w1 = G.mapping(first, c), G.mapping(second, c)
            ws = torch.stack([lerp(w0, w1, t[:, :, None]), lerp(w0, w1, t[:, :, None] + EPSILON)], dim=1)
        found = []
        for part in ws.split(max(options.batch // 2, 1)):
            images = G.synthesis(part.flatten(0, 1), noise_mode="const", full_size=True)
            rows = lpips.lpips(lpips_images(images, options.crop))
            found.append((rows[0::2] - rows[1::2]).square().sum(dim=1) / EPSILON**2)
        yield torch.cat(found).cpu().numpy()


def redraw_stored_noise(G: Generator, generator: torch.Generator) -> None:
    """Fill the noise maps of noise mode "const" anew."""
    for name, noise in G.named_buffers():
        if name.endswith("noise_const"):
            noise.copy_(torch.randn(noise.shape, generator=generator))


def lpips_images(images: Tensor, crop: bool) -> Tensor:
    """Network output ``[N, C, R, R]`` as LPIPS takes it: ``[N, 3, r, r]`` of 0 to 255."""
    if crop:
        eighth = images.shape[2] // 8
        images = images[:, :, 3 * eighth : 7 * eighth, 2 * eighth : 6 * eighth]
    if images.shape[2] > LARGEST:
        images = torch.nn.functional.avg_pool2d(images, images.shape[2] // LARGEST)
    images = images[:, :3].expand(-1, 3, -1, -1)
    return (images + 1) * (255 / 2)


def path_length(distances: np.ndarray) -> float:
    """The mean of the distances from the 1st percentile to the 99th, both percentiles being distances that occur."""
    lowest = np.percentile(distances, 1, method="lower")
    highest = np.percentile(distances, 99, method="higher")
    return float(distances[(lowest <= distances) & (distances <= highest)].mean())
