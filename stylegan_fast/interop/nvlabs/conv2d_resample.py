"""`conv2d_resample` with the surface of ``torch_utils.ops.conv2d_resample``."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from stylegan_fast.interop.nvlabs.conv2d_gradfix import conv2d, conv_transpose2d
from stylegan_fast.interop.nvlabs.upfirdn2d import _get_filter_size, _parse_padding
from stylegan_fast.ops import upfirdn2d


def conv2d_resample(
    x: Tensor,
    w: Tensor,
    f: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: int | Sequence[int] = 0,
    groups: int = 1,
    flip_weight: bool = True,
    flip_filter: bool = False,
) -> Tensor:
    """Convolution between an up-sampling before and a down-sampling after it, both through the filter f.

    ::

        u = upfirdn2d(x, f, up, padding, gain=up^2)     with f where up > 1; padding grown so that an odd w and a
                                                        padding of half its size give up / down times the size of x
        y = upfirdn2d(conv2d(u, w), f, down=down)       with f where down > 1

    All three are linear and commute, so they are computed in the order in which they are cheapest.

    Args:
        x: ``[N, C, H, W]``.
        w: ``[O, C / groups, kh, kw]``, of x's dtype.
        f: ``[fh, fw]`` or ``[taps]``, made with `setup_filter`; None for the identity.
        up, down: factors.
        padding: of the up-sampled image: an int, ``[x, y]`` or ``[x0, x1, y0, y1]``.
        groups: of the convolution.
        flip_weight: True correlates, as `torch.nn.functional.conv2d` does; False convolves.
        flip_filter: the same for f, the other way round: False convolves.

    Returns:
        ``[N, O, H', W']``.
    """
    fw, fh = _get_filter_size(f)
    kh, kw = w.shape[2:]
    x0, x1, y0, y1 = _parse_padding(padding)
    if up > 1:
        x0, x1 = x0 + (fw + up - 1) // 2, x1 + (fw - up) // 2
        y0, y1 = y0 + (fh + up - 1) // 2, y1 + (fh - up) // 2
    if down > 1:
        x0, x1 = x0 + (fw - down + 1) // 2, x1 + (fw - down) // 2
        y0, y1 = y0 + (fh - down + 1) // 2, y1 + (fh - down) // 2
    sides = [x0, x1, y0, y1]
    correlated = w if flip_weight or (kh, kw) == (1, 1) else w.flip([2, 3])

    if up == 1 and down == 1:
        if x0 == x1 >= 0 and y0 == y1 >= 0:
            return conv2d(x, correlated, padding=(y0, x0), groups=groups)
        return conv2d(upfirdn2d(x, None, padding=sides), correlated, groups=groups)
    if up == 1:
        if (kh, kw) == (1, 1):  # pixels that are not kept need not be multiplied
            return conv2d(upfirdn2d(x, f, down=down, padding=sides, flip_filter=flip_filter), correlated, groups=groups)
        filtered = upfirdn2d(x, f, padding=sides, flip_filter=flip_filter)
        return conv2d(filtered, correlated, stride=down, groups=groups)

    if (kh, kw) == (1, 1):
        x = conv2d(x, correlated, groups=groups)
        x = upfirdn2d(x, f, up=up, padding=sides, gain=up**2, flip_filter=flip_filter)
    else:
        # Zeros between the pixels and a correlation with w: a transposed convolution, which adds kw - 1 pixels on the
        # left, and on the right those without the up - 1 zeros after the last pixel.
        sides = [x0 - (kw - 1), x1 - (kw - up), y0 - (kh - 1), y1 - (kh - up)]
        crop_x, crop_y = max(min(-sides[0], -sides[1]), 0), max(min(-sides[2], -sides[3]), 0)
        transposed = _transposed(correlated.flip([2, 3]), groups)
        x = conv_transpose2d(x, transposed, stride=up, padding=(crop_y, crop_x), groups=groups)
        sides = [sides[0] + crop_x, sides[1] + crop_x, sides[2] + crop_y, sides[3] + crop_y]
        x = upfirdn2d(x, f, padding=sides, gain=up**2, flip_filter=flip_filter)
    return x if down == 1 else upfirdn2d(x, f, down=down, flip_filter=flip_filter)


def _transposed(w: Tensor, groups: int) -> Tensor:
    """``[O, C / groups, kh, kw]`` to ``[C, O / groups, kh, kw]``."""
    return w.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
