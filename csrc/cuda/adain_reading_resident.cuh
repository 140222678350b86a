// adain's warp, block and cluster tiers where they read through phases and blur. A thread reads the three rows it needs
// for a pack and keeps v in registers, as the tiers keep x.
//
// Only with 16-byte accesses to y, dy and the noise, and to x and dx where they are no phases, and with rows that are
// whole packs.
#pragma once

#include "adain_cluster.cuh"
#include "adain_reading.cuh"
#include "adain_warp.cuh"

namespace stylegan_fast {
namespace cuda {

// Divides a pixel's number by the width of a plane of up to 2^16 pixels.
struct RowOf {
  unsigned reciprocal;  // 2^32 / width + 1; no width is below 4
  __device__ __forceinline__ int operator()(int pixel) const {
    return int(uint64_t(unsigned(pixel)) * reciprocal >> 32);
  }
};

// The same number, as if it were another in every round of a loop: else what follows from it, all places of all packs,
// is computed ahead of the loop over planes and spilled.
__device__ __forceinline__ int anew(int v) {
  asm volatile("" : "+r"(v));
  return v;
}

// A plane that is read so; width pixels at a time.
template <typename T, int width, bool phases>
class PlaneThrough {
 public:
  using V = Pack<float, width>;

  __device__ __forceinline__ PlaneThrough(const RowOf& row_of, const AdaIN& op, unsigned plane)
      : row_of_{unsigned(anew(int(row_of.reciprocal)))}, h_(int(op.h)), w_(anew(int(op.w))), blur_(op.blur),
        x_(static_cast<const T*>(op.x)) {
    pitch_ = phases ? w_ / 2 + 1 : w_;
    const int64_t pixels = (phases ? h_ / 2 + 1 : h_) * pitch_;
    const unsigned channels = unsigned(op.c), n = plane / channels;
    odd_ = channels * pixels;
    base_ = plane * pixels + (phases ? 3 * n * odd_ : 0);
  }

  __device__ __forceinline__ float first() const {
    const bool below = h_ > 1;
    if (!blur_) return pixel(0, 0);
    return blurred(0.0f, blur_of(0.0f, pixel(0, 0), pixel(0, 1)),
                   below ? blur_of(0.0f, pixel(1, 0), pixel(1, 1)) : 0.0f);
  }

  __device__ __forceinline__ V fetch(int pixel) const {
    const int i = row_of_(pixel), j = pixel - i * w_;
    V v;
    if (phases && !blur_) {
      float u[width + 2];
      read_row(i, j, u);
#pragma unroll
      for (int k = 0; k < width; ++k) v.element[k] = u[k + 1];
      return v;
    }
    float above[width], here[width], below[width];
    row_sums(i - 1, j, above);
    row_sums(i, j, here);
    row_sums(i + 1, j, below);
#pragma unroll
    for (int k = 0; k < width; ++k) v.element[k] = blurred(above[k], here[k], below[k]);
    return v;
  }

  __device__ __forceinline__ float value(const V& fetched, int i) const { return fetched[i]; }

 protected:
  // As Reader::row(i) + Reader::pixel(j).
  __device__ __forceinline__ int64_t row(int i) const {
    return phases ? base_ + ((i & 1) ? 2 * odd_ : 0) + ((i + 1) >> 1) * pitch_ : base_ + i * pitch_;
  }
  __device__ __forceinline__ int64_t at(int i, int j) const {
    return phases ? row(i) + ((j & 1) ? odd_ : 0) + ((j + 1) >> 1) : row(i) + j;
  }
  __device__ __forceinline__ float pixel(int i, int j) const { return to_acc(x_[at(i, j)]); }

  // u[k] = pixel j - 1 + k of a row in the image.
  __device__ __forceinline__ void read_row(int i, int j, float* u) const {
    const bool has_left = j > 0, has_right = j + width < w_;
    if (phases) {
      const T *const even = x_ + row(i) + j / 2, *const odd = even + odd_;
      u[0] = has_left ? to_acc(odd[0]) : 0.0f;
#pragma unroll
      for (int k = 0; k < width / 2; ++k) {
        u[1 + 2 * k] = to_acc(even[k]);
        u[2 + 2 * k] = to_acc(odd[k + 1]);
      }
      u[width + 1] = has_right ? to_acc(even[width / 2]) : 0.0f;
    } else {
      const T* const from = x_ + row(i) + j;
      const Pack<T, width> pack = *reinterpret_cast<const Pack<T, width>*>(from);
      u[0] = has_left ? to_acc(from[-1]) : 0.0f;
#pragma unroll
      for (int k = 0; k < width; ++k) u[1 + k] = pack[k];
      u[width + 1] = has_right ? to_acc(from[width]) : 0.0f;
    }
  }

  __device__ __forceinline__ void row_sums(int i, int j, float* sums) const {
#pragma unroll
    for (int k = 0; k < width; ++k) sums[k] = 0.0f;
    if (i < 0 || i >= h_) return;
    float u[width + 2];
    read_row(i, j, u);
#pragma unroll
    for (int k = 0; k < width; ++k) sums[k] = blur_of(u[k], u[k + 1], u[k + 2]);
  }

  const RowOf row_of_;
  const int h_, w_;
  const bool blur_;
  int64_t odd_;

 private:
  const T* const x_;
  int64_t base_;
  int pitch_;
};

template <typename T, int width, bool phases>
struct ForwardThrough {
  using V = Pack<float, width>;
  static constexpr bool ahead = false;  // three rows' loads are enough to wait for
  RowOf row_of;
  struct Plane : PlaneThrough<T, width, phases> {
    template <typename Team>
    __device__ __forceinline__ Plane(const ForwardThrough& way, const AdaIN& op, void*, unsigned plane, bool,
                                     const Team&)
        : PlaneThrough<T, width, phases>(way.row_of, op, plane) {}
  };
};

template <typename T, bool phases>
__global__ void __launch_bounds__(warp_tier_threads)
    adain_reading_warp(AdaINForward p, PlaneGrid grid, int log_lanes, RowOf row_of) {
  constexpr int width = Vec<T>::size;
  resident_forward<T, width, warp_tier_values / width>(p, grid, WarpTeam(log_lanes),
                                                       ForwardThrough<T, width, phases>{row_of});
}

template <typename T, bool phases>
__global__ void __launch_bounds__(block_tier_threads)
    adain_reading_block(AdaINForward p, PlaneGrid grid, RowOf row_of) {
  constexpr int width = Vec<T>::size;
  resident_forward<T, width, block_tier_values / width>(p, grid, BlockTeam(),
                                                        ForwardThrough<T, width, phases>{row_of});
}

template <typename T, bool phases>
__global__ void __launch_bounds__(cluster_tier_threads, 2)
    adain_reading_cluster(AdaINForward p, PlaneGrid grid, RowOf row_of) {
#if defined(STYLEGAN_FAST_CLUSTERS)
  constexpr int width = Vec<T>::size;
  resident_forward<T, width, cluster_tier_values / width>(p, grid, ClusterTeam(),
                                                          ForwardThrough<T, width, phases>{row_of});
#endif
}

}  // namespace cuda
}  // namespace stylegan_fast
