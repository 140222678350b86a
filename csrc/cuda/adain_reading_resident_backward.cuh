// The backward of adain's warp, block and cluster tiers where they read through phases and blur: dt of the whole plane
// goes to shared memory, that of the block or of the cluster's blocks, and from there, blurred, to dx.
#pragma once

#include "adain_reading_resident.cuh"

namespace stylegan_fast {
namespace cuda {

using Quad = Pack<float, 4>;

// Where dt of a plane lies, in quads: in the block's shared memory.
struct OwnQuads {
  shared_pointer<Quad> quads;
  __device__ __forceinline__ Quad read(int i) const { return quads[i]; }
  __device__ __forceinline__ void write(int i, const Quad& quad) const { quads[i] = quad; }
};

#if defined(STYLEGAN_FAST_CLUSTERS)
// Each block has those of its threads' packs. Written are only the block's own.
class ClusterQuads {
 public:
  __device__ __forceinline__ ClusterQuads(shared_pointer<Quad> quads, int of_each_block)
      : quads_(quads), of_each_(of_each_block), reciprocal_(0xffffffffu / unsigned(of_each_block) + 1),
        own_first_(int(cluster_rank()) * of_each_block) {}
  __device__ __forceinline__ Quad read(int i) const {
    const unsigned rank = unsigned(uint64_t(unsigned(i)) * reciprocal_ >> 32);
    return of_block(quads_, rank)[i - int(rank) * of_each_];
  }
  __device__ __forceinline__ void write(int i, const Quad& quad) const { quads_[i - own_first_] = quad; }

 private:
  const shared_pointer<Quad> quads_;
  const int of_each_;
  const unsigned reciprocal_;
  const int own_first_;
};
#endif

template <typename T, int width, bool phases, typename Quads>
struct BackwardThrough {
  using V = Pack<float, width>;
  static constexpr bool ahead = false;
  RowOf row_of;
  Quads dt;

  class Plane : public PlaneThrough<T, width, phases> {
    using Base = PlaneThrough<T, width, phases>;
    using Base::h_, Base::w_, Base::blur_, Base::row_of_;

   public:
    template <typename Team>
    __device__ __forceinline__ Plane(const BackwardThrough& way, const AdaIN& op, void* dx, unsigned plane, bool live,
                                     const Team&)
        : Base(way.row_of, op, plane), dt_(way.dt), dx_(live ? static_cast<T*>(dx) : nullptr) {}

    __device__ __forceinline__ void put(int pixel, const float* dt) const {
#pragma unroll
      for (int first = 0; first < width; first += 4) {
        Quad quad;
#pragma unroll
        for (int i = 0; i < 4; ++i) quad.element[i] = dt[first + i];
        dt_.write((pixel + first) / 4, quad);
      }
    }

    template <typename Team>
    __device__ __forceinline__ void flush(const Team& team) const {
      team.meet();
      if (dx_) {
        // No longer the packs it put: rows that neighbouring lanes read lie in neighbouring banks either way.
        for (int pixel = team.first_pack(1) * width; pixel < h_ * w_; pixel += team.threads() * width) write(pixel);
        if (phases) {
          for (int i = team.first_pack(1); i < h_; i += team.threads()) {
            dx_[Base::at(i, -1)] = from_acc<T>(0);
            dx_[Base::at(i, w_)] = from_acc<T>(0);
          }
          for (int j = team.first_pack(1) - 1; j <= w_; j += team.threads()) {
            dx_[Base::at(-1, j)] = from_acc<T>(0);
            dx_[Base::at(h_, j)] = from_acc<T>(0);
          }
        }
      }
      team.part();
    }

