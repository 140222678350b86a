// adain for channels_last, the tiers that hold a slab in registers: of a block, or in the forward (sm_90 and up) of a
// cluster of 8 blocks, whose partial sums meet in distributed shared memory.
#pragma once

#include "adain_slab_resident.cuh"

namespace stylegan_fast {
namespace cuda {

// A block, and the pixels of 4 channels that a thread holds: few, or as many as 255 registers allow. The forward keeps
// a register a value, the backward x and dy as they were read.
constexpr int slab_team_threads = 256, slab_cluster_blocks = 8;
constexpr int slab_few_packs = 4, slab_packs = 16;
template <typename T>
constexpr int slab_backward_packs = 128 / int(sizeof(T) * slab_width);
// Blocks of the forward that a multiprocessor is to hold, so that one computes while the other waits: on an H100 at 32x32 in
// 16 bits 20 us for 26, at 64x64 (cluster) 54 for 69. For sm_75 ptxas would spill.
#if defined(STYLEGAN_FAST_CLUSTERS)
constexpr int slab_team_blocks = 2;
#else
constexpr int slab_team_blocks = 1;
#endif

// Adds up over the threads of a block with the same channels: k sums for each lane of the slab, to totals[lane * k].
// The totals are there after the next barrier, and may be written again after the one after it.
template <typename A, int k>
__device__ __forceinline__ void sum_slab_over_block(Sums<A, k> v, int log_lanes, shared_pointer<A> totals) {
  SHARED(A, slots, slab_team_threads / warp_size * most_slab_lanes * k);
  const int lane = int(threadIdx.x) % warp_size, warp = int(threadIdx.x) / warp_size;
  const int warps = int(blockDim.x) / warp_size, lanes = 1 << log_lanes, columns = lanes * k;
  v = warp_reduce(v, lanes);
  if (lane < lanes) {
#pragma unroll
    for (int i = 0; i < k; ++i) slots[warp * columns + lane * k + i] = v.value[i];
  }
  __syncthreads();
  for (int column = int(threadIdx.x); column < columns; column += int(blockDim.x)) {
    A total = slots[column];
    for (int w = 1; w < warps; ++w) total += slots[w * columns + column];
    totals[column] = total;
  }
}

template <int k, typename A>
__device__ __forceinline__ Sums<A, k> slab_totals(shared_pointer<A> totals, int log_lanes) {
  Sums<A, k> v;
#pragma unroll
  for (int i = 0; i < k; ++i) v.value[i] = totals[(int(threadIdx.x) & ((1 << log_lanes) - 1)) * k + i];
  return v;
}

class SlabBlockTeam {
 public:
  __device__ __forceinline__ int thread() const { return int(threadIdx.x); }
  __device__ __forceinline__ unsigned first() const { return blockIdx.x; }
  __device__ __forceinline__ unsigned step() const { return gridDim.x; }
  __device__ __forceinline__ void finish() const {}

  template <typename A, int k>
  __device__ __forceinline__ Sums<A, k> sum(Sums<A, k> v, int log_lanes) {
    if (blockDim.x == warp_size) return warp_reduce(v, 1 << log_lanes);
    SHARED(A, totals, most_slab_lanes * k);
    sum_slab_over_block(v, log_lanes, totals);
    __syncthreads();
    return slab_totals<k, A>(totals, log_lanes);
  }
};

#if defined(STYLEGAN_FAST_CLUSTERS)
class SlabClusterTeam {
 public:
  __device__ __forceinline__ SlabClusterTeam() : rank_(int(cluster_rank())) {}
  __device__ __forceinline__ int thread() const { return rank_ * int(blockDim.x) + int(threadIdx.x); }
  __device__ __forceinline__ unsigned first() const { return blockIdx.x / slab_cluster_blocks; }
  __device__ __forceinline__ unsigned step() const { return gridDim.x / slab_cluster_blocks; }
  // A block's shared memory must outlive those who read it.
  __device__ __forceinline__ void finish() const { cluster_barrier(); }

  // The two halves of block_totals take turns: who writes one again has met everybody who read it at the other's
  // barrier.
  template <typename A, int k>
  __device__ __forceinline__ Sums<A, k> sum(Sums<A, k> v, int log_lanes) {
    constexpr int most = most_slab_lanes * k;
    SHARED(A, block_totals, 2 * most);
    SHARED(A, totals, most);
    turn_ ^= 1;
    sum_slab_over_block(v, log_lanes, block_totals + turn_ * most);
    cluster_barrier();
    for (int column = int(threadIdx.x); column < (k << log_lanes); column += int(blockDim.x)) {
      A total = of_block(block_totals, 0)[turn_ * most + column];
#pragma unroll
      for (unsigned rank = 1; rank < slab_cluster_blocks; ++rank)
        total += of_block(block_totals, rank)[turn_ * most + column];
      totals[column] = total;
    }
    __syncthreads();
    return slab_totals<k, A>(totals, log_lanes);
  }

 private:
  int rank_, turn_ = 0;
};
#endif

template <typename T, int packs>
__global__ void __launch_bounds__(slab_team_threads, packs == slab_few_packs ? 2 : slab_team_blocks)
    adain_slab_block(AdaINForward p, SlabGrid grid) {
  slab_resident_forward<T, packs>(p, grid, SlabBlockTeam());
}

template <typename T, int packs>
__global__ void __launch_bounds__(slab_team_threads, packs == slab_few_packs ? 2 : 1)
    adain_slab_block_backward(AdaINBackward p, SlabGrid grid) {
  slab_resident_backward<T, packs>(p, grid, SlabBlockTeam());
}

template <typename T>
__global__ void __launch_bounds__(slab_team_threads, slab_team_blocks) adain_slab_cluster(AdaINForward p, SlabGrid grid) {
#if defined(STYLEGAN_FAST_CLUSTERS)
  slab_resident_forward<T, slab_packs>(p, grid, SlabClusterTeam());
#endif
}

}  // namespace cuda
}  // namespace stylegan_fast
