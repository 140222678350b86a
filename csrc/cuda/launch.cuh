// The machine, part 1: launching, shared memory, clusters, dtypes. Kernels touch the hardware only through this file,
// vec.cuh, reduce.cuh and CUDA's own barrier and shuffle words, so that tests/emulator can run every one of them on a
// CPU: there STYLEGAN_FAST_EMULATOR is defined and emulator.h supplies those words.
//
//   SHARED(T, name, n);                  a static array of the block; never a bare __shared__
//   DYNAMIC_SHARED(T, name, byte, n);    n elements from byte `byte` of the LaunchShape's shared_bytes
//   shared_pointer<T>                    the type of `name`
//   cluster_rank(), cluster_barrier(), of_block(pointer, rank)     where STYLEGAN_FAST_CLUSTERS is defined (sm_90)
//   compute_capability(), clusters_fit<kernel>(shape)              what the device can do, for the host to choose by
#pragma once

#include <atomic>
#include <type_traits>

#include "../api.h"
#include "../status.h"

#if defined(STYLEGAN_FAST_EMULATOR)
#include "emulator.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#endif

namespace stylegan_fast {
namespace cuda {

constexpr int warp_size = 32;

struct LaunchShape {
  dim3 blocks;
  int threads;               // a multiple of 32
  int64_t shared_bytes = 0;  // dynamic
  int cluster = 1;           // blocks along x that form one
};

constexpr int64_t max_grid_x = 0x7fffffff, max_grid_yz = 65535;

// As many blocks as there is work, or as a grid can have: every kernel walks its work in strides of the grid, along y
// and z too, where that spares it a 64-bit division (which is slow, a call, and makes ptxas spill around it).
inline LaunchShape shape_for(int threads, int64_t x, int64_t y = 1, int64_t z = 1) {
  return {dim3(unsigned(x < max_grid_x ? x : max_grid_x), unsigned(y < max_grid_yz ? y : max_grid_yz),
               unsigned(z < max_grid_yz ? z : max_grid_yz)),
          threads};
}

// Of dynamic shared memory: 48 KB less what kernels have beside it.
constexpr int64_t shared_bytes_without_asking = 40 << 10;
// Who needs more asks for this much, always: the limit belongs to the kernel, and another thread may launch it too.
constexpr int64_t most_shared_bytes = 64 << 10;

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Defined where a kernel's code may use clusters.
#if defined(STYLEGAN_FAST_EMULATOR) || (defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900)
#define STYLEGAN_FAST_CLUSTERS
#endif

#if defined(STYLEGAN_FAST_EMULATOR)

#define SHARED(T, name, n)                  \
  static const char name##_key = 0;         \
  const ::emulator::SharedPointer<T> name = ::emulator::shared<T>(&name##_key, #name, n)
#define DYNAMIC_SHARED(T, name, byte, n)    \
  static const char name##_key = 0;         \
  const ::emulator::SharedPointer<T> name = ::emulator::shared<T>(&name##_key, #name, n, byte)

template <typename T>
using shared_pointer = ::emulator::SharedPointer<T>;

inline unsigned cluster_rank() { return __clusterRelativeBlockRank(); }
#define cluster_barrier() __cluster_barrier()

template <typename T>
shared_pointer<T> of_block(shared_pointer<T> p, unsigned rank) {
  return p.of_block(rank);
}

inline int compute_capability() { return emulator::capability; }

template <auto kernel>
bool clusters_fit(const LaunchShape&) {
  return emulator::clusters_fit;
}

// Launches and reports a refusal under the name of the op. Arguments are converted to the kernel's parameters.
template <typename... Parameters, typename... Arguments>
Status launch(const char* op, void (*kernel)(Parameters...), const LaunchShape& shape, void*, Arguments... arguments) {
  const char* error = emulator::launch(kernel, {shape.blocks, dim3(unsigned(shape.threads)), unsigned(shape.cluster),
                                                size_t(shape.shared_bytes)}, arguments...);
  return error ? fail(Status::launch_failed, "%s: %s", op, error) : Status::ok;
}

#else

#define SHARED(T, name, n) __shared__ T name[n]
#define DYNAMIC_SHARED(T, name, byte, n)                                    \
  extern __shared__ __align__(16) unsigned char dynamic_shared_memory[];    \
  T* const name = reinterpret_cast<T*>(dynamic_shared_memory + (byte))

template <typename T>
using shared_pointer = T*;

#if defined(STYLEGAN_FAST_CLUSTERS)
__device__ __forceinline__ unsigned cluster_rank() { return __clusterRelativeBlockRank(); }
__device__ __forceinline__ void cluster_barrier() {
  __cluster_barrier_arrive();
  __cluster_barrier_wait();
}
template <typename T>
__device__ __forceinline__ T* of_block(T* p, unsigned rank) {
  return static_cast<T*>(__cluster_map_shared_rank(p, rank));
}
#endif

// Of the current device; 0 where the runtime cannot say.
inline int compute_capability() {
  int device = 0, major = 0, minor = 0;
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess ||
      cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  return 10 * major + minor;
}

// A launch as the runtime wants it described.
class LaunchConfig {
 public:
  LaunchConfig(const LaunchShape& shape, void* stream) {
    attribute_.id = cudaLaunchAttributeClusterDimension;
    attribute_.val.clusterDim.x = unsigned(shape.cluster);
    attribute_.val.clusterDim.y = attribute_.val.clusterDim.z = 1;
    config_.gridDim = shape.blocks;
    config_.blockDim = dim3(unsigned(shape.threads));
    config_.dynamicSmemBytes = size_t(shape.shared_bytes);
    config_.stream = static_cast<cudaStream_t>(stream);
    config_.attrs = &attribute_;
    config_.numAttrs = shape.cluster > 1 ? 1 : 0;
  }
  LaunchConfig(const LaunchConfig&) = delete;
  LaunchConfig& operator=(const LaunchConfig&) = delete;
  const cudaLaunchConfig_t* get() const { return &config_; }

 private:
  cudaLaunchAttribute attribute_{};
  cudaLaunchConfig_t config_{};
};

// Whether the current device can hold a cluster of this launch, and the kernel was compiled for one: PTX of an older
// architecture, translated for this device, has no code for clusters in it. Each kernel and device is asked once, because
// the driver takes microseconds to answer: always ask with the same shape.
template <auto kernel>
bool clusters_fit(const LaunchShape& shape) {
  static std::atomic<signed char> answers[64];  // 0: not yet asked
  int device = 0, count = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return cudaGetLastError(), false;
  std::atomic<signed char>& answer = answers[device % 64];
  if (answer == 0) {
    const LaunchConfig config(shape, nullptr);
    cudaFuncAttributes code{};
    const bool fit = cudaFuncGetAttributes(&code, kernel) == cudaSuccess && code.ptxVersion >= 90 &&
                     cudaOccupancyMaxActiveClusters(&count, kernel, config.get()) == cudaSuccess && count > 0;
    if (!fit) cudaGetLastError();
    answer = fit ? 1 : -1;
  }
  return answer > 0;
}

template <typename... Parameters, typename... Arguments>
Status launch(const char* op, void (*kernel)(Parameters...), const LaunchShape& shape, void* stream,
              Arguments... arguments) {
  cudaError_t error = cudaSuccess;
  if (shape.shared_bytes > shared_bytes_without_asking)
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(most_shared_bytes));
  if (error == cudaSuccess) {
    const LaunchConfig config(shape, stream);
    error = cudaLaunchKernelEx(config.get(), kernel, static_cast<Parameters>(arguments)...);
  }
  if (error == cudaSuccess) return Status::ok;
  cudaGetLastError();  // ours to report: the next caller must not find it
  return fail(Status::launch_failed, "%s: %s", op, cudaGetErrorString(error));
}

#endif

// Calls f(T{}) with the element type of `dtype`.
template <typename F>
Status with_dtype(const char* op, DType dtype, F f) {
  switch (dtype) {
    case DType::f32: return f(float{});
    case DType::f64: return f(double{});
    case DType::f16: return f(__half{});
    case DType::bf16: return f(__nv_bfloat16{});
  }
  return fail(Status::invalid_argument, "%s: unknown dtype %d", op, int(dtype));
}

}  // namespace cuda
}  // namespace stylegan_fast
