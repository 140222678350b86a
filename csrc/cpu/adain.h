// What the two layouts of adain on the CPU have in common. See api.h for the formula.
#pragma once

#include "simd.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

// A sum of many numbers with the rounding of every addition kept (Knuth's TwoSum): in fp64 a plain one would drift.
struct Sum {
  double high = 0, low = 0;

  void add(double value) {
    const double next = high + value, added = next - high;
    low += (high - (next - added)) + (value - added);
    high = next;
  }
  double total() const { return high + low; }
};

// Mean and sum of squared deviations of the elements so far. Blocks are merged in double and in fixed order
// (Chan, Golub, LeVeque 1983), so that neither a large plane nor a pivot far from the mean costs precision.
struct Moments {
  double count = 0, deviations = 0;
  Sum mean_so_far;

  void merge(double block_count, double block_mean, double block_deviations) {
    const double total = count + block_count, delta = (block_mean - mean_so_far.high) - mean_so_far.low;
    mean_so_far.add(delta * (block_count / total));
    deviations += block_deviations + delta * delta * (count * block_count / total);
    count = total;
  }
  // A block of `size` values: the sum of their squared deviations from `mean`, and `rest`, that of the deviations. It
  // is what rounding left in the mean: a sum of uncentred values loses more than an ulp, and dscale multiplies that by
  // the number of pixels.
  void merge_block(int64_t size, double mean, double rest, double squares) {
    const double missing = rest / static_cast<double>(size);
    merge(static_cast<double>(size), mean + missing, squares - rest * missing);
  }
  double mean() const { return mean_so_far.total(); }
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

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
