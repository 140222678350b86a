// adain's forward where it reads through phases and blur.
#include "adain_passes.cuh"
#include "adain_reading_tiers.cuh"

namespace stylegan_fast {
namespace cuda {
namespace {

ReadingGrid forward_grid(const AdaIN& op) { return reading_grid_of(op, strip_rows, 0); }

AdaINTier tier_of(const AdaINForward& p) {
  return choose_reading(p.op, aligned16({p.op.phases ? nullptr : p.op.x, p.y, p.op.noise}), [] {
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

}  // namespace

int64_t reading_forward_workspace(const AdaINForward& p) {
  const int64_t splits = forward_grid(p.op).planes.splits;
  return tier_of(p) != AdaINTier::split || splits == 1 ? 0 : 3 * splits * p.op.n * p.op.c * acc_bytes(p.op);
}

Status reading_forward(const char* entry, const AdaINForward& p, void* stream) {
  const AdaINTier tier = tier_of(p);
  if (tier == AdaINTier::split) return split_forward(entry, p, stream);
  return with_reading(entry, p.op, [&](auto zero, auto phases) {
    using T = decltype(zero);
    const int64_t planes = p.op.n * p.op.c, pixels = p.op.h * p.op.w;
    if (tier == AdaINTier::cluster)
      return launch(entry, adain_reading_cluster<T, phases()>, cluster_tier_shape(planes, pixels, cluster_tier_values),
                    stream, p, row_of(p.op));
    if (tier == AdaINTier::block)
      return launch(entry, adain_reading_block<T, phases()>, block_tier_shape(p.op, block_tier_values), stream, p,
                    row_of(p.op));
    const int lanes = lanes_for(pixels);
    return launch(entry, adain_reading_warp<T, phases()>, warp_tier_shape(p.op, lanes), stream, p, lanes, row_of(p.op));
  });
}

}  // namespace cuda
}  // namespace stylegan_fast
