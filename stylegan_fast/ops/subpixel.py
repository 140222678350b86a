"""What `adain` can read its input through: the interleaving of phases, and the blur, of StyleGAN's up-convolution.

Nearest-neighbour x2 followed by a 3x3 convolution with zero padding is exactly one 2x2 convolution of the small image
with padding 1 and four times the outputs, its phases: output pixel (i, j) is a pixel of phase (i % 2, j % 2). (The
sub-pixel convolution of Shi et al. 2016, arXiv 1609.05158.) The blur is that of arXiv 1812.04948, section 2.

Here both stand in PyTorch, differentiable to any order, with their adjoints. The compiled kernels do the same where
they load and store.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def interleave_phases(x: Tensor) -> Tensor:
    """The image u whose phases x holds.

    ::

        u[n, c, i, j] = x[n, (2 * (i % 2) + j % 2) * C + c, (i + 1) // 2, (j + 1) // 2]

    Shapes: x ``[N, 4 * C, H + 1, W + 1]`` -> u ``[N, C, 2 * H, 2 * W]``.
    """
    n, c, h, w = x.shape[0], x.shape[1] // 4, x.shape[2] - 1, x.shape[3] - 1
    phase = x.unflatten(1, (2, 2, c))
    rows = [torch.stack([phase[:, p, q, :, p : p + h, q : q + w] for q in (0, 1)], dim=-1) for p in (0, 1)]
    return torch.stack(rows, dim=3).reshape(n, c, 2 * h, 2 * w)


def split_phases(u: Tensor) -> Tensor:
    """The adjoint of `interleave_phases`: every pixel goes back to where it was read, zeros stay where none was.

    Shapes: u ``[N, C, 2 * H, 2 * W]`` -> x ``[N, 4 * C, H + 1, W + 1]``.
    """
    pixels = u.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))
    phases = [functional.pad(pixels[:, :, :, p, :, q], [q, 1 - q, p, 1 - p]) for p in (0, 1) for q in (0, 1)]
    return torch.cat(phases, dim=1)


def blur(u: Tensor) -> Tensor:
    """``u`` correlated with ``outer([1, 2, 1], [1, 2, 1]) / 16``, zeros beyond the border. Its own adjoint."""
    padded = functional.pad(u, [1, 1, 1, 1])
    rows = padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]
    return (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 16


def read_through(x: Tensor, phases: bool, blurred: bool) -> Tensor:
    """v of `adain`'s formula."""
    u = interleave_phases(x) if phases else x
    return blur(u) if blurred else u


def read_through_adjoint(dv: Tensor, phases: bool, blurred: bool) -> Tensor:
    """The gradient of x, given that of v."""
    du = blur(dv) if blurred else dv
    return split_phases(du) if phases else du


def plane_shape(x: Tensor, phases: bool) -> tuple[int, int, int, int]:
    """N, C, H, W of the planes that x holds, whole or in phases."""
    n, c, h, w = x.shape
    return (n, c // 4, 2 * (h - 1), 2 * (w - 1)) if phases else (n, c, h, w)
