// adain where it reads through phases and blur: which kernel runs, and the shape of its launch. Host code.
#pragma once

#include "adain_reading.h"
#include "adain_reading_resident.cuh"
#include "adain_reading_slab_backward.cuh"
#include "adain_reading_split.cuh"
#include "adain_tiers.cuh"

namespace stylegan_fast {
namespace cuda {

// The slab tier finds the elements of a sample in 32 bits, and takes no activation after the style.
inline bool reads_in_slabs(const AdaIN& op) {
  const int64_t of_x = op.phases ? 4 * (op.h / 2 + 1) * (op.w / 2 + 1) * op.c : op.h * op.w * op.c;
  return op.blur && op.c % slab_width == 0 && op.output_negative_slope == 1 && of_x < most_resident_sample;
}

// The tiers that hold a plane take only whole 16-byte packs of a row: more forms would be more to build, and no
// StyleGAN has other widths. `aligned`: every tensor begins at 16 bytes, x and dx only where they are no phases of
// contiguous planes. `clusters_fit` is asked only where it matters.
template <typename F>
AdaINTier choose_reading(const AdaIN& op, bool aligned, F clusters_fit) {
  const int64_t pack = op.dtype == DType::f32 ? 4 : 8, pixels = op.h * op.w;
  if (op.dtype == DType::f64 || op.n * op.c >= most_resident_planes || !aligned) return AdaINTier::split;
  if (op.layout == Layout::channels_last) return reads_in_slabs(op) ? AdaINTier::slab_split : AdaINTier::split;
  if (op.w % pack) return AdaINTier::split;
  if (pixels <= warp_size * warp_tier_values) return AdaINTier::warp;
  if (pixels <= block_tier_threads * block_tier_values) return AdaINTier::block;
  const bool cluster = pixels <= cluster_tier_blocks * cluster_tier_threads * cluster_tier_values &&
                       compute_capability() >= 90 && clusters_fit();
  return cluster ? AdaINTier::cluster : AdaINTier::split;
}

// What of x or dx has to begin at 16 bytes: phases of contiguous planes are read number by number.
inline const void* x_to_align(const AdaIN& op, const void* x) {
  return op.phases && op.layout == Layout::contiguous ? nullptr : x;
}

inline RowOf row_of(const AdaIN& op) { return {unsigned((int64_t(1) << 32) / op.w + 1)}; }

// Runs f(T{}, whether there are phases as a compile-time constant).
template <typename F>
Status with_reading(const char* entry, const AdaIN& op, F f) {
  return with_dtype(entry, op.dtype, [&](auto zero) {
    if constexpr (std::is_same_v<decltype(zero), double>) {
      return fail(Status::unsupported, "%s: float64 is left to the split tier", entry);
    } else {
      return op.phases ? f(zero, std::true_type{}) : f(zero, std::false_type{});
    }
  });
}

// As many rows for each thread as leave 1024 pieces of work, from sizes alone: the two rows beside them are read again.
inline ReadingSlabGrid reading_slab_grid_of(const AdaIN& op) {
  ReadingSlabGrid grid{};
  grid.lanes = slab_lanes(op, slab_bytes);
  grid.slabs = int(ceil_div(op.c, grid.lanes * slab_width));
  const int64_t workers = reading_slab_threads / grid.lanes;
  grid.columns = int(std::min(op.w, workers));
  grid.parts = int(workers / grid.columns);
  grid.across = int(ceil_div(op.w, grid.columns));
  const auto down = [&] { return ceil_div(op.h, int64_t(grid.parts) * grid.rows); };
  for (grid.rows = 64; grid.rows > 8 && op.n * grid.slabs * grid.across * down() < 1024;) grid.rows /= 2;
  grid.splits = int(grid.across * down());
  grid.per_pixel = float(1.0 / double(op.h * op.w));
  return grid;
}

inline LaunchShape reading_slab_shape_of(const AdaIN& op, const ReadingSlabGrid& grid) {
  return shape_for(reading_slab_threads, grid.slabs, grid.splits, op.n);
}

// Tiles as equal as they come, of as many threads as leave the fewest idle: those beside a tile's columns only help
// their neighbours. Slabs are a sector of 16-bit channels, so that a tile is wide. A piece's rows and the two beside
// them are whole batches.
inline ReadingTileGrid reading_tile_grid_of(const AdaIN& op) {
  ReadingTileGrid grid{};
  grid.lanes = slab_lanes(op, op.dtype == DType::f32 ? 2 * narrowest_slab_bytes : narrowest_slab_bytes);
  grid.slabs = int(ceil_div(op.c, grid.lanes * slab_width));
  int64_t fewest = any_size;
  for (const int threads : {reading_tile_threads / 2, reading_tile_threads}) {
    const int64_t places = threads / grid.lanes, edge = op.w > places ? 1 : 0, across = ceil_div(op.w, places - 2 * edge);
    if (across * places >= fewest) continue;
    fewest = across * places;
    grid.edge = int(edge);
    grid.across = int(across);
  }
  grid.columns = int(ceil_div(op.w, grid.across));
  const auto down = [&] { return ceil_div(op.h, grid.rows); };
  for (grid.rows = 62; grid.rows > 6 && op.n * grid.slabs * grid.across * down() < 1024;)
    grid.rows = (grid.rows + 2) / 2 - 2;
  grid.splits = int(grid.across * down());
  grid.per_pixel = float(1.0 / double(op.h * op.w));
  return grid;
}

inline LaunchShape reading_tile_shape_of(const AdaIN& op, const ReadingTileGrid& grid) {
  const int64_t threads = int64_t(grid.columns + 2 * grid.edge) * grid.lanes;
  LaunchShape shape = shape_for(int(warps_for(threads)), grid.slabs, grid.splits, op.n);
  shape.shared_bytes = 2 * reading_tile_rows * (threads + 2 * grid.lanes) * int64_t(slab_width * sizeof(float));
  return shape;
}

inline LaunchShape reading_shape_of(const AdaIN& op, const ReadingGrid& grid) {
  const int64_t strips = ceil_div(grid.rows, strip_rows) * op.w;
  const int64_t wanted = warps_for(std::min<int64_t>(strips, adain_threads) * columns_of(op));
  return shape_for(int(std::min<int64_t>(wanted, adain_threads)), grid.planes.splits, grid.planes.slabs, op.n);
}

// As grid_of: from sizes alone. A band has about one strip, or more, for each thread of a full block; its rows, but for
// the last band's, are a multiple of `step`, less `less`.
inline ReadingGrid reading_grid_of(const AdaIN& op, int step, int less) {
  const int64_t slabs = ceil_div(op.c, columns_of(op)), strips = ceil_div(op.h, strip_rows) * op.w;
  const int64_t most = std::max<int64_t>(1, strips * columns_of(op) / adain_threads);
  const int64_t wanted = std::min(ceil_div(1024, op.n * slabs), most);
  const int64_t rows = std::min(op.h, ceil_div(ceil_div(op.h, wanted) + less, step) * step - less);
  ReadingGrid grid{{slabs, ceil_div(op.h, rows), rows * op.w, 1.0 / double(op.h * op.w)}, rows, 0, 0};
  const int64_t workers = reading_shape_of(op, grid).threads / columns_of(op);
  grid.step_strips = workers / op.w;
  grid.step_columns = workers % op.w;
  return grid;
}

}  // namespace cuda
}  // namespace stylegan_fast
