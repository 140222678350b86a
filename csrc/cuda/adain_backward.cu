// adain: the backward's entry points.
#include "../check.h"
#include "adain_passes.cuh"
#include "adain_reading.h"
#include "adain_slab_split_backward.cuh"
#include "adain_split_backward.cuh"
#include "adain_tiers.cuh"

namespace stylegan_fast {
namespace cuda {
namespace {

AdaINChoice choice_of(const AdaINBackward& p) {
  return choose(p.op, true, aligned16({p.op.x, p.dy, p.dx, p.op.noise}), [] { return false; });
}

Status split_backward(const char* entry, const AdaINBackward& p, const PlaneSums& sums, void* stream) {
  const AdaINGrid grid = grid_of(p.op);
  const LaunchShape shape = shape_of(p.op, grid);
  return with_columns(entry, p.op, [&](auto zero, auto columns) {
    using T = decltype(zero);
    return in_two_passes<acc_t<T>>(
        entry, p, {grid.splits, grid.splits}, sums, stream,
        [&](const PlaneSums& to) {
          return launch(entry, adain_backward_sums<T, columns()>, shape, stream, p, grid, to);
        },
        [&](const PlaneSums& to) {
          return launch(entry, adain_backward_apply<T, columns()>, shape, stream, p, grid, sums, to);
        });
  });
}

Status slab_split_backward(const char* entry, const AdaINBackward& p, const PlaneSums& sums, void* stream) {
  const AdaINGrid grid = slab_grid_of(p.op);
  const LaunchShape shape = slab_shape_of(p.op, grid);
  const int lanes = slab_lanes(p.op, slab_bytes);
  return with_fast_dtype(entry, p.op, [&](auto zero) {
    using T = decltype(zero);
    return in_two_passes<acc_t<T>>(
        entry, p, {grid.splits, grid.splits}, sums, stream,
        [&](const PlaneSums& to) {
          return launch(entry, adain_slab_backward_sums<T>, shape, stream, p, grid, lanes, to);
        },
        [&](const PlaneSums& to) {
          return launch(entry, adain_slab_backward_apply<T>, shape, stream, p, grid, lanes, sums, to);
        });
  });
}

Status vector_split_backward(const char* entry, const AdaINBackward& p, const PlaneSums& sums, void* stream) {
  const AdaINGrid grid = vector_grid_of(p.op);
  const LaunchShape shape = vector_shape_of(p.op, grid);
  return with_fast_dtype(entry, p.op, [&](auto zero) {
    using T = decltype(zero);
    return in_two_passes<acc_t<T>>(
        entry, p, {grid.splits, grid.splits}, sums, stream,
        [&](const PlaneSums& to) {
          return launch(entry, adain_vector_backward_sums<T>, shape, stream, p, grid, to);
        },
        [&](const PlaneSums& to) {
          return launch(entry, adain_vector_backward_apply<T>, shape, stream, p, grid, sums, to);
        });
  });
}

Status slab_block_backward(const char* entry, const AdaINBackward& p, void* stream) {
  const SlabTeams teams = slab_teams(p.op, AdaINTier::slab_block, true);
  return with_fast_dtype(entry, p.op, [&](auto zero) {
    using T = decltype(zero);
    const auto kernel = teams.few ? adain_slab_block_backward<T, slab_few_packs>
                                  : adain_slab_block_backward<T, slab_backward_packs<T>>;
    return launch(entry, kernel, teams.shape, stream, p, teams.grid);
  });
}

Status resident_backward(const char* entry, const AdaINBackward& p, const AdaINChoice& choice, void* stream) {
  if (p.op.layout == Layout::channels_last) return slab_block_backward(entry, p, stream);
  const PlaneGrid grid = plane_grid_of(p.op);
  return with_width(entry, p.op, choice.vectors, [&](auto zero, auto width) {
    using T = decltype(zero);
    if (choice.tier == AdaINTier::warp) {
      const int log_lanes = log_lanes_for(p.op.h * p.op.w);
      return launch(entry, adain_warp_backward<T, width()>, warp_tier_shape(p.op, log_lanes), stream, p, grid,
                    log_lanes);
    }
    return launch(entry, adain_block_backward<T, width()>, block_tier_shape(p.op, block_tier_backward_values), stream,
                  p, grid);
  });
}

// dbias and dnoise_strength too, by the same kernel. `log_channels`: of its blocks.
Status warp_backward_of_channels(const char* entry, const AdaINBackward& p, bool vectors, int log_channels,
                                 void* stream) {
  const PlaneGrid grid = plane_grid_of(p.op);
  return with_width(entry, p.op, vectors, [&](auto zero, auto width) {
    return launch(entry, adain_warp_backward_of_channels<decltype(zero), width()>,
                  warp_tier_shape_of_channels(p.op, log_channels), stream, p, grid, log_lanes_for(p.op.h * p.op.w),
                  log_channels);
  });
}

// Negative where samples are added up by a kernel of their own, or there is nothing to add up.
int log_channels_of(const AdaINBackward& p, const AdaINChoice& choice) {
  const bool adds_up = p.op.n > 1 && (p.dbias || p.dnoise_strength);
  if (!adds_up || choice.tier != AdaINTier::warp) return -1;
  return log_channels_for(p.op, log_lanes_for(p.op.h * p.op.w));
}

// The gradients of an empty x that are not empty: zeros, which the kernels write where they find nothing to add.
Status sums_over_nothing(const char* entry, const AdaINBackward& p, void* stream) {
  const int64_t planes = p.op.n * p.op.c, pixels = p.op.h * p.op.w;
  return with_columns(entry, p.op, [&](auto zero, auto columns) {
    using T = decltype(zero);
    Status status = Status::ok;
    if (planes && (p.dshift || p.dscale))
      status = launch(entry, adain_merge_sums<acc_t<T>>, merge_shape(planes, 0), stream, PlaneSums{}, int64_t(0),
                      planes, PlaneSums{p.dshift, p.dscale});
    if (status == Status::ok && p.op.c && (p.dbias || p.dnoise_strength))
      status = add_up_parameters<acc_t<T>>(entry, p, PlaneSums{}, 0, stream);
    if (status == Status::ok && p.dnoise && p.op.n && pixels)
      status = launch(entry, adain_backward_dnoise<T, columns()>, one_thread_each(pixels * columns(), p.op.n), stream,
                      p, AdaINGrid{}, PlaneSums{});
    if (status == Status::ok && p.op.phases && p.dx) status = reading_zero(entry, p, stream);
    return status;
  });
}

}  // namespace

// The split tiers' [2, N*C] sums of dz and dz * normalised, then their [2, splits, N*C] partials, used twice.
int64_t adain_backward_workspace(const AdaINBackward& p) {
  if (reads_through(p.op)) return empty(p.op) ? 0 : reading_backward_workspace(p);
  if (empty(p.op)) return 0;
  const int64_t splits = splits_of(p.op, choice_of(p).tier);
  if (splits == 0) return 0;
  return 2 * (splits == 1 ? 1 : splits + 1) * p.op.n * p.op.c * acc_bytes(p.op);
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
  if (splits_of(p.op, choice.tier) > 0) {
    if (!p.workspace) return fail(Status::invalid_argument, "%s: workspace is null", entry);
    char* const own = static_cast<char*>(p.workspace);
    if (!sums.first) sums.first = own;
    if (!sums.second) sums.second = own + p.op.n * p.op.c * acc_bytes(p.op);
    const auto backward = choice.tier == AdaINTier::split        ? split_backward
                          : choice.tier == AdaINTier::slab_split ? slab_split_backward
                                                                 : vector_split_backward;
    status = backward(entry, p, sums, stream);
  } else if (const int log_channels = log_channels_of(p, choice); log_channels >= 0) {
    status = warp_backward_of_channels(entry, p, choice.vectors, log_channels, stream);
  } else {
    status = in_one_pass(entry, p, stream, [&](const AdaINBackward& of_planes) {
      return resident_backward(entry, of_planes, choice, stream);
    });
  }
  if (status != Status::ok || !p.dnoise) return status;
  return with_columns(entry, p.op, [&](auto zero, auto columns) {
    const LaunchShape shape = one_thread_each(p.op.h * p.op.w * columns(), p.op.n);
    return launch(entry, adain_backward_dnoise<decltype(zero), columns()>, shape, stream, p, grid_of(p.op), sums);
  });
}

}  // namespace cuda
}  // namespace stylegan_fast
