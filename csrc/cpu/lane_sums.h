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
};

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
