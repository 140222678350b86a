// upfirdn2d, the strips tier: the resamplings that networks are made of, with everything but the image's size and the
// filter's values known to the compiler. Contiguous images, any filter of that many taps, the same along y as along x:
//
//   same size   3 taps ([1,2,1])    4 taps ([1,3,3,1]) and its adjoint
//   up 2        2 taps ([1,1])      4 taps
//   down 2      2 taps              4 taps             (each the adjoint of one of the above)
//
// A thread computes some rows of 16 bytes of output. It reads every pixel row it needs once, into registers, filters it
// across and adds it to all the rows of output that it is part of; which taps those are is settled when the loops are
// unrolled, and no tap ever meets an inserted zero. Rows shared by two strips, and the columns beside a strip, come out
// of the cache.
#pragma once

#include "divide.cuh"
#include "upfirdn2d_filter.cuh"

namespace stylegan_fast {
namespace cuda {

constexpr int strip_threads = 256;
// Rows of output that a thread computes. At 3 taps it reads 1.5 times the rows of the image, or 1.25 times for 16-bit
// types, which have twice the arithmetic for each byte. Where the output is the smaller image, 8 rows would be 18 of
// pixels, which spilled.
template <typename T, int down>
constexpr int strip_rows = sizeof(T) == 2 && down == 1 ? 8 : 4;

// How many strips there are along each dimension; fewer than 2^31 in all.
struct StripGrid {
  unsigned all;
  Divisor across, down;
};

// Pixels first .. first + count - 1 of a row of `size`, 0 outside. Pixel first + lead is the beginning of a pack.
template <int count, int lead, int pack, typename T>
__device__ __forceinline__ void load_pixels(const T* row, int first, int size, acc_t<T>* pixels) {
#pragma unroll
  for (int i = 0; i < count; ++i) {
    const bool begins = i >= lead && (i - lead) % pack == 0 && i + pack <= count;
    const bool within = i >= lead && (i - lead) / pack * pack + lead + pack <= count;
    if (begins) {
      Pack<T, pack> v{};
      if (first + i >= 0 && first + i < size) v = *reinterpret_cast<const Pack<T, pack>*>(row + first + i);
#pragma unroll
      for (int k = 0; k < pack; ++k) pixels[i + k] = v[k];
    } else if (!within) {
      pixels[i] = first + i >= 0 && first + i < size ? to_acc(row[first + i]) : acc_t<T>(0);
    }
  }
}

template <typename T, int up, int down, int taps, int pad>
__global__ void __launch_bounds__(strip_threads) upfirdn2d_strips(UpFirDn2d p, StripGrid grid) {
  using A = acc_t<T>;
  constexpr int width = Vec<T>::size, height = strip_rows<T, down>;
  // Output o reads the positions o * down - pad + tap of the upsampled row. A strip begins at a multiple of `up`, and
  // its first pixel lies at the tap `phase` of its first output.
  constexpr int phase = up == 2 ? pad % 2 : 0;
  constexpr int pixels_across = ((width - 1) * down + taps - 1 - phase) / up + 1;
  constexpr int pixels_down = ((height - 1) * down + taps - 1 - phase) / up + 1;
  constexpr int pack = width / up, lead = (pad - phase) / up % pack;

  const Filter<A, taps> filter(p);
  const int in_w = int(p.in_w), in_h = int(p.in_h), out_w = int(p.out_w), out_h = int(p.out_h);
  for (unsigned strip = blockIdx.x * blockDim.x + threadIdx.x; strip < grid.all; strip += gridDim.x * blockDim.x) {
    unsigned plane = strip;
    const int out_x = int(grid.across.split(plane)) * width, out_y = int(grid.down.split(plane)) * height;
    const int first_x = (out_x * down - pad + phase) / up, first_y = (out_y * down - pad + phase) / up;
    const T* const x = static_cast<const T*>(p.x) + int64_t(plane) * in_h * in_w;
    T* const y = static_cast<T*>(p.y) + (int64_t(plane) * out_h + out_y) * out_w + out_x;
    if (!filter.separable()) {
      const int rows = out_h - out_y < height ? out_h - out_y : height;
      filter_plainly<T, 1, up, down, taps, pad>(p, filter, x, y, 1, out_y, rows, out_x, width);
      continue;
    }
    A sums[height][width] = {};
#pragma unroll
    for (int i = 0; i < pixels_down; ++i) {
      if (first_y + i >= 0 && first_y + i < in_h) {
        A pixels[pixels_across];
        load_pixels<pixels_across, lead, pack>(x + (first_y + i) * in_w, first_x, in_w, pixels);
        A across[width] = {};
#pragma unroll
        for (int c = 0; c < width; ++c) {
#pragma unroll
          for (int k = 0; k < pixels_across; ++k) {
            const int tap_x = k * up + phase - c * down;
            if (tap_x >= 0 && tap_x < taps) across[c] += filter.across[tap_x] * pixels[k];
          }
        }
#pragma unroll
        for (int r = 0; r < height; ++r) {
          const int tap_y = i * up + phase - r * down;
          if (tap_y < 0 || tap_y >= taps) continue;
#pragma unroll
          for (int c = 0; c < width; ++c) sums[r][c] += filter.down[tap_y] * across[c];
        }
      }
#pragma unroll
      for (int r = 0; r < height; ++r) {
        // Whether this was the last pixel row of output row r.
        if ((r * down + taps - 1 - phase) / up != i || out_y + r >= out_h) continue;
        *reinterpret_cast<Vec<T>*>(y + r * out_w) = Vec<T>::of(sums[r]);
      }
    }
  }
}

}  // namespace cuda
}  // namespace stylegan_fast
