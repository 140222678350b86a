// The planes whose channels are one register of a pixel: everything that is one number per plane is one lane.
#pragma once

#include "adain.h"
#include "lane_sums.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

constexpr int64_t widest_slab = 64;
constexpr int64_t block_pixels = 64;

// Into to[first] and those after it, where anybody wants them.
template <class A>
INLINED void put_wanted(const Lanes<A>& values, int64_t width, void* to, int64_t first) {
  if (to) put<A>(values, width, static_cast<A*>(to) + first);
}

// The planes of one chunk: their constants, and where a pixel's values lie.
template <class T>
struct Chunk {
  using A = Acc<T>;
  using V = Lanes<A>;
  static constexpr int64_t lanes = lane_count<A>;
  int64_t width, stride, first;  // planes; numbers from pixel to pixel; index of the first plane
  int64_t ahead;                 // numbers from a pixel to the one that is asked for with it
  const T* x;
  const A* noise;
  A slope, output_slope;
  V bias, strength, pivot, mean, rstd, gain, shift, mean_dz, mean_dzs;

  Chunk() = default;
  // x: of the chunk's first element, with `stride` numbers from pixel to pixel.
  INLINED Chunk(const AdaIN& op, int64_t n, int64_t c0, int64_t width, const T* x, int64_t stride)
      : width(width),
        stride(stride),
        first(n * op.c + c0),
        ahead(block_pixels * stride),
        x(x),
        noise(op.noise ? static_cast<const A*>(op.noise) + n * op.noise_stride_n : nullptr),
        slope(static_cast<A>(op.negative_slope)),
        output_slope(static_cast<A>(op.output_negative_slope)),
        bias{},
        strength{} {
    if (op.bias) get<A>(static_cast<const A*>(op.bias) + c0, width, bias);
    if (noise) get<A>(static_cast<const A*>(op.noise_strength) + c0, width, strength);
    const V t = before_activation<false>(0);
    pivot = t >= A(0) ? t : t * slope;
  }

  INLINED V parameters(const PlaneParameter& p, int64_t n, int64_t c0, A missing) const {
    V found;
    if (p.data && p.stride_c == 1) {
      get<A>(static_cast<const A*>(p.data) + n * p.stride_n + c0, width, found);
    } else {
      A row[lanes] = {};
      for (int64_t i = 0; i < width; ++i) row[i] = parameter<A>(p, n, c0 + i, missing);
      __builtin_memcpy(&found, row, sizeof found);
    }
    return found;
  }
  INLINED void set_scale(const AdaIN& op, int64_t n, int64_t c0) {
    gain = parameters(op.scale, n, c0, 1) * rstd;
    shift = parameters(op.shift, n, c0, 0);
  }
  INLINED void set_statistics(const AdaINBackward& f, int64_t n, int64_t c0) {
    get<A>(static_cast<const A*>(f.mean) + first, width, mean);
    get<A>(static_cast<const A*>(f.rstd) + first, width, rstd);
    set_scale(f.op, n, c0);
  }

  template <bool whole>
  INLINED V load_pixel(const T* from) const {
    V found;
    get<A>(from, whole ? lanes : width, found);
    return found;
  }
  template <bool whole>
  INLINED V before_activation(int64_t pixel) const {
    V t = load_pixel<whole>(x + pixel * stride);
    if (noise) t = fused(strength, all_lanes(noise[pixel]), t);
    return t + bias;
  }
  template <bool whole>
  INLINED V from_pivot(int64_t pixel) const {
    const V t = before_activation<whole>(pixel);
    return (t >= A(0) ? t : t * slope) - pivot;
  }
  // activated: whether output_slope is another than 1.
  template <bool activated = true>
  INLINED V output_of(const V& from_pivot) const {
    const V z = fused(from_pivot - mean, gain, shift);
    if constexpr (!activated) return z;
    return z >= A(0) ? z : z * output_slope;
  }
  template <bool activated = true>
  INLINED V dz(const V& centred, const V& dy) const {
    if constexpr (!activated) return dy;
    return fused(centred, gain, shift) >= A(0) ? dy : dy * output_slope;
  }
  template <bool whole, bool activated = true>
  INLINED V dt(int64_t pixel, const V& dy) const {
    const V t = before_activation<whole>(pixel), centred = ((t >= A(0) ? t : t * slope) - pivot) - mean;
    const V da = fused(centred * rstd, -mean_dzs, dz<activated>(centred, dy) - mean_dz) * gain;
    return t >= A(0) ? da : da * slope;
  }
};

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
