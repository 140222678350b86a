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

// Where the kernels write the sums of dt and dt * noise of planes: those of a single sample are dbias and
// dnoise_strength. Null where these are.
inline PlaneSums planes_of_parameters(const AdaINBackward& p) {
  if (p.op.n == 1) return {p.dbias, p.dnoise_strength};
  char* const room = static_cast<char*>(p.plane_sums);
  return {p.dbias ? room : nullptr, p.dnoise_strength ? room + p.op.n * p.op.c * acc_bytes(p.op) : nullptr};
}

// dbias and dnoise_strength, out of [rows, C] parts of them.
template <typename A>
Status add_up_parameters(const char* entry, const AdaINBackward& p, const PlaneSums& parts, int64_t rows,
                         void* stream) {
  return launch(entry, adain_merge_sums<A>, merge_shape(p.op.c, rows), stream, parts, rows, p.op.c,
                PlaneSums{p.dbias, p.dnoise_strength});
}

// resident(p): the kernel of a tier that holds planes. It writes the sums of planes to p's dbias and dnoise_strength.
template <typename Resident>
Status in_one_pass(const char* entry, const AdaINBackward& p, void* stream, Resident resident) {
  const PlaneSums parts = planes_of_parameters(p);
  AdaINBackward of_planes = p;
  of_planes.dbias = parts.first;
  of_planes.dnoise_strength = parts.second;
  const Status status = resident(of_planes);
  if (status != Status::ok || p.op.n == 1 || !(p.dbias || p.dnoise_strength)) return status;
  return p.op.dtype == DType::f64 ? add_up_parameters<double>(entry, p, parts, p.op.n, stream)
                                  : add_up_parameters<float>(entry, p, parts, p.op.n, stream);
}

// The sums of dz and dz * normalised, merged where a plane is several slices, then dx with those of dt and dt * noise,
// which are added up over slices and samples. sums_pass(to), apply_pass(to): the kernels, which write sums to `to`.
template <typename A, typename SumsPass, typename ApplyPass>
Status in_two_passes(const char* entry, const AdaINBackward& p, const BackwardSplits& splits, const PlaneSums& sums,
                     void* stream, SumsPass sums_pass, ApplyPass apply_pass) {
  const int64_t planes = p.op.n * p.op.c;
  A* const workspace = static_cast<A*>(p.workspace);
  const PlaneSums partials{workspace + 2 * planes, workspace + (2 + std::max(splits.sums, splits.apply)) * planes};
  const bool wants_parameters = p.dbias || p.dnoise_strength;
  Status status = sums_pass(splits.sums > 1 ? partials : sums);
  if (status == Status::ok && splits.sums > 1)
    status = launch(entry, adain_merge_sums<A>, merge_shape(planes, splits.sums), stream, partials, splits.sums, planes,
                    sums);
  if (status != Status::ok || !(p.dx || wants_parameters)) return status;
  const PlaneSums parts = splits.apply > 1 && wants_parameters ? partials : planes_of_parameters(p);
  const int64_t rows = splits.apply * p.op.n;  // [splits, N, C]
  status = apply_pass(parts);
  return status == Status::ok && rows > 1 && wants_parameters ? add_up_parameters<A>(entry, p, parts, rows, stream)
                                                              : status;
}

}  // namespace cuda
}  // namespace stylegan_fast
