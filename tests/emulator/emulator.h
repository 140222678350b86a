// CUDA's words for g++, so that csrc/cuda compiles as plain C++ and runs on the CPU under the address and
// undefined-behaviour sanitizers. Included by csrc/cuda/launch.cuh where STYLEGAN_FAST_EMULATOR is defined.
//
// machine.h         fibers, barriers, schedules: how a grid runs
// shared_memory.h   shared arrays that report races, uninitialised reads and wild indices
// half.h            fp16 and bf16
// planted_faults.cpp and test_planted_faults.py prove that what should be caught is caught.
//
// Not modelled: memory ordering within global memory between blocks, launch bounds, registers, banks, speed.
#pragma once

#include <math.h>  // not <cmath>: the kernels call exp, sqrt ... unqualified and must get the float overloads

#include <cstdint>
#include <cstring>

#include "half.h"
#include "machine.h"
#include "shared_memory.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

#define threadIdx (::emulator::current->index)
#define blockIdx (::emulator::current->block->index)
#define blockDim (::emulator::cluster->shape.block)
#define gridDim (::emulator::cluster->shape.grid)

namespace emulator {

template <typename T>
SharedPointer<T> shared(const void* key, const char* name, size_t count, int64_t offset = -1) {
  return {&shared_array(*current->block, key, name, sizeof(T), count, offset), 0};
}

template <typename T>
T exchange(Collective kind, unsigned mask, T value, int parameter, int width, Site site) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "warps exchange 4 or 8 bytes");
  WarpRequest request{kind, mask, parameter, width, 0, 0};
  std::memcpy(&request.value, &value, sizeof value);
  const uint64_t bits = collective(request, site);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Returns null, or the CUDA runtime's refusal.
template <typename... Parameters, typename... Arguments>
const char* launch(void (*kernel)(Parameters...), const LaunchShape& shape, const Arguments&... arguments) {
  if (const char* error = refused(shape, (sizeof(Parameters) + ... + 0))) return error;
  run(shape, [&] { kernel(arguments...); });
  return nullptr;
}

}  // namespace emulator

#define EMULATOR_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

// Sine and cosine of x half turns, which the CUDA library has and C has not.
inline void sincospif(float x, float* sine, float* cosine) {
  constexpr double half_turn = 3.14159265358979323846;
  *sine = float(sin(half_turn * x));
  *cosine = float(cos(half_turn * x));
}

inline void __syncthreads(EMULATOR_SITE) { emulator::wait(emulator::State::at_block, {file, line}); }

inline void __syncwarp(unsigned mask = 0xffffffffu, EMULATOR_SITE) {
  emulator::exchange(emulator::Collective::barrier, mask, 0, 0, emulator::warp_size, {file, line});
}

template <typename T>
T __shfl_sync(unsigned mask, T value, int lane, int width = emulator::warp_size, EMULATOR_SITE) {
  return emulator::exchange(emulator::Collective::shuffle, mask, value, lane, width, {file, line});
}

template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = emulator::warp_size, EMULATOR_SITE) {
  return emulator::exchange(emulator::Collective::shuffle_up, mask, value, int(delta), width, {file, line});
}

template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = emulator::warp_size, EMULATOR_SITE) {
  return emulator::exchange(emulator::Collective::shuffle_down, mask, value, int(delta), width, {file, line});
}

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = emulator::warp_size, EMULATOR_SITE) {
  return emulator::exchange(emulator::Collective::shuffle_xor, mask, value, lane_mask, width, {file, line});
}

inline unsigned __ballot_sync(unsigned mask, int predicate, EMULATOR_SITE) {
  return emulator::exchange(emulator::Collective::ballot, mask, unsigned(predicate != 0), 0, emulator::warp_size,
                            {file, line});
}

inline int __any_sync(unsigned mask, int predicate, EMULATOR_SITE) {
  return __ballot_sync(mask, predicate, file, line) != 0;
}

inline int __all_sync(unsigned mask, int predicate, EMULATOR_SITE) {
  return __ballot_sync(mask, predicate, file, line) == mask;
}

inline unsigned __clusterRelativeBlockRank() { return emulator::current->block->rank; }
inline unsigned __clusterSizeInBlocks() { return unsigned(emulator::cluster->blocks.size()); }
inline void __cluster_barrier(EMULATOR_SITE) { emulator::wait(emulator::State::at_cluster, {file, line}); }
