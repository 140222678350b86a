"""Up-sample, filter and down-sample an image in one pass, and the resampling built from it.

    1. insert up - 1 zeros after every pixel         3. convolve with f (correlate if flip_filter)
    2. pad with zeros, crop where negative           4. keep every down-th pixel, multiply by gain

    out_h = (in_h * up_y + pad_y0 + pad_y1 - filter_h) // down_y + 1,  likewise out_w

The calling convention is that of the op of the same name in the StyleGAN2 and StyleGAN3 projects. StyleGAN 1 uses
nearest x2 = ``[1, 1]``, blur = ``[1, 2, 1]`` and box down x2 (Karras, Laine, Aila 2018, section 2; Zhang 2019,
arXiv 1904.11486). The adjoint of the op is the op itself, so all gradients of x exist to any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from stylegan_fast.ops import library
from stylegan_fast.ops.arguments import (
    acc_dtype,
    check_image,
    check_parameter,
    memory_format,
    of_dtype,
    wrong_value,
)
from stylegan_fast.ops.resampling import EAGER, Resampling, resample_reference

IntOrInts = int | Sequence[int]
_INT = (int, torch.SymInt)


def setup_filter(
    f: Any,
    device: torch.device | str = "cpu",
    normalize: bool = True,
    flip_filter: bool = False,
    gain: float = 1,
    separable: bool | None = None,
) -> Tensor:
    """Makes a float32 filter for the ops of this file.

    Args:
        f: tensor, array or nested sequence ``[fh, fw]``, ``[taps]`` or scalar; None is the identity.
        device: where the result lives.
        normalize: divide by the sum, so that a constant image keeps its value.
        flip_filter: reverse every axis.
        gain: factor; half of it in decibels goes to each axis of a separable filter.
        separable: keep a one-dimensional f so (two passes); default: from 8 taps, where that is less work.

    Returns:
        ``[fh, fw]``, or ``[taps]`` if separable.

    Raises:
        ValueError: f has more than two dimensions, no taps, or separable is asked of a two-dimensional f.
    """
    f = torch.as_tensor(1 if f is None else f, dtype=torch.float32)
    if f.ndim > 2 or f.numel() == 0:
        raise wrong_value("setup_filter", "f", f, "[fh, fw], [taps] or a scalar, with at least one tap")
    if f.ndim == 0:
        f = f[None]
    if separable is None:
        separable = f.ndim == 1 and f.numel() >= 8
    if separable and f.ndim == 2:
        raise wrong_value("setup_filter", "f", f, "[taps] where separable is True")
    if f.ndim == 1 and not separable:
        f = f.outer(f)
    if normalize:
        f = f / f.sum()
    if flip_filter:
        f = f.flip(list(range(f.ndim)))
    return (f * gain ** (f.ndim / 2)).to(device)


def upfirdn2d(
    x: Tensor,
    f: Tensor | None,
    up: IntOrInts = 1,
    down: IntOrInts = 1,
    padding: IntOrInts = 0,
    flip_filter: bool = False,
    gain: float = 1,
    impl: str | None = None,
) -> Tensor:
    """Up-samples, pads, filters and down-samples every plane: see the steps above.

    Args:
        x: ``[N, C, H, W]``, any floating dtype, any strides (contiguous and channels_last without a copy).
        f: ``[fh, fw]``, or ``[taps]`` for both axes one after the other; None is the identity. See `setup_filter`.
            A gradient of f exists in pure PyTorch alone, which is taken for it.
        up: zeros inserted after every pixel, plus 1: an int or ``[x, y]``.
        down: of how many pixels one is kept: an int or ``[x, y]``.
        padding: pixels of the zero-inserted image, negative to crop: an int, ``[x, y]`` or ``[x0, x1, y0, y1]``.
        flip_filter: correlate instead of convolving.
        gain: factor.
        impl: "ref" for pure PyTorch; None or "cuda" for the backend chosen with `use_backend`.

    Returns:
        ``[N, C, out_h, out_w]`` of x's dtype and memory format.

    Raises:
        TypeError, ValueError: an argument of the wrong type, shape, range or device.
        RuntimeError: the backend named with `use_backend` cannot run this call.
    """
    f, passes = _checked(x, f, up, down, padding, flip_filter, gain)
    if impl not in (None, "ref", "cuda"):
        raise ValueError(f"upfirdn2d: impl must be None, 'cuda' or 'ref', got {impl!r}")
    unsupported = "f requires a gradient, which only the reference has" if f.requires_grad else ""
    way = "reference" if impl == "ref" else library.choose("upfirdn2d", x, f, unsupported=unsupported)
    if way == "reference":
        return _formula(x, f, passes)
    f = of_dtype(f, acc_dtype(x.dtype)).contiguous()
    x = x.contiguous(memory_format=memory_format(x))
    for view, call in _filters(f, passes):
        if way == "dispatcher":
            x = torch.ops.stylegan_fast.upfirdn2d(x, view, *call, library.current_backend())
        else:
            x = EAGER.upfirdn2d(x, view, *call, way)
    return x


def upfirdn2d_reference(
    x: Tensor,
    f: Tensor | None,
    up: IntOrInts = 1,
    down: IntOrInts = 1,
    padding: IntOrInts = 0,
    flip_filter: bool = False,
    gain: float = 1,
) -> Tensor:
    """`upfirdn2d` in plain PyTorch: arguments, result and errors are the same; f may have a gradient."""
    return _formula(x, *_checked(x, f, up, down, padding, flip_filter, gain))


def filter2d(
    x: Tensor,
    f: Tensor | None,
    padding: IntOrInts = 0,
    flip_filter: bool = False,
    gain: float = 1,
    impl: str | None = None,
) -> Tensor:
    """`upfirdn2d` padded so that the output has the size of x; padding is added to that. For an even number of taps the
    extra pixel is on the left and top."""
    fw, fh = _filter_size(f)
    x0, x1, y0, y1 = _padding_sides(padding)
    around = [x0 + fw // 2, x1 + (fw - 1) // 2, y0 + fh // 2, y1 + (fh - 1) // 2]
    return upfirdn2d(x, f, padding=around, flip_filter=flip_filter, gain=gain, impl=impl)


def upsample2d(
    x: Tensor,
    f: Tensor | None,
    up: IntOrInts = 2,
    padding: IntOrInts = 0,
    flip_filter: bool = False,
    gain: float = 1,
    impl: str | None = None,
) -> Tensor:
    """`upfirdn2d` padded so that the output is up times the size of x, with up's product as an extra gain, so that a
    filter of sum 1 keeps the brightness; padding (in output pixels) is added to that."""
    up_x, up_y = _pair("up", up)
    fw, fh = _filter_size(f)
    x0, x1, y0, y1 = _padding_sides(padding)
    around = [x0 + (fw + up_x - 1) // 2, x1 + (fw - up_x) // 2, y0 + (fh + up_y - 1) // 2, y1 + (fh - up_y) // 2]
    return upfirdn2d(x, f, up=up, padding=around, flip_filter=flip_filter, gain=gain * up_x * up_y, impl=impl)


def downsample2d(
    x: Tensor,
    f: Tensor | None,
    down: IntOrInts = 2,
    padding: IntOrInts = 0,
    flip_filter: bool = False,
    gain: float = 1,
    impl: str | None = None,
) -> Tensor:
    """`upfirdn2d` padded so that the output is a down-th of the size of x; padding (in input pixels) is added."""
    down_x, down_y = _pair("down", down)
    fw, fh = _filter_size(f)
    x0, x1, y0, y1 = _padding_sides(padding)
    around = [
        x0 + (fw - down_x + 1) // 2,
        x1 + (fw - down_x) // 2,
        y0 + (fh - down_y + 1) // 2,
        y1 + (fh - down_y) // 2,
    ]
    return upfirdn2d(x, f, down=down, padding=around, flip_filter=flip_filter, gain=gain, impl=impl)


def _pair(argument: str, value: IntOrInts) -> tuple[int, int]:
    x, y = (value, value) if isinstance(value, _INT) else _ints(argument, value, (2,))
    if x < 1 or y < 1:
        raise ValueError(f"upfirdn2d: {argument} must be at least 1, got {value}")
    return x, y


def _padding_sides(value: IntOrInts) -> tuple[int, ...]:
    """As x0, x1, y0, y1."""
    sides = (value, value) if isinstance(value, _INT) else _ints("padding", value, (2, 4))
    return sides if len(sides) == 4 else (sides[0], sides[0], sides[1], sides[1])


def _ints(argument: str, value: Sequence[int], lengths: tuple[int, ...]) -> tuple[int, ...]:
    if isinstance(value, Sequence) and len(value) in lengths and all(isinstance(v, _INT) for v in value):
        return tuple(value)
    words = "an int or " + " or ".join(f"{n} ints" for n in lengths)
    wrong = ValueError if isinstance(value, Sequence) and all(isinstance(v, _INT) for v in value) else TypeError
    raise wrong(f"upfirdn2d: {argument} must be {words}, got {value!r}")


def _filter_size(f: Tensor | None) -> tuple[int, int]:
    """Width and height."""
    if f is None:
        return 1, 1
    if not isinstance(f, Tensor) or f.ndim not in (1, 2):
        raise wrong_value("upfirdn2d", "f", f, "a tensor [fh, fw] or [taps], or None")
    return f.shape[-1], f.shape[0]


def _checked(
    x: Tensor,
    f: Tensor | None,
    up: IntOrInts,
    down: IntOrInts,
    padding: IntOrInts,
    flip_filter: bool,
    gain: float,
) -> tuple[Tensor, list[Resampling]]:
    """Raises on wrong arguments; returns f and one call for ``[fh, fw]``, or two, x and y, for ``[taps]``."""
    check_image("upfirdn2d", x)
    fw, fh = _filter_size(f)
    if f is None:
        f = torch.ones([1, 1], dtype=acc_dtype(x.dtype), device=x.device)
    check_parameter("upfirdn2d", "f", f, x)
    if f.numel() == 0:
        raise wrong_value("upfirdn2d", "f", f, "of at least one tap")
    up_x, up_y = _pair("up", up)
    down_x, down_y = _pair("down", down)
    x0, x1, y0, y1 = _padding_sides(padding)
    whole = Resampling(up_x, up_y, down_x, down_y, x0, x1, y0, y1, bool(flip_filter), float(gain))
    whole.output_size(x.shape[2], x.shape[3], fh, fw)
    if f.ndim == 2:
        return f, [whole]
    along_x = whole._replace(up_y=1, down_y=1, pad_y0=0, pad_y1=0, gain=1.0)
    along_y = whole._replace(up_x=1, down_x=1, pad_x0=0, pad_x1=0)
    return f, [along_x, along_y]


def _filters(f: Tensor, passes: list[Resampling]) -> list[tuple[Tensor, Resampling]]:
    return list(zip([f] if f.ndim == 2 else [f[None, :], f[:, None]], passes, strict=True))


def _formula(x: Tensor, f: Tensor, passes: list[Resampling]) -> Tensor:
    acc = acc_dtype(x.dtype)
    y = x.to(acc)
    for view, call in _filters(f.to(acc), passes):
        y = resample_reference(y, view, call)
    return y.to(x.dtype).contiguous(memory_format=memory_format(x))
