"""The emulator's fp16 and bf16, seen through an op that only copies."""

from pathlib import Path

import numpy as np
import pytest

from .dtypes import BF16, F16, Array, DType
from .machine import run

SIXTEEN_BITS = [pytest.param(F16, id="f16"), pytest.param(BF16, id="bf16")]


def through_linear(program: Path, dtype: DType, stored: Array, b: Array) -> Array:
    """stored + b, one bias value per element: from `dtype` to fp32 and back."""
    numbers = {"dtype": dtype.code, "act": 0, "size": stored.size, "bias_step": 1, "bias_size": b.size}
    numbers |= {"alpha": 0, "gain": 1, "clamp": -1}
    inputs = {"x": stored, "b": b.astype(np.float32)}
    return run(program, "bias_act_forward", numbers, inputs, {"y": (stored.shape, dtype.storage)}).outputs["y"]


@pytest.mark.parametrize("dtype", SIXTEEN_BITS)
def test_every_16_bit_value_survives_the_way_to_fp32_and_back(program: Path, dtype: DType) -> None:
    bits = np.arange(65536, dtype=np.uint16).view(dtype.storage)
    numbers = dtype.decode(bits).astype(np.float32)
    bits = bits[~np.isnan(numbers)]
    numbers = numbers[~np.isnan(numbers)]
    got = dtype.decode(through_linear(program, dtype, bits, np.zeros(1))).astype(np.float32)
    assert np.array_equal(got, numbers)


@pytest.mark.parametrize("dtype", SIXTEEN_BITS)
def test_fp32_rounds_to_16_bits_as_numpy_rounds(program: Path, dtype: DType) -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 20000, dtype=np.uint64).astype(np.uint32)
    ties = (np.arange(0, 65536, 7, dtype=np.uint32) << 16) + np.uint32(0x8000)
    half_ties = np.arange(0, 2**16, 5, dtype=np.uint32) * 0x1000 + np.uint32(0x38000000)
    values = np.concatenate([bits, ties, half_ties]).view(np.float32)
    values = values[~np.isnan(values)]
    got = through_linear(program, dtype, dtype.encode(np.zeros(values.size, np.float32)), values)
    assert np.array_equal(dtype.decode(got), dtype.decode(dtype.encode(values)))
