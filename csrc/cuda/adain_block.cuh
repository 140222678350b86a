// adain, the block tier: planes of up to 16384 pixels (32x32 to 128x128), each held by one block.
#pragma once

#include "adain_resident_backward.cuh"

namespace stylegan_fast {
namespace cuda {

// The largest block and the values a thread holds. Together they fill a multiprocessor's registers: the forward takes
// one register a value and 64 in all, the backward two a value and 128.
constexpr int block_tier_threads = 1024, block_tier_values = 16;
constexpr int block_tier_backward_threads = 512, block_tier_backward_values = 32;

// Sums over a block of up to 32 warps at the cost of one barrier. Its two halves of shared memory take turns: who
// writes one again has met everybody who read it at the other's barrier.
template <typename A, int k>
__device__ __forceinline__ Sums<A, k> sum_over_block(Sums<A, k> v, int turn) {
  using S = Sums<A, k>;
  SHARED(S, warp_sums, 2 * warp_size);
  const int lane = int(threadIdx.x) % warp_size, warp = int(threadIdx.x) / warp_size;
  const int warps = int(blockDim.x) / warp_size;
  v = warp_reduce(v);
  if (lane == 0) warp_sums[turn * warp_size + warp] = v;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < k; ++i) v.value[i] = A(0);
  if (lane < warps) v = warp_sums[turn * warp_size + lane];
  return warp_reduce(v);
}

class BlockTeam {
 public:
  __device__ __forceinline__ bool leads() const { return threadIdx.x == 0; }
  __device__ __forceinline__ int first_pack(int chunks) const {
    return int(threadIdx.x) / warp_size * (warp_size * chunks) + int(threadIdx.x) % warp_size;
  }
  __device__ __forceinline__ int pack_step() const { return warp_size; }
  __device__ __forceinline__ unsigned first() const { return blockIdx.x; }
  __device__ __forceinline__ unsigned index() const { return 0; }
  __device__ __forceinline__ unsigned step() const { return gridDim.x; }
  __device__ __forceinline__ void finish() const {}
  __device__ __forceinline__ int threads() const { return int(blockDim.x); }
  __device__ __forceinline__ void meet() const { __syncthreads(); }
  __device__ __forceinline__ void part() const {}

  template <typename A, int k>
  __device__ __forceinline__ Sums<A, k> sum(Sums<A, k> v) {
    turn_ ^= 1;
    return sum_over_block(v, turn_);
  }

 private:
  int turn_ = 0;
};

template <typename T, int width>
__global__ void __launch_bounds__(block_tier_threads) adain_block(AdaINForward p, PlaneGrid grid) {
  resident_forward<T, width, block_tier_values / width>(p, grid, BlockTeam());
}

template <typename T, int width>
__global__ void __launch_bounds__(block_tier_backward_threads, 1)
    adain_block_backward(AdaINBackward p, PlaneGrid grid) {
  resident_backward<T, width, block_tier_backward_values / width>(p, grid, BlockTeam());
}

}  // namespace cuda
}  // namespace stylegan_fast
