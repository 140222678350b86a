// The machine, part 3: reductions in a fixed order, so that equal inputs give equal bits on every run.
//
// What is reduced is a plain struct with two functions found by its type: combine(a, b), and shuffle_xor(v, mask).
#pragma once

#include "vec.cuh"

namespace stylegan_fast {
namespace cuda {

constexpr unsigned full_warp = 0xffffffffu;

// k sums side by side.
template <typename A, int k>
struct Sums {
  A value[k];
};

template <typename A, int k>
__device__ __forceinline__ Sums<A, k> combine(Sums<A, k> a, const Sums<A, k>& b) {
#pragma unroll
  for (int i = 0; i < k; ++i) a.value[i] += b.value[i];
  return a;
}

template <typename A, int k>
__device__ __forceinline__ Sums<A, k> shuffle_xor(Sums<A, k> v, int mask) {
#pragma unroll
  for (int i = 0; i < k; ++i) v.value[i] = __shfl_xor_sync(full_warp, v.value[i], mask);
  return v;
}

// Count, mean and sum of squared deviations from it. Merging keeps the digits that E[x^2] - E[x]^2 would cancel away
// (Chan, Golub, LeVeque 1979). Two equal means merge to exactly themselves.
template <typename A>
struct Moments {
  A count, mean, m2;
};

template <typename A>
__device__ __forceinline__ Moments<A> combine(const Moments<A>& a, const Moments<A>& b) {
  if (b.count == A(0)) return a;
  if (a.count == A(0)) return b;
  const A count = a.count + b.count, delta = b.mean - a.mean, share = b.count / count;
  return {count, a.mean + delta * share, a.m2 + b.m2 + delta * delta * a.count * share};
}

template <typename A>
__device__ __forceinline__ Moments<A> shuffle_xor(const Moments<A>& v, int mask) {
  return {__shfl_xor_sync(full_warp, v.count, mask), __shfl_xor_sync(full_warp, v.mean, mask),
          __shfl_xor_sync(full_warp, v.m2, mask)};
}

// Of the lanes with the same number modulo `columns`, a power of two: the first of them holds their combination; where
// combine(a, b) is combine(b, a) to the bit, as of Sums, each of them does.
template <typename V>
__device__ __forceinline__ V warp_reduce(V v, int columns = 1) {
#pragma unroll
  for (int mask = columns; mask < warp_size; mask *= 2) v = combine(v, shuffle_xor(v, mask));
  return v;
}

// Combines over the threads of a block that work on the same column: columns = 1 over all of them, columns = 32 over
// those with the same lane. Every thread returns its column's result. All threads of the block call it; a block has at
// most max_warps warps.
constexpr int max_warps = 8;

template <int columns, typename V>
__device__ __forceinline__ V block_reduce(V v) {
  static_assert(columns == 1 || columns == warp_size, "a column is the block or a lane");
  SHARED(V, slots, max_warps * columns);
  const int lane = int(threadIdx.x) % warp_size, warp = int(threadIdx.x) / warp_size;
  const int warps = int(blockDim.x) / warp_size, column = lane % columns;
  if (columns == 1) v = warp_reduce(v);
  if (lane < columns) slots[warp * columns + column] = v;
  __syncthreads();
  v = slots[column];
  for (int w = 1; w < warps; ++w) v = combine(v, V(slots[w * columns + column]));
  __syncthreads();  // the slots may be written again
  return v;
}

}  // namespace cuda
}  // namespace stylegan_fast
