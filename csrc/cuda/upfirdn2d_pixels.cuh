// upfirdn2d, the pixels tier: the resamplings of the strips tier (upfirdn2d_strips.cuh) for channels_last images.
//
// A thread holds a pack of neighbouring channels, 16 bytes where they fit, of one or two neighbouring columns of
// output, and walks down a band of rows. Each row of pixels it comes to is filtered across and added to every row of
// output that it is part of, whose sums stay in registers until they are whole. So a thread loads a pixel once; its
// neighbours load it again, out of the first-level cache: threads lie side by side along 128 bytes of channels, then
// along the columns.
#pragma once

#include "divide.cuh"
#include "upfirdn2d_filter.cuh"

namespace stylegan_fast {
namespace cuda {

constexpr int pixel_threads = 256;

// How the work is cut: packs of channels into slabs of `lanes`, columns into groups, rows of output into bands of
// `rows`. Threads lie in the order [N][bands][slabs][groups][lanes], `all` of them, fewer than 2^31.
struct PixelGrid {
  unsigned all, rows;
  Divisor lanes, groups, slabs, bands;
};

// Columns of output that a thread computes: two share the pixels between them. Where the output is the smaller image,
// one is work enough.
template <int down>
constexpr int pixel_columns = down == 2 ? 1 : 2;

// Down the rows. A band begins at a multiple of `up` and, as in the strips tier, its first pixel is at the tap `phase`
// of its first output. A step takes `down` new rows of pixels to the latest groups of `up` rows of output: to the one
// that begins there, which has its turn 0, to the one before, which has its turn 1, ...
template <int up, int down, int taps, int pad>
struct PixelSteps {
  static constexpr int phase = up == 2 ? pad % 2 : 0;

  // The tap that row `d` of the step is at, for row `r` of a group; none if it is negative, or `taps` and more.
  __host__ __device__ static constexpr int tap(int r, int turn, int d) {
    return (turn * down + d) * up + phase - r * down;
  }
  // The first and the last turn that bring row `r` of a group a pixel.
  __host__ __device__ static constexpr int first(int r) { return up == 2 ? (r - phase + 1) / 2 : 0; }
  __host__ __device__ static constexpr int last(int r) { return (taps - 1 - phase + r * down) / (up * down); }

  static constexpr int turns = last(up - 1) + 1;
};

template <typename T, int pack, int up, int down, int taps, int pad>
__global__ void __launch_bounds__(pixel_threads, up == down && taps == 4 ? 2 : 3)
    upfirdn2d_pixels(UpFirDn2d p, PixelGrid grid) {
  using A = acc_t<T>;
  using V = Pack<T, pack>;
  using Of = PixelSteps<up, down, taps, pad>;
  constexpr int columns = pixel_columns<down>;
  constexpr int pixels_across = ((columns - 1) * down + taps - 1 - Of::phase) / up + 1;

  const Filter<A, taps> filter(p);
  const int c = int(p.c), in_w = int(p.in_w), in_h = int(p.in_h), out_w = int(p.out_w), out_h = int(p.out_h);
  // Fewer than 2^31 threads are fewer blocks than a grid can have: no strides.
  unsigned n = blockIdx.x * blockDim.x + threadIdx.x;
  if (n >= grid.all) return;
  const unsigned lane = grid.lanes.split(n), group = grid.groups.split(n), slab = grid.slabs.split(n);
  const int first_row = int(grid.bands.split(n) * grid.rows), out_x = int(group) * columns;
  const int channel = int(slab * grid.lanes.value() + lane) * pack;
  if (channel >= c) return;
  const T* const x = static_cast<const T*>(p.x) + int64_t(n) * in_h * in_w * c + channel;
  T* const y = static_cast<T*>(p.y) + int64_t(n) * out_h * out_w * c + (first_row * out_w + out_x) * c + channel;
  const int rows = out_h - first_row < int(grid.rows) ? out_h - first_row : int(grid.rows);
  if (!filter.separable()) {
    const int left = out_w - out_x < columns ? out_w - out_x : columns;
    filter_plainly<T, pack, up, down, taps, pad>(p, filter, x, y, c, first_row, rows, out_x, left);
    return;
  }

  const int first_x = (out_x * down - pad + Of::phase) / up, first_y = (first_row * down - pad + Of::phase) / up;
  const bool inside = first_x >= 0 && first_x + pixels_across <= in_w;
  const int in_row = c * in_w, out_row = c * out_w;
  const T* from = x + (first_y * in_w + first_x) * c;
  T* to = y;
  const int steps = (rows + up - 1) / up + Of::turns - 1;
  A sums[Of::turns][up][columns][pack] = {};  // of rows that wait for pixels: [i] has had i + 1 turns
  for (int step = 0; step < steps; ++step) {
    Pack<T, pack> pixels[down][pixels_across];
#pragma unroll
    for (int d = 0; d < down; ++d) {
      const int row = first_y + step * down + d;
      const bool there = row >= 0 && row < in_h;
      // What lies in the middle of the image, which most does, needs no zeros.
      if (there && inside) {
#pragma unroll
        for (int k = 0; k < pixels_across; ++k)
          pixels[d][k] = *reinterpret_cast<const Pack<T, pack>*>(from + k * c);
      } else {
#pragma unroll
        for (int k = 0; k < pixels_across; ++k) {
          pixels[d][k] = {};
          if (there && unsigned(first_x + k) < unsigned(in_w))
            pixels[d][k] = *reinterpret_cast<const Pack<T, pack>*>(from + k * c);
        }
      }
      from += in_row;
    }
#pragma unroll
    for (int column = 0; column < columns; ++column) {
      A done[up][pack];
#pragma unroll
      for (int e = 0; e < pack; ++e) {
        A across[down] = {};
#pragma unroll
        for (int d = 0; d < down; ++d) {
#pragma unroll
          for (int k = 0; k < pixels_across; ++k) {
            const int tap = k * up + Of::phase - column * down;
            if (tap >= 0 && tap < taps) across[d] += filter.across[tap] * pixels[d][k][e];
          }
        }
#pragma unroll
        for (int r = 0; r < up; ++r) {
          // The oldest first, so that each takes its sum from where the next one's goes.
#pragma unroll
          for (int turn = Of::turns - 1; turn >= 0; --turn) {
            if (turn < Of::first(r) || turn > Of::last(r)) continue;
            A sum = turn > Of::first(r) ? sums[turn - 1][r][column][e] : A(0);
#pragma unroll
            for (int d = 0; d < down; ++d) {
              const int tap = Of::tap(r, turn, d);
              if (tap >= 0 && tap < taps) sum += filter.down[tap] * across[d];
            }
            if (turn == Of::last(r)) done[r][e] = sum;
            else sums[turn][r][column][e] = sum;
          }
        }
      }
#pragma unroll
      for (int r = 0; r < up; ++r) {
        const int row = (step - Of::last(r)) * up + r;
        if (row >= 0 && row < rows && out_x + column < out_w)
          *reinterpret_cast<V*>(to + (r - Of::last(r) * up) * out_row + column * c) = Pack<T, pack>::of(done[r]);
      }
    }
    to += up * out_row;
  }
}

}  // namespace cuda
}  // namespace stylegan_fast
