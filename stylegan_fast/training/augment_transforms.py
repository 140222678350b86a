"""The random geometric and colour transforms of adaptive augmentation, as matrices drawn on the host.

Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data" (arXiv 2006.06676), appendix B: a chain
of transforms, each taken by an image with probability p, whose parameters are drawn from

==============================  =======================================================
pixel blitting ("blit")         x-flip: U{0, 1}; turns by 90 degrees: U{0, 1, 2, 3};
                                translation by whole pixels: U(-1/8, 1/8) of the size
general geometry ("geom")       scale: 2^N(0, 0.2^2); rotation: U(-pi, pi);
                                anisotropic scale: 2^N(0, 0.2^2) in x, its inverse in y;
                                rotation again; translation: N(0, 1/8^2) of the size
colour ("color")                brightness: N(0, 0.2^2); contrast: 2^N(0, 0.5^2);
                                luma flip: U{0, 1}; hue: U(-pi, pi); saturation: 2^N(0, 1)
==============================  =======================================================

The two rotations are each taken with probability 1 - sqrt(1 - p), so that there is one at all with probability p.
Every number is drawn whether it is used or not: what one transform draws does not depend on p or on another.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor

KINDS = ("blit", "geom", "color")
# The names the field gives to sets of them.
AUGPIPES = {"bgc": KINDS, "bg": ("blit", "geom"), "blit": ("blit",), "geom": ("geom",), "color": ("color",)}

MAX_TRANSLATION = 0.125  # of the image's size; the standard deviation for fractional ones
SCALE_STD = 0.2  # of log2
BRIGHTNESS_STD = 0.2
CONTRAST_STD = 0.5  # of log2
SATURATION_STD = 1.0  # of log2
LUMA_AXIS = torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=torch.float64) / math.sqrt(3)


def draw_geometry(
    count: int, height: int, width: int, p: float, generator: torch.Generator, kinds: Collection[str] = KINDS
) -> Tensor:
    """Float64 ``[count, 3, 3]``: for each image the matrix from where a point of it was to where it goes.

    Points are ``(x, y, 1)`` in pixels, x to the right and y down, from the middle of the image. Identity for an image
    that no transform took.
    """
    draw = _Draw(count, generator)
    rotation_p = 1 - math.sqrt(1 - p)
    steps: list[Tensor] = []
    if "blit" in kinds:
        flips = draw.integer(2)
        steps.append(draw.taken(p, scale2d(1.0 - 2.0 * flips, torch.ones(count))))
        steps.append(draw.taken(p, rotate2d(draw.integer(4) * (math.pi / 2)).round()))  # without a cosine of 6e-17
        shift_x, shift_y = ((draw.uniform(-1, 1) * MAX_TRANSLATION * size).round() for size in (width, height))
        steps.append(draw.taken(p, translate2d(shift_x, shift_y)))
    if "geom" in kinds:
        scale = draw.normal(SCALE_STD).exp2()
        steps.append(draw.taken(p, scale2d(scale, scale)))
        steps.append(draw.taken(rotation_p, rotate2d(draw.uniform(-math.pi, math.pi))))
        scale = draw.normal(SCALE_STD).exp2()
        steps.append(draw.taken(p, scale2d(scale, 1 / scale)))
        steps.append(draw.taken(rotation_p, rotate2d(draw.uniform(-math.pi, math.pi))))
        shift_x, shift_y = (draw.normal(MAX_TRANSLATION) * size for size in (width, height))
        steps.append(draw.taken(p, translate2d(shift_x, shift_y)))
    return _chain(steps, count, 3)


def draw_colour(count: int, p: float, generator: torch.Generator, kinds: Collection[str] = KINDS) -> Tensor:
    """Float64 ``[count, 4, 4]``: for each image the matrix from its colours ``(r, g, b, 1)``, -1 to 1, to new ones."""
    draw = _Draw(count, generator)
    if "color" not in kinds:
        return _chain([], count, 4)
    luma = LUMA_AXIS.outer(LUMA_AXIS)
    identity = torch.eye(4, dtype=torch.float64)
    brightness, contrast = draw.normal(BRIGHTNESS_STD), draw.normal(CONTRAST_STD).exp2()
    flips, hue = draw.integer(2), draw.uniform(-math.pi, math.pi)
    saturation = draw.normal(SATURATION_STD).exp2()
    offset = identity.repeat(count, 1, 1)
    offset[:, :3, 3] = brightness[:, None]
    homogeneous = identity[3].outer(identity[3])
    # Of a colour's two parts, the one along the luma axis and the one across it, the second is what saturation scales.
    across = identity - luma - homogeneous
    saturated = luma + homogeneous + across * saturation[:, None, None]
    steps = [
        draw.taken(p, offset),
        draw.taken(p, homogeneous + (identity - homogeneous) * contrast[:, None, None]),
        draw.taken(p, identity - 2 * luma * flips[:, None, None]),
        draw.taken(p, rotate_about_luma(hue)),
        draw.taken(p, saturated),
    ]
    return _chain(steps, count, 4)


def translate2d(x: Tensor, y: Tensor) -> Tensor:
    matrices = torch.eye(3, dtype=torch.float64).repeat(len(x), 1, 1)
    matrices[:, 0, 2], matrices[:, 1, 2] = x, y
    return matrices


def scale2d(x: Tensor, y: Tensor) -> Tensor:
    return torch.diag_embed(torch.stack([x, y, torch.ones_like(x)], dim=1).double())


def rotate2d(angle: Tensor) -> Tensor:
    matrices = torch.eye(3, dtype=torch.float64).repeat(len(angle), 1, 1)
    matrices[:, 0, 0] = matrices[:, 1, 1] = angle.cos()
    matrices[:, 0, 1], matrices[:, 1, 0] = -angle.sin(), angle.sin()
    return matrices


def rotate_about_luma(angle: Tensor) -> Tensor:
    """Float64 ``[N, 4, 4]``, Rodrigues' formula: cos I + sin [v]x + (1 - cos) v v^T, v the gray axis."""
    v = LUMA_AXIS[:3]
    cross = torch.tensor([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]], dtype=torch.float64)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    matrices = torch.eye(4, dtype=torch.float64).repeat(len(angle), 1, 1)
    matrices[:, :3, :3] = cos * torch.eye(3, dtype=torch.float64) + sin * cross + (1 - cos) * v.outer(v)
    return matrices


def _chain(steps: list[Tensor], count: int, size: int) -> Tensor:
    """The product in which the first step is applied first."""
    product = torch.eye(size, dtype=torch.float64).repeat(count, 1, 1)
    for step in steps:
        product = step @ product
    return product


class _Draw:
    """``count`` numbers at a time, one for each image."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self.count, self.generator = count, generator

    def uniform(self, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(self.count, generator=self.generator, dtype=torch.float64)

    def normal(self, std: float) -> Tensor:
        return std * torch.randn(self.count, generator=self.generator, dtype=torch.float64)

    def integer(self, end: int) -> Tensor:
        return torch.randint(end, (self.count,), generator=self.generator).double()

    def taken(self, p: float, matrices: Tensor) -> Tensor:
        """Identity for each image but a share of ``p``."""
        taken = torch.rand(self.count, generator=self.generator) < p
        return torch.where(taken[:, None, None], matrices, torch.eye(matrices.shape[1], dtype=torch.float64))
