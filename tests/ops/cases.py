"""What the op tests share: the matrix of dtypes, layouts and instruction sets, and the one bound on errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from stylegan_fast.ops import library

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
LAYOUTS = ("contiguous", "channels_last", "transposed", "sliced", "offset", "channel_slice")
CAPABILITIES = ("baseline", "avx2", "avx512")

needs_extension = pytest.mark.skipif(library.native() is None, reason="the extension was not built")
needs_exchange = pytest.mark.skipif(not library.reads_tensors, reason="the extension cannot read this torch's tensors")


def laid_out(x: Tensor, layout: str) -> Tensor:
    """The same values in other strides."""
    if layout == "contiguous":
        return x.contiguous()
    if layout == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    if layout == "transposed":
        return x.transpose(2, 3).contiguous().transpose(2, 3)
    n, c, h, w = x.shape
    if layout == "sliced":
        return x.new_zeros(n, c, h, 2 * w)[..., ::2].copy_(x)
    if layout == "offset":  # the first element is not where an allocation starts
        return x.new_zeros(x.numel() + 1)[1:].view(x.shape).copy_(x)
    assert layout == "channel_slice"
    wide = x.new_zeros(n, c + 3, h, w).contiguous(memory_format=torch.channels_last)
    return wide[:, 2 : c + 2].copy_(x)


def error_bound(
    dtype: torch.dtype, reference: Tensor, truth: Tensor, magnitude: Tensor | float | None = None
) -> Tensor:
    """2 * the reference's largest error + 4 ulp of magnitude (default: the largest |truth|).

    For fp64 results `reference` is the fp32 one, its error scaled by the ratio of the ulps, and the bound is twice
    that: the truth is the reference in fp64, and has errors of its own.
    """
    if magnitude is None:
        magnitude = truth.abs().max()
    ulp, reference_ulp = torch.finfo(dtype).eps, torch.finfo(reference.dtype).eps
    reference_error = (reference.double() - truth).abs().max() * (ulp / reference_ulp)
    bound = 2 * reference_error + 4 * (ulp * magnitude + torch.finfo(dtype).smallest_normal)
    return 2 * bound if dtype == torch.float64 else bound


def assert_within_bound(
    ours: Tensor, reference: Tensor, truth: Tensor, magnitude: Tensor | float | None = None
) -> None:
    """|ours - truth| <= error_bound."""
    assert ours.shape == reference.shape == truth.shape
    if not ours.numel():
        return
    bound = error_bound(ours.dtype, reference, truth, magnitude)
    excess = (ours.double() - truth).abs() / bound
    assert excess.max() <= 1, f"{excess.max():.2f} times the bound {float(bound.max()):.3g}"


def narrower(dtype: torch.dtype) -> torch.dtype:
    """In which dtype the reference is run to see what it loses."""
    return torch.float32 if dtype == torch.float64 else dtype


@contextmanager
def capability(name: str) -> Iterator[None]:
    """Runs the CPU kernels of one instruction set, or skips where the machine has none."""
    native = library.native()
    before = native.cpu.capability()
    try:
        native.cpu.set_capability(name)
    except ValueError:
        pytest.skip(f"no {name} kernels on this machine")
    try:
        yield
    finally:
        native.cpu.set_capability(before)


class Spy:
    """Stands before the extension and writes down which compiled kernels ran."""

    def __init__(self, native: Any) -> None:
        self.ran: list[str] = []
        self._native = native
        names = [name for name in dir(native.cpu) if not name.startswith("_")]
        self.cpu = SimpleNamespace(**{name: self._noted(name) for name in names})

    def _noted(self, name: str) -> Any:
        kernel = getattr(self._native.cpu, name)

        def call(*arguments: Any) -> Any:
            self.ran.append(name)
            return kernel(*arguments)

        return kernel if name.endswith("_partials") else call  # those run nothing: they say how large a result is

    def __getattr__(self, name: str) -> Any:
        return getattr(self._native, name)
