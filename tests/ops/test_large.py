"""Tensors beyond 2^31 elements on the CPU, where the machine has the memory; tests/gpu/test_large.py is its sibling."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from stylegan_fast.ops import (
    adain,
    adain_reference,
    bias_act,
    bias_act_reference,
    setup_filter,
    upsample2d,
    use_backend,
)

from .cases import assert_within_bound, needs_extension

pytestmark = [needs_extension, pytest.mark.slow]

BEYOND = 2**31
BOTH_LAYOUTS = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)


def needs_memory(gigabytes: float) -> None:
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        pytest.skip("how much memory is free is known on Linux alone")
    (kilobytes,) = (
        int(line.split()[1]) for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable")
    )
    if kilobytes / 1e6 < gigabytes:
        pytest.skip(f"needs {gigabytes:.0f} GB of free memory, there are {kilobytes / 1e6:.0f}")


def copies_of_a_sample(layout: torch.memory_format) -> Tensor:
    """[33, 256, 512, 512]; all samples are the same, so that each can be held against the first."""
    x = torch.empty((33, 256, 512, 512), dtype=torch.bfloat16, memory_format=layout)
    assert x.numel() > BEYOND
    x[0].normal_(generator=torch.Generator().manual_seed(0))
    for sample in x[1:]:
        sample.copy_(x[0])
    return x


@BOTH_LAYOUTS
def test_adain_beyond_2_to_the_31_elements(layout: torch.memory_format) -> None:
    needs_memory(2 * 2 * 33 * 2**26 / 1e9 + 1)
    x = copies_of_a_sample(layout)
    scale = torch.linspace(0.5, 2, 256)
    with use_backend("cpu"), torch.no_grad():
        y = adain(x, scale, negative_slope=0.2)
    for sample in y[1:]:
        assert torch.equal(sample, y[0])
    for c in (slice(0, 2), slice(254, 256)):
        part = x[:1, c].contiguous()
        truth = adain_reference(part.double(), scale[c], negative_slope=0.2)
        assert_within_bound(y[:1, c], adain_reference(part, scale[c], negative_slope=0.2), truth)


@BOTH_LAYOUTS
def test_bias_act_beyond_2_to_the_31_elements(layout: torch.memory_format) -> None:
    needs_memory(2 * 2 * 33 * 2**26 / 1e9 + 1)
    x, b = copies_of_a_sample(layout), torch.linspace(-1, 1, 256)
    with use_backend("cpu"), torch.no_grad():
        y = bias_act(x, b, act="lrelu")
    for sample in y[1:]:
        assert torch.equal(sample, y[0])
    part = x[:1, :, -2:].contiguous()
    truth = bias_act_reference(part.double(), b.double(), act="lrelu")
    assert_within_bound(y[:1, :, -2:], bias_act_reference(part, b, act="lrelu"), truth)


@BOTH_LAYOUTS
def test_upfirdn2d_beyond_2_to_the_31_elements(layout: torch.memory_format) -> None:
    needs_memory(2 * 9 * 2**26 * 5 / 1e9 + 1)
    x = torch.empty((1, 9, 8192, 8192), dtype=torch.bfloat16, memory_format=layout)
    x.normal_(generator=torch.Generator().manual_seed(0))
    with use_backend("cpu"), torch.no_grad():
        y = upsample2d(x, setup_filter([1, 1]))  # nearest neighbours: exact
    assert y.numel() > BEYOND
    for rows in x.split(1024, 2):
        top = rows.storage_offset() // x.stride(2)
        expected = rows.repeat_interleave(2, 3)
        for parity in (0, 1):
            assert torch.equal(y[:, :, 2 * top + parity : 2 * (top + rows.shape[2]) : 2], expected)