   private:
    // The same of dt.
    __device__ __forceinline__ void dt_sums(int i, int j, float* sums) const {
#pragma unroll
      for (int k = 0; k < width; ++k) sums[k] = 0.0f;
      if (i < 0 || i >= h_) return;
      const int first = (i * w_ + j) / 4;
      float u[width + 2];
      u[0] = j > 0 ? dt_.read(first - 1)[3] : 0.0f;
      read_dt(first, u + 1);
      u[width + 1] = j + width < w_ ? dt_.read(first + width / 4)[0] : 0.0f;
#pragma unroll
      for (int k = 0; k < width; ++k) sums[k] = blur_of(u[k], u[k + 1], u[k + 2]);
    }

    __device__ __forceinline__ void read_dt(int first, float* values) const {
#pragma unroll
      for (int quad = 0; quad < width / 4; ++quad) {
        const Quad read = dt_.read(first + quad);
#pragma unroll
        for (int k = 0; k < 4; ++k) values[4 * quad + k] = read[k];
      }
    }

    __device__ __forceinline__ void write(int pixel) const {
      const int i = row_of_(pixel), j = pixel - i * w_;
      float du[width];
      if (phases && !blur_) {
        read_dt(pixel / 4, du);
      } else {
        float above[width], here[width], below[width];
        dt_sums(i - 1, j, above);
        dt_sums(i, j, here);
        dt_sums(i + 1, j, below);
#pragma unroll
        for (int k = 0; k < width; ++k) du[k] = blurred(above[k], here[k], below[k]);
      }
      if (phases) {
        T *const even = dx_ + Base::row(i) + j / 2, *const odd = even + Base::odd_;
#pragma unroll
        for (int k = 0; k < width / 2; ++k) {
          even[k] = from_acc<T>(du[2 * k]);
          odd[k + 1] = from_acc<T>(du[2 * k + 1]);
        }
      } else {
        *reinterpret_cast<Pack<T, width>*>(dx_ + Base::row(i) + j) = Pack<T, width>::of(du);
      }
    }

    const Quads dt_;
    T* const dx_;
  };
};

template <typename T, bool phases>
__global__ void __launch_bounds__(warp_tier_threads, 2)
    adain_reading_warp_backward(AdaINBackward p, PlaneGrid grid, int log_lanes, RowOf row_of) {
  constexpr int width = Vec<T>::size;
  SHARED(Quad, dt, warp_tier_threads * warp_tier_values / 4);
  const WarpTeam team(log_lanes);
  const OwnQuads own{dt + int(team.index()) * (team.threads() * warp_tier_values / 4)};
  resident_backward<T, width, warp_tier_values / width>(p, grid, team,
                                                        BackwardThrough<T, width, phases, OwnQuads>{row_of, own});
}

// With 4 bytes of dynamic shared memory a pixel.
template <typename T, bool phases>
__global__ void __launch_bounds__(block_tier_backward_threads, 1)
    adain_reading_block_backward(AdaINBackward p, PlaneGrid grid, RowOf row_of) {
  constexpr int width = Vec<T>::size;
  DYNAMIC_SHARED(Quad, dt, 0, int(p.op.h * p.op.w) / 4);
  const OwnQuads own{dt};
  resident_backward<T, width, block_tier_backward_values / width>(
      p, grid, BlockTeam(), BackwardThrough<T, width, phases, OwnQuads>{row_of, own});
}

template <typename T, bool phases>
__global__ void __launch_bounds__(cluster_tier_backward_threads, 2)
    adain_reading_cluster_backward(AdaINBackward p, PlaneGrid grid, RowOf row_of) {
#if defined(STYLEGAN_FAST_CLUSTERS)
  constexpr int width = Vec<T>::size, quads = cluster_tier_backward_values / 4;
  SHARED(Quad, dt, cluster_tier_backward_threads * quads);
  const ClusterQuads all(dt, int(blockDim.x) * quads);
  resident_backward<T, width, cluster_tier_backward_values / width>(
      p, grid, ClusterTeam(), BackwardThrough<T, width, phases, ClusterQuads>{row_of, all});
#endif
}

}  // namespace cuda
}  // namespace stylegan_fast
