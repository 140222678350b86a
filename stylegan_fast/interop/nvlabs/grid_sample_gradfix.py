"""`grid_sample` with the surface of ``torch_utils.ops.grid_sample_gradfix``: PyTorch's own has no second derivative.

`enabled` may be set, as the projects do, and changes nothing: derivatives exist to any order either way.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from stylegan_fast.ops.derivatives import differentiate

enabled = False


def grid_sample(input: Tensor, grid: Tensor) -> Tensor:
    """Bilinear samples of an image; 0 beyond its border.

    Args:
        input: ``[N, C, H, W]``.
        grid: ``[N, h, w, 2]``, places (x, y); -1 and 1 are the outer edges of the outermost pixels
            (``align_corners=False``).

    Returns:
        ``[N, C, h, w]``.
    """
    if torch.is_grad_enabled() and (input.requires_grad or grid.requires_grad):
        return _GridSample.apply(input, grid)
    return _sample(input, grid)


def _sample(input: Tensor, grid: Tensor) -> Tensor:
    return functional.grid_sample(input, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


class _GridSample(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(input, grid)
        return _sample(input, grid)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        wanted = ctx.needs_input_grad
        found = _GridSampleBackward.apply(dy, *ctx.saved_tensors, wanted)
        return tuple(gradient if want else None for gradient, want in zip(found, wanted, strict=True))


class _GridSampleBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dy: Tensor, input: Tensor, grid: Tensor, wanted: tuple[bool, bool]) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(dy, input, grid)
        ctx.wanted = wanted
        ctx.set_materialize_grads(False)
        return torch.ops.aten.grid_sampler_2d_backward(dy, input, grid, 0, 0, False, list(wanted))

    @staticmethod
    def backward(ctx: Any, ddinput: Tensor | None, ddgrid: Tensor | None) -> tuple[Tensor | None, ...]:
        dy, input, grid = ctx.saved_tensors
        need_dy, need_input, need_grid, _ = ctx.needs_input_grad
        if ddgrid is None and not need_grid:
            # The gradient of the image is linear in dy and does not depend on the image.
            return grid_sample(ddinput, grid) if need_dy and ddinput is not None else None, None, None, None

        def formula(dy: Tensor, input: Tensor, grid: Tensor) -> list[Tensor | None]:
            asked_for = [t for t, want in zip((input, grid), ctx.wanted, strict=True) if want]
            gradients = iter(torch.autograd.grad(_formula(input, grid), asked_for, dy, create_graph=True))
            return [next(gradients) if want else None for want in ctx.wanted]

        needed = (need_dy, need_input, need_grid)
        return *differentiate(formula, (dy, input, grid), needed, (ddinput, ddgrid)), None


def _formula(input: Tensor, grid: Tensor) -> Tensor:
    """The same in operations that PyTorch differentiates to any order."""
    n, c, height, width = input.shape
    size = torch.tensor([width, height], dtype=grid.dtype, device=grid.device)
    place = ((grid + 1) * size - 1) / 2
    corner = place.detach().floor()
    fraction = place - corner
    total = input.new_zeros(n, c, *grid.shape[1:3])
    for dx in (0, 1):
        for dy in (0, 1):
            x, y = corner[..., 0] + dx, corner[..., 1] + dy
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            index = torch.where(inside, y * width + x, 0).long()
            pixels = input.flatten(2).gather(2, index.flatten(1)[:, None].expand(-1, c, -1)).view_as(total)
            weight = (fraction[..., 0] if dx else 1 - fraction[..., 0]) * (
                fraction[..., 1] if dy else 1 - fraction[..., 1]
            )
            total = total + pixels * (weight * inside)[:, None]
    return total
