// adain: which kernel runs, and the shape of its launch. Host code; the only place that decides.
#pragma once

#include <algorithm>
#include <limits>

#include "adain_block.cuh"
#include "adain_cluster.cuh"
#include "adain_slab_split.cuh"
#include "adain_split.cuh"
#include "adain_warp.cuh"

namespace stylegan_fast {
namespace cuda {

enum class AdaINTier { warp, block, cluster, slab_split, split };

// A tier holds a plane of up to `most_pixels` in registers. The first row whose conditions are met is taken. No
// threshold is measured: each is what the register budget named beside it can hold.
struct AdaINTierRow {
  AdaINTier tier;
  Layout layout;
  int capability;       // at least; 75 for 7.5
  bool vectors;         // only with vectors: 16 bytes of pixels, or 4 channels
  int64_t most_pixels;
};

constexpr AdaINTierRow adain_tiers[] = {
    // 32 lanes of 8 values. A block for so small a plane would be mostly barriers.
    {AdaINTier::warp, Layout::contiguous, 0, false, warp_size * warp_tier_values},
    // 1024 threads of 16 values, or in the backward 512 of 32: either is all the registers of a multiprocessor.
    {AdaINTier::block, Layout::contiguous, 0, false, block_tier_threads * block_tier_values},
    // 8 blocks of half that.
    {AdaINTier::cluster, Layout::contiguous, 90, true,
     cluster_tier_blocks * cluster_tier_threads * cluster_tier_values},
    // Whatever its size.
    {AdaINTier::slab_split, Layout::channels_last, 0, true, std::numeric_limits<int64_t>::max()},
};

struct AdaINChoice {
  AdaINTier tier;
  bool vectors;
};

// `aligned`: every tensor begins at 16 bytes. `clusters_fit` is asked only where the answer matters.
template <typename Ask>
AdaINChoice choose(const AdaIN& op, bool aligned, Ask clusters_fit) {
  const int64_t pixels = op.h * op.w, width = op.dtype == DType::f32 ? 4 : 8;
  const AdaINChoice split{AdaINTier::split, false};
  // Double has no fast tiers: nobody trains in it.
  if (op.dtype == DType::f64 || op.n * op.c >= most_resident_planes) return split;
  const bool vectors = aligned && (op.layout == Layout::contiguous ? pixels % width : op.c % slab_width) == 0;
  for (const AdaINTierRow& row : adain_tiers) {
    if (row.layout != op.layout || pixels > row.most_pixels || (row.vectors && !vectors)) continue;
    if (row.capability && compute_capability() < row.capability) continue;
    if (row.tier == AdaINTier::cluster && !clusters_fit()) continue;
    return {row.tier, vectors};
  }
  return split;
}

inline int64_t warps_for(int64_t threads) { return ceil_div(threads, warp_size) * warp_size; }

// Lanes that share a plane of the warp tier.
inline int lanes_for(int64_t pixels) {
  int lanes = 4;
  while (lanes * warp_tier_values < pixels) lanes *= 2;
  return lanes;
}

inline LaunchShape warp_tier_shape(const AdaIN& op, int lanes) {
  return shape_for(warp_tier_threads, ceil_div(op.n * op.c, warp_tier_threads / lanes));
}

// values: those a thread holds.
inline LaunchShape block_tier_shape(const AdaIN& op, int values) {
  return shape_for(int(warps_for(ceil_div(op.h * op.w, values))), op.n * op.c);
}

inline LaunchShape cluster_tier_shape(int64_t planes, int64_t pixels, int values) {
  const int64_t threads = warps_for(ceil_div(pixels, cluster_tier_blocks * values));
  const int64_t clusters = std::min<int64_t>(planes, max_grid_x / cluster_tier_blocks);
  return {dim3(unsigned(clusters * cluster_tier_blocks)), int(threads), 0, cluster_tier_blocks};
}

// Whether the device can hold one of the largest clusters of this kernel.
template <auto kernel>
bool largest_cluster_fits(int values) {
  return clusters_fit<kernel>(
      cluster_tier_shape(1, cluster_tier_blocks * cluster_tier_threads * cluster_tier_values, values));
}

static_assert(block_tier_threads * block_tier_values == block_tier_backward_threads * block_tier_backward_values &&
                  cluster_tier_threads * cluster_tier_values ==
                      cluster_tier_backward_threads * cluster_tier_backward_values,
              "forward and backward hold the same planes");

// The split tier ---------------------------------------------------------------------------------------------------

inline int columns_of(const AdaIN& op) { return op.layout == Layout::contiguous ? 1 : warp_size; }

// From sizes alone, so that every device gives the same bits. A slice has at least one batch for each thread of a full
// block; beyond the 1024 blocks that fill the largest devices several times over, slices would only be merged again.
inline AdaINGrid grid_of(const AdaIN& op) {
  const int64_t pixels = op.h * op.w, slabs = ceil_div(op.c, columns_of(op)), groups = op.n * slabs;
  const int64_t smallest_slice = adain_batch * adain_threads / columns_of(op);
  const int64_t splits = std::max<int64_t>(1, std::min(ceil_div(1024, groups), pixels / smallest_slice));
  return {slabs, splits, ceil_div(pixels, splits), 1.0 / double(pixels)};
}

// As many warps as a slice has batches for.
inline LaunchShape shape_of(const AdaIN& op, const AdaINGrid& grid) {
  const int64_t wanted = warps_for(ceil_div(grid.slice * columns_of(op), adain_batch));
  return shape_for(int(std::min<int64_t>(wanted, adain_threads)), grid.splits, grid.slabs, op.n);
}

// The slab tiers ---------------------------------------------------------------------------------------------------

// How the channels are shared out: `lanes` threads to a slab, no more than there are channels for.
struct SlabCut {
  int lanes;
  int64_t slabs;
};

inline SlabCut slab_cut(const AdaIN& op) {
  const int most = op.dtype == DType::f32 ? slab_channels<float> : slab_channels<__half>;
  int lanes = 1;
  while (lanes * slab_width < most && lanes * slab_width < op.c) lanes *= 2;
  return {lanes, ceil_div(op.c, lanes * slab_width)};
}

// From sizes alone, as above. A thread of a slice has at least 8 pixels, which makes a block 16 or 32 KB; beyond 2048 blocks,
// several times what the largest devices run at once, the last of which then leave little of them idle, slices would
// only be merged again.
inline AdaINGrid slab_grid_of(const AdaIN& op, const SlabCut& cut) {
  const int64_t pixels = op.h * op.w, groups = op.n * cut.slabs, smallest_slice = 8 * slab_threads / cut.lanes;
  const int64_t splits = std::max<int64_t>(1, std::min(ceil_div(2048, groups), pixels / smallest_slice));
  return {cut.slabs, splits, ceil_div(pixels, splits), 1.0 / double(pixels)};
}

inline LaunchShape slab_shape_of(const AdaIN& op, const AdaINGrid& grid) {
  return shape_for(slab_threads, grid.slabs, grid.splits, op.n);
}

// Merging ----------------------------------------------------------------------------------------------------------

inline bool splits_planes(AdaINTier tier) { return tier == AdaINTier::split || tier == AdaINTier::slab_split; }

// To be merged; 0: a plane is held in registers, or is one slice.
inline int64_t slices_of(const AdaIN& op, AdaINTier tier) {
  if (!splits_planes(tier)) return 0;
  const AdaINGrid grid = tier == AdaINTier::split ? grid_of(op) : slab_grid_of(op, slab_cut(op));
  const int64_t splits = grid.splits;
  return splits == 1 ? 0 : splits;
}

inline LaunchShape merge_shape(int64_t planes, int64_t splits) {
  return shape_for(int(std::min<int64_t>(warps_for(std::max<int64_t>(splits, 1)), merge_threads)), planes);
}

inline LaunchShape one_thread_each(int64_t items, int64_t rows = 1) {
  return shape_for(adain_threads, ceil_div(items, adain_threads), rows);
}

inline bool empty(const AdaIN& op) { return op.n == 0 || op.c == 0 || op.h == 0 || op.w == 0; }

inline int64_t acc_bytes(const AdaIN& op) { return op.dtype == DType::f64 ? 8 : 4; }

// Runs f(T{}, columns as a compile-time constant).
template <typename F>
Status with_columns(const char* entry, const AdaIN& op, F f) {
  return with_dtype(entry, op.dtype, [&](auto zero) {
    if (op.layout == Layout::contiguous) return f(zero, std::integral_constant<int, 1>{});
    return f(zero, std::integral_constant<int, warp_size>{});
  });
}

// Runs f(T{}) for the dtypes that have fast tiers.
template <typename F>
Status with_fast_dtype(const char* entry, const AdaIN& op, F f) {
  return with_dtype(entry, op.dtype, [&](auto zero) {
    if constexpr (std::is_same_v<decltype(zero), double>) {
      return fail(Status::unsupported, "%s: float64 is left to the split tier", entry);
    } else {
      return f(zero);
    }
  });
}

// Runs f(T{}, width as a compile-time constant) for them.
template <typename F>
Status with_width(const char* entry, const AdaIN& op, bool vectors, F f) {
  return with_fast_dtype(entry, op, [&](auto zero) {
    if (vectors) return f(zero, std::integral_constant<int, Vec<decltype(zero)>::size>{});
    return f(zero, std::integral_constant<int, 1>{});
  });
}

}  // namespace cuda
}  // namespace stylegan_fast
