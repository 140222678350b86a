// The backward kernels of adain_reading_slab.cuh. dx = blur(dt): dt of some rows of a tile of columns goes to shared
// memory, from where each thread adds up the three of its column's rows; sums of the last two rows stay in registers.
// The columns beside a tile are computed by two columns of threads more, which write no dx.
#pragma once

#include "adain_reading_slab.cuh"
#include "adain_slab_split_backward.cuh"

namespace stylegan_fast {
namespace cuda {

// Threads of a tile at most, and the rows they work at between two barriers. Whole groups of four warps: of a fifth
// warp on a quarter of a multiprocessor, registers would be left for 96 a thread.
constexpr int reading_tile_threads = 512;
constexpr int reading_tile_rows = 2;

// `columns` of a tile's threads write, of a column `edge` to the left and to the right of them only dt is computed (0
// where a tile is as wide as the image). A piece is a tile by `rows` rows, `across` of them side by side.
struct ReadingTileGrid {
  int slabs, lanes, across, splits, columns, edge, rows;
  float per_pixel;
};

template <typename A>
struct ReadGradients {
  ReadChannels<A> channels;
  A mean[slab_width], rstd[slab_width];  // rstd is for the caller to use up: each takes a register

  template <typename T>
  __device__ __forceinline__ static ReadGradients of(const AdaINBackward& p, const SlabReader& reader, int n, int c) {
    ReadGradients gradients;
    gradients.channels = ReadChannels<A>::template of<T>(p.op, reader, n, c);
    load_parameters(static_cast<const A*>(p.mean) + n * p.op.c + c, 1, A(0), gradients.mean);
    load_parameters(static_cast<const A*>(p.rstd) + n * p.op.c + c, 1, A(0), gradients.rstd);
    return gradients;
  }

