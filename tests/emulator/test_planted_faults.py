"""What proves the emulator: faults planted in small kernels and in the real ones are caught, their twins run."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from .adain_cases import NO_CLUSTERS, USUAL, check_backward, check_forward, make
from .dtypes import F32
from .machine import CSRC, ENVIRONMENT, HERE, EmulatorError, Objects, compile_objects, link
from .test_bias_act import check as check_bias_act
from .test_upfirdn2d import CASES as RESAMPLINGS
from .test_upfirdn2d import STRIPS
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
    """One case a tier: warp, block, cluster, split in both layouts."""
    shapes = (((2, 3, 13, 11), False), ((2, 5, 16, 72), False), ((1, 2, 128, 160), False), ((1, 3, 5, 3301), False))
    for shape, channels_last in (*shapes, ((1, 33, 12, 13), True)):
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


def bias_act(program: Path) -> None:
    check_bias_act(program, F32, "lrelu", 1030)


def upfirdn2d(program: Path) -> None:
    for name in ("up and down", "blur"):
        check_upfirdn2d(program, RESAMPLINGS[name], F32, name == "blur")
    for name in ("3 taps", "up 2, 4 taps", "down 2, 4 taps", "down 2, 4 taps, odd height"):
        check_upfirdn2d(program, STRIPS[name], F32, False)


def vectors(program: Path) -> None:
    """Contiguous planes in slices, with vectors."""
    for shape in ((1, 1, 160, 172), (3, 3, 128, 132)):
        p = make(shape, F32, "all")
        check_forward(program, p, F32, False, device=NO_CLUSTERS)
        check_backward(program, p, F32, False, device=NO_CLUSTERS)


CHECKS = {"adain": adain, "slabs": slabs, "vectors": vectors, "adain_reading": adain_reading}
CHECKS |= {"bias_act": bias_act, "upfirdn2d": upfirdn2d}
BUILT_FROM = {"slabs": "adain", "vectors": "adain"}

# Work larger than a grid: at most 8 x 2 x 2 blocks, 1 x 2 x 2 of slabs and of slices of vectors, one cluster or block
# that holds a slab. (In the split tier a plane is never cut into more slices than a grid has blocks along x; the checks
# below have up to 8.)
SMALL_GRID = [
    ("launch.cuh", "max_grid_x = 0x7fffffff, max_grid_yz = 65535", "max_grid_x = 8, max_grid_yz = 2"),
    ("adain_tiers.cuh", "max_grid_x / cluster_tier_blocks", "1"),
    ("adain_tiers.cuh", "max_grid_x / blocks", "1"),
    ("adain_tiers.cuh", "(slab_threads, grid.slabs,", "(slab_threads, std::min<int64_t>(grid.slabs, 1),"),
    (
        "adain_tiers.cuh",
        "(vector_split_threads, grid.splits,",
        "(vector_split_threads, std::min<int64_t>(grid.splits, 1),",
    ),
]

# (file, the lines as they stand, what they become), once or more.
MUTATIONS = {
    "first barrier deleted": [("reduce.cuh", "= v;\n  __syncthreads();", "= v;")],
    # Missed only by a block that reduces again.
    "second barrier deleted": [("reduce.cuh", "__syncthreads();  // the slots", "// the slots"), *SMALL_GRID],
    "last warp's partial missing": [("reduce.cuh", "w < warps;", "w < warps - 1;")],
    "last slice's partial missing": [
        (
            "adain_merge.cuh",
            "split < splits; split += blockDim.x) {\n      const",
            "split < splits - 1; split += blockDim.x) {\n      const",
        )
    ],
    "slab's barrier deleted": [
        ("adain_slab_split.cuh", "of_channel(v, i);\n  }\n  __syncthreads();", "of_channel(v, i);\n  }")
    ],
    # Missed only by a block that reduces again.
    "slab's second barrier deleted": [
        ("adain_slab_split.cuh", "__syncthreads();  // the slots", "// the slots"),
        *SMALL_GRID,
    ],
    "slab's last pixels missing": [
        ("adain_slab_split.cuh", "(pixels - mine + step() - 1) / step()", "(pixels - mine) / step()")
    ],
    "slab's slices in reverse off by one": [
        ("adain_slab_split.cuh", "int(grid_.splits) - 1 - split_", "int(grid_.splits) - split_")
    ],
    "slab's idle lanes write": [("adain_slab_split.cuh", "int(threadIdx.x) < columns() && slab()", "slab()")],
    "slab team's barrier deleted": [
        ("adain_slab_teams.cuh", "v.value[i];\n  }\n  __syncthreads();", "v.value[i];\n  }")
    ],
    "slab team's totals read too early": [
        ("adain_slab_teams.cuh", "(v, lanes, totals);\n    __syncthreads();", "(v, lanes, totals);")
    ],
    "slab team's last pixels missing": [
        ("adain_slab_resident.cuh", "(pixels - pixel_ + step_ - 1) / step_", "(pixels - pixel_) / step_")
    ],
    "slab cluster's barrier deleted": [
        ("adain_slab_teams.cuh", "turn_ * most);\n    cluster_barrier();", "turn_ * most);\n    __syncthreads();")
    ],
    "slab cluster's halves do not take turns": [("adain_slab_teams.cuh", "turn_ ^= 1;\n", "")],
    "slab cluster ends too early": [
        ("adain_slab_teams.cuh", "finish() const { cluster_barrier(); }", "finish() const {}")
    ],
    "slab cluster's last block missing": [
        ("adain_slab_teams.cuh", "rank < slab_cluster_blocks;", "rank + 1 < slab_cluster_blocks;")
    ],
    "vectors' last pixels missing": [
        ("adain_vector_split.cuh", "(packs - mine + vector_split_threads - 1)", "(packs - mine)")
    ],
    "vectors' slices in reverse off by one": [
        ("adain_vector_split.cuh", "int(grid_.splits) - 1 - split_", "int(grid_.splits) - split_")
    ],
    "vectors' slices one pack too long": [
        ("adain_vector_split.cuh", "left < grid_.slice ? left", "left < grid_.slice ? left + 1")
    ],
    "shuffle too narrow": [("reduce.cuh", "v.value[i], mask)", "v.value[i], mask, 16)")],
    "dead lanes skip a barrier": [
        ("adain_split.cuh", "    moments = block_reduce", "    if (!place.live) continue;\n    moments = block_reduce")
    ],
    "block's barrier deleted": [("adain_block.cuh", "= v;\n  __syncthreads();", "= v;")],
    "block's halves do not take turns": [("adain_block.cuh", "turn_ ^= 1;\n    return", "return")],
    "last warp's sum missing": [("adain_block.cuh", "lane < warps)", "lane < warps - 1)")],
    "cluster's barrier deleted": [("adain_cluster.cuh", "= v;\n    cluster_barrier();", "= v;")],
    "cluster ends too early": [("adain_cluster.cuh", "finish() const { cluster_barrier(); }", "finish() const {}")],
    "last block's sum missing": [
        ("adain_cluster.cuh", "rank < cluster_tier_blocks;", "rank + 1 < cluster_tier_blocks;")
    ],
    "lanes add up to half a plane": [("adain_warp.cuh", "mask < lanes_;", "mask < lanes_ / 2;")],
    "tile's barrier deleted": [
        ("adain_reading_split_backward.cuh", "        __syncthreads();\n        for (int item", "        for (int item")
    ],
    "tile's second barrier deleted": [
        ("adain_reading_split_backward.cuh", "        }\n        __syncthreads();\n#pragma", "        }\n#pragma")
    ],
    "columns beside a tile left out": [
        ("adain_reading_split_backward.cuh", "in_image = u.blur && i", "in_image = !u.blur && i")
    ],
    "rows above a step left out": [
        ("adain_reading_split_backward.cuh", "= carried[k][1];", "= A(0);"),
    ],
    "another band's pixels counted": [("adain_reading_split_backward.cuh", "i + r < band.top ||", "i + r < 0 ||")],
    "band's last row missing": [
        ("adain_reading_split.cuh", "if (i + r >= band.bottom) continue;\n        const", "const")
    ],
    "neighbour read past the row": [("adain_reading.cuh", "has_right = j + 1 < w;", "has_right = true;")],
    "nothing right of the phases": [("adain_reading.cuh", "u.pixel(u.w)] =", "u.pixel(-1)] =")],
    "plane blurred before it is there": [("adain_reading_resident_backward.cuh", "team.meet();", "")],
    # Missed only by a warp that has another plane.
    "plane overwritten while it is blurred": [("adain_reading_resident_backward.cuh", "team.part();", ""), *SMALL_GRID],
    "row in the next block's memory left out": [
        ("adain_reading_resident_backward.cuh", "of_block(quads_, rank)[i -", "quads_[i -")
    ],
    "row below left out": [
        ("adain_reading_resident_backward.cuh", "dt_sums(i + 1, j, below);", "dt_sums(h_, j, below);")
    ],
    "pixel right of a pack left out": [
        ("adain_reading_resident_backward.cuh", "? dt_.read(first + width / 4).element[0]", "? 0.0f")
    ],
    "tail off by one": [("bias_act.cuh", "left = op.size - first,", "left = op.size - first - 1,")],
    "written past the end": [("vec.cuh", "if (i < count) p[i]", "if (i <= count) p[i]")],
    "written past the plane": [
        ("upfirdn2d.cuh", "static_cast<T*>(p.y)[i] =", "static_cast<T*>(p.y)[i + (out_x == p.out_w - 1)] =")
    ],
    "strip written past the image": [("upfirdn2d_strips.cuh", "out_y + r >= out_h", "out_y + r > out_h")],
    "strip's last pixel row missing": [("upfirdn2d_strips.cuh", "first_y + i < in_h", "first_y + i + 1 < in_h")],
    "strip reads past the row": [("upfirdn2d_strips.cuh", "&& first + i < size ? to", "? to")],
    "read past the row": [("upfirdn2d.cuh", "pixel < in ? in - pixel", "pixel <= in ? in + 1 - pixel")],
}
# Whose check must see a fault in a file.
OP_OF = {
    **dict.fromkeys(("adain_split.cuh", "adain_block.cuh", "adain_cluster.cuh", "adain_warp.cuh"), "adain"),
    **dict.fromkeys(
        (
            "adain_reading.cuh",
            "adain_reading_resident.cuh",
            "adain_reading_resident_backward.cuh",
            "adain_reading_split.cuh",
            "adain_reading_split_backward.cuh",
        ),
        "adain_reading",
    ),
    **dict.fromkeys(("adain_slab_split.cuh", "adain_slab_teams.cuh", "adain_slab_resident.cuh"), "slabs"),
    "adain_merge.cuh": "adain",
    "adain_vector_split.cuh": "vectors",
    "reduce.cuh": "adain",
    "bias_act.cuh": "bias_act",
    "vec.cuh": "bias_act",
    "upfirdn2d.cuh": "upfirdn2d",
    "upfirdn2d_strips.cuh": "upfirdn2d",
}
ALWAYS = (
    "block's barrier deleted",
    "last block's sum missing",
    "last slice's partial missing",
    "columns beside a tile left out",
    "plane blurred before it is there",
    "slab team's barrier deleted",
    "tail off by one",
    "written past the plane",
    "strip's last pixel row missing",
)


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
