// adain: the forward's entry points.
#include "../check.h"
#include "../status.h"
#include "adain_passes.cuh"
#include "adain_reading.h"
#include "adain_tiers.cuh"

namespace stylegan_fast {
namespace cuda {
namespace {

template <typename T>
bool clusters_run() {
  return largest_cluster_fits<adain_slab_cluster<T>>(slab_cluster_blocks, slab_team_threads);
}

AdaINChoice choice_of(const AdaINForward& p) {
  return choose(p.op, false, aligned16({p.op.x, p.y, p.op.noise}), [&] {
    switch (p.op.dtype) {
      case DType::f16: return clusters_run<__half>();
      case DType::bf16: return clusters_run<__nv_bfloat16>();
      default: return clusters_run<float>();
    }
  });
}

Status split_forward(const char* entry, const AdaINForward& p, void* stream) {
  const AdaINGrid grid = grid_of(p.op);
  const LaunchShape shape = shape_of(p.op, grid);
  return with_columns(entry, p.op, [&](auto zero, auto columns) {
    using T = decltype(zero);
    return in_two_passes<acc_t<T>>(
        entry, p, grid.splits, stream,
        [&](void* to) { return launch(entry, adain_stats<T, columns()>, shape, stream, p, grid, to); },
        [&] { return launch(entry, adain_apply<T, columns()>, shape, stream, p, grid); });
  });
}

Status slab_split_forward(const char* entry, const AdaINForward& p, void* stream) {
  const AdaINGrid grid = slab_grid_of(p.op);
  const LaunchShape shape = slab_shape_of(p.op, grid);
  const int lanes = slab_lanes(p.op, slab_bytes);
  return with_fast_dtype(entry, p.op, [&](auto zero) {
    using T = decltype(zero);
    return in_two_passes<acc_t<T>>(
        entry, p, grid.splits, stream,
        [&](void* to) { return launch(entry, adain_slab_stats<T>, shape, stream, p, grid, lanes, to); },
        [&] { return launch(entry, adain_slab_apply<T>, shape, stream, p, grid, lanes); });
  });
}

Status vector_split_forward(const char* entry, const AdaINForward& p, void* stream) {
  const AdaINGrid grid = vector_grid_of(p.op);
  const LaunchShape shape = vector_shape_of(p.op, grid);
  return with_fast_dtype(entry, p.op, [&](auto zero) {
    using T = decltype(zero);
    return in_two_passes<acc_t<T>>(
        entry, p, grid.splits, stream,
        [&](void* to) { return launch(entry, adain_vector_stats<T>, shape, stream, p, grid, to); },
        [&] { return launch(entry, adain_vector_apply<T>, shape, stream, p, grid); });
  });
}

Status slab_forward(const char* entry, const AdaINForward& p, AdaINTier tier, void* stream) {
  if (tier == AdaINTier::slab_split) return slab_split_forward(entry, p, stream);
  const SlabTeams teams = slab_teams(p.op, tier, false);
  return with_fast_dtype(entry, p.op, [&](auto zero) {
    using T = decltype(zero);
    const auto kernel = tier == AdaINTier::slab_cluster ? adain_slab_cluster<T>
                        : teams.few                     ? adain_slab_block<T, slab_few_packs>
                                                        : adain_slab_block<T, slab_packs>;
    return launch(entry, kernel, teams.shape, stream, p, teams.grid);
  });
}

}  // namespace

int64_t adain_forward_workspace(const AdaINForward& p) {
  if (reads_through(p.op)) return empty(p.op) ? 0 : reading_forward_workspace(p);
  if (empty(p.op)) return 0;
  const int64_t splits = splits_of(p.op, choice_of(p).tier);
  return splits > 1 ? 3 * splits * p.op.n * p.op.c * acc_bytes(p.op) : 0;
}

Status adain_forward(const AdaINForward& p, void* stream) {
  const char* entry = "adain_forward";
  const Status checked = check(p);
  if (checked != Status::ok || empty(p.op)) return checked;
  if (!p.mean || !p.rstd) return fail(Status::invalid_argument, "%s: mean or rstd is null", entry);
  if (reads_through(p.op)) return reading_forward(entry, p, stream);
  const AdaINChoice choice = choice_of(p);
  if (choice.tier == AdaINTier::split) return split_forward(entry, p, stream);
  if (choice.tier == AdaINTier::vector_split) return vector_split_forward(entry, p, stream);
  if (p.op.layout == Layout::channels_last) return slab_forward(entry, p, choice.tier, stream);
  const PlaneGrid grid = plane_grid_of(p.op);
  return with_width(entry, p.op, choice.vectors, [&](auto zero, auto width) {
    using T = decltype(zero);
    if (choice.tier == AdaINTier::warp) {
      const int log_lanes = log_lanes_for(p.op.h * p.op.w);
      return launch(entry, adain_warp<T, width()>, warp_tier_shape(p.op, log_lanes), stream, p, grid, log_lanes);
    }
    return launch(entry, adain_block<T, width()>, block_tier_shape(p.op, block_tier_values), stream, p, grid);
  });
}

}  // namespace cuda
}  // namespace stylegan_fast
