// Planes of up to 65536 pixels (256x256), each held by the registers of a cluster of 8 blocks (sm_90 and up), whose
// partial sums meet in distributed shared memory: who shares them. What runs so are the kernels of
// adain_reading_resident.cuh, for which two passes would cost more.
#pragma once

#include "adain_block.cuh"

namespace stylegan_fast {
namespace cuda {

constexpr int cluster_tier_blocks = 8;  // the largest cluster every sm_90 device takes
// Blocks half as large as the block tier's largest, so that two share a multiprocessor: one loads while one computes.
constexpr int cluster_tier_threads = 512, cluster_tier_values = 16;
constexpr int cluster_tier_backward_threads = 256, cluster_tier_backward_values = 32;

#if defined(STYLEGAN_FAST_CLUSTERS)
class ClusterTeam {
 public:
  __device__ __forceinline__ ClusterTeam() : rank_(cluster_rank()) {}
  __device__ __forceinline__ bool leads() const { return rank_ == 0 && threadIdx.x == 0; }
  __device__ __forceinline__ int first_pack(int chunks) const {
    return int(rank_ * blockDim.x) * chunks + BlockTeam().first_pack(chunks);
  }
  __device__ __forceinline__ int pack_step() const { return warp_size; }
  __device__ __forceinline__ unsigned first() const { return blockIdx.x / cluster_tier_blocks; }
  __device__ __forceinline__ unsigned index() const { return 0; }
  __device__ __forceinline__ unsigned step() const { return gridDim.x / cluster_tier_blocks; }
  // A block's shared memory must outlive those who read it.
  __device__ __forceinline__ void finish() const { cluster_barrier(); }
  __device__ __forceinline__ int threads() const { return int(blockDim.x) * cluster_tier_blocks; }
  __device__ __forceinline__ void meet() const { cluster_barrier(); }
  __device__ __forceinline__ void part() const {}

  template <typename A, int k>
  __device__ __forceinline__ Sums<A, k> sum(Sums<A, k> v) {
    using S = Sums<A, k>;
    SHARED(S, block_sums, 2);
    turn_ ^= 1;
    v = sum_over_block(v, turn_);
    if (threadIdx.x == 0) block_sums[turn_] = v;
    cluster_barrier();
    v = of_block(block_sums, 0)[turn_];
#pragma unroll
    for (unsigned rank = 1; rank < cluster_tier_blocks; ++rank) v = combine(v, S(of_block(block_sums, rank)[turn_]));
    return v;
  }

 private:
  unsigned rank_;
  int turn_ = 0;
};
#endif

}  // namespace cuda
}  // namespace stylegan_fast
