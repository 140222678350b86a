// upfirdn2d: entry point.
#include "upfirdn2d.cuh"

#include "../check.h"

namespace stylegan_fast {
namespace cuda {

Status upfirdn2d(const UpFirDn2d& p, void* stream) {
  const char* entry = "upfirdn2d";
  const Status checked = check(p);
  const int64_t size = p.n * p.c * p.out_h * p.out_w;
  if (checked != Status::ok || size == 0) return checked;
  const LaunchShape shape = shape_for(upfirdn2d_threads, ceil_div(size, upfirdn2d_threads));
  return with_dtype(entry, p.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (p.layout == Layout::contiguous) return launch(entry, upfirdn2d_kernel<T, false>, shape, stream, p);
    return launch(entry, upfirdn2d_kernel<T, true>, shape, stream, p);
  });
}

}  // namespace cuda
}  // namespace stylegan_fast
