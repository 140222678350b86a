"""An affine warp of images that neither blurs nor aliases, differentiable any number of times.

Karras et al. 2020 (arXiv 2006.06676), appendix B.2: mirror the image at its edges, enlarge it twice with an orthogonal
wavelet filter, look each point up there between four pixels, and go back with the same filter turned round. The filter
is orthogonal, so that an image that is not moved comes back as it was.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan_fast.ops.upfirdn2d import downsample2d, setup_filter, upsample2d

# Scaling filter of Daubechies' symlet with 6 vanishing moments; "Ten Lectures on Wavelets", section 8.1.1.
SYM6 = (
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
)
# The filter's middle of mass lies at tap 5.1, and not between the two middle taps at 5.5: the enlarged picture lies
# half a pixel to the left and above, which the way back undoes and the warp in between has to know.
_LAG = 0.5
_EDGE = len(SYM6) // 4  # pixels around the picture that the way back looks at


def warp(images: Tensor, matrices: Tensor) -> Tensor:
    """Moves each image by its own matrix.

    Args:
        images: float ``[N, C, H, W]``; what lies outside is their mirror image, and black further out.
        matrices: float64 ``[N, 3, 3]`` on the host: where the point ``(x, y, 1)`` of an image goes, in pixels from its
            middle. An image whose matrix is the identity is returned as it is.

    Returns ``[N, C, H, W]`` of the images' dtype; computed in fp32, or fp64 for such images.
    """
    moved = (matrices != torch.eye(3, dtype=matrices.dtype)).flatten(1).any(dim=1)
    if not bool(moved.any()):
        return images
    places = moved.nonzero()[:, 0].to(images.device)
    warped = _warp_all(images.index_select(0, places), torch.linalg.inv(matrices[moved]))
    return images.index_copy(0, places, warped.to(images.dtype))


def _warp_all(images: Tensor, inverse: Tensor) -> Tensor:
    height, width = images.shape[2:]
    dtype = torch.promote_types(images.dtype, torch.float32)
    taps = setup_filter(SYM6, separable=True).to(images.device)
    left, right, top, bottom = _margins(inverse, height, width)
    enlarged = upsample2d(F.pad(images.to(dtype), [left, right, top, bottom], mode="reflect"), taps, up=2)

    # From the coordinates of the result, enlarged, to those of the enlarged image, both from -1 to 1 as grid_sample
    # takes them. Read from right to left.
    size = [2 * (height + 2 * _EDGE), 2 * (width + 2 * _EDGE)]
    steps = [
        _scale(2 / enlarged.shape[3], 2 / enlarged.shape[2]),
        _translate(-_LAG, -_LAG),
        _scale(2.0, 2.0),
        _translate((left - right) / 2, (top - bottom) / 2),
        inverse,
        _scale(0.5, 0.5),
        _translate(_LAG, _LAG),
        _scale(size[1] / 2, size[0] / 2),
    ]
    sampling = steps[0]
    for step in steps[1:]:
        sampling = sampling @ step
    grid = F.affine_grid(sampling[:, :2].to(images.device, dtype), [len(images), 1, *size], align_corners=False)
    return downsample2d(_Sample.apply(enlarged, grid), taps, down=2, padding=-2 * _EDGE, flip_filter=True)


def _margins(inverse: Tensor, height: int, width: int) -> tuple[int, int, int, int]:
    """Pixels to mirror on the left, right, top and bottom, so that the corners of every result lie within."""
    x, y = (width - 1) / 2, (height - 1) / 2
    corners = torch.tensor([[-x, -y, 1], [x, -y, 1], [x, y, 1], [-x, y, 1]], dtype=inverse.dtype)
    found = inverse @ corners.t()
    far_x, far_y = found[:, 0], found[:, 1]

    def pixels(distance: Tensor, half: float, size: int) -> int:
        needed = math.ceil(float(distance.max()) - half) + 2 * _EDGE
        return min(max(needed, 0), size - 1)  # a mirror image reaches no further than the image itself

    return pixels(-far_x, x, width), pixels(far_x, x, width), pixels(-far_y, y, height), pixels(far_y, y, height)


def _translate(x: float, y: float) -> Tensor:
    return torch.tensor([[1, 0, x], [0, 1, y], [0, 0, 1]], dtype=torch.float64)


def _scale(x: float, y: float) -> Tensor:
    return torch.tensor([[x, 0, 0], [0, y, 0], [0, 0, 1]], dtype=torch.float64)


class _Sample(torch.autograd.Function):
    """``grid_sample`` (bilinear, zeros outside): linear in the images, so its gradient and the gradient of that are its
    adjoint and itself; torch knows no second one. The grid has none."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.size = images.shape
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        (grid,) = ctx.saved_tensors
        return _SampleAdjoint.apply(dy, grid, ctx.size), None


class _SampleAdjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dy: Tensor, grid: Tensor, size: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        adjoint = torch.ops.aten.grid_sampler_2d_backward
        bilinear, zeros = 0, 0  # torch's codes; of the images only the shape counts
        dx, _ = adjoint(dy, dy.new_empty(size), grid, bilinear, zeros, False, [True, False])
        return dx

    @staticmethod
    def backward(ctx: Any, ddx: Tensor) -> tuple[Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        return _Sample.apply(ddx, grid), None, None
