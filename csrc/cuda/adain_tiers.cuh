// adain: which kernel runs, and the shape of its launch. Host code; the only place that decides.
#pragma once

#include <algorithm>
#include <limits>

#include "adain_block.cuh"
#include "adain_cluster.cuh"
#include "adain_slab_split.cuh"
#include "adain_slab_teams.cuh"
#include "adain_split.cuh"
#include "adain_vector_split.cuh"
#include "adain_warp.cuh"

namespace stylegan_fast {
namespace cuda {

enum class AdaINTier { warp, block, cluster, vector_split, slab_block, slab_cluster, slab_split, split };

// A tier holds so many values of x in registers, of a plane of so many pixels. The first row whose conditions are met is
// taken. The values are what the register budget named beside them can hold; what was measured is said to be.
struct AdaINTierRow {
  AdaINTier tier;
  Layout layout;
  int capability;  // at least; 75 for 7.5
  bool vectors;    // only with vectors: 16 bytes of pixels, or 4 channels
  bool backward;   // there, too
  int64_t most_values, most_pixels;
};

constexpr int64_t any_size = std::numeric_limits<int64_t>::max();

constexpr AdaINTierRow adain_tiers[] = {
    // 32 lanes of 8 values. A block for so small a plane would be mostly barriers.
    {AdaINTier::warp, Layout::contiguous, 0, false, true, warp_size * warp_tier_values, any_size},
    // 1024 threads of 16 values, or in the backward 512 of 32: either is all the registers of a multiprocessor. A cluster
    // of 8 blocks, which would hold the planes of 256x256, was measured on an H100 and was slower than two passes: forward
    // 328 us for 293 in fp32 and 235 for 168 in bf16, backward 482 for 463 and 301 for 247.
    {AdaINTier::block, Layout::contiguous, 0, false, true, block_tier_threads * block_tier_values, any_size},
    {AdaINTier::vector_split, Layout::contiguous, 0, true, true, any_size, any_size},
    // 256 threads of 64 values, or in the backward of 64 of x and of dy in 16 bits or 32 in fp32, which is what 255
    // registers hold of them beside the constants of 4 channels.
    {AdaINTier::slab_block, Layout::channels_last, 0, true, true, slab_team_threads * slab_packs * slab_width, any_size},
    // 8 of these blocks. Measured on an H100 against two passes: with one block a multiprocessor at 128x128 in fp32 190
    // us for 162, and in the backward 121 for 103 at 64x64 in bf16; with two at 64x64 54 for 51 to 60 in bf16 and 75 for
    // 90 to 98 in fp32.
    {AdaINTier::slab_cluster, Layout::channels_last, 90, true, false,
     slab_cluster_blocks * slab_team_threads * slab_packs * slab_width, 64 * 64},
    {AdaINTier::slab_split, Layout::channels_last, 0, true, true, any_size, any_size},
};

static_assert(block_tier_threads * block_tier_values == block_tier_backward_threads * block_tier_backward_values &&
                  cluster_tier_threads * cluster_tier_values ==
                      cluster_tier_backward_threads * cluster_tier_backward_values,
              "forward and backward hold the same planes");

// Lanes of a slab of `bytes` of neighbouring channels, or as many as there are channels for.
inline int slab_lanes(const AdaIN& op, int bytes) {
  const int thread_bytes = slab_width * (op.dtype == DType::f32 ? 4 : 2);
  int lanes = 1;
  while (lanes * thread_bytes < bytes && lanes * slab_width < op.c) lanes *= 2;
  return lanes;
}

// Pixels of its channels that a thread of the slab tiers holds.
inline int slab_packs_of(const AdaIN& op, bool backward) {
  if (!backward) return slab_packs;
  return op.dtype == DType::f32 ? slab_backward_packs<float> : slab_backward_packs<__half>;
}

// What has to be in registers at once: a plane, or the narrowest slab, which is one sector of the cache; twice that
// where a thread holds half as many pixels.
constexpr int narrowest_slab_bytes = 32;
inline int64_t values_at_once(const AdaIN& op, bool backward) {
  const int64_t pixels = op.h * op.w;
  if (op.layout == Layout::contiguous) return pixels;
  if (pixels * op.c >= most_resident_sample) return most_resident_sample;
  return pixels * slab_lanes(op, narrowest_slab_bytes) * slab_width * (slab_packs / slab_packs_of(op, backward));
}

struct AdaINChoice {
  AdaINTier tier;
  bool vectors;
};

// `aligned`: every tensor begins at 16 bytes. clusters_fit() is asked only where the answer matters.
template <typename Ask>
AdaINChoice choose(const AdaIN& op, bool backward, bool aligned, Ask clusters_fit) {
  const int64_t width = op.dtype == DType::f32 ? 4 : 8;
  const AdaINChoice split{AdaINTier::split, false};
  // Double has no fast tiers: nobody trains in it.
  if (op.dtype == DType::f64 || op.n * op.c >= most_resident_planes) return split;
  const bool vectors = aligned && (op.layout == Layout::contiguous ? op.h * op.w % width : op.c % slab_width) == 0;
  for (const AdaINTierRow& row : adain_tiers) {
    if (row.layout != op.layout || (row.vectors && !vectors)) continue;
    if (backward && !row.backward) continue;
    if (values_at_once(op, backward) > row.most_values || op.h * op.w > row.most_pixels) continue;
    if (row.capability && compute_capability() < row.capability) continue;
    if (row.tier == AdaINTier::slab_cluster && !clusters_fit()) continue;
    return {row.tier, vectors};
  }
  return split;
}

inline int64_t warps_for(int64_t threads) { return ceil_div(threads, warp_size) * warp_size; }

inline PlaneGrid plane_grid_of(const AdaIN& op) {
  return {Divisor(unsigned(op.c)), float(1.0 / double(op.h * op.w))};
}

// Of a power of two.
inline int log2_of(int power) {
  int log = 0;
  while ((1 << log) < power) ++log;
  return log;
}

// The logarithm of the lanes that share a plane of the warp tier.
inline int log_lanes_for(int64_t pixels) {
  int lanes = fewest_lanes;
  while (lanes * warp_tier_values < pixels) lanes *= 2;
  return log2_of(lanes);
}

inline LaunchShape warp_tier_shape(const AdaIN& op, int log_lanes) {
  return shape_for(warp_tier_threads, ceil_div(op.n * op.c, warp_tier_threads >> log_lanes));
}

// The logarithm of the channels of which a block of adain_warp_backward_of_channels takes all samples; negative where
// that is not to be used. As many as its teams take in one round, or 1 where the samples are more: in several rounds
// then, of which 4 cost no more than the kernel that is spared, and more do not matter where there are blocks enough
// for every multiprocessor of the largest devices.
inline int log_channels_for(const AdaIN& op, int log_lanes) {
  const int64_t teams = warp_tier_threads >> log_lanes;
  int log_channels = 0;
  while ((op.n << (log_channels + 1)) <= teams && (int64_t(1) << log_channels) < op.c) ++log_channels;
  const bool few_rounds = op.n <= 4 * teams, many_blocks = op.c >= 256 && op.n <= 64 * teams;
  return few_rounds || many_blocks ? log_channels : -1;
}

inline LaunchShape warp_tier_shape_of_channels(const AdaIN& op, int log_channels) {
  return shape_for(warp_tier_threads, ceil_div(op.c, int64_t(1) << log_channels));
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

// Whether the device can hold one of this kernel's largest clusters.
template <auto kernel>
bool largest_cluster_fits(int blocks, int threads) {
  return clusters_fit<kernel>({dim3(unsigned(blocks)), threads, 0, blocks});
}

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

// The lanes of slabs as wide as can be held in registers; but narrower ones too where there would be fewer than 256 of
// them, about two for each multiprocessor of the largest devices.
inline int resident_slab_lanes(const AdaIN& op, int64_t most_values) {
  const auto slabs = [&](int lanes) { return ceil_div(op.c, lanes * slab_width); };
  int lanes = slab_lanes(op, slab_bytes);
  while (lanes > slab_lanes(op, narrowest_slab_bytes) &&
         (op.h * op.w * lanes * slab_width > most_values || op.n * slabs(lanes) < 256))
    lanes /= 2;
  return lanes;
}

struct SlabTeams {
  SlabGrid grid;
  LaunchShape shape;
  bool few;  // slab_few_packs are enough for each of its threads
};

inline SlabTeams slab_teams(const AdaIN& op, AdaINTier tier, bool backward) {
  const int blocks = tier == AdaINTier::slab_cluster ? slab_cluster_blocks : 1, most = slab_packs_of(op, backward);
  const int64_t team_threads = blocks * slab_team_threads;
  const int lanes = resident_slab_lanes(op, team_threads * most * slab_width);
  const int64_t pixels = op.h * op.w, packs = pixels * lanes, slabs = ceil_div(op.c, lanes * slab_width);
  const bool few = blocks == 1 && packs <= team_threads * slab_few_packs;
  const int threads = int(warps_for(ceil_div(packs, int64_t(blocks) * (few ? slab_few_packs : most))));
  const int step = blocks * threads / lanes;
  const SlabGrid grid{Divisor(unsigned(slabs)), log2_of(lanes), step, int(pixels / step), int(pixels % step),
                      float(1.0 / double(pixels))};
  const int64_t teams = std::min<int64_t>(op.n * slabs, max_grid_x / blocks);
  return {grid, {dim3(unsigned(teams * blocks)), threads, 0, blocks}, few};
}

// Of the slab split tier, from sizes alone as above. A thread of a slice has at least 8 pixels, which makes a block 16
// or 32 KB. Blocks are several times what the largest devices run at once, so that the last of them leave little idle;
// beyond that, slices would only be merged again. In 16 bits what a block begins and ends with counts for more, and so
// they are fewer: measured on an H100, with 512 for 2048, forward 90 us for 105 at 128x128 and 160 for 175 at 256x256,
// backward 141 for 160 and 257 for 280; in fp32 forward 337 for 309 at 256x256.
inline AdaINGrid slab_grid_of(const AdaIN& op) {
  const int lanes = slab_lanes(op, slab_bytes);
  const int64_t pixels = op.h * op.w, slabs = ceil_div(op.c, lanes * slab_width), groups = op.n * slabs;
  const int64_t smallest_slice = 8 * slab_threads / lanes, blocks = op.dtype == DType::f32 ? 2048 : 512;
  const int64_t splits = std::max<int64_t>(1, std::min(ceil_div(blocks, groups), pixels / smallest_slice));
  return {slabs, splits, ceil_div(pixels, splits), 1.0 / double(pixels)};
}

inline LaunchShape slab_shape_of(const AdaIN& op, const AdaINGrid& grid) {
  return shape_for(slab_threads, grid.slabs, grid.splits, op.n);
}

// Of contiguous planes with vectors: the same, of 8 packs a thread, which makes a block 32 KB. In packs.
inline AdaINGrid vector_grid_of(const AdaIN& op) {
  const int64_t pixels = op.h * op.w, packs = pixels * (op.dtype == DType::f32 ? 4 : 2) / 16;
  const int64_t smallest_slice = 8 * vector_split_threads;
  const int64_t splits = std::max<int64_t>(1, std::min(ceil_div(4096, op.n * op.c), packs / smallest_slice));
  return {op.c, splits, ceil_div(packs, splits), 1.0 / double(pixels)};
}

inline LaunchShape vector_shape_of(const AdaIN& op, const AdaINGrid& grid) {
  return shape_for(vector_split_threads, grid.splits, op.c, op.n);
}

// Merging ----------------------------------------------------------------------------------------------------------

// Slices of a plane; 0 where it is held in registers.
inline int64_t splits_of(const AdaIN& op, AdaINTier tier) {
  switch (tier) {
    case AdaINTier::split: return grid_of(op).splits;
    case AdaINTier::slab_split: return slab_grid_of(op).splits;
    case AdaINTier::vector_split: return vector_grid_of(op).splits;
    default: return 0;
  }
}

inline LaunchShape merge_shape(int64_t planes, int64_t splits) {
  const int64_t wanted = warps_for(merge_planes * std::max<int64_t>(splits, 1));
  return shape_for(int(std::min<int64_t>(wanted, merge_threads)), ceil_div(planes, merge_planes));
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
