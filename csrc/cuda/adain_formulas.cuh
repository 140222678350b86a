// adain's formulas, which every tier computes alike:
//
//   t = x + noise_strength * noise + bias,  a = lrelu(t),  normalised = (a - mean) * rstd
//   z = scale * normalised + shift,  y = output_lrelu(z)
//   dz = dy * output_lrelu'(z),  S1 = sum dz,  S2 = sum dz * normalised                 (dshift and dscale)
//   da = scale * rstd * (dz - S1/M - normalised * S2/M),  dx = dt = da * lrelu'(t)
//   dbias = sum dt,  dnoise_strength = sum dt * noise
//
// Everything is computed relative to the plane's pivot p = a[0]: `mean` is that of a - p. A constant plane is then
// exactly 0 before scale and shift, which neither E[a^2] - E[a]^2 nor a two-pass sum in fp32 gives. For that, t and a
// must round alike wherever they are computed: products are explicitly fused or explicitly not.
#pragma once

#include "reduce.cuh"

namespace stylegan_fast {
namespace cuda {

// p[i], or 0 where p is null.
template <typename A>
__device__ __forceinline__ A number_or_zero(const void* p, int64_t i) {
  return p ? static_cast<const A*>(p)[i] : A(0);
}

// What a layer does to one channel before the normalisation, and after it.
template <typename A>
struct Channel {
  A strength, bias, negative_slope, output_negative_slope;

  Channel() = default;

  __device__ __forceinline__ Channel(const AdaIN& op, A strength, A bias)
      : strength(strength), bias(bias), negative_slope(A(op.negative_slope)),
        output_negative_slope(A(op.output_negative_slope)) {}

  __device__ __forceinline__ Channel(const AdaIN& op, int64_t c)
      : Channel(op, number_or_zero<A>(op.noise ? op.noise_strength : nullptr, c), number_or_zero<A>(op.bias, c)) {}

  // noise: 0 where there is none.
  __device__ __forceinline__ A t(A x, A noise) const { return fma(strength, noise, x) + bias; }
  __device__ __forceinline__ A activation(A t) const { return t >= A(0) ? t : multiply(negative_slope, t); }
  __device__ __forceinline__ A output(A z) const { return z >= A(0) ? z : output_negative_slope * z; }
};

// The noise of a sample; null: none.
template <typename A>
__device__ __forceinline__ const A* noise_of(const AdaIN& op, int64_t n) {
  return op.noise ? static_cast<const A*>(op.noise) + n * op.noise_stride_n : nullptr;
}

// values[k] = p[at(k)], or 0 where p is null. One branch around all loads: with one around each, ptxas takes the same
// register for all of them, and each waits for the one before.
template <int count, typename A, typename At>
__device__ __forceinline__ void numbers_or_zeros(const A* p, A* values, At at) {
  if (p) {
#pragma unroll
    for (int k = 0; k < count; ++k) values[k] = p[at(k)];
  } else {
#pragma unroll
    for (int k = 0; k < count; ++k) values[k] = A(0);
  }
}

template <typename A>
__device__ __forceinline__ A parameter(const PlaneParameter& p, int64_t n, int64_t c, A left_out) {
  return p.data ? static_cast<const A*>(p.data)[n * p.stride_n + c * p.stride_c] : left_out;
}

// What the normalisation adds to a plane once its statistics are known.
template <typename A>
struct Style {
  A mean, rstd, scale, shift;

  Style() = default;

  __device__ __forceinline__ Style(A mean, A rstd, A scale, A shift)
      : mean(mean), rstd(rstd), scale(scale), shift(shift) {}

  __device__ __forceinline__ Style(const AdaIN& op, A mean, A rstd, int64_t n, int64_t c)
      : Style(mean, rstd, parameter(op.scale, n, c, A(1)), parameter(op.shift, n, c, A(0))) {}

  __device__ __forceinline__ Style(const AdaIN& op, const void* means, const void* rstds, int64_t n, int64_t c)
      : Style(op, number_or_zero<A>(means, n * op.c + c), number_or_zero<A>(rstds, n * op.c + c), n, c) {}

  __device__ __forceinline__ A normalised(A from_pivot) const { return (from_pivot - mean) * rstd; }
  __device__ __forceinline__ A z(A normalised) const { return fma(scale, normalised, shift); }
};

template <typename A>
__device__ __forceinline__ A rstd_of(const AdaINForward& p, A variance) {
  return inverse_sqrt(variance + A(p.op.eps));
}

template <typename A>
__device__ __forceinline__ void write_statistics(const AdaINForward& p, int64_t plane, A mean, A rstd) {
  static_cast<A*>(p.mean)[plane] = mean;
  static_cast<A*>(p.rstd)[plane] = rstd;
}

// The gradient at one pixel, in two steps: dz needs only the pixel, dt the plane's two sums as well.
template <typename A>
struct PixelGradient {
  A normalised, dz;
  bool negative;  // t is, or NaN

  __device__ __forceinline__ PixelGradient(const Channel<A>& channel, const Style<A>& style, A t, A pivot, A dy) {
    negative = !(t >= A(0));
    normalised = style.normalised(channel.activation(t) - pivot);
    dz = style.z(normalised) >= A(0) ? dy : channel.output_negative_slope * dy;
  }
};

// mean_dz, mean_dz_normalised: over the plane.
template <typename A>
__device__ __forceinline__ A dt_of(const Channel<A>& channel, const Style<A>& style, A normalised, A dz, bool negative,
                                   A mean_dz, A mean_dz_normalised) {
  const A da = style.scale * style.rstd * (dz - mean_dz - normalised * mean_dz_normalised);
  return negative ? channel.negative_slope * da : da;
}

// Two outputs of one kernel, one value a plane and slice; null: not wanted.
struct PlaneSums {
  void* first;
  void* second;
};

template <typename A>
__device__ __forceinline__ void write_sums(const PlaneSums& to, int64_t i, A first, A second) {
  if (to.first) static_cast<A*>(to.first)[i] = first;
  if (to.second) static_cast<A*>(to.second)[i] = second;
}

}  // namespace cuda
}  // namespace stylegan_fast
