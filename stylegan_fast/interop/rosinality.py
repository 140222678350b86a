"""The ops of rosinality/stylegan2-pytorch and of the many projects that carry a copy, computed by ours.

    import stylegan_fast.interop.rosinality
    stylegan_fast.interop.rosinality.install()      # then the project, unchanged

or, in the project, one import line::

    from stylegan_fast.interop.rosinality import FusedLeakyReLU, fused_leaky_relu, upfirdn2d
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from stylegan_fast.interop.replacement import Replacement
from stylegan_fast.ops import bias_act
from stylegan_fast.ops import upfirdn2d as _upfirdn2d

SQRT2 = math.sqrt(2)

_replacement = Replacement(
    {
        "fused_act": __name__,
        "upfirdn2d": __name__,
        "conv2d_gradfix": "stylegan_fast.interop.nvlabs.conv2d_gradfix",
    },
    # "op" is what the copies are called; basicsr, on which GFPGAN and others stand, has them in its ops.
    lambda package: package == "op" or package.endswith((".op", "basicsr.ops")),
)


def install(*packages: str) -> list[str]:
    """From now on, imports of ``fused_act``, ``upfirdn2d`` and ``conv2d_gradfix`` from the project's package of ops
    give ours.

    Args:
        packages: where the project has them, like ``"models.stylegan2.ops"``; by default every package named ``op``,
            at any depth, and ``basicsr.ops``.

    Returns:
        The modules that were imported already and have been replaced now. The projects' own are compiled when they are
        imported, so call it before that.
    """
    return _replacement.install(*packages)


def uninstall() -> None:
    """Undoes `install`: imports give the projects' own modules again."""
    _replacement.uninstall()


def fused_leaky_relu(
    input: Tensor, bias: Tensor | None = None, negative_slope: float = 0.2, scale: float = SQRT2
) -> Tensor:
    """``scale * leaky_relu(input + bias, negative_slope)``; input ``[N, C, ...]``, bias ``[C]``."""
    return bias_act(input, bias, dim=1, act="lrelu", alpha=negative_slope, gain=scale)


class FusedLeakyReLU(nn.Module):
    """`fused_leaky_relu` with a bias of its own, ``bias`` [channel], which starts at 0.

    Args:
        channel: C.
        bias: have one. A number here is the negative slope and the argument after it the scale: the order that older
            copies have.
        negative_slope, scale: as in `fused_leaky_relu`; 0.2 and sqrt(2) by default.
    """

    bias: nn.Parameter | None

    def __init__(
        self, channel: int, bias: bool | float = True, negative_slope: float | None = None, scale: float | None = None
    ) -> None:
        super().__init__()
        if not isinstance(bias, bool):
            bias, negative_slope, scale = True, bias, negative_slope if scale is None else scale
        self.bias = nn.Parameter(torch.zeros(channel)) if bias else None
        self.negative_slope = 0.2 if negative_slope is None else negative_slope
        self.scale = SQRT2 if scale is None else scale

    def forward(self, input: Tensor) -> Tensor:
        return fused_leaky_relu(input, self.bias, self.negative_slope, self.scale)


def upfirdn2d(
    input: Tensor,
    kernel: Tensor,
    up: int | Iterable[int] = 1,
    down: int | Iterable[int] = 1,
    pad: int | Iterable[int] = (0, 0),
) -> Tensor:
    """`stylegan_fast.upfirdn2d` in the convention of these projects.

    Args:
        input: ``[N, C, H, W]``.
        kernel: ``[kh, kw]``, convolved with.
        up, down: an int or (x, y).
        pad: an int for all sides, (before, after) for both axes, or (x before, x after, y before, y after); of the
            image with zeros inserted, negative to crop.

    Returns:
        ``[N, C, H', W']``.
    """
    sides = _ints(pad)
    if len(sides) == 2:
        sides *= 2
    return _upfirdn2d(input, kernel, up=_ints(up), down=_ints(down), padding=sides)


def upfirdn2d_native(
    input: Tensor,
    kernel: Tensor,
    up_x: int,
    up_y: int,
    down_x: int,
    down_y: int,
    pad_x0: int,
    pad_x1: int,
    pad_y0: int,
    pad_y1: int,
) -> Tensor:
    """`upfirdn2d` with every number as an argument of its own, as these projects call their PyTorch version."""
    return upfirdn2d(input, kernel, (up_x, up_y), (down_x, down_y), (pad_x0, pad_x1, pad_y0, pad_y1))


def _ints(value: int | Iterable[int]) -> list[int]:
    """Also of 0-d tensors and NumPy numbers, in which some of the projects count."""
    if isinstance(value, int | torch.SymInt):
        return [value, value]
    return [v if isinstance(v, int | torch.SymInt) else int(v) for v in value]
