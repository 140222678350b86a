// adain, the warp tier: planes of up to 256 pixels (4x4 to 16x16), each shared by 4, 8, 16 or 32 lanes of one warp. No
// barrier, no shared memory.
#pragma once

#include "adain_resident_backward.cuh"

namespace stylegan_fast {
namespace cuda {

constexpr int warp_tier_threads = 256;
// Values a lane holds: two 16-byte packs of fp32, one of 16 bits.
constexpr int warp_tier_values = 8;
constexpr int fewest_lanes = 4;

class WarpTeam {
 public:
  __device__ __forceinline__ explicit WarpTeam(int log_lanes) : lanes_(1 << log_lanes), log_lanes_(log_lanes) {}
  __device__ __forceinline__ bool leads() const { return first_pack(1) == 0; }
  __device__ __forceinline__ int first_pack(int) const { return int(threadIdx.x) & (lanes_ - 1); }
  __device__ __forceinline__ int pack_step() const { return lanes_; }
  __device__ __forceinline__ unsigned first() const { return blockIdx.x * teams(); }
  __device__ __forceinline__ unsigned index() const { return threadIdx.x >> log_lanes_; }
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
  __device__ __forceinline__ unsigned teams() const { return blockDim.x >> log_lanes_; }
  int lanes_, log_lanes_;
};

template <typename T, int width>
__global__ void __launch_bounds__(warp_tier_threads) adain_warp(AdaINForward p, PlaneGrid grid, int log_lanes) {
  resident_forward<T, width, warp_tier_values / width>(p, grid, WarpTeam(log_lanes));
}

template <typename T, int width>
__global__ void __launch_bounds__(warp_tier_threads, 2)
    adain_warp_backward(AdaINBackward p, PlaneGrid grid, int log_lanes) {
  resident_backward<T, width, warp_tier_values / width>(p, grid, WarpTeam(log_lanes));
}

// The backward where a block has 2^log_channels channels of all samples, and so adds up dbias and dnoise_strength
// itself: a kernel that did no more than that would take as long as the planes of 4x4. Its teams take the channels of a
// sample side by side, then the next sample's. In double, as adain_merge_sums.
template <typename T, int width>
__global__ void __launch_bounds__(warp_tier_threads, 2)
    adain_warp_backward_of_channels(AdaINBackward p, PlaneGrid grid, int log_lanes, int log_channels) {
  using A = acc_t<T>;
  using Totals = Sums<A, 2>;
  SHARED(Totals, parts, warp_tier_threads / fewest_lanes);
  WarpTeam team(log_lanes);
  const unsigned channels = grid.channels.value(), samples = unsigned(p.op.n), together = 1u << log_channels;
  const unsigned teams = blockDim.x >> log_lanes, samples_at_once = teams >> log_channels;
  const unsigned first_sample = team.index() >> log_channels, warp = threadIdx.x / warp_size;
  for (unsigned first = blockIdx.x * together; first < channels; first += gridDim.x * together) {
    const unsigned c = first + (team.index() & (together - 1));
    Totals totals{{A(0), A(0)}};
    for (unsigned round = 0; round < samples; round += samples_at_once) {
      const unsigned n = round + first_sample;
      const bool live = c < channels && n < samples;
      const Totals more = backward_of_plane<T, width, warp_tier_values / width>(
          p, grid, team, AsItLies<T, width>{}, live ? n : 0, live ? c : 0, live);
      if (live) totals = combine(totals, more);
    }
    totals = team.sum(totals);
    if (team.leads()) parts[team.index()] = totals;
    __syncthreads();
    for (unsigned which = warp; which < together; which += blockDim.x / warp_size) {
      Sums<double, 2> sums{{0, 0}};
      for (unsigned n = threadIdx.x % warp_size; n < samples_at_once; n += warp_size) {
        const Totals part = parts[n << log_channels | which];
        sums = combine(sums, Sums<double, 2>{{part.value[0], part.value[1]}});
      }
      sums = warp_reduce(sums);
      if (threadIdx.x % warp_size == 0 && first + which < channels)
        write_sums({p.dbias, p.dnoise_strength}, first + which, A(sums.value[0]), A(sums.value[1]));
    }
    __syncthreads();  // the parts may be written again
  }
}

}  // namespace cuda
}  // namespace stylegan_fast
