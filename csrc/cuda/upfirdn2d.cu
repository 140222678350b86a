// upfirdn2d: entry point, and which kernel runs.
#include "upfirdn2d.cuh"

#include "../check.h"
#include "upfirdn2d_pixels.cuh"
#include "upfirdn2d_strips.cuh"

namespace stylegan_fast {
namespace cuda {
namespace {

// The specialised tiers count threads in 31 bits, and the elements of a plane or sample, with what padding adds, too.
constexpr int64_t thread_limit = int64_t(1) << 31, element_limit = int64_t(1) << 30;

template <int up_, int down_, int taps_, int pad_>
struct Resampling {
  static constexpr int up = up_, down = down_, taps = taps_, pad = pad_;

  static bool is(const UpFirDn2d& p) {
    return p.up_x == up && p.down_x == down && p.filter_w == taps && p.pad_x0 == pad;
  }
};

// Calls run(Resampling<...>{}) with the one that p is, or other().
template <typename Run, typename Other>
Status with_resampling(const UpFirDn2d& p, Run run, Other other) {
  if (p.up_x != p.up_y || p.down_x != p.down_y || p.filter_w != p.filter_h || p.pad_x0 != p.pad_y0) return other();
  // up, down, taps, pad0. With these pads the output is as large as the input, or twice or half as large; each one's
  // adjoint is among them.
  if (Resampling<1, 1, 3, 1>::is(p)) return run(Resampling<1, 1, 3, 1>{});
  if (Resampling<2, 1, 2, 1>::is(p)) return run(Resampling<2, 1, 2, 1>{});
  if (Resampling<1, 2, 2, 0>::is(p)) return run(Resampling<1, 2, 2, 0>{});
  if (Resampling<1, 1, 4, 2>::is(p)) return run(Resampling<1, 1, 4, 2>{});
  if (Resampling<1, 1, 4, 1>::is(p)) return run(Resampling<1, 1, 4, 1>{});
  if (Resampling<2, 1, 4, 2>::is(p)) return run(Resampling<2, 1, 4, 2>{});
  if (Resampling<1, 2, 4, 1>::is(p)) return run(Resampling<1, 2, 4, 1>{});
  return other();
}

// Whether contiguous images are strips of whole 16-byte vectors; how many strips then.
template <typename T, int down>
bool strips_of(const UpFirDn2d& p, StripGrid& grid) {
  constexpr int64_t width = Vec<T>::size;
  // Rows begin at 16 bytes in y, and in x too (at 8 where it is half as wide).
  if (p.out_w % width || p.in_w % (width / p.up_x) || !aligned16({p.x, p.y})) return false;
  if (p.in_h * p.in_w >= element_limit || p.out_h * p.out_w >= element_limit) return false;
  const int64_t across = p.out_w / width, along = ceil_div(p.out_h, strip_rows<T, down>);
  const int64_t all = p.n * p.c * across * along;
  if (all >= thread_limit) return false;
  grid.all = unsigned(all), grid.across = Divisor(unsigned(across)), grid.down = Divisor(unsigned(along));
  return true;
}

// A line of the cache.
constexpr int64_t slab_bytes = 128;
// Rows of a band: the more, the fewer are read and filtered twice (3 taps: 2 rows a band); but with 512 threads on each
// of the largest devices' multiprocessors (132), which keep twice the bytes on their way that the memory needs; and
// never fewer rows than an upsampling makes at a time.
constexpr int64_t most_rows = 16, fewest_rows = 2, enough_threads = int64_t(1) << 16;

// Whether channels_last images can be counted so; how they are cut then.
bool pixels_of(const UpFirDn2d& p, int64_t pack, int64_t pack_bytes, int64_t columns, PixelGrid& grid) {
  if (p.in_h * p.in_w * p.c >= element_limit || p.out_h * p.out_w * p.c >= element_limit) return false;
  const int64_t packs = p.c / pack, slabs = ceil_div(packs, slab_bytes / pack_bytes), lanes = ceil_div(packs, slabs);
  const int64_t groups = ceil_div(p.out_w, columns);
  int64_t rows = most_rows, all = 0;
  const auto threads = [&] { return p.n * ceil_div(p.out_h, rows) * slabs * groups * lanes; };
  while (rows > fewest_rows && threads() < enough_threads) rows /= 2;
  all = threads();
  if (all >= thread_limit) return false;
  grid.all = unsigned(all), grid.rows = unsigned(rows);
  grid.lanes = Divisor(unsigned(lanes)), grid.groups = Divisor(unsigned(groups));
  grid.slabs = Divisor(unsigned(slabs)), grid.bands = Divisor(unsigned(ceil_div(p.out_h, rows)));
  return true;
}

template <typename T>
Status general(const char* entry, const UpFirDn2d& p, void* stream) {
  const LaunchShape shape =
      shape_for(upfirdn2d_threads, ceil_div(p.n * p.c * p.out_h * p.out_w, upfirdn2d_threads));
  if (p.layout == Layout::contiguous) return launch(entry, upfirdn2d_kernel<T, false>, shape, stream, p);
  return launch(entry, upfirdn2d_kernel<T, true>, shape, stream, p);
}

template <typename T, typename R>
Status specialised(const char* entry, const UpFirDn2d& p, R, void* stream) {
  if (p.layout == Layout::contiguous) {
    StripGrid grid;
    if (!strips_of<T, R::down>(p, grid)) return general<T>(entry, p, stream);
    const LaunchShape shape = shape_for(strip_threads, ceil_div(grid.all, strip_threads));
    return launch(entry, upfirdn2d_strips<T, R::up, R::down, R::taps, R::pad>, shape, stream, p, grid);
  }
  PixelGrid grid;
  const auto pixels = [&](auto pack) {
    constexpr int n = decltype(pack)::value;
    if (!pixels_of(p, n, n * sizeof(T), pixel_columns<R::down>, grid)) return general<T>(entry, p, stream);
    const LaunchShape shape{dim3(unsigned(ceil_div(grid.all, pixel_threads))), pixel_threads};
    return launch(entry, upfirdn2d_pixels<T, n, R::up, R::down, R::taps, R::pad>, shape, stream, p, grid);
  };
  constexpr int width = Vec<T>::size;
  if (p.c % width == 0 && aligned16({p.x, p.y})) return pixels(std::integral_constant<int, width>{});
  return pixels(std::integral_constant<int, 1>{});
}

}  // namespace

Status upfirdn2d(const UpFirDn2d& p, void* stream) {
  const char* entry = "upfirdn2d";
  const Status checked = check(p);
  if (checked != Status::ok || p.n * p.c * p.out_h * p.out_w == 0) return checked;
  return with_dtype(entry, p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto other = [&] { return general<T>(entry, p, stream); };
    if constexpr (std::is_same_v<T, double>) return other();
    else return with_resampling(p, [&](auto r) { return specialised<T>(entry, p, r, stream); }, other);
  });
}

}  // namespace cuda
}  // namespace stylegan_fast
