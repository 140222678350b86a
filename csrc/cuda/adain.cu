// adain: entry points, and the one place that decides how a launch is cut.
#include "adain.cuh"

#include <algorithm>

#include "../check.h"
#include "adain_backward.cuh"

namespace stylegan_fast {
namespace cuda {
namespace {

int columns_of(const AdaIN& op) { return op.layout == Layout::contiguous ? 1 : warp_size; }

// From sizes alone, so that every device gives the same bits. A slice has at least one batch for each thread of a full
// block; beyond the 1024 blocks that fill the largest devices several times over, slices would only be merged again.
AdaINGrid grid_of(const AdaIN& op) {
  const int64_t pixels = op.h * op.w, slabs = ceil_div(op.c, columns_of(op)), groups = op.n * slabs;
  const int64_t smallest_slice = adain_batch * adain_threads / columns_of(op);
  const int64_t splits = std::max<int64_t>(1, std::min(ceil_div(1024, groups), pixels / smallest_slice));
  return {slabs, splits, ceil_div(pixels, splits), 1.0 / double(pixels)};
}

// As many warps as a slice has batches for.
LaunchShape shape_of(const AdaIN& op, const AdaINGrid& grid) {
  const int64_t wanted = ceil_div(ceil_div(grid.slice * columns_of(op), adain_batch), warp_size) * warp_size;
  return shape_for(int(std::min<int64_t>(wanted, adain_threads)), grid.splits, grid.slabs, op.n);
}

bool empty(const AdaIN& op) { return op.n == 0 || op.c == 0 || op.h == 0 || op.w == 0; }

int64_t acc_bytes(const AdaIN& op) { return op.dtype == DType::f64 ? 8 : 4; }

// Runs f(T{}, columns as a compile-time constant).
template <typename F>
Status with_kernel(const char* entry, const AdaIN& op, F f) {
  return with_dtype(entry, op.dtype, [&](auto zero) {
    if (op.layout == Layout::contiguous) return f(zero, std::integral_constant<int, 1>{});
    return f(zero, std::integral_constant<int, warp_size>{});
  });
}

LaunchShape one_thread_each(int64_t items, int64_t rows = 1) {
  return shape_for(adain_threads, ceil_div(items, adain_threads), rows);
}

// The gradients of an empty x that are not empty: zeros, which the kernels write where they find nothing to add.
Status sums_over_nothing(const char* entry, const AdaINBackward& p, void* stream) {
  const int64_t planes = p.op.n * p.op.c, pixels = p.op.h * p.op.w;
  return with_kernel(entry, p.op, [&](auto zero, auto columns) {
    using T = decltype(zero);
    Status status = Status::ok;
    for (const PlaneSums& sums : {PlaneSums{p.dshift, p.dscale}, PlaneSums{p.dbias, p.dnoise_strength}})
      if (status == Status::ok && planes && (sums.first || sums.second))
        status = launch(entry, adain_merge_sums<acc_t<T>>, one_thread_each(planes), stream, PlaneSums{}, int64_t(0),
                        planes, sums);
    if (status == Status::ok && p.dnoise && p.op.n && pixels)
      status = launch(entry, adain_backward_dnoise<T, columns()>, one_thread_each(pixels * columns(), p.op.n), stream,
                      p, AdaINGrid{}, PlaneSums{});
    return status;
  });
}

}  // namespace

int64_t adain_forward_workspace(const AdaINForward& p) {
  if (empty(p.op)) return 0;
  const AdaINGrid grid = grid_of(p.op);
  return grid.splits == 1 ? 0 : 3 * grid.splits * p.op.n * p.op.c * acc_bytes(p.op);
}

Status adain_forward(const AdaINForward& p, void* stream) {
  const char* entry = "adain_forward";
  const Status checked = check(p);
  if (checked != Status::ok || empty(p.op)) return checked;
  const AdaINGrid grid = grid_of(p.op);
  void* const partials = grid.splits == 1 ? nullptr : p.workspace;
  if (grid.splits > 1 && !partials) return fail(Status::invalid_argument, "%s: workspace is null", entry);
  return with_kernel(entry, p.op, [&](auto zero, auto columns) {
    using T = decltype(zero);
    const LaunchShape shape = shape_of(p.op, grid);
    Status status = launch(entry, adain_stats<T, columns()>, shape, stream, p, grid, partials);
    if (status == Status::ok && partials)
      status = launch(entry, adain_merge<acc_t<T>>, one_thread_each(p.op.n * p.op.c), stream, p, grid, partials);
    if (status == Status::ok) status = launch(entry, adain_apply<T, columns()>, shape, stream, p, grid);
    return status;
  });
}

// [2, N*C] sums of dz and dz * normalised, then [2, splits, N*C] partials, used twice.
int64_t adain_backward_workspace(const AdaINBackward& p) {
  if (empty(p.op)) return 0;
  const AdaINGrid grid = grid_of(p.op);
  return 2 * (grid.splits == 1 ? 1 : grid.splits + 1) * p.op.n * p.op.c * acc_bytes(p.op);
}

Status adain_backward(const AdaINBackward& p, void* stream) {
  const char* entry = "adain_backward";
  const Status checked = check(p);
  if (checked != Status::ok) return checked;
  if (empty(p.op)) return sums_over_nothing(entry, p, stream);
  if (!p.workspace) return fail(Status::invalid_argument, "%s: workspace is null", entry);
  const AdaINGrid grid = grid_of(p.op);
  return with_kernel(entry, p.op, [&](auto zero, auto columns) {
    using T = decltype(zero);
    using A = acc_t<T>;
    const int64_t planes = p.op.n * p.op.c;
    A* const workspace = static_cast<A*>(p.workspace);
    const PlaneSums sums{p.dshift ? p.dshift : workspace, p.dscale ? p.dscale : workspace + planes};
    const PlaneSums parameters{p.dbias, p.dnoise_strength};
    const PlaneSums partials{workspace + 2 * planes, workspace + (2 + grid.splits) * planes};
    const bool split = grid.splits > 1, wants_parameters = p.dbias || p.dnoise_strength;
    const LaunchShape shape = shape_of(p.op, grid);

    Status status = launch(entry, adain_backward_sums<T, columns()>, shape, stream, p, grid, split ? partials : sums);
    if (status == Status::ok && split)
      status = launch(entry, adain_merge_sums<A>, one_thread_each(planes), stream, partials, grid.splits, planes, sums);
    if (status == Status::ok && (p.dx || wants_parameters))
      status = launch(entry, adain_backward_apply<T, columns()>, shape, stream, p, grid, sums,
                      split && wants_parameters ? partials : parameters);
    if (status == Status::ok && split && wants_parameters)
      status = launch(entry, adain_merge_sums<A>, one_thread_each(planes), stream, partials, grid.splits, planes,
                      parameters);
    if (status == Status::ok && p.dnoise)
      status = launch(entry, adain_backward_dnoise<T, columns()>, one_thread_each(p.op.h * p.op.w * columns(), p.op.n),
                      stream, p, grid, sums);
    return status;
  });
}

}  // namespace cuda
}  // namespace stylegan_fast
