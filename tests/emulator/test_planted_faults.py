"""What proves the emulator: faults planted in small kernels and in the real ones are caught, their twins run."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from .adain_cases import NO_CLUSTERS, USUAL, check_backward, check_forward, make
from .dtypes import F32
from .faults import ALWAYS, MUTATIONS, OP_OF, SMALL_GRID
from .machine import CSRC, ENVIRONMENT, HERE, EmulatorError, Objects, compile_objects, link
from .test_bias_act import VECTORS, check_sums
from .test_bias_act import check as check_bias_act
from .test_upfirdn2d import CASES as RESAMPLINGS
from .test_upfirdn2d import PIXELS, STRIPS
from .test_upfirdn2d import check as check_upfirdn2d

# What is said about each fault, with block and thread where one of them is to blame.
REPORTS = {
    "deleted_block_barrier": "block (0,0,0) thread",
    "deleted_warp_barrier": "block (0,0,0) thread",
    "deleted_barrier_before_reuse": "race on shared slots",
    "uninitialised_read": "thread (5,0,0): uninitialised shared memory: reads slots[5]",
    "shared_index_beyond": "thread (63,0,0): shared memory out of bounds: writes slots[63] of 63",
    "barrier_with_exit": "divergent barrier",
    "barrier_in_branch": "divergent barrier",
    "warp_in_branch": "divergent warp",
    "warp_with_exit": "lane 31 of the mask has exited",
    "shuffle_width": "width 12 is no power of two",
    "shuffle_mask": "its own lane is not in mask",
    "wait_for_each_other": "divergent barrier",
    "global_write_beyond": "that was block (0,0,0) thread (63,0,0)",
    "vector_alignment": "misaligned address",
    "cluster_deleted_barrier": "block (",
    "cluster_exit_too_early": "an exited block",
    "dynamic_overlap": "dynamic shared second_half overlaps first_half",
    "dynamic_too_small": "ends at byte 1024 of 768 launched",
    "dynamic_misaligned": "not aligned to its element",
    "static_too_large": "more than 48 KB",
    "launch_2048_threads": "launch_2048_threads: invalid configuration: more than 1024 threads",
    "launch_48_threads": "no whole number of warps",
    "launch_grid_y": "gridDim.y or gridDim.z above 65535",
    "launch_nothing": "nothing to launch",
    "launch_cluster_of_3_in_4": "no multiple of the cluster",
    "launch_256_kb": "more than 227 KB",
}
SCHEDULES = ("forward", "reverse")


@pytest.fixture(scope="session")
def planted(objects: Objects, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted_faults")
    source, compiled = HERE / "planted_faults.cpp", folder / "planted_faults.o"
    compile_objects({source: compiled}, CSRC)
    parts = [objects.files[name] for name in ("fiber", "machine", "shared_memory", "status")]
    return link([compiled, *parts], folder / "planted_faults")


def run_planted(planted: Path, name: str, schedule: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(planted), name, schedule], capture_output=True, text=True, env=ENVIRONMENT, timeout=60)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", REPORTS)
def test_a_planted_fault_is_reported(planted: Path, name: str, schedule: str) -> None:
    done = run_planted(planted, name, schedule)
    assert done.returncode not in (0, 2), done.stdout
    assert REPORTS[name] in done.stderr


def test_every_planted_fault_is_listed_here(planted: Path) -> None:
    names = run_planted(planted, "", "forward").stdout.split()
    assert {name for name in names if not name.endswith("_right")} == set(REPORTS)


VALUES = np.arange(64)
RESULTS = {
    "deleted_block_barrier_right": VALUES ^ 32,
    "deleted_warp_barrier_right": VALUES ^ 1,
    "deleted_barrier_before_reuse_right": 2 * (VALUES ^ 32) + 1,
    "uninitialised_read_right": VALUES,
    "shared_index_beyond_right": VALUES,
    "barrier_with_exit_right": VALUES,
    "barrier_in_branch_right": VALUES,
    "warp_in_branch_right": VALUES ^ 2,
    "warp_with_exit_right": np.where(VALUES % 32 == 31, VALUES, VALUES + 1),
    "shuffle_width_right": VALUES ^ 1,
    "shuffle_mask_right": VALUES ^ 1,
    "wait_for_each_other_right": VALUES ^ 2,
    "global_write_beyond_right": VALUES,
    "vector_alignment_right": np.where(VALUES < 8, 4 * VALUES, -1),
    "cluster_right": VALUES,
    "dynamic_right": 2 * VALUES,
    "votes_right": np.full(64, 3),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", RESULTS)
def test_the_twin_without_the_fault_is_right(planted: Path, name: str, schedule: str) -> None:
    done = run_planted(planted, name, schedule)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(np.array(done.stdout.split(), float), RESULTS[name])


def adain(program: Path) -> None:
    """One case a tier: warp (more planes than a small grid has, of more samples than fit a round), block, split in both
    layouts."""
    shapes = (((9, 9, 13, 11), False), ((2, 5, 16, 72), False), ((1, 3, 5, 3301), False))
    for shape, channels_last in (*shapes, ((2, 33, 24, 16), True)):
        p = make(shape, F32, "all")
        check_forward(program, p, F32, channels_last)
        check_backward(program, p, F32, channels_last)


def adain_reading(program: Path) -> None:
    """The same, read through phases and blur: warp, block, cluster, split in both layouts; more planes than a small
    grid has."""
    shapes = (((3, 89, 8, 8), "both", False), ((2, 5, 16, 72), "blur", False), ((2, 5, 16, 72), "both", False))
    shapes += (((1, 2, 128, 160), "both", False),)
    for shape, way, channels_last in (*shapes, ((3, 3, 26, 262), "both", False), ((3, 65, 10, 20), "both", True)):
        p = make(shape, F32, "all", way=way)
        check_forward(program, p, F32, channels_last)
        check_backward(program, p, F32, channels_last)


def slabs(program: Path) -> None:
    """channels_last with vectors of channels: block (few pixels a thread, and many), cluster, split."""
    shapes = ((3, 36, 5, 3), (2, 12, 27, 31), (1, 12, 46, 47))
    cases = [(shape, USUAL) for shape in shapes] + [(shape, NO_CLUSTERS) for shape in ((1, 36, 46, 45), (3, 4, 64, 65))]
    for shape, device in cases:
        p = make(shape, F32, "all")
        check_forward(program, p, F32, True, device=device)
        check_backward(program, p, F32, True, device=device)


def reading_slabs(program: Path) -> None:
    """channels_last with vectors, through blur: parts below one another, tiles with columns beside them, and both."""
    for shape, way in (((2, 12, 18, 6), "both"), ((1, 16, 10, 132), "blur"), ((1, 4, 66, 262), "both")):
        p = make(shape, F32, "all", way=way)
        check_forward(program, p, F32, True)
        check_backward(program, p, F32, True)


def bias_act(program: Path) -> None:
    """The general tier; planes in slices, by a few lanes and by one, and rows, all with their sums."""
    check_bias_act(program, F32, "lrelu", 1030)
    for name, sums in (
        ("planes in slices", 3),
        ("planes of 5 vectors", 2),
        ("planes of a vector", 5),
        ("rows of 40 vectors", 2),
    ):
        size, bias = VECTORS[name]
        check_bias_act(program, F32, "lrelu", size, bias)
        check_sums(program, F32, "lrelu", size, bias, sums)


def upfirdn2d(program: Path) -> None:
    for name in ("up and down", "blur"):
        check_upfirdn2d(program, RESAMPLINGS[name], F32, name == "blur")
    for name in ("3 taps", "up 2, 4 taps", "down 2, 4 taps", "down 2, 4 taps, odd height"):
        check_upfirdn2d(program, STRIPS[name], F32, False, separable=True)
    for name in (
        "3 taps, idle lanes",
        "3 taps, cropped",
        "4 taps, adjoint",
        "up 2, 4 taps, odd",
        "down 2, 4 taps, odd",
    ):
        planes, p = PIXELS[name]
        check_upfirdn2d(program, p, F32, True, planes, separable=True)
        check_upfirdn2d(program, p, F32, True, planes)


def vectors(program: Path) -> None:
    """Contiguous planes in slices, with vectors."""
    for shape in ((1, 1, 160, 172), (3, 3, 128, 132)):
        p = make(shape, F32, "all")
        check_forward(program, p, F32, False)
        check_backward(program, p, F32, False)


CHECKS = {"adain": adain, "adain_reading": adain_reading, "slabs": slabs, "reading_slabs": reading_slabs}
CHECKS |= {"vectors": vectors}
CHECKS |= {"bias_act": bias_act, "upfirdn2d": upfirdn2d}
BUILT_FROM = {"slabs": "adain", "vectors": "adain", "reading_slabs": "adain_reading"}


@pytest.mark.parametrize(
    "name", [name if name in ALWAYS else pytest.param(name, marks=pytest.mark.slow) for name in MUTATIONS]
)
def test_a_fault_planted_in_a_real_kernel_is_caught(objects: Objects, name: str, tmp_path: Path) -> None:
    op = OP_OF[MUTATIONS[name][0][0]]
    program = objects.changed_program(tmp_path, BUILT_FROM.get(op, op), MUTATIONS[name])
    with pytest.raises((EmulatorError, AssertionError)):
        CHECKS[op](program)


@pytest.mark.parametrize("op", CHECKS)
def test_the_real_kernels_pass_what_catches_their_faults(program: Path, op: str) -> None:
    CHECKS[op](program)


@pytest.mark.parametrize(
    "op",
    [
        "adain",
        "slabs",
        pytest.param("vectors", marks=pytest.mark.slow),
        pytest.param("bias_act", marks=pytest.mark.slow),
        "upfirdn2d",
    ],
)
def test_kernels_are_right_where_the_work_is_larger_than_a_grid(objects: Objects, op: str, tmp_path: Path) -> None:
    program = objects.changed_program(tmp_path, BUILT_FROM.get(op, op), SMALL_GRID)
    CHECKS[op](program)
    if op == "adain":
        adain_reading(program)
