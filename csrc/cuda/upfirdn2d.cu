// upfirdn2d: entry point, and which kernel runs.
#include "upfirdn2d.cuh"

#include "../check.h"
#include "upfirdn2d_strips.cuh"

namespace stylegan_fast {
namespace cuda {
namespace {

constexpr int64_t strips_limit = int64_t(1) << 31;

// Whether the strips tier takes this; its grid then.
bool strips_of(const UpFirDn2d& p, StripGrid& grid) {
  if (p.dtype == DType::f64 || p.layout != Layout::contiguous) return false;
  const bool square = p.up_x == p.up_y && p.down_x == p.down_y && p.filter_w == p.filter_h && p.pad_x0 == p.pad_y0;
  if (!square || p.up_x > 2) return false;
  const int64_t width = p.dtype == DType::f32 ? 4 : 8;
  // Rows begin at 16 bytes in y, and in x too (at 8 where it is half as wide).
  if (p.out_w % width || p.in_w % (width / p.up_x) || !aligned16({p.x, p.y})) return false;
  if (p.in_h * p.in_w >= strips_limit || p.out_h * p.out_w >= strips_limit / 2) return false;
  const int64_t across = p.out_w / width, down = ceil_div(p.out_h, strip_rows), all = p.n * p.c * across * down;
  if (all >= strips_limit) return false;
  grid = {unsigned(across), unsigned(down), unsigned(all)};
  return true;
}

bool is(const UpFirDn2d& p, int up, int down, int taps, int pad) {
  return p.up_x == up && p.down_x == down && p.filter_w == taps && p.pad_x0 == pad;
}

template <typename T>
Status general(const char* entry, const UpFirDn2d& p, void* stream) {
  const LaunchShape shape =
      shape_for(upfirdn2d_threads, ceil_div(p.n * p.c * p.out_h * p.out_w, upfirdn2d_threads));
  if (p.layout == Layout::contiguous) return launch(entry, upfirdn2d_kernel<T, false>, shape, stream, p);
  return launch(entry, upfirdn2d_kernel<T, true>, shape, stream, p);
}

}  // namespace

Status upfirdn2d(const UpFirDn2d& p, void* stream) {
  const char* entry = "upfirdn2d";
  const Status checked = check(p);
  if (checked != Status::ok || p.n * p.c * p.out_h * p.out_w == 0) return checked;
  StripGrid grid{};
  const bool strips = strips_of(p, grid);
  return with_dtype(entry, p.dtype, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (!std::is_same_v<T, double>) {
      const LaunchShape shape = shape_for(strip_threads, ceil_div(grid.all, strip_threads));
      // up, down, taps, pad0. With these pads the output is as large as the input, or twice or half as large.
      if (strips && is(p, 1, 1, 3, 1)) return launch(entry, upfirdn2d_strips<T, 1, 1, 3, 1>, shape, stream, p, grid);
      if (strips && is(p, 2, 1, 2, 1)) return launch(entry, upfirdn2d_strips<T, 2, 1, 2, 1>, shape, stream, p, grid);
      if (strips && is(p, 1, 2, 2, 0)) return launch(entry, upfirdn2d_strips<T, 1, 2, 2, 0>, shape, stream, p, grid);
      if (strips && is(p, 1, 1, 4, 2)) return launch(entry, upfirdn2d_strips<T, 1, 1, 4, 2>, shape, stream, p, grid);
      if (strips && is(p, 1, 1, 4, 1)) return launch(entry, upfirdn2d_strips<T, 1, 1, 4, 1>, shape, stream, p, grid);
      if (strips && is(p, 2, 1, 4, 2)) return launch(entry, upfirdn2d_strips<T, 2, 1, 4, 2>, shape, stream, p, grid);
      if (strips && is(p, 1, 2, 4, 1)) return launch(entry, upfirdn2d_strips<T, 1, 2, 4, 1>, shape, stream, p, grid);
    }
    return general<T>(entry, p, stream);
  });
}

}  // namespace cuda
}  // namespace stylegan_fast
