"""Augmentation of all that the discriminator sees, reals and fakes alike, and its strength.

Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data" (arXiv 2006.06676). With few images the
discriminator learns them by heart. If it only ever sees augmented images, it cannot; and as long as each transform is
left out often enough (p below 0.8), the generator's own images carry none of it: undoing the augmentation of a whole
distribution has one answer only (section 2.2, appendix C).
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from stylegan_fast.ops.arguments import memory_format
from stylegan_fast.training.augment_transforms import KINDS, draw_colour, draw_geometry
from stylegan_fast.training.augment_warp import warp

LARGEST_SAFE_P = 0.8  # beyond it augmentations may show in the generator's images (section 2.2)


def augment(images: Tensor, p: float, generator: torch.Generator, kinds: Collection[str] = KINDS) -> Tensor:
    """Augments each image by itself: every transform of ``augment_transforms`` with probability ``p``.

    Args:
        images: float ``[N, C, H, W]``, -1 to 1, C of 1, 3 or 4 (of 4 the last is opacity, which is moved and has no
            colour). Differentiable with respect to them, twice and more.
        p: 0 to 1.
        generator: on the CPU, where all is drawn: the same on every device, and no device is waited for.
        kinds: which groups of transforms: of "blit", "geom" and "color".

    Returns ``[N, C, H, W]`` of the images' dtype and memory format.
    """
    if p == 0:
        return images
    count, _, height, width = images.shape
    layout = memory_format(images)
    images = warp(images, draw_geometry(count, height, width, p, generator, kinds))
    if "color" in kinds:
        images = recolour(images, draw_colour(count, p, generator, kinds))
    return images.contiguous(memory_format=layout)


def recolour(images: Tensor, matrices: Tensor) -> Tensor:
    """Multiplies each pixel's colour ``(r, g, b, 1)`` by its image's matrix, float64 ``[N, 4, 4]`` on the host.

    A gray image takes the mean of the matrix's rows, as if it were a colour image of three equal channels averaged
    afterwards; opacity stays.
    """
    matrices = matrices.to(images.device, images.dtype)
    if images.shape[1] == 1:
        gray = matrices[:, :3].mean(dim=1)
        return images * gray[:, :3].sum(dim=1).view(-1, 1, 1, 1) + gray[:, 3].view(-1, 1, 1, 1)
    colours = torch.einsum("nij,njhw->nihw", matrices[:, :3, :3], images[:, :3]) + matrices[:, :3, 3, None, None]
    return colours if images.shape[1] == 3 else torch.cat([colours, images[:, 3:]], dim=1)
