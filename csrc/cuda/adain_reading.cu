// adain's forward where it reads through phases and blur.
#include "adain_reading_tiers.cuh"

namespace stylegan_fast {
namespace cuda {
namespace {

ReadingGrid forward_grid(const AdaIN& op) { return reading_grid_of(op, strip_rows, 0); }

}  // namespace

int64_t reading_forward_workspace(const AdaINForward& p) {
  const int64_t splits = forward_grid(p.op).planes.splits;
  return splits == 1 ? 0 : 3 * splits * p.op.n * p.op.c * acc_bytes(p.op);
}

Status reading_forward(const char* entry, const AdaINForward& p, void* stream) {
  const ReadingGrid grid = forward_grid(p.op);
  const bool split = grid.planes.splits > 1;
  if (split && !p.workspace) return fail(Status::invalid_argument, "%s: workspace is null", entry);
  void* const partials = split ? p.workspace : nullptr;
  return with_columns(entry, p.op, [&](auto zero, auto columns) {
    using T = decltype(zero);
    const LaunchShape shape = reading_shape_of(p.op, grid);
    Status status = launch(entry, adain_reading_stats<T, columns()>, shape, stream, p, grid, partials);
    if (status == Status::ok && split)
      status = launch(entry, adain_merge<acc_t<T>>, one_thread_each(p.op.n * p.op.c), stream, p, grid.planes, partials);
    if (status == Status::ok) status = launch(entry, adain_reading_apply<T, columns()>, shape, stream, p, grid);
    return status;
  });
}

}  // namespace cuda
}  // namespace stylegan_fast
