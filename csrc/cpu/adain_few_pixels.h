// adain on the CPU where a plane is a few pixels: as many planes as there are lanes, in registers from their pixels to
// their results. Both layouts come here, [N][C][H][W] through adain_small.h.
#pragma once

#include "adain_chunk.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

// A 4x4 image. Loops over it are unrolled where the number of pixels is known beforehand. Contiguous planes of 8x8, done
// this way in blocks, were slower than plane by plane (AVX-512, fp32, one thread): forward 0.6 times, backward 0.5 times.
constexpr int64_t few_pixels = 16;

// A sum over pixels, in four parts: an addition waits for the one before it.
template <class A>
struct PixelSums {
  Lanes<A> parts[4] = {};

  INLINED void add(int64_t pixel, const Lanes<A>& value) { parts[pixel % 4] += value; }
  INLINED void add_product(int64_t pixel, const Lanes<A>& a, const Lanes<A>& b) {
    parts[pixel % 4] = fused(a, b, parts[pixel % 4]);
  }
  INLINED Lanes<A> total() const { return (parts[0] + parts[1]) + (parts[2] + parts[3]); }
};

template <bool whole>
INLINED int64_t pixels_of(const AdaIN& op) {
  const int64_t pixels = op.h * op.w;
  if (pixels < 1 || pixels > few_pixels) __builtin_unreachable();
  return whole ? few_pixels : pixels;
}

// x and y: of the first plane's first element, with `stride` numbers from pixel to pixel. whole: few_pixels pixels of as
// many planes as there are lanes.
template <class T, bool whole>
INLINED void forward_few(const AdaINForward& f, int64_t n, int64_t c0, int64_t some, const T* x, T* y, int64_t stride) {
  using A = Acc<T>;
  using V = Lanes<A>;
  const int64_t width = whole ? lane_count<A> : some, pixels = pixels_of<whole>(f.op);
  Chunk<T> k(f.op, n, c0, width, x, stride);
  V d[few_pixels] = {};
  PixelSums<A> sums, rests, squares;
#pragma GCC unroll 16
  for (int64_t p = 0; p < pixels; ++p) sums.add(p, d[p] = k.template from_pivot<whole>(p));
  const A reciprocal = 1 / static_cast<A>(pixels);
  const V mean = sums.total() * reciprocal;
#pragma GCC unroll 16
  for (int64_t p = 0; p < pixels; ++p) {
    const V deviation = d[p] - mean;
    rests.add(p, deviation);
    squares.add_product(p, deviation, deviation);
  }
  const V rest = rests.total(), missing = rest * reciprocal;  // as in Moments::merge_block
  k.mean = mean + missing;
  k.rstd = A(1) / square_root<A>((squares.total() - rest * missing) * reciprocal + static_cast<A>(f.op.eps));
  put_wanted<A>(k.mean, width, f.mean, k.first);
  put_wanted<A>(k.rstd, width, f.rstd, k.first);
  k.set_scale(f.op, n, c0);
#pragma GCC unroll 16
  for (int64_t p = 0; p < pixels; ++p) put<A>(k.output_of(d[p]), width, y + p * stride);
}

// dx may be null: not wanted.
template <class T, bool whole>
INLINED void backward_few(const AdaINBackward& f, int64_t n, int64_t c0, int64_t some, const T* x, const T* dy, T* dx,
                          int64_t stride) {
  using A = Acc<T>;
  using V = Lanes<A>;
  const int64_t width = whole ? lane_count<A> : some, pixels = pixels_of<whole>(f.op);
  Chunk<T> k(f.op, n, c0, width, x, stride);
  k.set_statistics(f, n, c0);
  PixelSums<A> dz, dzs, dt, dt_noise;
#pragma GCC unroll 16
  for (int64_t p = 0; p < pixels; ++p) {
    const V centred = k.template from_pivot<whole>(p) - k.mean;
    const V here = k.dz(centred, k.template load_pixel<whole>(dy + p * stride));
    dz.add(p, here);
    dzs.add_product(p, here, centred * k.rstd);
  }
  const V sum_dz = dz.total(), sum_dzs = dzs.total();
  put_wanted<A>(sum_dz, width, f.dshift, k.first);
  put_wanted<A>(sum_dzs, width, f.dscale, k.first);
  if (!dx && !f.dbias && !f.dnoise_strength) return;
  const A reciprocal = 1 / static_cast<A>(pixels);
  k.mean_dz = sum_dz * reciprocal;
  k.mean_dzs = sum_dzs * reciprocal;
#pragma GCC unroll 16
  for (int64_t p = 0; p < pixels; ++p) {
    const V here = k.template dt<whole>(p, k.template load_pixel<whole>(dy + p * stride));
    if (dx) put<A>(here, width, dx + p * stride);
    dt.add(p, here);
    if (k.noise) dt_noise.add_product(p, here, all_lanes(k.noise[p]));
  }
  put_wanted<A>(dt.total(), width, f.dbias, k.first);
  put_wanted<A>(dt_noise.total(), width, f.dnoise_strength, k.first);
}

// Calls body(c, width, whole) for `count` channels from c0 on, as many at a time as there are lanes.
template <class A, class Body>
INLINED void over_chunks(const AdaIN& op, int64_t c0, int64_t count, Body body) {
  constexpr int64_t lanes = lane_count<A>;
  for (int64_t c = c0; c < c0 + count; c += lanes) {
    if (c + lanes <= c0 + count && op.h * op.w == few_pixels)
      body(c, lanes, Constant<true>());
    else
      body(c, smaller(lanes, c0 + count - c), Constant<false>());
  }
}

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