  __device__ __forceinline__ A from_mean(A t, int k) const {
    return channels.channel[k].activation(t) - channels.pivot[k] - mean[k];
  }
};

// There is no activation after the style: dz is dy.
template <typename T>
__global__ void __launch_bounds__(reading_slab_threads, 2)
    adain_reading_slab_backward_sums(AdaINBackward p, ReadingSlabGrid grid, PlaneSums to) {
  using A = acc_t<T>;
  using V = Pack<T, slab_width>;
  constexpr int batch = reading_slab_batch<T>;
  const SlabReader reader(p.op);
  for (ReadingPiece<false> piece(p.op, grid); piece.inside(); piece.next()) {
    Sums<A, 2 * slab_width> sums{};
    if (piece.works()) {
      const int n = piece.n(), c = piece.c(), stride = int(p.op.c);
      const auto gradients = ReadGradients<A>::template of<T>(p, reader, n, c);
      const T* const dy = static_cast<const T*>(p.dy) + (int64_t(n) * reader.h * reader.w + piece.j()) * stride + c;
      for_rows<T>(p.op, reader, piece, gradients.channels.noise,
                  [&](int i, int count, A (&v)[batch][slab_width], const A (&noise)[batch]) {
                    V dys[batch];
#pragma unroll
                    for (int r = 0; r < batch; ++r)  // beyond the last row the last one again
                      dys[r] = *reinterpret_cast<const V*>(dy + (i + (r < count ? r : count - 1)) * reader.w * stride);
#pragma unroll
                    for (int r = 0; r < batch; ++r) {
#pragma unroll
                      for (int k = 0; k < slab_width; ++k) {
                        const A t = gradients.channels.channel[k].t(v[r][k], noise[r]);
                        const A normalised = gradients.from_mean(t, k) * gradients.rstd[k];
                        if (r >= count) continue;
                        sums.value[2 * k] += dys[r][k];
                        sums.value[2 * k + 1] += dys[r][k] * normalised;
                      }
                    }
                  });
    }
    const Sums<A, 2> column = slab_reduce<T>(sums, grid.lanes);
    if (piece.writes()) write_sums(to, piece.partial(), column.value[0], column.value[1]);
  }
}

// Zeros where no pixel of u lies, in the phases around rows [top, bottom) of column j.
template <typename T>
__device__ __forceinline__ void zero_around(T* dx, const SlabReader& reader, int j, int top, int bottom) {
  using V = Pack<T, slab_width>;
  const auto zero = [&](int i, int column) {
    *reinterpret_cast<V*>(dx + reader.row(i) + reader.pixel(column)) = V{};
  };
  const auto zero_column = [&](int column) {
    for (int i = top; i < bottom; ++i) zero(i, column);
    if (top == 0) zero(-1, column);
    if (bottom == reader.h) zero(reader.h, column);
  };
  if (j == 0) zero_column(-1);
  if (j == reader.w - 1) zero_column(reader.w);
  if (top == 0) zero(-1, j);
  if (bottom == reader.h) zero(reader.h, j);
}

// sums: [N*C] of dy and of dy * normalised. to: the planes' or slices' parts of dbias and dnoise_strength.
template <typename T>
__global__ void __launch_bounds__(reading_tile_threads, 1)
    adain_reading_slab_backward_apply(AdaINBackward p, ReadingTileGrid grid, PlaneSums sums, PlaneSums to) {
  using A = acc_t<T>;
  using V = Pack<T, slab_width>;
  using Quad = Pack<A, slab_width>;
  constexpr int batch = reading_tile_rows;
  const SlabReader reader(p.op);
  const int pitch = (grid.columns + 2 * grid.edge + 2) * grid.lanes;  // a column of zeros on either side
  // Two turns of a batch: who writes one again has met everybody who read it at the other's barrier.
  DYNAMIC_SHARED(Quad, tile, 0, 2 * batch * pitch);
  for (int i = int(threadIdx.x); i < 2 * batch * 2 * grid.lanes; i += int(blockDim.x)) {
    const int row = i / (2 * grid.lanes), at = i % (2 * grid.lanes);
    tile[row * pitch + (at < grid.lanes ? at : pitch - 2 * grid.lanes + at)] = Quad{};
  }
  int turn = 0;
  for (SlabWalk<true> walk(p.op, grid.slabs, grid.splits, grid.lanes); walk.inside(); walk.next()) {
    const int n = walk.n(), stride = int(p.op.c), c = walk.live() ? walk.c() : stride - slab_width;
    const int left = walk.split() % grid.across * grid.columns, top = walk.split() / grid.across * grid.rows;
    const int bottom = top + grid.rows < reader.h ? top + grid.rows : reader.h;
    const int worker = walk.worker(), j = left - grid.edge + worker;
    const bool has_place = worker < grid.columns + 2 * grid.edge, in_image = has_place && j >= 0 && j < reader.w;
    const bool writes = walk.live() && in_image && worker >= grid.edge && worker < grid.columns + grid.edge;
    const int mine = (1 + worker) * grid.lanes + int(threadIdx.x) % grid.lanes;

    const auto gradients = ReadGradients<A>::template of<T>(p, reader, n, c);
    const ReadChannels<A>& channels = gradients.channels;
    // da = gain * (dy - mean_dy - (a - mean) * share)
    A gain[slab_width], mean_dy[slab_width], share[slab_width];
    {
      const Styles<A> styles(p.op, n, c);
      const int64_t plane = n * p.op.c + c;
      load_parameters(static_cast<const A*>(sums.first) + plane, 1, A(0), mean_dy);
      load_parameters(static_cast<const A*>(sums.second) + plane, 1, A(0), share);
#pragma unroll
      for (int k = 0; k < slab_width; ++k) {
        gain[k] = styles.style[k].scale * gradients.rstd[k];
        mean_dy[k] *= grid.per_pixel, share[k] *= grid.per_pixel * gradients.rstd[k];
      }
    }
    const int column_j = in_image ? j : 0;
    const T* const dy = static_cast<const T*>(p.dy) + int64_t(n) * reader.h * reader.w * stride;
    T* const dx = p.dx ? static_cast<T*>(p.dx) + n * reader.sample() : nullptr;
    const bool writes_dx = dx && writes;
    const int dy_at = column_j * stride + c, dx_at = writes_dx ? reader.pixel(j) + c : 0;

    const SlabColumn<T> column(p.op, reader, n, c, column_j);
    SlabRows<T, batch> rows(column, top - 1);
    Sums<A, 2 * slab_width> totals{};
    A above[slab_width] = {}, here[slab_width] = {};  // of dt, rows i - 2 and i - 1
    for (int first = top - 1; first <= bottom; first += batch) {
      V dys[batch];
      A noise[batch], v[batch][slab_width];
      // As those of x: the nearest there are.
      const auto row = [&](int r) { return first + r < 0 ? 0 : first + r < reader.h ? first + r : reader.h - 1; };
#pragma unroll
      for (int r = 0; r < batch; ++r) dys[r] = *reinterpret_cast<const V*>(dy + row(r) * reader.w * stride + dy_at);
      numbers_or_zeros<batch>(channels.noise, noise, [&](int r) { return row(r) * reader.w + column_j; });
      rows.take(v, first + batch <= bottom);
#pragma unroll
      for (int r = 0; r < batch; ++r) {
        const int i = first + r;
        const bool has = in_image && reader.inside(i), counts = writes && i >= top && i < bottom;
        A dt[slab_width];
#pragma unroll
        for (int k = 0; k < slab_width; ++k) {
          const A t = channels.channel[k].t(v[r][k], noise[r]);
          const A da = gain[k] * (dys[r][k] - mean_dy[k] - gradients.from_mean(t, k) * share[k]);
          dt[k] = t >= A(0) ? da : channels.channel[k].negative_slope * da;
          if (!counts) continue;
          totals.value[2 * k] += dt[k];
          totals.value[2 * k + 1] += dt[k] * noise[r];
        }
        if (has_place) tile[(turn * batch + r) * pitch + mine] = has ? Quad::of(dt) : Quad{};
      }
      __syncthreads();
      if (writes_dx) {
#pragma unroll
        for (int r = 0; r < batch; ++r) {
          const int at = (turn * batch + r) * pitch + mine, i = first + r - 1;
          const Quad before = tile[at - grid.lanes], centre = tile[at], after = tile[at + grid.lanes];
          A du[slab_width];
#pragma unroll
          for (int k = 0; k < slab_width; ++k) {
            const A below = blur_of(before[k], centre[k], after[k]);
            du[k] = blurred(above[k], here[k], below);
            above[k] = here[k];
            here[k] = below;
          }
          if (i >= top && i < bottom) *reinterpret_cast<V*>(dx + reader.row(i) + dx_at) = V::of(du);
        }
      }
      turn ^= 1;
    }
    if (p.op.phases && writes_dx) zero_around(dx + c, reader, j, top, bottom);
    if (!to.first && !to.second) continue;
    const Sums<A, 2> column_sums = slab_reduce<T, reading_tile_threads / warp_size>(totals, grid.lanes);
    if (walk.writes()) write_sums(to, walk.partial(), column_sums.value[0], column_sums.value[1]);
  }
}

}  // namespace cuda
}  // namespace stylegan_fast
