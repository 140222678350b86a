// adain: the slices of a plane, merged. A block a plane, as many warps as there are slices for, because one thread that
// walked a thousand slices would take longer than the pixels did. In double: added one to the other in fp32, the slices
// would lose ten times what their pixels lost.
#pragma once

#include "adain_formulas.cuh"

namespace stylegan_fast {
namespace cuda {

constexpr int merge_threads = max_warps * warp_size;

template <typename A, typename M>
__device__ __forceinline__ void write_moments(const AdaINForward& p, int64_t plane, const Moments<M>& moments) {
  write_statistics(p, plane, A(moments.mean), A(rstd_of(p, moments.m2 / moments.count)));
}

// partials: [splits, N*C] Moments.
template <typename A>
__global__ void __launch_bounds__(merge_threads) adain_merge(AdaINForward p, int64_t splits, const void* partials) {
  const int64_t planes = p.op.n * p.op.c;
  for (int64_t plane = blockIdx.x; plane < planes; plane += gridDim.x) {
    Moments<double> total{0, 0, 0};
    for (int64_t split = threadIdx.x; split < splits; split += blockDim.x) {
      const Moments<A> slice = static_cast<const Moments<A>*>(partials)[split * planes + plane];
      total = combine(total, Moments<double>{slice.count, slice.mean, slice.m2});
    }
    total = block_reduce<1>(total);
    if (threadIdx.x == 0) write_moments<A>(p, plane, total);
  }
}

// Adds up the slices of [splits, N*C] partials.
template <typename A>
__global__ void __launch_bounds__(merge_threads)
    adain_merge_sums(PlaneSums partials, int64_t splits, int64_t planes, PlaneSums to) {
  for (int64_t plane = blockIdx.x; plane < planes; plane += gridDim.x) {
    Sums<double, 2> total{{0, 0}};
    for (int64_t split = threadIdx.x; split < splits; split += blockDim.x) {
      if (to.first) total.value[0] += static_cast<const A*>(partials.first)[split * planes + plane];
      if (to.second) total.value[1] += static_cast<const A*>(partials.second)[split * planes + plane];
    }
    total = block_reduce<1>(total);
    if (threadIdx.x == 0) write_sums(to, plane, A(total.value[0]), A(total.value[1]));
  }
}

}  // namespace cuda
}  // namespace stylegan_fast
