"""philox_normal's CUDA kernel, run in the emulator."""

from pathlib import Path

import numpy as np
import pytest

from tests.philox_formula import SEEDS, assert_normal_of

from .machine import EmulatorError, Objects, Outcome, run

F32 = np.dtype(np.float32)


def draw(program: Path, seeds: list[int], size: int, offset: int = 0) -> Outcome:
    numbers, outputs = {"n": len(seeds), "size": size}, {"y": ((len(seeds), size), F32)}
    return run(program, "philox_normal", numbers, {"seeds": np.array(seeds, np.int64)}, outputs, offset)


def check(program: Path, seeds: list[int], size: int, offset: int = 0) -> None:
    done = draw(program, seeds, size, offset)
    assert (done.status, done.error) == (0, "")
    for numbers, seed in zip(done.outputs["y"], seeds, strict=True):
        assert_normal_of(numbers, seed)


# A thread makes 4 numbers, a block 1024. With 3 numbers beyond a multiple of 4, samples are not aligned.
@pytest.mark.parametrize("size", [1, 3, 4, 7, 64, 1024, 1025, 4100])
def test_every_size_matches_the_formula(program: Path, size: int) -> None:
    check(program, SEEDS, size)
    check(program, SEEDS[3:4], size)


def test_unaligned_tensors_are_as_good(program: Path) -> None:
    check(program, SEEDS, 68, offset=1)


def test_nothing_is_launched_for_nothing(program: Path) -> None:
    assert draw(program, [], 4).status == 0
    assert draw(program, [1], 0).status == 0


def test_what_no_kernel_accepts_is_named(program: Path) -> None:
    numbers, outputs = {"n": 1, "size": 4}, {"y": ((1, 4), F32)}
    done = run(program, "philox_normal", numbers, {}, outputs)
    assert (done.status, done.error) == (1, "philox_normal: seeds is null, for 1 samples of 4 numbers")


FAULTS = {
    "a store of 16 bytes where samples are not aligned": ("philox.cu", " && (p.n == 1 || p.size % 4 == 0)", ""),
    "a store beyond the sample": ("philox.cuh", "p.size - 4 * q, aligned", "int64_t(4), aligned"),
    "a round too few": ("../philox.h", "philox_rounds = 10", "philox_rounds = 9"),
    "the high word of the seed left out": ("philox.cuh", "uint32_t(seed >> 32));", "0);"),
    "the sign of the sine": ("philox.cuh", "two[1] = radius", "two[1] = -radius"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault: str, objects: Objects, tmp_path: Path) -> None:
    program = objects.changed_program(tmp_path, "philox_normal", [FAULTS[fault]])
    with pytest.raises((AssertionError, EmulatorError)):
        check(program, SEEDS, 67)


def test_a_grid_that_is_too_small_walks_on(objects: Objects, tmp_path: Path) -> None:
    limits = ("launch.cuh", "max_grid_x = 0x7fffffff, max_grid_yz = 65535", "max_grid_x = 2, max_grid_yz = 2")
    check(objects.changed_program(tmp_path, "philox_normal", [limits]), SEEDS, 4100)
