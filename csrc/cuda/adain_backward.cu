// adain: the backward's entry points.
#include "../check.h"
#include "adain_reading.h"
#include "adain_split_backward.cuh"
#include "adain_tiers.cuh"

namespace stylegan_fast {
namespace cuda {
namespace {

AdaINChoice choice_of(const AdaINBackward& p) {
  return choose(p.op, aligned16({p.op.x, p.dy, p.dx, p.op.noise}), [&] {
    constexpr int values = cluster_tier_backward_values;
    switch (p.op.dtype) {
      case DType::f16: return largest_cluster_fits<adain_cluster_backward<__half>>(values);
      case DType::bf16: return largest_cluster_fits<adain_cluster_backward<__nv_bfloat16>>(values);
      default: return largest_cluster_fits<adain_cluster_backward<float>>(values);
    }
  });
}

Status split_backward(const char* entry, const AdaINBackward& p, const PlaneSums& sums, void* stream) {
  const AdaINGrid grid = grid_of(p.op);
  return with_columns(entry, p.op, [&](auto zero, auto columns) {
    using T = decltype(zero);
    using A = acc_t<T>;
    const int64_t planes = p.op.n * p.op.c;
    A* const workspace = static_cast<A*>(p.workspace);
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
    return status;
  });
}

Status resident_backward(const char* entry, const AdaINBackward& p, const AdaINChoice& choice, void* stream) {
  const int64_t planes = p.op.n * p.op.c, pixels = p.op.h * p.op.w;
  return with_width(entry, p.op, choice.vectors, [&](auto zero, auto width) {
    using T = decltype(zero);
    if (choice.tier == AdaINTier::warp) {
      const int lanes = lanes_for(pixels);
      return launch(entry, adain_warp_backward<T, width()>, warp_tier_shape(p.op, lanes), stream, p, lanes);
    }
    if (choice.tier == AdaINTier::block)
      return launch(entry, adain_block_backward<T, width()>, block_tier_shape(p.op, block_tier_backward_values),
                    stream, p);
    return launch(entry, adain_cluster_backward<T>, cluster_tier_shape(planes, pixels, cluster_tier_backward_values),
                  stream, p);
  });
}

// The gradients of an empty x that are not empty: zeros, which the kernels write where they find nothing to add.
Status sums_over_nothing(const char* entry, const AdaINBackward& p, void* stream) {
  const int64_t planes = p.op.n * p.op.c, pixels = p.op.h * p.op.w;
  return with_columns(entry, p.op, [&](auto zero, auto columns) {
    using T = decltype(zero);
    Status status = Status::ok;
    for (const PlaneSums& sums : {PlaneSums{p.dshift, p.dscale}, PlaneSums{p.dbias, p.dnoise_strength}})
      if (status == Status::ok && planes && (sums.first || sums.second))
        status = launch(entry, adain_merge_sums<acc_t<T>>, one_thread_each(planes), stream, PlaneSums{}, int64_t(0),
                        planes, sums);
    if (status == Status::ok && p.dnoise && p.op.n && pixels)
      status = launch(entry, adain_backward_dnoise<T, columns()>, one_thread_each(pixels * columns(), p.op.n), stream,
                      p, AdaINGrid{}, PlaneSums{});
    if (status == Status::ok && p.op.phases && p.dx) status = reading_zero(entry, p, stream);
    return status;
  });
}

}  // namespace

// The split tier's [2, N*C] sums of dz and dz * normalised, then its [2, splits, N*C] partials, used twice.
int64_t adain_backward_workspace(const AdaINBackward& p) {
  if (reads_through(p.op)) return empty(p.op) ? 0 : reading_backward_workspace(p);
  if (empty(p.op) || choice_of(p).tier != AdaINTier::split) return 0;
  const AdaINGrid grid = grid_of(p.op);
  return 2 * (grid.splits == 1 ? 1 : grid.splits + 1) * p.op.n * p.op.c * acc_bytes(p.op);
}

Status adain_backward(const AdaINBackward& p, void* stream) {
  const char* entry = "adain_backward";
  const Status checked = check(p);
  if (checked != Status::ok) return checked;
  if (empty(p.op)) return sums_over_nothing(entry, p, stream);
  if (reads_through(p.op)) return reading_backward(entry, p, stream);
  const AdaINChoice choice = choice_of(p);
  PlaneSums sums{p.dshift, p.dscale};  // both are there where dnoise is wanted
  Status status;
  if (choice.tier == AdaINTier::split) {
    if (!p.workspace) return fail(Status::invalid_argument, "%s: workspace is null", entry);
    char* const own = static_cast<char*>(p.workspace);
    if (!sums.first) sums.first = own;
    if (!sums.second) sums.second = own + p.op.n * p.op.c * acc_bytes(p.op);
    status = split_backward(entry, p, sums, stream);
  } else {
    status = resident_backward(entry, p, choice, stream);
  }
  if (status != Status::ok || !p.dnoise) return status;
  return with_columns(entry, p.op, [&](auto zero, auto columns) {
    const LaunchShape shape = one_thread_each(p.op.h * p.op.w * columns(), p.op.n);
    return launch(entry, adain_backward_dnoise<decltype(zero), columns()>, shape, stream, p, grid_of(p.op), sums);
  });
}

}  // namespace cuda
}  // namespace stylegan_fast
