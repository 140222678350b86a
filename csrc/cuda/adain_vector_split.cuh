// adain, the split tier of contiguous planes with 16-byte vectors: the passes of adain_split.cuh. A thread reads packs
// of `width` neighbouring pixels, a block every pack of its slice. The second pass walks the work in reverse, sample by
// sample: what the first read last is what the cache still holds.
#pragma once

#include "adain_merge.cuh"
#include "adain_split.cuh"

namespace stylegan_fast {
namespace cuda {

constexpr int vector_split_threads = max_warps * warp_size;
constexpr int vector_split_blocks = 2;  // a multiprocessor: a bound of 128 registers
constexpr int vector_split_batch = 4;   // packs a thread reads before it uses the first; of each tensor

// A block visits a slice, then next(), until it is no longer inside(); its threads agree on that. A thread works at
// count() packs: first(), first() + threads, ... Planes are counted in 32 bits (most_resident_planes), and so are the
// packs of a slice: 2048 slices of 2^31 are beyond any memory. grid.slice is in packs.
template <int width, bool reverse>
class Slice {
 public:
  __device__ __forceinline__ Slice(const AdaIN& op, const AdaINGrid& grid)
      : op_(op), grid_(grid), row_(blockIdx.z), c_(blockIdx.y), split_(blockIdx.x) {}

  __device__ __forceinline__ bool inside() const { return row_ < int(op_.n); }

  __device__ __forceinline__ void next() {
    split_ += int(gridDim.x);
    if (split_ >= int(grid_.splits)) {
      split_ = int(blockIdx.x);
      c_ += int(gridDim.y);
    }
    if (c_ >= int(op_.c)) {
      c_ = int(blockIdx.y);
      row_ += int(gridDim.z);
    }
  }

  __device__ __forceinline__ int n() const { return reverse ? int(op_.n) - 1 - row_ : row_; }
  __device__ __forceinline__ int c() const { return reverse ? int(op_.c) - 1 - c_ : c_; }
  __device__ __forceinline__ int64_t plane() const { return n() * op_.c + c(); }
  __device__ __forceinline__ int64_t partial() const { return split() * op_.n * op_.c + plane(); }
  __device__ __forceinline__ int64_t first() const { return split() * grid_.slice + int(threadIdx.x); }
  __device__ __forceinline__ int count() const {
    const int64_t left = op_.h * op_.w / width - split() * grid_.slice;
    const int packs = int(left < grid_.slice ? left : grid_.slice), mine = int(threadIdx.x);
    return mine < packs ? (packs - mine + vector_split_threads - 1) / vector_split_threads : 0;
  }

 private:
  const AdaIN& op_;
  const AdaINGrid& grid_;
  int row_, c_, split_;

  __device__ __forceinline__ int split() const { return reverse ? int(grid_.splits) - 1 - split_ : split_; }
};

// A plane as its threads see it.
template <typename T, int width>
struct VectorPlane {
  using A = acc_t<T>;
  using V = Pack<T, width>;
  Channel<A> channel;
  const A* noise;
  int64_t base;  // of pixel 0
  A pivot;

  __device__ __forceinline__ VectorPlane(const AdaIN& op, int n, int c)
      : channel(op, c), noise(noise_of<A>(op, n)), base((n * op.c + c) * op.h * op.w) {
    pivot = channel.activation(channel.t(to_acc(static_cast<const T*>(op.x)[base]), noise ? noise[0] : A(0)));
  }

