// adain, the warp tier: planes of up to 256 pixels (4x4 to 16x16), each shared by 4, 8, 16 or 32 lanes of one warp. No
// barrier, no shared memory.
#pragma once

#include "adain_resident.cuh"

namespace stylegan_fast {
namespace cuda {

constexpr int warp_tier_threads = 256;
// Values a lane holds: two 16-byte packs of fp32, one of 16 bits.
constexpr int warp_tier_values = 8;

class WarpTeam {
 public:
  // lanes: a power of two.
  __device__ __forceinline__ explicit WarpTeam(int lanes) : lanes_(lanes) {}
  __device__ __forceinline__ bool leads() const { return first_pack(1) == 0; }
  __device__ __forceinline__ int first_pack(int) const { return int(threadIdx.x) & (lanes_ - 1); }
  __device__ __forceinline__ int pack_step() const { return lanes_; }
  __device__ __forceinline__ unsigned first() const { return blockIdx.x * teams(); }
  __device__ __forceinline__ unsigned index() const { return threadIdx.x / unsigned(lanes_); }
  __device__ __forceinline__ unsigned step() const { return gridDim.x * teams(); }
  __device__ __forceinline__ void finish() const {}
  __device__ __forceinline__ int threads() const { return lanes_; }
  __device__ __forceinline__ void meet() const { __syncwarp(); }
  __device__ __forceinline__ void part() const { __syncwarp(); }

  template <typename A, int k>
  __device__ __forceinline__ Sums<A, k> sum(Sums<A, k> v) const {
    for (int mask = 1; mask < lanes_; mask *= 2) v = combine(v, shuffle_xor(v, mask));
    return v;
  }

 private:
  __device__ __forceinline__ unsigned teams() const { return blockDim.x / unsigned(lanes_); }
  int lanes_;
};

template <typename T, int width>
__global__ void __launch_bounds__(warp_tier_threads) adain_warp(AdaINForward p, int lanes) {
  resident_forward<T, width, warp_tier_values / width>(p, WarpTeam(lanes));
}

template <typename T, int width>
__global__ void __launch_bounds__(warp_tier_threads, 2) adain_warp_backward(AdaINBackward p, int lanes) {
  resident_backward<T, width, warp_tier_values / width>(p, WarpTeam(lanes));
}

}  // namespace cuda
}  // namespace stylegan_fast
