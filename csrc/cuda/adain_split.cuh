// adain, the split tier: right for every size, dtype and both layouts; nothing has to fit anywhere. The formulas stand
// in adain_formulas.cuh.
//
//   forward    stats   each block reduces a slice of a plane to (count, mean, M2)       reads x
//              merge   the slices of a plane, in order                                  (only where there are several)
//              apply   y                                                                reads x, writes y
//   backward   sums    S1 and S2                                                        reads x, dy
//              apply   dx, and the plane sums of dt and dt * noise                      reads x, dy, writes dx
//              dnoise  sum over c of dt * noise_strength                                only if asked for
//
// columns = 1: contiguous planes, a block walks the pixels of one. columns = 32: channels_last, a warp's lanes are 32
// neighbouring channels, its warps take turns at the pixels; lanes beyond C only keep the barriers company.
#pragma once

#include "adain_merge.cuh"

namespace stylegan_fast {
namespace cuda {

constexpr int adain_threads = max_warps * warp_size;
// Blocks per multiprocessor, which is 80 registers: left to itself, ptxas spills a few bytes to fit more of them.
constexpr int adain_blocks = 3;
constexpr int64_t adain_batch = 8;  // pixels a thread loads before it uses the first

// How the work is cut: `splits` slices of `slice` pixels per plane along blockIdx.x, `slabs` of columns along y, N
// along z.
struct AdaINGrid {
  int64_t slabs, splits, slice;
  double per_pixel;  // 1 / M
};

// Where a thread works: pixels first, first + step, ... below end of plane (n, c); none of them unless `live`. A block
// visits a place, then next(), until it is no longer inside(); the threads of a block agree on that.
template <int columns>
struct Place {
  int64_t n, slab, c, first, end;
  bool live;

  __device__ Place(const AdaIN& op, const AdaINGrid& grid) {
    n = blockIdx.z;
    slab = blockIdx.y;
    first = split() * grid.slice + int64_t(threadIdx.x) / columns;
    end = (split() + 1) * grid.slice;
    if (end > op.h * op.w) end = op.h * op.w;
    settle(op);
  }

  __device__ __forceinline__ bool inside(const AdaIN& op) const { return n < op.n; }

  __device__ __forceinline__ void next(const AdaIN& op, const AdaINGrid& grid) {
    slab += gridDim.y;
    if (slab >= grid.slabs) {
      slab = blockIdx.y;
      n += gridDim.z;
    }
    settle(op);
  }

  __device__ __forceinline__ int64_t split() const { return blockIdx.x; }
  __device__ __forceinline__ int64_t step() const { return blockDim.x / columns; }

  // The one thread of its plane and slice that writes their result, to [splits, N*C] at partial().
  __device__ __forceinline__ bool leads() const { return live && threadIdx.x / columns == 0; }
  __device__ __forceinline__ int64_t partial(const AdaIN& op) const { return (split() * op.n + n) * op.c + c; }

 private:
  __device__ __forceinline__ void settle(const AdaIN& op) {
    c = slab * columns + threadIdx.x % columns;
    live = c < op.c;
  }
};

// A plane as a slice's threads see it.
template <typename T, int columns>
struct Plane {
  using A = acc_t<T>;
  Channel<A> channel;
  const A* noise;
  int64_t base, stride;  // of pixel 0, and from pixel to pixel
  A pivot;

  __device__ Plane(const AdaIN& op, int64_t n, int64_t c) : channel(op, c), noise(noise_of<A>(op, n)) {
    const int64_t pixels = op.h * op.w;
    base = columns == 1 ? (n * op.c + c) * pixels : n * pixels * op.c + c;
    stride = columns == 1 ? 1 : op.c;
    pivot = channel.activation(t(to_acc(static_cast<const T*>(op.x)[base]), 0));
  }

  __device__ __forceinline__ int64_t at(int64_t pixel) const { return base + pixel * stride; }
  __device__ __forceinline__ A t(A x, int64_t pixel) const { return channel.t(x, noise ? noise[pixel] : A(0)); }
};

// Moments of this thread's pixels, relative to the pivot: a batch is summed in two passes in registers, then merged.
template <typename T, int columns>
__device__ Moments<acc_t<T>> moments_of(const T* x, const Plane<T, columns>& plane, const Place<columns>& place) {
  using A = acc_t<T>;
  Moments<A> total{A(0), A(0), A(0)};
  for (int64_t first = place.first; first < place.end; first += adain_batch * place.step()) {
    A value[adain_batch];
    A count = A(0), sum = A(0), m2 = A(0);
#pragma unroll
    for (int i = 0; i < adain_batch; ++i) {
      const int64_t pixel = first + i * place.step();
      value[i] = A(0);
      if (pixel >= place.end) continue;
      value[i] = plane.channel.activation(plane.t(to_acc(x[plane.at(pixel)]), pixel)) - plane.pivot;
      count += A(1);
      sum += value[i];
    }
    const A mean = sum / count;
#pragma unroll
    for (int i = 0; i < adain_batch; ++i)
      if (first + i * place.step() < place.end) m2 += (value[i] - mean) * (value[i] - mean);
    total = combine(total, Moments<A>{count, mean, m2});
  }
  return total;
}

// partials: [splits, N*C] Moments, or null where a plane is one slice.
template <typename T, int columns>
__global__ void __launch_bounds__(adain_threads, std::is_same<T, double>::value ? 2 : adain_blocks)
    adain_stats(AdaINForward p, AdaINGrid grid, void* partials) {
  using A = acc_t<T>;
  for (Place<columns> place(p.op, grid); place.inside(p.op); place.next(p.op, grid)) {
    Moments<A> moments{A(0), A(0), A(0)};
    if (place.live) {
      const Plane<T, columns> plane(p.op, place.n, place.c);
      moments = moments_of<T, columns>(static_cast<const T*>(p.op.x), plane, place);
    }
    moments = block_reduce<columns>(moments);
    if (!place.leads()) continue;
    if (partials) static_cast<Moments<A>*>(partials)[place.partial(p.op)] = moments;
    else write_moments<A>(p, place.partial(p.op), moments);
  }
}

template <typename T, int columns>
__global__ void __launch_bounds__(adain_threads, adain_blocks)
    adain_apply(AdaINForward p, AdaINGrid grid) {
  using A = acc_t<T>;
  const T* const x = static_cast<const T*>(p.op.x);
  T* const __restrict__ y = static_cast<T*>(p.y);
  for (Place<columns> place(p.op, grid); place.inside(p.op); place.next(p.op, grid)) {
    if (!place.live) continue;
    const Plane<T, columns> plane(p.op, place.n, place.c);
    const Style<A> style(p.op, p.mean, p.rstd, place.n, place.c);
#pragma unroll 4
    for (int64_t pixel = place.first; pixel < place.end; pixel += place.step()) {
      const A a = plane.channel.activation(plane.t(to_acc(x[plane.at(pixel)]), pixel));
      y[plane.at(pixel)] = from_acc<T>(plane.channel.output(style.z(style.normalised(a - plane.pivot))));
    }
  }
}

}  // namespace cuda
}  // namespace stylegan_fast
