// Sixty-four bytes of neighbouring numbers in the accumulation type, in the vector extension of GCC and Clang: one
// AVX-512 register, or several narrower ones.
#pragma once

#include "simd.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

template <class A>
struct LanesOf {
  typedef A type __attribute__((vector_size(64)));
};
template <class A>
using Lanes = typename LanesOf<A>::type;
template <class A>
constexpr int64_t lane_count = 64 / sizeof(A);

inline void get_all(const float* x, Lanes<float>& to) { __builtin_memcpy(&to, x, sizeof to); }
inline void get_all(const double* x, Lanes<double>& to) { __builtin_memcpy(&to, x, sizeof to); }
inline void put_all(const Lanes<float>& from, float* x) { __builtin_memcpy(x, &from, sizeof from); }
inline void put_all(const Lanes<double>& from, double* x) { __builtin_memcpy(x, &from, sizeof from); }

inline void get_all(const F16* x, Lanes<float>& to) {
  float row[lane_count<float>];
  load(x, lane_count<float>, row);
  __builtin_memcpy(&to, row, sizeof to);
}
inline void put_all(const Lanes<float>& from, F16* x) {
  float row[lane_count<float>];
  __builtin_memcpy(row, &from, sizeof from);
  store(row, lane_count<float>, x);
}

typedef uint16_t Halves __attribute__((vector_size(32)));
typedef uint32_t Words __attribute__((vector_size(64)));

inline void get_all(const BF16* x, Lanes<float>& to) {
  Halves halves;
  __builtin_memcpy(&halves, x, sizeof halves);
  const Words words = __builtin_convertvector(halves, Words) << 16;
  __builtin_memcpy(&to, &words, sizeof to);
}
// As from_acc<BF16>.
inline void put_all(const Lanes<float>& from, BF16* x) {
  Words bits;
  __builtin_memcpy(&bits, &from, sizeof bits);
  const Words rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const Words chosen = (bits & 0x7fffffffu) > 0x7f800000u ? (bits >> 16) | 0x40u : rounded;
  const Halves halves = __builtin_convertvector(chosen, Halves);
  __builtin_memcpy(x, &halves, sizeof halves);
}

// The first `width` lanes from memory, the others zero.
template <class A, class T>
inline void get(const T* x, int64_t width, Lanes<A>& to) {
  if (width == lane_count<A>) return get_all(x, to);
  A row[lane_count<A>] = {};
  for (int64_t i = 0; i < width; ++i) row[i] = to_acc(x[i]);
  __builtin_memcpy(&to, row, sizeof to);
}

template <class A, class T>
inline void put(const Lanes<A>& from, int64_t width, T* x) {
  if (width == lane_count<A>) return put_all(from, x);
  A row[lane_count<A>];
  __builtin_memcpy(row, &from, sizeof from);
  for (int64_t i = 0; i < width; ++i) x[i] = from_acc<T>(row[i]);
}

// `Moments` and `Sum` of adain.h for every lane at once.
template <class A>
struct LaneSums {
  double high[lane_count<A>] = {}, low[lane_count<A>] = {};

  void add(const Lanes<A>& values) {
    A value[lane_count<A>];
    __builtin_memcpy(value, &values, sizeof values);
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
