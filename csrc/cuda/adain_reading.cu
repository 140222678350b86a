// adain's forward where it reads through phases and blur.
#include "adain_passes.cuh"
#include "adain_reading_tiers.cuh"

namespace stylegan_fast {
namespace cuda {
namespace {

ReadingGrid forward_grid(const AdaIN& op) { return reading_grid_of(op, strip_rows, 0); }

AdaINTier tier_of(const AdaINForward& p) {
  const bool aligned = aligned16({x_to_align(p.op, p.op.x), p.y, p.op.noise});
  return choose_reading(p.op, aligned, [] {
    return largest_cluster_fits<adain_reading_cluster<float, true>>(cluster_tier_blocks, cluster_tier_threads);
  });
}

Status split_forward(const char* entry, const AdaINForward& p, void* stream) {
  const ReadingGrid grid = forward_grid(p.op);
  const LaunchShape shape = reading_shape_of(p.op, grid);
  return with_columns(entry, p.op, [&](auto zero, auto columns) {
    using T = decltype(zero);
    return in_two_passes<acc_t<T>>(
        entry, p, grid.planes.splits, stream,
        [&](void* to) { return launch(entry, adain_reading_stats<T, columns()>, shape, stream, p, grid, to); },
        [&] { return launch(entry, adain_reading_apply<T, columns()>, shape, stream, p, grid); });
  });
}

Status slab_forward(const char* entry, const AdaINForward& p, void* stream) {
  const ReadingSlabGrid grid = reading_slab_grid_of(p.op);
  const LaunchShape shape = reading_slab_shape_of(p.op, grid);
  return with_fast_dtype(entry, p.op, [&](auto zero) {
    using T = decltype(zero);
    return in_two_passes<acc_t<T>>(
        entry, p, grid.splits, stream,
        [&](void* to) { return launch(entry, adain_reading_slab_stats<T>, shape, stream, p, grid, to); },
        [&] { return launch(entry, adain_reading_slab_apply<T>, shape, stream, p, grid); });
  });
}

// Slices of a plane; 0 where it is held in registers.
int64_t splits_of(const AdaINForward& p) {
  switch (tier_of(p)) {
    case AdaINTier::split: return forward_grid(p.op).planes.splits;
    case AdaINTier::slab_split: return reading_slab_grid_of(p.op).splits;
    default: return 0;
  }
}

}  // namespace

int64_t reading_forward_workspace(const AdaINForward& p) {
  const int64_t splits = splits_of(p);
  return splits > 1 ? 3 * splits * p.op.n * p.op.c * acc_bytes(p.op) : 0;
}

Status reading_forward(const char* entry, const AdaINForward& p, void* stream) {
  const AdaINTier tier = tier_of(p);
  if (tier == AdaINTier::split) return split_forward(entry, p, stream);
  if (tier == AdaINTier::slab_split) return slab_forward(entry, p, stream);
  const PlaneGrid grid = plane_grid_of(p.op);
  return with_reading(entry, p.op, [&](auto zero, auto phases) {
    using T = decltype(zero);
    const int64_t planes = p.op.n * p.op.c, pixels = p.op.h * p.op.w;
    if (tier == AdaINTier::cluster)
      return launch(entry, adain_reading_cluster<T, phases()>, cluster_tier_shape(planes, pixels, cluster_tier_values),
                    stream, p, grid, row_of(p.op));
    if (tier == AdaINTier::block)
      return launch(entry, adain_reading_block<T, phases()>, block_tier_shape(p.op, block_tier_values), stream, p,
                    grid, row_of(p.op));
    const int log_lanes = log_lanes_for(pixels);
    return launch(entry, adain_reading_warp<T, phases()>, warp_tier_shape(p.op, log_lanes), stream, p, grid, log_lanes,
                  row_of(p.op));
  });
}

}  // namespace cuda
}  // namespace stylegan_fast
