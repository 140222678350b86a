// The backward kernels of adain's split tier where it reads through phases and blur.
#pragma once

#include "adain_reading_split.cuh"
#include "adain_split_backward.cuh"

namespace stylegan_fast {
namespace cuda {

// What turns dy into dt at a pixel of a plane.
template <typename T, int columns>
struct ReadGradient {
  using A = acc_t<T>;
  ReadPlane<T, columns> plane;
  Style<A> style;
  const T *x, *dy;
  A mean_dz, mean_dz_normalised;

  __device__ __forceinline__ ReadGradient(const AdaINBackward& p, int64_t n, int64_t c, const PlaneSums& sums,
                                          double per_pixel)
      : plane(p.op, n, c), style(p.op, p.mean, p.rstd, n, c), x(static_cast<const T*>(p.op.x)),
        dy(static_cast<const T*>(p.dy)),
        mean_dz(static_cast<const A*>(sums.first)[n * p.op.c + c] * A(per_pixel)),
        mean_dz_normalised(static_cast<const A*>(sums.second)[n * p.op.c + c] * A(per_pixel)) {}

  __device__ __forceinline__ A dt(A v, int64_t i, int64_t j) const {
    const int64_t pixel = i * plane.u.w + j;
    const PixelGradient<A> g(plane.channel, style, plane.t(v, pixel), plane.pivot, to_acc(dy[plane.at(pixel)]));
    return dt_of(plane.channel, style, g.normalised, g.dz, g.negative, mean_dz, mean_dz_normalised);
  }
};

template <typename T, int columns>
__global__ void __launch_bounds__(adain_threads, 2)
    adain_reading_backward_sums(AdaINBackward p, ReadingGrid grid, PlaneSums to) {
  using A = acc_t<T>;
  const T *const x = static_cast<const T*>(p.op.x), *const dy = static_cast<const T*>(p.dy);
  for (Band<columns> band(p.op, grid); band.inside(p.op); band.next(p.op, grid.planes)) {
    Sums<A, 2> sums{{A(0), A(0)}};
    if (band.live) {
      const ReadPlane<T, columns> plane(p.op, band.n, band.c);
      const Style<A> style(p.op, p.mean, p.rstd, band.n, band.c);
      band.for_strips(p.op, grid, [&](int64_t i, int64_t j) {
        A v[strip_rows];
        plane.u.template strip<strip_rows>(x, i, j, v);
#pragma unroll
        for (int r = 0; r < strip_rows; ++r) {
          if (i + r >= band.bottom) continue;
          const int64_t pixel = (i + r) * p.op.w + j;
          const PixelGradient<A> gradient(plane.channel, style, plane.t(v[r], pixel), plane.pivot,
                                          to_acc(dy[plane.at(pixel)]));
          sums.value[0] += gradient.dz;
          sums.value[1] += gradient.dz * gradient.normalised;
        }
      });
    }
    sums = block_reduce<columns>(sums);
    if (band.leads()) write_sums(to, band.partial(p.op), sums.value[0], sums.value[1]);
  }
}

// A tile is `width` columns of a band. A step down it computes dt of `strips` strips a column into shared memory, below
// the last two rows of the step before, and blurs from there.
struct TileCut {
  int width, strips;
};

// The most columns of a tile, and the pixels it has room for: 10 to 26 KB.
template <typename A, int columns>
constexpr int most_tile_columns = columns == 1 ? adain_threads : int(64 / sizeof(A));
template <typename A, int columns>
constexpr int tile_room = (strip_rows + 2) * (most_tile_columns<A, columns> + 2);

// sums: [N*C] of dz and of dz * normalised. to: the planes' or slices' parts of dbias and dnoise_strength.
// Blocks of adain_threads.
//
// dt row k of a step lies in row 2 + k of the tile, the tile's first column at 1. The columns beside it are there, too:
// computed pixel by pixel where they are in the image, zero where not, as rows beyond the image are.
template <typename T, int columns>
__global__ void __launch_bounds__(adain_threads, std::is_same<T, double>::value ? 1 : 2)
    adain_reading_backward_apply(AdaINBackward p, ReadingGrid grid, TileCut cut, PlaneSums sums, PlaneSums to) {
  using A = acc_t<T>;
  constexpr int workers = adain_threads / columns;
  constexpr int carried_rounds = (most_tile_columns<A, columns> + 2 + workers - 1) / workers;
  SHARED(A, tile, (tile_room<A, columns> * columns));
  const int lane = int(threadIdx.x) % columns, worker = int(threadIdx.x) / columns;
  const int pitch = cut.width + 2, rows = strip_rows * cut.strips, items = cut.width * cut.strips;
  const auto at = [&](int row, int column) { return (row * pitch + column) * columns + lane; };
  T* const dx = static_cast<T*>(p.dx);
  for (Band<columns> band(p.op, grid); band.inside(p.op); band.next(p.op, grid.planes)) {
    Sums<A, 2> totals{{A(0), A(0)}};
    const int64_t c = band.live ? band.c : 0;  // who has no channel reads the first one, and is silent
    const ReadGradient<T, columns> gradient(p, band.n, c, sums, grid.planes.per_pixel);
    const Reader<columns>& u = gradient.plane.u;
    for (int64_t left = 0; left < u.w; left += cut.width) {
      const int width = u.w - left < cut.width ? int(u.w - left) : cut.width;
      for (int k = worker; k < width + 2; k += workers) {
        tile[at(0, k)] = A(0);
        tile[at(1, k)] = A(0);
      }
      for (int64_t first = band.top - 1; first <= band.bottom; first += rows) {
        for (int item = worker; item < items; item += workers) {
          const int strip = int(unsigned(item) / unsigned(cut.width)), column = item - strip * cut.width;
          if (column >= width) continue;
          const int64_t i = first + strip * strip_rows, j = left + column;
          A v[strip_rows];
          u.template strip<strip_rows>(gradient.x, i, j, v);
#pragma unroll
          for (int r = 0; r < strip_rows; ++r) {
            const bool in_image = i + r >= 0 && i + r < u.h;
            const A dt = in_image ? gradient.dt(v[r], i + r, j) : A(0);
            tile[at(2 + strip * strip_rows + r, 1 + column)] = dt;
            if (i + r < band.top || i + r >= band.bottom) continue;  // another band's
            totals.value[0] += dt;
            if (gradient.plane.noise) totals.value[1] += dt * gradient.plane.noise[(i + r) * u.w + j];
          }
        }
        for (int e = worker; e < 2 * rows; e += workers) {
          const int64_t i = first + e / 2, j = e % 2 ? left + width : left - 1;
          const bool in_image = u.blur && i >= 0 && i < u.h && j >= 0 && j < u.w;
          tile[at(2 + e / 2, e % 2 ? 1 + width : 0)] = in_image ? gradient.dt(u.at(gradient.x, i, j), i, j) : A(0);
        }
        __syncthreads();
        for (int item = worker; item < items; item += workers) {
          const int strip = int(unsigned(item) / unsigned(cut.width)), column = item - strip * cut.width;
          if (column >= width || !dx || !band.live) continue;
          const int row = strip * strip_rows;
          const int64_t pixel = u.pixel(left + column);
          const auto row_sum = [&](int k) {
            return blur_of(A(tile[at(k, column)]), A(tile[at(k, column + 1)]), A(tile[at(k, column + 2)]));
          };
          A above = row_sum(row), here = row_sum(row + 1);
#pragma unroll
          for (int r = 0; r < strip_rows; ++r) {
            const int64_t i = first - 1 + row + r;
            const A below = row_sum(row + r + 2), du = u.blur ? blurred(above, here, below)
                                                              : A(tile[at(row + r + 1, column + 1)]);
            if (i >= band.top && i < band.bottom) dx[u.row(i) + pixel] = from_acc<T>(du);
            above = here;
            here = below;
          }
        }
        A carried[carried_rounds][2];
#pragma unroll
        for (int k = 0; k < carried_rounds; ++k) {
          if (worker + k * workers >= width + 2) continue;
          carried[k][0] = tile[at(rows, worker + k * workers)];
          carried[k][1] = tile[at(rows + 1, worker + k * workers)];
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < carried_rounds; ++k) {
          if (worker + k * workers >= width + 2) continue;
          tile[at(0, worker + k * workers)] = carried[k][0];
          tile[at(1, worker + k * workers)] = carried[k][1];
        }
      }
    }
    if (u.phases && dx && band.live) zero_border<T>(dx, u, band.top, band.bottom, worker, workers);
    if (!to.first && !to.second) continue;
    totals = block_reduce<columns>(totals);
    if (band.leads()) write_sums(to, band.partial(p.op), totals.value[0], totals.value[1]);
  }
}

// As adain_backward_dnoise; a block's threads (or warps) share `rows` rows of `width` pixels.
template <typename T, int columns>
__global__ void __launch_bounds__(adain_threads, 2)
    adain_reading_dnoise(AdaINBackward p, double per_pixel, TileCut cut, PlaneSums sums) {
  using A = acc_t<T>;
  const int worker = int(threadIdx.x) / columns, first_c = int(threadIdx.x) % columns;
  const int row = int(unsigned(worker) / unsigned(cut.width)), column = worker - row * cut.width;
  if (row >= cut.strips) return;
  for (int64_t n = blockIdx.y; n < p.op.n; n += gridDim.y) {
    for (int64_t i = int64_t(blockIdx.x) * cut.strips + row; i < p.op.h; i += int64_t(gridDim.x) * cut.strips) {
      for (int64_t j = column; j < p.op.w; j += cut.width) {
        Sums<A, 1> total{{A(0)}};
        for (int64_t c = first_c; c < p.op.c; c += columns) {
          const ReadGradient<T, columns> gradient(p, n, c, sums, per_pixel);
          total.value[0] += gradient.dt(gradient.plane.u.at(gradient.x, i, j), i, j) * gradient.plane.channel.strength;
        }
        if (columns > 1) total = warp_reduce(total);
        if (first_c == 0) static_cast<A*>(p.dnoise)[(n * p.op.h + i) * p.op.w + j] = total.value[0];
      }
    }
  }
}

// Where y is empty: the zeros around the pixels that are not there. A warp a plane.
template <typename T, int columns>
__global__ void __launch_bounds__(warp_size) adain_reading_zero(AdaINBackward p) {
  for (int64_t n = blockIdx.y; n < p.op.n; n += gridDim.y)
    for (int64_t c = blockIdx.x; c < p.op.c; c += gridDim.x)
      zero_border<T>(static_cast<T*>(p.dx), Reader<columns>(p.op, n, c), 0, p.op.h, threadIdx.x, warp_size);
}

}  // namespace cuda
}  // namespace stylegan_fast
