// adain's backward where it reads through phases and blur.
#include "adain_passes.cuh"
#include "adain_reading_resident_backward.cuh"
#include "adain_reading_split_backward.cuh"
#include "adain_reading_tiers.cuh"

namespace stylegan_fast {
namespace cuda {
namespace {

// The widest tiles, as equal as they come, and as many strips on top of each other as there is room for.
template <typename A, int columns>
TileCut tile_cut(const AdaIN& op) {
  constexpr int64_t most = most_tile_columns<A, columns>, room = tile_room<A, columns>;
  const int64_t width = ceil_div(op.w, ceil_div(op.w, most));
  int64_t strips = 1;
  while (width * (strips + 1) <= most && (strip_rows * (strips + 1) + 2) * (width + 2) <= room &&
         strip_rows * strips < op.h + 2)
    ++strips;
  return {int(width), int(strips)};
}

TileCut tile_cut(const AdaIN& op) {
  if (op.layout == Layout::contiguous) return tile_cut<float, 1>(op);
  return op.dtype == DType::f64 ? tile_cut<double, warp_size>(op) : tile_cut<float, warp_size>(op);
}

// Bands of whole steps: dt of the row above and of the row below is needed, too.
ReadingGrid backward_grid(const AdaIN& op) { return reading_grid_of(op, strip_rows * tile_cut(op).strips, 2); }

Status split_backward(const char* entry, const AdaINBackward& p, const PlaneSums& sums, void* stream) {
  const ReadingGrid grid = backward_grid(p.op);
  const LaunchShape tiles = shape_for(adain_threads, grid.planes.splits, grid.planes.slabs, p.op.n);
  return with_columns(entry, p.op, [&](auto zero, auto columns) {
    using T = decltype(zero);
    return in_two_passes<acc_t<T>>(
        entry, p, {grid.planes.splits, grid.planes.splits}, sums, stream,
        [&](const PlaneSums& to) {
          return launch(entry, adain_reading_backward_sums<T, columns()>, reading_shape_of(p.op, grid), stream, p, grid,
                        to);
        },
        [&](const PlaneSums& to) {
          return launch(entry, adain_reading_backward_apply<T, columns()>, tiles, stream, p, grid, tile_cut(p.op), sums,
                        to);
        });
  });
}

Status slab_backward(const char* entry, const AdaINBackward& p, const PlaneSums& sums, void* stream) {
  const ReadingSlabGrid grid = reading_slab_grid_of(p.op);
  const ReadingTileGrid tiles = reading_tile_grid_of(p.op);
  const LaunchShape shape = reading_slab_shape_of(p.op, grid), tile_shape = reading_tile_shape_of(p.op, tiles);
  return with_fast_dtype(entry, p.op, [&](auto zero) {
    using T = decltype(zero);
    return in_two_passes<acc_t<T>>(
        entry, p, {grid.splits, tiles.splits}, sums, stream,
        [&](const PlaneSums& to) {
          return launch(entry, adain_reading_slab_backward_sums<T>, shape, stream, p, grid, to);
        },
        [&](const PlaneSums& to) {
          return launch(entry, adain_reading_slab_backward_apply<T>, tile_shape, stream, p, tiles, sums, to);
        });
  });
}

// A block keeps dt of a plane in shared memory, and not every device has more than 48 KB.
AdaINTier tier_of(const AdaINBackward& p) {
  const bool aligned = aligned16({x_to_align(p.op, p.op.x), x_to_align(p.op, p.dx), p.dy, p.op.noise});
  const AdaINTier tier = choose_reading(p.op, aligned, [] {
    return largest_cluster_fits<adain_reading_cluster_backward<float, true>>(cluster_tier_blocks,
                                                                             cluster_tier_backward_threads);
  });
  const bool fits = p.op.h * p.op.w * 4 <= shared_bytes_without_asking || compute_capability() >= 80;
  return tier == AdaINTier::block && !fits ? AdaINTier::split : tier;
}

Status resident_backward(const char* entry, const AdaINBackward& p, AdaINTier tier, void* stream) {
  const int64_t planes = p.op.n * p.op.c, pixels = p.op.h * p.op.w;
  const PlaneGrid grid = plane_grid_of(p.op);
  return with_reading(entry, p.op, [&](auto zero, auto phases) {
    using T = decltype(zero);
    if (tier == AdaINTier::cluster)
      return launch(entry, adain_reading_cluster_backward<T, phases()>,
                    cluster_tier_shape(planes, pixels, cluster_tier_backward_values), stream, p, grid,
                    row_of(p.op));
    if (tier == AdaINTier::block) {
      LaunchShape shape = block_tier_shape(p.op, block_tier_backward_values);
      shape.shared_bytes = 4 * pixels;
      return launch(entry, adain_reading_block_backward<T, phases()>, shape, stream, p, grid, row_of(p.op));
    }
    const int log_lanes = log_lanes_for(pixels);
    return launch(entry, adain_reading_warp_backward<T, phases()>, warp_tier_shape(p.op, log_lanes), stream, p, grid,
                  log_lanes, row_of(p.op));
  });
}

// Pixels that a block of the dnoise kernel has a thread, or a warp, for.
TileCut dnoise_cut(const AdaIN& op) {
  const int64_t workers = adain_threads / columns_of(op), width = std::min(op.w, workers);
  return {int(width), int(workers / width)};
}

}  // namespace

// As adain_backward_workspace.
int64_t reading_backward_workspace(const AdaINBackward& p) {
  const AdaINTier tier = tier_of(p);
  if (tier != AdaINTier::split && tier != AdaINTier::slab_split) return 0;
  const int64_t splits = tier == AdaINTier::split ? backward_grid(p.op).planes.splits
                                                  : std::max(reading_slab_grid_of(p.op).splits,
                                                             reading_tile_grid_of(p.op).splits);
  return 2 * (splits == 1 ? 1 : splits + 1) * p.op.n * p.op.c * acc_bytes(p.op);
}

Status reading_backward(const char* entry, const AdaINBackward& p, void* stream) {
  const AdaINTier tier = tier_of(p);
  PlaneSums sums{p.dshift, p.dscale};  // both are there where dnoise is wanted
  Status status;
  if (tier == AdaINTier::split || tier == AdaINTier::slab_split) {
    if (!p.workspace) return fail(Status::invalid_argument, "%s: workspace is null", entry);
    char* const own = static_cast<char*>(p.workspace);
    if (!sums.first) sums.first = own;
    if (!sums.second) sums.second = own + p.op.n * p.op.c * acc_bytes(p.op);
    status = tier == AdaINTier::split ? split_backward(entry, p, sums, stream) : slab_backward(entry, p, sums, stream);
  } else {
    status = in_one_pass(entry, p, stream, [&](const AdaINBackward& of_planes) {
      return resident_backward(entry, of_planes, tier, stream);
    });
  }
  if (status != Status::ok || !p.dnoise) return status;
  return with_columns(entry, p.op, [&](auto zero, auto columns) {
    const TileCut cut = dnoise_cut(p.op);
    return launch(entry, adain_reading_dnoise<decltype(zero), columns()>,
                  shape_for(adain_threads, ceil_div(p.op.h, cut.strips), p.op.n), stream, p,
                  1.0 / double(p.op.h * p.op.w), cut, sums);
  });
}

Status reading_zero(const char* entry, const AdaINBackward& p, void* stream) {
  if (!p.op.n || !p.op.c) return Status::ok;
  return with_columns(entry, p.op, [&](auto zero, auto columns) {
    return launch(entry, adain_reading_zero<decltype(zero), columns()>, shape_for(warp_size, p.op.c, p.op.n), stream,
                  p);
  });
}

}  // namespace cuda
}  // namespace stylegan_fast
