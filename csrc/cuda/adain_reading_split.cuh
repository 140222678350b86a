// adain's split tier where it reads through phases and blur: every size, dtype and layout. As in adain_split.cuh, but a
// plane is cut into bands of rows, and a thread's batch is a strip: 8 pixels of a column, for which it reads 10 rows
// of 3, not 8 times 9.
#pragma once

#include "adain_reading.cuh"
#include "adain_split.cuh"

namespace stylegan_fast {
namespace cuda {

constexpr int strip_rows = int(adain_batch);

// Blocks per multiprocessor; a strip of doubles is twice the registers.
template <typename T>
constexpr int reading_blocks = std::is_same<T, double>::value ? 2 : adain_blocks;

// planes: its slices are the bands. rows: of a band. The next of a thread's strips is step_strips strips further down
// and step_columns to the right.
struct ReadingGrid {
  AdaINGrid planes;
  int64_t rows, step_strips, step_columns;
};

// Rows [top, bottom) of plane (n, c).
template <int columns>
struct Band : Place<columns> {
  int64_t top, bottom;

  __device__ Band(const AdaIN& op, const ReadingGrid& grid) : Place<columns>(op, grid.planes) {
    top = this->split() * grid.rows;
    bottom = top + grid.rows < op.h ? top + grid.rows : op.h;
  }

  __device__ __forceinline__ int worker() const { return int(threadIdx.x) / columns; }
  __device__ __forceinline__ int workers() const { return int(blockDim.x) / columns; }

  // f(i, j) for each of this thread's strips: column j, from row i.
  template <typename F>
  __device__ __forceinline__ void for_strips(const AdaIN& op, const ReadingGrid& grid, F f) const {
    const unsigned width = op.w < adain_threads ? unsigned(op.w) : unsigned(adain_threads);
    int64_t i = top + int64_t(unsigned(worker()) / width) * strip_rows, j = unsigned(worker()) % width;
    while (i < bottom) {
      f(i, j);
      i += grid.step_strips * strip_rows;
      j += grid.step_columns;
      if (j < op.w) continue;
      j -= op.w;
      i += strip_rows;
    }
  }
};

// A plane as a band's threads see it.
template <typename T, int columns>
struct ReadPlane {
  using A = acc_t<T>;
  Reader<columns> u;
  Channel<A> channel;
  const A* noise;
  int64_t base, stride;  // of y and dy
  A pivot;

  __device__ __forceinline__ ReadPlane(const AdaIN& op, int64_t n, int64_t c)
      : u(op, n, c), channel(op, c), noise(noise_of<A>(op, n)) {
    const int64_t pixels = op.h * op.w;
    base = columns == 1 ? (n * op.c + c) * pixels : n * pixels * op.c + c;
    stride = columns == 1 ? 1 : op.c;
    pivot = channel.activation(t(u.at(static_cast<const T*>(op.x), 0, 0), 0));
  }

  __device__ __forceinline__ int64_t at(int64_t pixel) const { return base + pixel * stride; }
  __device__ __forceinline__ A t(A v, int64_t pixel) const { return channel.t(v, noise ? noise[pixel] : A(0)); }
};

// partials: [splits, N*C] Moments, or null where a plane is one band.
template <typename T, int columns>
__global__ void __launch_bounds__(adain_threads, reading_blocks<T>)
    adain_reading_stats(AdaINForward p, ReadingGrid grid, void* partials) {
  using A = acc_t<T>;
  const T* const x = static_cast<const T*>(p.op.x);
  for (Band<columns> band(p.op, grid); band.inside(p.op); band.next(p.op, grid.planes)) {
    Moments<A> moments{A(0), A(0), A(0)};
    if (band.live) {
      const ReadPlane<T, columns> plane(p.op, band.n, band.c);
      band.for_strips(p.op, grid, [&](int64_t i, int64_t j) {
        A value[strip_rows];
        plane.u.template strip<strip_rows>(x, i, j, value);
        A count = A(0), sum = A(0), m2 = A(0);
#pragma unroll
        for (int r = 0; r < strip_rows; ++r) {
          if (i + r >= band.bottom) continue;
          value[r] = plane.channel.activation(plane.t(value[r], (i + r) * p.op.w + j)) - plane.pivot;
          count += A(1);
          sum += value[r];
        }
        const A mean = sum / count;
#pragma unroll
        for (int r = 0; r < strip_rows; ++r)
          if (i + r < band.bottom) m2 += (value[r] - mean) * (value[r] - mean);
        moments = combine(moments, Moments<A>{count, mean, m2});
      });
    }
    moments = block_reduce<columns>(moments);
    if (!band.leads()) continue;
    if (partials) static_cast<Moments<A>*>(partials)[band.partial(p.op)] = moments;
    else write_moments<A>(p, band.partial(p.op), moments);
  }
}

template <typename T, int columns>
__global__ void __launch_bounds__(adain_threads, reading_blocks<T>)
    adain_reading_apply(AdaINForward p, ReadingGrid grid) {
  using A = acc_t<T>;
  const T* const x = static_cast<const T*>(p.op.x);
  T* const __restrict__ y = static_cast<T*>(p.y);
  for (Band<columns> band(p.op, grid); band.inside(p.op); band.next(p.op, grid.planes)) {
    if (!band.live) continue;
    const ReadPlane<T, columns> plane(p.op, band.n, band.c);
    const Style<A> style(p.op, p.mean, p.rstd, band.n, band.c);
    band.for_strips(p.op, grid, [&](int64_t i, int64_t j) {
      A v[strip_rows];
      plane.u.template strip<strip_rows>(x, i, j, v);
#pragma unroll
      for (int r = 0; r < strip_rows; ++r) {
        if (i + r >= band.bottom) continue;
        const int64_t pixel = (i + r) * p.op.w + j;
        const A a = plane.channel.activation(plane.t(v[r], pixel));
        y[plane.at(pixel)] = from_acc<T>(plane.channel.output(style.z(style.normalised(a - plane.pivot))));
      }
    });
  }
}

}  // namespace cuda
}  // namespace stylegan_fast
