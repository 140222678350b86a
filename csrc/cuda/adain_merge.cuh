// adain: the slices of planes, merged. A block takes 8 neighbouring planes, whose parts lie side by side: a sector of
// the cache. As many threads as there are slices for, because one that walked a thousand of them would take longer than
// the pixels did. In double: added one to the other in fp32, the slices would lose ten times what their pixels lost.
#pragma once

#include "adain_formulas.cuh"

namespace stylegan_fast {
namespace cuda {

constexpr int merge_planes = 8, merge_threads = 512;

// Sums over the block's threads of the same plane, the same bits in each of them. All threads of the block call it.
template <int k>
__device__ __forceinline__ Sums<double, k> sum_over_slices(Sums<double, k> v) {
  using S = Sums<double, k>;
  SHARED(S, slots, merge_threads / warp_size * merge_planes);
  const int lane = int(threadIdx.x) % warp_size, warp = int(threadIdx.x) / warp_size;
  v = warp_reduce(v, merge_planes);
  if (lane < merge_planes) slots[warp * merge_planes + lane] = v;
  __syncthreads();
  v = S{};
  for (int slot = lane; slot < int(blockDim.x) / warp_size * merge_planes; slot += warp_size)
    v = combine(v, S(slots[slot]));
  __syncthreads();  // the slots may be written again
  return warp_reduce(v, merge_planes);
}

// f(part of its plane in the next slice) for each of the thread's slices of [splits, N*C] parts.
template <typename F>
__device__ __forceinline__ void for_slices(int64_t plane, int64_t planes, int64_t splits, F f) {
  for (int64_t split = threadIdx.x / merge_planes; split < splits; split += blockDim.x / merge_planes)
    f(split * planes + plane);
}

// f(plane, whether this thread writes its result), block by block.
template <typename F>
__device__ __forceinline__ void for_merged_planes(int64_t planes, F f) {
  for (int64_t first = int64_t(blockIdx.x) * merge_planes; first < planes; first += int64_t(gridDim.x) * merge_planes) {
    const int64_t plane = first + threadIdx.x % merge_planes;
    const bool live = plane < planes;
    f(live ? plane : planes - 1, live && threadIdx.x < merge_planes);
  }
}

template <typename A, typename M>
__device__ __forceinline__ void write_moments(const AdaINForward& p, int64_t plane, const Moments<M>& moments) {
  write_statistics(p, plane, A(moments.mean), A(rstd_of(p, moments.m2 / moments.count)));
}

// partials: [splits, N*C] Moments. First their mean, then the deviations from it: no division but that one.
template <typename A>
__global__ void __launch_bounds__(merge_threads) adain_merge(AdaINForward p, int64_t splits, const void* partials) {
  const int64_t planes = p.op.n * p.op.c;
  const Moments<A>* const slices = static_cast<const Moments<A>*>(partials);
  for_merged_planes(planes, [&](int64_t plane, bool writes) {
    Sums<double, 2> sums{{0, 0}};  // of counts, and of means times counts
    for_slices(plane, planes, splits, [&](int64_t i) {
      const Moments<A> slice = slices[i];
      sums.value[0] += slice.count;
      sums.value[1] += double(slice.count) * slice.mean;
    });
    sums = sum_over_slices(sums);
    const double count = sums.value[0], mean = sums.value[1] / count;
    Sums<double, 1> m2{{0}};
    for_slices(plane, planes, splits, [&](int64_t i) {
      const Moments<A> slice = slices[i];
      m2.value[0] += slice.m2 + slice.count * (slice.mean - mean) * (slice.mean - mean);
    });
    m2 = sum_over_slices(m2);
    if (writes) write_moments<A>(p, plane, Moments<double>{count, mean, m2.value[0]});
  });
}

// Adds up the slices of [splits, N*C] partials.
template <typename A>
__global__ void __launch_bounds__(merge_threads)
    adain_merge_sums(PlaneSums partials, int64_t splits, int64_t planes, PlaneSums to) {
  for_merged_planes(planes, [&](int64_t plane, bool writes) {
    Sums<double, 2> total{{0, 0}};
    for_slices(plane, planes, splits, [&](int64_t i) {
      if (to.first) total.value[0] += static_cast<const A*>(partials.first)[i];
      if (to.second) total.value[1] += static_cast<const A*>(partials.second)[i];
    });
    total = sum_over_slices(total);
    if (writes) write_sums(to, plane, A(total.value[0]), A(total.value[1]));
  });
}

}  // namespace cuda
}  // namespace stylegan_fast
