// Numbers that change lanes: registers in turns, squares of them transposed, and the sums of many registers at a time.
#pragma once

#include <utility>

#include "lanes.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

// Lane i is lane Places::at(i) of those of a, counted from 0, and of b after them.
template <class A, class Places, size_t... i>
INLINED Lanes<A> picked(const Lanes<A>& a, const Lanes<A>& b, std::index_sequence<i...>) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, Places::at(i)...);
#else
  return __builtin_shuffle(a, b, Indices<A>{Places::at(i)...});
#endif
}
template <class A, class Places>
INLINED Lanes<A> picked(const Lanes<A>& a, const Lanes<A>& b) {
  return picked<A, Places>(a, b, std::make_index_sequence<lane_count<A>>());
}

template <int64_t lanes, int64_t group, bool upper>
struct InTurns {
  static constexpr int at(int64_t i) {
    return static_cast<int>(i % 2 * lanes + i / group * group + i % group / 2 + (upper ? group / 2 : 0));
  }
};
template <int64_t unit, bool odd>
struct EveryOther {
  static constexpr int at(int64_t i) { return static_cast<int>((i / unit * 2 + odd) * unit + i % unit); }
};

// low and high: the lanes of a and b in turns, within every `group` of lanes those of its lower and of its upper half.
template <class A, int64_t group = lane_count<A>>
INLINED void interleave(Lanes<A> a, Lanes<A> b, Lanes<A>& low, Lanes<A>& high) {
  low = picked<A, InTurns<lane_count<A>, group, false>>(a, b);
  high = picked<A, InTurns<lane_count<A>, group, true>>(a, b);
}
// The other way round: a gets the even ones of the lanes of low and high, b the odd ones; or of their units of lanes.
template <class A, int64_t unit = 1>
INLINED void separate(Lanes<A> low, Lanes<A> high, Lanes<A>& a, Lanes<A>& b) {
  a = picked<A, EveryOther<unit, false>>(low, high);
  b = picked<A, EveryOther<unit, true>>(low, high);
}

// Rows become columns: first within blocks of 16 bytes, then block by block, for moves within such blocks, and of whole
// ones, are the fast ones. Interleaving the rows with those half a block away turns the numbers' places, written in
// binary, by one bit; when all bits of the row have become bits of the column, the block is transposed.
template <class A>
INLINED void transpose(Lanes<A> (&rows)[lane_count<A>]) {
  constexpr int64_t lanes = lane_count<A>, block = 16 / sizeof(A), blocks = lanes / block;
  Lanes<A> next[lanes];
#pragma GCC unroll 4
  for (int64_t done = 1; done < block; done *= 2) {
#pragma GCC unroll 4
    for (int64_t first = 0; first < lanes; first += block) {
#pragma GCC unroll 2
      for (int64_t i = 0; i < block / 2; ++i)
        interleave<A, block>(rows[first + i], rows[first + i + block / 2], next[first + 2 * i], next[first + 2 * i + 1]);
    }
#pragma GCC unroll 16
    for (int64_t i = 0; i < lanes; ++i) rows[i] = next[i];
  }
#pragma GCC unroll 4
  for (int64_t done = 1; done < blocks; done *= 2) {
#pragma GCC unroll 8
    for (int64_t i = 0; i < lanes / 2; ++i) {
      const int64_t row = i / block * 2 * block + i % block;
      separate<A, block>(rows[row], rows[row + block], next[i], next[lanes / 2 + i]);
    }
#pragma GCC unroll 16
    for (int64_t i = 0; i < lanes; ++i) rows[i] = next[i];
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
