// adain where it reads through phases and blur: which kernel runs, and the shape of its launch. Host code.
#pragma once

#include "adain_reading.h"
#include "adain_reading_resident.cuh"
#include "adain_reading_split.cuh"
#include "adain_tiers.cuh"

namespace stylegan_fast {
namespace cuda {

// The tiers that hold a plane take only whole 16-byte packs of a row: more forms would be more to build, and no
// StyleGAN has other widths. `aligned`: every tensor but phases begins at 16 bytes. `clusters_fit` is asked only where
// it matters.
template <typename F>
AdaINTier choose_reading(const AdaIN& op, bool aligned, F clusters_fit) {
  const int64_t pack = op.dtype == DType::f32 ? 4 : 8, pixels = op.h * op.w;
  if (op.layout != Layout::contiguous || op.dtype == DType::f64 || op.n * op.c >= most_resident_planes || !aligned ||
      op.w % pack)
    return AdaINTier::split;
  if (pixels <= warp_size * warp_tier_values) return AdaINTier::warp;
  if (pixels <= block_tier_threads * block_tier_values) return AdaINTier::block;
  const bool cluster = pixels <= cluster_tier_blocks * cluster_tier_threads * cluster_tier_values &&
                       compute_capability() >= 90 && clusters_fit();
  return cluster ? AdaINTier::cluster : AdaINTier::split;
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