  // A batch, from pack `first` on; beyond the `left` that are left the last one again, because a branch around each
  // load would make it wait for the one before.
  __device__ __forceinline__ void read(const void* tensor, int64_t first, int left, V* packs) const {
    const T* const from = static_cast<const T*>(tensor) + base;
#pragma unroll
    for (int k = 0; k < vector_split_batch; ++k)
      packs[k] = *reinterpret_cast<const V*>(from + (first + (k < left ? k : left - 1) * vector_split_threads) * width);
  }
  __device__ __forceinline__ void write(void* tensor, int64_t pack, const V& v) const {
    *reinterpret_cast<V*>(static_cast<T*>(tensor) + base + pack * width) = v;
  }
  __device__ __forceinline__ void read_noise(int64_t first, int left, A (*values)[width]) const {
#pragma unroll
    for (int k = 0; k < vector_split_batch; ++k) {
#pragma unroll
      for (int i = 0; i < width; ++i) values[k][i] = A(0);
    }
    if (!noise) return;
#pragma unroll
    for (int k = 0; k < vector_split_batch; ++k)
      load_acc<width>(noise + (first + (k < left ? k : left - 1) * vector_split_threads) * width, values[k]);
  }
  __device__ __forceinline__ A from_pivot(A x, A noise) const {
    return channel.activation(channel.t(x, noise)) - pivot;
  }
};

// batch(first, packs): up to vector_split_batch packs at a time, the thread's next ones.
template <int width, bool reverse, typename F>
__device__ __forceinline__ void for_batches(const Slice<width, reverse>& slice, F batch) {
  int64_t first = slice.first();
  for (int left = slice.count(); left > 0; left -= vector_split_batch) {
    batch(first, left);
    first += vector_split_batch * vector_split_threads;
  }
}

// Reads, and then f(pack, x, dy, noise of its pixels) for each.
template <typename T, int width, bool reverse, typename F>
__device__ __forceinline__ void for_vectors(const VectorPlane<T, width>& plane, const Slice<width, reverse>& slice,
                                            const void* x, const void* dy, F f) {
  using V = Pack<T, width>;
  for_batches(slice, [&](int64_t first, int left) {
    V xs[vector_split_batch], dys[vector_split_batch];
    acc_t<T> noise[vector_split_batch][width];
    plane.read(x, first, left, xs);
    if (dy) plane.read(dy, first, left, dys);
    plane.read_noise(first, left, noise);
#pragma unroll
    for (int k = 0; k < vector_split_batch; ++k)
      if (k < left) f(first + k * vector_split_threads, xs[k], dys[k], noise[k]);
  });
}

// Moments of this thread's pixels, relative to the pivot: a batch is summed in two passes in registers, then merged.
template <typename T, int width>
__device__ __forceinline__ Moments<acc_t<T>> moments_of(const AdaIN& op, const VectorPlane<T, width>& plane,
                                                        const Slice<width, false>& slice) {
  using A = acc_t<T>;
  Moments<A> total{};
  for_batches(slice, [&](int64_t first, int left) {
    Pack<T, width> raw[vector_split_batch];
    A noise[vector_split_batch][width], value[vector_split_batch][width];
    plane.read(op.x, first, left, raw);
    plane.read_noise(first, left, noise);
    Moments<A> moments{};
    A sum = A(0);
#pragma unroll
    for (int k = 0; k < vector_split_batch; ++k) {
      if (k >= left) continue;
#pragma unroll
      for (int i = 0; i < width; ++i) {
        value[k][i] = plane.from_pivot(raw[k][i], noise[k][i]);
        sum += value[k][i];
      }
      moments.count += A(width);
    }
    moments.mean = sum / moments.count;
#pragma unroll
    for (int k = 0; k < vector_split_batch; ++k) {
      if (k >= left) continue;
#pragma unroll
      for (int i = 0; i < width; ++i) moments.m2 += (value[k][i] - moments.mean) * (value[k][i] - moments.mean);
    }
    total = combine(total, moments);
  });
  return total;
}

// partials: [splits, N*C] Moments, or null where a plane is one slice.
template <typename T>
__global__ void __launch_bounds__(vector_split_threads, vector_split_blocks)
    adain_vector_stats(AdaINForward p, AdaINGrid grid, void* partials) {
  using A = acc_t<T>;
  constexpr int width = Vec<T>::size;
  for (Slice<width, false> slice(p.op, grid); slice.inside(); slice.next()) {
    const VectorPlane<T, width> plane(p.op, slice.n(), slice.c());
    const Moments<A> moments = block_reduce<1>(moments_of(p.op, plane, slice));
    if (threadIdx.x != 0) continue;
    if (partials) static_cast<Moments<A>*>(partials)[slice.partial()] = moments;
    else write_moments<A>(p, slice.plane(), moments);
  }
}

template <typename T>
__global__ void __launch_bounds__(vector_split_threads, vector_split_blocks)
    adain_vector_apply(AdaINForward p, AdaINGrid grid) {
  using A = acc_t<T>;
  constexpr int width = Vec<T>::size;
  for (Slice<width, true> slice(p.op, grid); slice.inside(); slice.next()) {
    const VectorPlane<T, width> plane(p.op, slice.n(), slice.c());
    const Style<A> style(p.op, p.mean, p.rstd, slice.n(), slice.c());
    for_vectors(plane, slice, p.op.x, nullptr, [&](int64_t pack, const Vec<T>& x, const Vec<T>&, const A* noise) {
      A y[width];
#pragma unroll
      for (int i = 0; i < width; ++i)
        y[i] = plane.channel.output(style.z(style.normalised(plane.from_pivot(x[i], noise[i]))));
      plane.write(p.y, pack, Vec<T>::of(y));
    });
  }
}

template <typename T>
__device__ __forceinline__ PixelGradient<acc_t<T>> gradient_of(const VectorPlane<T, Vec<T>::size>& plane,
                                                               const Style<acc_t<T>>& style, acc_t<T> x,
                                                               acc_t<T> dy, acc_t<T> noise) {
  return {plane.channel, style, plane.channel.t(x, noise), plane.pivot, dy};
}

template <typename T>
__global__ void __launch_bounds__(vector_split_threads, vector_split_blocks)
    adain_vector_backward_sums(AdaINBackward p, AdaINGrid grid, PlaneSums to) {
  using A = acc_t<T>;
  constexpr int width = Vec<T>::size;
  for (Slice<width, false> slice(p.op, grid); slice.inside(); slice.next()) {
    const VectorPlane<T, width> plane(p.op, slice.n(), slice.c());
    const Style<A> style(p.op, p.mean, p.rstd, slice.n(), slice.c());
    Sums<A, 2> sums{};
    for_vectors(plane, slice, p.op.x, p.dy, [&](int64_t, const Vec<T>& x, const Vec<T>& dy, const A* noise) {
#pragma unroll
      for (int i = 0; i < width; ++i) {
        const PixelGradient<A> gradient = gradient_of(plane, style, x[i], dy[i], noise[i]);
        sums.value[0] += gradient.dz;
        sums.value[1] += gradient.dz * gradient.normalised;
      }
    });
    sums = block_reduce<1>(sums);
    if (threadIdx.x == 0) write_sums(to, slice.partial(), sums.value[0], sums.value[1]);
  }
}

// sums: [N*C] of dz and of dz * normalised. to: the planes' or slices' parts of dbias and dnoise_strength.
template <typename T>
__global__ void __launch_bounds__(vector_split_threads, vector_split_blocks)
    adain_vector_backward_apply(AdaINBackward p, AdaINGrid grid, PlaneSums sums, PlaneSums to) {
  using A = acc_t<T>;
  constexpr int width = Vec<T>::size;
  const A per_pixel = A(grid.per_pixel);
  for (Slice<width, true> slice(p.op, grid); slice.inside(); slice.next()) {
    const VectorPlane<T, width> plane(p.op, slice.n(), slice.c());
    const Style<A> style(p.op, p.mean, p.rstd, slice.n(), slice.c());
    const A mean_dz = static_cast<const A*>(sums.first)[slice.plane()] * per_pixel;
    const A mean_dz_normalised = static_cast<const A*>(sums.second)[slice.plane()] * per_pixel;
    Sums<A, 2> totals{};
    for_vectors(plane, slice, p.op.x, p.dy, [&](int64_t pack, const Vec<T>& x, const Vec<T>& dy, const A* noise) {
      A dx[width];
#pragma unroll
      for (int i = 0; i < width; ++i) {
        const PixelGradient<A> gradient = gradient_of(plane, style, x[i], dy[i], noise[i]);
        const A dt = dt_of(plane.channel, style, gradient.normalised, gradient.dz, gradient.negative, mean_dz,
                           mean_dz_normalised);
        dx[i] = dt;
        totals.value[0] += dt;
        totals.value[1] += dt * noise[i];
      }
      if (p.dx) plane.write(p.dx, pack, Vec<T>::of(dx));
    });
    if (!to.first && !to.second) continue;
    totals = block_reduce<1>(totals);
    if (threadIdx.x == 0) write_sums(to, slice.partial(), totals.value[0], totals.value[1]);
  }
}

}  // namespace cuda
}  // namespace stylegan_fast
