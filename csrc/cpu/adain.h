// What the two layouts of adain on the CPU have in common. See api.h for the formula.
#pragma once

#include "simd.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

// Elements handled at a time: small enough for the first-level cache, and for fp32 sums to lose nothing in one block.
constexpr int64_t block_size = 1024;

// Mean and sum of squared deviations of the elements so far. Blocks are merged in double and in fixed order
// (Chan, Golub, LeVeque 1983), so that neither a large plane nor a pivot far from the mean costs precision.
struct Moments {
  double count = 0, high = 0, low = 0, deviations = 0;  // the mean is high + low: for fp64 a plain sum would drift

  void merge(double block_count, double block_mean, double block_deviations) {
    const double total = count + block_count, delta = (block_mean - high) - low;
    const double step = delta * (block_count / total), next = high + step;
    low += step - (next - high);
    high = next;
    deviations += block_deviations + delta * delta * (count * block_count / total);
    count = total;
  }
  double mean() const { return high + low; }
  double rstd(double eps) const { return 1 / __builtin_sqrt(deviations / count + eps); }
};

template <class A>
inline A parameter(const PlaneParameter& p, int64_t n, int64_t c, A missing) {
  return p.data ? static_cast<const A*>(p.data)[n * p.stride_n + c * p.stride_c] : missing;
}

template <class A>
inline A channel(const void* values, int64_t c, A missing) {
  return values ? static_cast<const A*>(values)[c] : missing;
}

template <class A>
inline A activate(A t, A negative_slope) {
  return t >= A(0) ? t : t * negative_slope;
}

template <class A>
inline void write(void* values, int64_t i, double value) {
  if (values) static_cast<A*>(values)[i] = static_cast<A>(value);
}

// One plane's constants in the backward; `normalised = ((a - pivot) - mean) * rstd`.
template <class A>
struct Normalisation {
  A pivot, mean, rstd, shift;
  A gain;               // scale * rstd
  A mean_dz, mean_dzs;  // of dz, and of dz * normalised
};

// dz at one element: the gradient before the activation of the output.
template <class A>
inline A slope_of_output(const Normalisation<A>& k, A centred, A dy, A output_slope) {
  return fused(centred, k.gain, k.shift) >= A(0) ? dy : dy * output_slope;
}

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
