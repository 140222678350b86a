// adain that reads through phases and blur: which kernel runs, and the shape of its launch. Host code.
#pragma once

#include "adain_reading.h"
#include "adain_reading_split.cuh"
#include "adain_tiers.cuh"

namespace stylegan_fast {
namespace cuda {

inline LaunchShape reading_shape_of(const AdaIN& op, const ReadingGrid& grid) {
  const int64_t strips = ceil_div(grid.rows, strip_rows) * op.w;
  const int64_t wanted = warps_for(std::min<int64_t>(strips, adain_threads) * columns_of(op));
  return shape_for(int(std::min<int64_t>(wanted, adain_threads)), grid.planes.splits, grid.planes.slabs, op.n);
}

// As grid_of: from sizes alone. A band has at least one strip for each thread of a full block, and its rows, but for the
// last band's, are a multiple of `step`, less `less`.
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
