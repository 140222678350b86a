// adain: the passes of the tiers that read a plane twice, in their order, with a merge where a plane is several slices.
// Host code.
#pragma once

#include "adain_merge.cuh"
#include "adain_tiers.cuh"

namespace stylegan_fast {
namespace cuda {

// Statistics, merged where a plane is several slices, then y.
template <typename A, typename Stats, typename Apply>
Status in_two_passes(const char* entry, const AdaINForward& p, int64_t splits, void* stream, Stats stats, Apply apply) {
  void* const partials = splits == 1 ? nullptr : p.workspace;
  if (splits > 1 && !partials) return fail(Status::invalid_argument, "%s: workspace is null", entry);
  Status status = stats(partials);
  if (status == Status::ok && partials)
    status = launch(entry, adain_merge<A>, merge_shape(p.op.n * p.op.c, splits), stream, p, splits, partials);
  return status == Status::ok ? apply() : status;
}

// Into how many slices the two passes of the backward cut a plane.
struct BackwardSplits {
  int64_t sums, apply;
};

// The sums of dz and dz * normalised, then dx with those of dt and dt * noise; merged where a plane is several slices.
// sums_pass(to), apply_pass(to): the kernels, which write their sums to `to`.
template <typename A, typename SumsPass, typename ApplyPass>
Status in_two_passes(const char* entry, const AdaINBackward& p, const BackwardSplits& splits, const PlaneSums& sums,
                     void* stream, SumsPass sums_pass, ApplyPass apply_pass) {
  const int64_t planes = p.op.n * p.op.c;
  A* const workspace = static_cast<A*>(p.workspace);
  const PlaneSums parameters{p.dbias, p.dnoise_strength};
  const PlaneSums partials{workspace + 2 * planes, workspace + (2 + std::max(splits.sums, splits.apply)) * planes};
  const bool wants_parameters = p.dbias || p.dnoise_strength;
  const auto merge = [&](int64_t slices, const PlaneSums& to) {
    return launch(entry, adain_merge_sums<A>, merge_shape(planes, slices), stream, partials, slices, planes, to);
  };
  Status status = sums_pass(splits.sums > 1 ? partials : sums);
  if (status == Status::ok && splits.sums > 1) status = merge(splits.sums, sums);
  if (status == Status::ok && (p.dx || wants_parameters))
    status = apply_pass(splits.apply > 1 && wants_parameters ? partials : parameters);
  if (status == Status::ok && splits.apply > 1 && wants_parameters) status = merge(splits.apply, parameters);
  return status;
}

}  // namespace cuda
}  // namespace stylegan_fast
