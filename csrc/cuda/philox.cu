// philox_normal: entry point.
#include "philox.cuh"

#include "../check.h"

namespace stylegan_fast {
namespace cuda {

Status philox_normal(const PhiloxNormal& p, void* stream) {
  const Status checked = check(p);
  if (checked != Status::ok || p.n == 0 || p.size == 0) return checked;
  const LaunchShape shape = shape_for(philox_threads, ceil_div(p.size, 4 * philox_threads), p.n);
  // Every sample begins at 16 bytes where the first does and their sizes are whole vectors.
  const bool aligned = aligned16({p.y}) && (p.n == 1 || p.size % 4 == 0);
  return launch("philox_normal", philox_normal_kernel, shape, stream, p, aligned);
}

}  // namespace cuda
}  // namespace stylegan_fast
