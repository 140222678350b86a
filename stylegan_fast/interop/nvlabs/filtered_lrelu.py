"""`filtered_lrelu` with the surface of ``torch_utils.ops.filtered_lrelu``, composed of `bias_act` and `upfirdn2d`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from stylegan_fast.ops import bias_act, upfirdn2d


def filtered_lrelu(
    x: Tensor,
    fu: Tensor | None = None,
    fd: Tensor | None = None,
    b: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: int | Sequence[int] = 0,
    gain: float = math.sqrt(2),
    slope: float = 0.2,
    clamp: float | None = None,
    flip_filter: bool = False,
    impl: str = "cuda",
) -> Tensor:
    """Leaky ReLU at a higher sampling rate (StyleGAN 3, arXiv 2106.12423, section 3.2 and appendix D).

    ::

        u = upfirdn2d(x + b, fu, up, padding, gain=up^2)
        y = upfirdn2d(clamp(gain * leaky_relu(u, slope)), fd, down)

    Args:
        x: ``[N, C, H, W]``.
        fu, fd: filters for up- and down-sampling, ``[taps]``, ``[fh, fw]`` or None for the identity.
        b: ``[C]``, or None.
        up, down: factors.
        padding: of the up-sampled image: an int, ``[x, y]`` or ``[x0, x1, y0, y1]``.
        gain, slope, clamp: of the activation.
        flip_filter: correlate instead of convolving.
        impl: "ref" for pure PyTorch.

    Returns:
        ``[N, C, H', W']``, of x's dtype.

    Raises:
        TypeError, ValueError: as `bias_act` and `upfirdn2d` do.
    """
    if b is not None:
        x = bias_act(x, b, impl=impl)
    x = upfirdn2d(x, fu, up=up, padding=padding, gain=up**2, flip_filter=flip_filter, impl=impl)
    # A slope of 0 has a kernel under its own name.
    act, alpha = ("relu", None) if slope == 0 else ("lrelu", slope)
    x = bias_act(x, act=act, alpha=alpha, gain=gain, clamp=clamp, impl=impl)
    return upfirdn2d(x, fd, down=down, flip_filter=flip_filter, impl=impl)


def _init() -> bool:
    """Whether the op can run: there is nothing to compile."""
    return True
