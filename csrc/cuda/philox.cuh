// philox_normal: one thread makes the four numbers of one counter, and stores them as 16 bytes where they lie so.
#pragma once

#include "../philox.h"
#include "vec.cuh"

namespace stylegan_fast {
namespace cuda {

constexpr int philox_threads = 256;

// Philox4x32-10 of the counter c, in place.
__device__ __forceinline__ void philox4x32(uint32_t (&c)[4], uint32_t key0, uint32_t key1) {
#pragma unroll
  for (int round = 0; round < philox_rounds; ++round) {
    const uint64_t of0 = uint64_t(philox_multiplier0) * c[0], of2 = uint64_t(philox_multiplier1) * c[2];
    c[0] = uint32_t(of2 >> 32) ^ c[1] ^ key0;
    c[2] = uint32_t(of0 >> 32) ^ c[3] ^ key1;
    c[1] = uint32_t(of2);
    c[3] = uint32_t(of0);
    key0 += philox_weyl0;
    key1 += philox_weyl1;
  }
}

__device__ __forceinline__ float unit_interval(uint32_t word) { return (float(word >> 9) + 0.5f) * 0x1p-23f; }

// Two words to two normal numbers (Box and Muller 1958). The angle is handed over in half turns, which are exact.
__device__ __forceinline__ void box_muller(uint32_t a, uint32_t b, float* two) {
  const float radius = sqrtf(-2.0f * logf(unit_interval(a)));
  float sine, cosine;
  sincospif(2.0f * unit_interval(b), &sine, &cosine);
  two[0] = radius * cosine;
  two[1] = radius * sine;
}

__global__ void __launch_bounds__(philox_threads) philox_normal_kernel(PhiloxNormal p, bool aligned) {
  const int64_t step = int64_t(gridDim.x) * blockDim.x;
  for (int64_t n = blockIdx.y; n < p.n; n += gridDim.y) {
    const uint64_t seed = uint64_t(p.seeds[n]);
    float* const y = p.y + n * p.size;
    for (int64_t q = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; 4 * q < p.size; q += step) {
      uint32_t words[4] = {uint32_t(q), uint32_t(uint64_t(q) >> 32), 0, 0};
      philox4x32(words, uint32_t(seed), uint32_t(seed >> 32));
      float numbers[4];
      box_muller(words[0], words[1], numbers);
      box_muller(words[2], words[3], numbers + 2);
      store(y + 4 * q, p.size - 4 * q, aligned, numbers);
    }
  }
}

}  // namespace cuda
}  // namespace stylegan_fast
