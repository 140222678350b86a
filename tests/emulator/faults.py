"""Faults to plant in the real kernels: what is changed, and whose check must see it."""

# Work larger than a grid: at most 8 x 2 x 2 blocks, 1 x 2 x 2 of slabs and of slices of vectors, one cluster or block
# that holds a slab; bands of 16 rows, threads that take 4 vectors at a time. (In the split tier a plane is never cut
# into more slices than a grid has blocks along x; the checks below have up to 8.)
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
    ("upfirdn2d.cu", "enough_threads = int64_t(1) << 16", "enough_threads = 1"),
    ("bias_act.cu", "enough_threads = int64_t(1) << 18", "enough_threads = 64"),
]

# (file, the lines as they stand, what they become), once or more.
MUTATIONS = {
    "first barrier deleted": [("reduce.cuh", "= v;\n  __syncthreads();", "= v;")],
    # Missed only by a block that reduces again.
    "second barrier deleted": [("reduce.cuh", "__syncthreads();  // the slots", "// the slots"), *SMALL_GRID],
    "last warp's partial missing": [("reduce.cuh", "w < warps;", "w < warps - 1;")],
    "last slice's partial missing": [("adain_merge.cuh", "split < splits; split +=", "split < splits - 1; split +=")],
    "slab's barrier deleted": [
        ("adain_slab_split.cuh", "of_channel(v, i);\n  }\n  __syncthreads();", "of_channel(v, i);\n  }")
    ],
    # Missed only by a block that reduces again.
    "slab's second barrier deleted": [
        ("adain_slab_split.cuh", "__syncthreads();  // the slots", "// the slots"),
        *SMALL_GRID,
    ],
    "merged slots overwritten": [("adain_merge.cuh", "__syncthreads();  // the slots", "// the slots"), *SMALL_GRID],
    "last warp's slices missing": [
        ("adain_merge.cuh", "warp_size * merge_planes; slot", "warp_size * merge_planes - 8; slot")
    ],
    "slab's last pixels missing": [
        ("adain_slab_split.cuh", "(pixels - mine + step() - 1) / step()", "(pixels - mine) / step()")
    ],
    "slab's slices in reverse off by one": [
        ("adain_slab_split.cuh", "reverse ? splits_ - 1 - split_", "reverse ? splits_ - split_")
    ],
    "slab's idle lanes write": [("adain_slab_split.cuh", "int(threadIdx.x) < columns() && slab()", "slab()")],
    "slab team's barrier deleted": [
        ("adain_slab_teams.cuh", "v.value[i];\n  }\n  __syncthreads();", "v.value[i];\n  }")
    ],
    "slab team's totals read too early": [
        ("adain_slab_teams.cuh", "(v, log_lanes, totals);\n    __syncthreads();", "(v, log_lanes, totals);")
    ],
    "slab cluster's barrier deleted": [
        ("adain_slab_teams.cuh", "turn_ * most);\n    cluster_barrier();", "turn_ * most);\n    __syncthreads();")
    ],
    "slab's rest missing": [("adain_slab_resident.cuh", "pixel_ < grid.rest ? 1 : 0", "pixel_ < grid.rest ? 0 : 0")],
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
    "samples' sums read too early": [("adain_warp.cuh", "= totals;\n    __syncthreads();", "= totals;")],
    "samples' sums overwritten": [("adain_warp.cuh", "__syncthreads();  // the parts", "// the parts"), *SMALL_GRID],
    "samples of the second round missing": [("adain_warp.cuh", "round < samples; round +=", "round < 1; round +=")],
    "last sample's sums missing": [("adain_warp.cuh", "n < samples_at_once; n +=", "n + 1 < samples_at_once; n +=")],
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
        ("adain_reading_resident_backward.cuh", "? dt_.read(first + width / 4)[0]", "? 0.0f")
    ],
    "slab's neighbour past the row": [("adain_reading_slab.cuh", "kept_if(has_right_, row.right);", "row.right;")],
    "slab's row past the image": [
        ("adain_reading_slab.cuh", "const bool inside = reader.inside(i);", "const bool inside = i >= 0;")
    ],
    "slab's rows of another part": [
        ("adain_reading_slab.cuh", "+ part()) * grid_.rows;", "+ part()) * grid_.rows + part();")
    ],
    "slab's last columns missing": [("adain_reading_slab.cuh", "j() < int(Walk::op_.w)", "j() + 1 < int(Walk::op_.w)")],
    "slab tile's barrier deleted": [("adain_reading_slab_backward.cuh", "      __syncthreads();\n", "")],
    "slab tile's turns not taken": [("adain_reading_slab_backward.cuh", "turn ^= 1;", "")],
    "slab tile's own columns alone": [
        ("adain_reading_slab_backward.cuh", "has ? Quad::of(dt) : Quad{}", "has && counts ? Quad::of(dt) : Quad{}")
    ],
    "slab tile's columns counted twice": [
        ("adain_reading_slab_backward.cuh", "counts = writes && i >= top", "counts = in_image && i >= top")
    ],
    "slab's phases without zeros": [("adain_reading_slab_backward.cuh", "if (j == 0) zero_column(-1);", "")],
    "tail off by one": [("bias_act.cuh", "left = op.size - first,", "left = op.size - first - 1,")],
    "written past the end": [("vec.cuh", "if (i < count) p[i]", "if (i <= count) p[i]")],
    "written past the plane": [
        ("upfirdn2d.cuh", "static_cast<T*>(p.y)[i] =", "static_cast<T*>(p.y)[i + (out_x == p.out_w - 1)] =")
    ],
    "strip written past the image": [("upfirdn2d_strips.cuh", "out_y + r >= out_h", "out_y + r > out_h")],
    "strip's last pixel row missing": [("upfirdn2d_strips.cuh", "first_y + i < in_h", "first_y + i + 1 < in_h")],
    "strip reads past the row": [("upfirdn2d_strips.cuh", "&& first + i < size ? to", "? to")],
    "pixels beside the image read": [
        ("upfirdn2d_pixels.cuh", "first_x + pixels_across <= in_w;", "first_x + pixels_across <= in_w + 1;")
    ],
    "last row of pixels missing": [("upfirdn2d_pixels.cuh", "row >= 0 && row < in_h;", "row >= 0 && row + 1 < in_h;")],
    "idle lanes of pixels write": [("upfirdn2d_pixels.cuh", "if (channel >= c) return;", "")],
    "band of pixels one row too long": [("upfirdn2d_pixels.cuh", "row < rows && out_x", "row <= rows && out_x")],
    "waiting rows forgotten": [
        ("upfirdn2d_pixels.cuh", "? sums[turn - 1][r][column][e] : A(0)", "? sums[0][r][column][e] : A(0)")
    ],
    "another filter taken for an outer product": [("upfirdn2d_filter.cuh", "separable_ &= fabs", "separable_ |= fabs")],
    "quotient one too small": [("divide.cuh", "/ divisor + 1)", "/ divisor)")],
    "sums of rows read too early": [("bias_act_vectors.cuh", "= sums[i];\n  __syncthreads();", "= sums[i];")],
    "last pixel's sums missing": [
        ("bias_act_vectors.cuh", "at < grid.threads * size; at", "at + row < grid.threads * size; at")
    ],
    "team's last lanes missing": [("bias_act_vectors.cuh", "mask < lanes; mask", "mask < lanes / 2; mask")],
    "slices of planes overlap": [
        ("bias_act_vectors.cuh", "left < grid.slice ? left : grid", "left < grid.slice ? left : 1 + grid")
    ],
    "sums of a plane that is not there": [("bias_act_vectors.cuh", "lane == 0 && team < grid.teams", "lane == 0")],
    "vectors past the end": [("bias_act_vectors.cuh", "at >= end) continue;\n    dy", "at > end) continue;\n    dy")],
    "read past the row": [("upfirdn2d.cuh", "pixel < in ? in - pixel", "pixel <= in ? in + 1 - pixel")],
}
# Whose check must see a fault in a file.
OP_OF = {
    **dict.fromkeys(("adain_split.cuh", "adain_block.cuh", "adain_warp.cuh"), "adain"),
    **dict.fromkeys(
        (
            "adain_cluster.cuh",
            "adain_reading.cuh",
            "adain_reading_resident.cuh",
            "adain_reading_resident_backward.cuh",
            "adain_reading_split.cuh",
            "adain_reading_split_backward.cuh",
        ),
        "adain_reading",
    ),
    **dict.fromkeys(("adain_reading_slab.cuh", "adain_reading_slab_backward.cuh"), "reading_slabs"),
    **dict.fromkeys(("adain_slab_split.cuh", "adain_slab_teams.cuh", "adain_slab_resident.cuh"), "slabs"),
    "adain_merge.cuh": "adain",
    "adain_vector_split.cuh": "vectors",
    "reduce.cuh": "adain",
    "bias_act.cuh": "bias_act",
    "vec.cuh": "bias_act",
    "upfirdn2d.cuh": "upfirdn2d",
    "upfirdn2d_strips.cuh": "upfirdn2d",
    "upfirdn2d_pixels.cuh": "upfirdn2d",
    "upfirdn2d_filter.cuh": "upfirdn2d",
    "divide.cuh": "upfirdn2d",
    "bias_act_vectors.cuh": "bias_act",
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
    "last row of pixels missing",
    "sums of rows read too early",
)
