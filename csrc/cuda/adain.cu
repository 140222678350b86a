// adain: the forward's entry points.
#include "../check.h"
#include "adain_reading.h"
#include "adain_tiers.cuh"

namespace stylegan_fast {
namespace cuda {
namespace {

AdaINChoice choice_of(const AdaINForward& p) {
  return choose(p.op, aligned16({p.op.x, p.y, p.op.noise}), [&] {
    switch (p.op.dtype) {
      case DType::f16: return largest_cluster_fits<adain_cluster<__half>>(cluster_tier_values);
      case DType::bf16: return largest_cluster_fits<adain_cluster<__nv_bfloat16>>(cluster_tier_values);
      default: return largest_cluster_fits<adain_cluster<float>>(cluster_tier_values);
    }
  });
}

Status split_forward(const char* entry, const AdaINForward& p, void* stream) {
  const AdaINGrid grid = grid_of(p.op);
  void* const partials = grid.splits == 1 ? nullptr : p.workspace;
  if (grid.splits > 1 && !partials) return fail(Status::invalid_argument, "%s: workspace is null", entry);
  return with_columns(entry, p.op, [&](auto zero, auto columns) {
    using T = decltype(zero);
    const LaunchShape shape = shape_of(p.op, grid);
    Status status = launch(entry, adain_stats<T, columns()>, shape, stream, p, grid, partials);
    if (status == Status::ok && partials)
      status = launch(entry, adain_merge<acc_t<T>>, one_thread_each(p.op.n * p.op.c), stream, p, grid, partials);
    if (status == Status::ok) status = launch(entry, adain_apply<T, columns()>, shape, stream, p, grid);
    return status;
  });
}

}  // namespace

int64_t adain_forward_workspace(const AdaINForward& p) {
  if (reads_through(p.op)) return empty(p.op) ? 0 : reading_forward_workspace(p);
  if (empty(p.op) || choice_of(p).tier != AdaINTier::split) return 0;
  const AdaINGrid grid = grid_of(p.op);
  return grid.splits == 1 ? 0 : 3 * grid.splits * p.op.n * p.op.c * acc_bytes(p.op);
}

Status adain_forward(const AdaINForward& p, void* stream) {
  const char* entry = "adain_forward";
  const Status checked = check(p);
  if (checked != Status::ok || empty(p.op)) return checked;
  if (reads_through(p.op)) return reading_forward(entry, p, stream);
  const AdaINChoice choice = choice_of(p);
  if (choice.tier == AdaINTier::split) return split_forward(entry, p, stream);
  const int64_t planes = p.op.n * p.op.c, pixels = p.op.h * p.op.w;
  return with_width(entry, p.op, choice.vectors, [&](auto zero, auto width) {
    using T = decltype(zero);
    if (choice.tier == AdaINTier::warp) {
      const int lanes = lanes_for(pixels);
      return launch(entry, adain_warp<T, width()>, warp_tier_shape(p.op, lanes), stream, p, lanes);
    }
    if (choice.tier == AdaINTier::block)
      return launch(entry, adain_block<T, width()>, block_tier_shape(p.op, block_tier_values), stream, p);
    return launch(entry, adain_cluster<T>, cluster_tier_shape(planes, pixels, cluster_tier_values), stream, p);
  });
}

}  // namespace cuda
}  // namespace stylegan_fast
