// Sums and moments of as many planes as a register has lanes.
#pragma once

#include "lanes.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

// `Moments` and `Sum` of adain.h for every lane at once.
template <class A>
struct LaneSums {
  double high[lane_count<A>] = {}, low[lane_count<A>] = {};

  void add(const Lanes<A>& values) {
    A value[lane_count<A>];
    __builtin_memcpy(value, &values, sizeof value);
#pragma omp simd
    for (int64_t i = 0; i < lane_count<A>; ++i) add_one(i, value[i]);
  }
  void add_one(int64_t i, double value) {
    const double next = high[i] + value, added = next - high[i];
    low[i] += (high[i] - (next - added)) + (value - added);
    high[i] = next;
  }
  double total(int64_t i) const { return high[i] + low[i]; }
};

template <class A>
struct LaneMoments {
  double count = 0, deviations[lane_count<A>] = {};
  LaneSums<A> mean;

  void merge_block(int64_t size, const Lanes<A>& means, const Lanes<A>& rests, const Lanes<A>& squares) {
    A block_mean[lane_count<A>], rest[lane_count<A>], square[lane_count<A>];
    __builtin_memcpy(block_mean, &means, sizeof means);
    __builtin_memcpy(rest, &rests, sizeof rests);
    __builtin_memcpy(square, &squares, sizeof squares);
    const double block_count = static_cast<double>(size), total = count + block_count, reciprocal = 1 / block_count;
    const double share = block_count / total, weight = count * share;
#pragma omp simd
    for (int64_t i = 0; i < lane_count<A>; ++i) {
      const double missing = rest[i] * reciprocal;
      const double delta = (block_mean[i] + missing - mean.high[i]) - mean.low[i];
      mean.add_one(i, delta * share);
      deviations[i] += square[i] - rest[i] * missing + delta * delta * weight;
    }
    count = total;
  }

  // A block of `size` registers whose mean is about `block_mean`. Four sums of squares: equal ones added one by one to a large
  // one would all be rounded the same way.
  void add_block(const Lanes<A>* values, int64_t size, const Lanes<A>& block_mean) {
    Lanes<A> rest = {}, s0 = {}, s1 = {}, s2 = {}, s3 = {};
    int64_t p = 0;
    for (; p + 4 <= size; p += 4) {
      const Lanes<A> d0 = values[p] - block_mean, d1 = values[p + 1] - block_mean, d2 = values[p + 2] - block_mean;
      const Lanes<A> d3 = values[p + 3] - block_mean;
      rest += (d0 + d1) + (d2 + d3);
      s0 = fused(d0, d0, s0);
      s1 = fused(d1, d1, s1);
      s2 = fused(d2, d2, s2);
      s3 = fused(d3, d3, s3);
    }
    for (; p < size; ++p) {
      const Lanes<A> deviation = values[p] - block_mean;
      rest += deviation;
      s0 = fused(deviation, deviation, s0);
    }
    merge_block(size, block_mean, rest, (s0 + s1) + (s2 + s3));
  }
};

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
