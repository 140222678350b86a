"""What every op asks of its arguments: one form of complaint, the accumulation dtype, the memory layout."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

FLOATING = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def wrong_type(op: str, argument: str, got: Any, expected: str) -> TypeError:
    shown = f"a {got.dtype} tensor" if isinstance(got, Tensor) else f"{got!r} ({type(got).__name__})"
    return TypeError(f"{op}: {argument} must be {expected}, got {shown}")


def wrong_value(op: str, argument: str, got: Any, expected: str) -> ValueError:
    shown = f"shape {list(got.shape)}" if isinstance(got, Tensor) else repr(got)
    return ValueError(f"{op}: {argument} must be {expected}, got {shown}")


def check_image(op: str, x: Tensor) -> None:
    """Raises unless x is a real [N, C, H, W] tensor."""
    check_floating(op, "x", x)
    if x.ndim != 4:
        raise wrong_value(op, "x", x, "[N, C, H, W]")


def check_floating(op: str, argument: str, tensor: Tensor) -> None:
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        raise wrong_type(op, argument, tensor, "a floating point tensor")


def check_parameter(op: str, argument: str, tensor: Tensor | None, x: Tensor) -> None:
    """Raises unless the tensor, where there is one, is real and lives where x lives."""
    if tensor is None:
        return
    check_floating(op, argument, tensor)
    if tensor.device != x.device:
        raise ValueError(f"{op}: {argument} must be on {x.device}, where x is, got one on {tensor.device}")


def check_seed(op: str, argument: str, seed: Any) -> None:
    if not isinstance(seed, Tensor) or seed.dtype != torch.int64:
        raise wrong_type(op, argument, seed, "an int64 tensor")


def acc_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype statistics, sums and parameters have: fp64 for fp64, otherwise fp32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def of_dtype(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """``tensor.to(dtype)``, which costs a microsecond even where there is nothing to do."""
    return tensor if tensor.dtype == dtype else tensor.to(dtype)


def memory_format(x: Tensor) -> torch.memory_format:
    """The dense layout nearest to x's strides: the one the op's output has."""
    if x.is_contiguous():
        return torch.contiguous_format
    if x.ndim == 4:
        # The second case is a channel slice of a channels_last tensor: not dense, but to be copied in its own order.
        if x.is_contiguous(memory_format=torch.channels_last) or (x.stride(1) == 1 and x.stride(3) >= x.shape[1] > 1):
            return torch.channels_last
    elif x.ndim == 5 and x.is_contiguous(memory_format=torch.channels_last_3d):
        return torch.channels_last_3d
    return torch.contiguous_format
