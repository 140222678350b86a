// Numbers that change lanes: registers in turns, squares of them transposed, and the sums of many registers at a time.
#pragma once

#include "lanes.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

#if defined(__clang__)
#define SHUFFLED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLED(a, b, ...) __builtin_shuffle(a, b, Index{__VA_ARGS__})
#endif

// low and high: the lanes of a and b in turns, those of their lower and of their upper halves.
template <class A>
inline void interleave(Lanes<A> a, Lanes<A> b, Lanes<A>& low, Lanes<A>& high) {
  using Index [[maybe_unused]] = Indices<A>;
  if constexpr (lane_count<A> == 16) {
    low = SHUFFLED(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    high = SHUFFLED(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  } else if constexpr (lane_count<A> == 8) {
    low = SHUFFLED(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
    high = SHUFFLED(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
  } else if constexpr (lane_count<A> == 4) {
    low = SHUFFLED(a, b, 0, 4, 1, 5);
    high = SHUFFLED(a, b, 2, 6, 3, 7);
  } else {
    low = SHUFFLED(a, b, 0, 2);
    high = SHUFFLED(a, b, 1, 3);
  }
}
// The other way round: a gets the even ones of the lanes of low and high, b the odd ones.
template <class A>
inline void separate(Lanes<A> low, Lanes<A> high, Lanes<A>& a, Lanes<A>& b) {
  using Index [[maybe_unused]] = typename IndexOf<sizeof(A)>::type;
  if constexpr (lane_count<A> == 16) {
    a = SHUFFLED(low, high, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    b = SHUFFLED(low, high, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  } else if constexpr (lane_count<A> == 8) {
    a = SHUFFLED(low, high, 0, 2, 4, 6, 8, 10, 12, 14);
    b = SHUFFLED(low, high, 1, 3, 5, 7, 9, 11, 13, 15);
  } else if constexpr (lane_count<A> == 4) {
    a = SHUFFLED(low, high, 0, 2, 4, 6);
    b = SHUFFLED(low, high, 1, 3, 5, 7);
  } else {
    a = SHUFFLED(low, high, 0, 2);
    b = SHUFFLED(low, high, 1, 3);
  }
}
#undef SHUFFLED

// Rows become columns. Interleaving the rows with those half the square away turns the numbers' places, written in
// binary, by one bit; when all bits of the row have become bits of the column, the square is transposed.
template <class A>
inline void transpose(Lanes<A> (&rows)[lane_count<A>]) {
  constexpr int64_t half = lane_count<A> / 2;
  Lanes<A> next[lane_count<A>];
#pragma GCC unroll 4
  for (int64_t done = 1; done < lane_count<A>; done *= 2) {
#pragma GCC unroll 8
    for (int64_t i = 0; i < half; ++i) interleave<A>(rows[i], rows[i + half], next[2 * i], next[2 * i + 1]);
#pragma GCC unroll 16
    for (int64_t i = 0; i < lane_count<A>; ++i) rows[i] = next[i];
  }
}

// Lane i is the sum of row i, added up in the order of `sum_of`. The rows are overwritten.
template <class A>
INLINED Lanes<A> sums_of_rows(Lanes<A> (&rows)[lane_count<A>]) {
#pragma GCC unroll 4
  for (int64_t half = lane_count<A> / 2; half; half /= 2) {
#pragma GCC unroll 8
    for (int64_t i = 0; i < half; ++i) {
      Lanes<A> low, high;
      interleave<A>(rows[i], rows[i + half], low, high);
      rows[i] = low + high;
    }
  }
  return rows[0];
}

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
