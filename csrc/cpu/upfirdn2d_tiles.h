// The filters StyleGAN uses, on the CPU: separable, of a few taps, up and down by 1 or 2 ([1,2,1], [1,1], [1,3,3,1]).
//
// Along an axis, output o = up * j + p (p: its phase) is a sum of inputs i = down * (j + d) + s (s: their parity), the
// pairs (s, d) and their weights depending on p alone. So a tile of the input is copied into one buffer per parity,
// with zeros around, and from then on every sum runs over whole buffers at unit stride: vertically, horizontally, and
// the phases go back interleaved. A pixel is `lanes` neighbouring numbers, 1 when contiguous, and small contiguous
// images are stacked into one tile, so that short rows cost little. Nothing but the copies goes beyond the cache.
#pragma once

#include "upfirdn2d_axis.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

constexpr int64_t tile_numbers = 16384;  // of each stage: three of fp32 are 192 KiB, well inside a level-2 cache
constexpr int64_t widest_tile = 256;     // pixels along a row; a narrow tile has more rows, and so less overlap
constexpr int64_t channels_of_tile = 64;

// to[i] = sum of weight * from[i] over the taps.
template <class A, int taps>
inline void weighted(const A* const* from, const A* weights, int64_t n, A* RESTRICT to) {
  const A w0 = weights[0], w1 = weights[taps > 1 ? 1 : 0], w2 = weights[taps > 2 ? 2 : 0];
  const A w3 = weights[taps > 3 ? 3 : 0];
  const A *f0 = from[0], *f1 = from[taps > 1 ? 1 : 0], *f2 = from[taps > 2 ? 2 : 0], *f3 = from[taps > 3 ? 3 : 0];
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    A sum = w0 * f0[i];
    if (taps > 1) sum = fused(w1, f1[i], sum);
    if (taps > 2) sum = fused(w2, f2[i], sum);
    if (taps > 3) sum = fused(w3, f3[i], sum);
    to[i] = sum;
  }
}

template <class A>
void weighted(int64_t taps, const A* const* from, const A* weights, int64_t n, A* to) {
  switch (taps) {
    case 0: __builtin_memset(to, 0, static_cast<size_t>(n) * sizeof *to); return;
    case 1: return weighted<A, 1>(from, weights, n, to);
    case 2: return weighted<A, 2>(from, weights, n, to);
    case 3: return weighted<A, 3>(from, weights, n, to);
    default: return weighted<A, 4>(from, weights, n, to);
  }
}

// Short runs too: a call for each would cost more than they do.
template <class T>
inline void widen(const T* RESTRICT from, int64_t n, int64_t step, Acc<T>* RESTRICT to) {
  if (step == 1) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) to[i] = to_acc(from[i]);
  } else {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) to[i] = to_acc(from[2 * i]);
  }
}

template <class T>
inline void narrow(const Acc<T>* RESTRICT from, int64_t n, T* RESTRICT to) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) to[i] = from_acc<T>(from[i]);
}

template <class T>
inline void interleave(const Acc<T>* RESTRICT even, const Acc<T>* RESTRICT odd, int64_t n, T* RESTRICT to) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    to[2 * i] = from_acc<T>(even[i]);
    to[2 * i + 1] = from_acc<T>(odd[i]);
  }
}

template <class T>
struct Tiles {
  using A = Acc<T>;
  Axis<A> x, y;
  int64_t stride;  // numbers from one pixel to the next: C when channels_last
  int64_t lanes;   // how many of them a tile takes
  int64_t images, tile_w, tile_h;  // of a tile: stacked images, and steps j along x and y
  int64_t capacity;                // of one parity's or one phase's buffer

  // False where the tile of a single row would be too large.
  bool divide(int64_t image_count) {
    const int64_t parts = larger(larger(x.down * y.down, x.up), x.down);
    capacity = tile_numbers / parts;
    lanes = smaller(stride, channels_of_tile);
    tile_w = smaller(x.steps(), stride == 1 ? widest_tile : widest_tile / 16);
    const int64_t pitch = (tile_w + x.halo) * lanes, rows = capacity / pitch;
    tile_h = smaller(y.steps(), rows - y.halo);
    if (tile_h < 1) return false;
    const bool whole = stride == 1 && tile_w == x.steps() && tile_h == y.steps();
    images = whole ? smaller(image_count, rows / (tile_h + y.halo)) : 1;
    return true;
  }

  struct Tile {
    const T* in;
    T* out;
    int64_t images, j_x, j_y, w, h, lanes;
    int64_t pitch, rows;  // numbers of a row of the buffers; rows of one image there
  };

  // Rows of one parity, split into the columns of each; zeros where there are no pixels.
  void copy_in(const Tile& t, int64_t parity, A* to) const {
    for (int64_t s = 0; s < x.down; ++s) {
      const int64_t pixels = t.w + x.halo, start = (t.j_x + x.first) * x.down + s;
      // Pixels [begin, end) of every line exist.
      const int64_t begin = smaller(pixels, start < 0 ? (-start + x.down - 1) / x.down : 0);
      const int64_t end = larger(begin, smaller(pixels, floor_of(x.in - 1 - start, x.down) + 1));
      A* line = to + s * capacity;
      for (int64_t image = 0; image < t.images; ++image) {
        for (int64_t row = 0; row < t.rows; ++row, line += t.pitch) {
          const int64_t from_y = (t.j_y + row + y.first) * y.down + parity;
          if (from_y < 0 || from_y >= y.in || begin == end) {
            for (int64_t i = 0; i < t.pitch; ++i) line[i] = 0;
            continue;
          }
          for (int64_t i = 0; i < begin * t.lanes; ++i) line[i] = 0;
          for (int64_t i = end * t.lanes; i < t.pitch; ++i) line[i] = 0;
          const T* from = t.in + ((image * y.in + from_y) * x.in + start + begin * x.down) * stride;
          if (x.down == 1 && t.lanes == stride) {
            widen<T>(from, (end - begin) * stride, 1, line + begin * stride);
          } else if (stride == 1) {
            widen<T>(from, end - begin, 2, line + begin);
          } else {
            for (int64_t i = begin; i < end; ++i, from += x.down * stride)
              widen<T>(from, t.lanes, 1, line + i * t.lanes);
          }
        }
      }
    }
  }

  // The taps of one phase along one axis over the buffers of its parities, `step` numbers for one pixel.
  static void sum_phase(const Axis<A>& axis, int64_t phase, const A* from, int64_t between, int64_t step, int64_t n,
                        A* to) {
    const A* rows[most_taps] = {};
    A weights[most_taps] = {};
    for (int64_t k = 0; k < axis.counts[phase]; ++k) {
      const Tap<A>& tap = axis.taps[phase][k];
      rows[k] = from + tap.parity * between + (tap.offset - axis.first) * step;
      weights[k] = tap.weight;
    }
    weighted(axis.counts[phase], rows, weights, n, to);
  }

  void copy_out(const Tile& t, int64_t phase, const A* from) const {
    for (int64_t image = 0; image < t.images; ++image) {
      for (int64_t j = 0; j < t.h; ++j) {
        const int64_t to_y = (t.j_y + j) * y.up + phase, to_x = t.j_x * x.up;
        if (to_y >= y.out) continue;
        const A* line = from + (image * t.rows + j) * t.pitch;
        T* to = t.out + ((image * y.out + to_y) * x.out + to_x) * stride;
        const int64_t count = smaller(x.out - to_x, t.w * x.up);
        if (x.up == 1 && t.lanes == stride) {
          narrow<T>(line, count * t.lanes, to);
        } else if (stride == 1) {
          interleave<T>(line, line + capacity, count / 2, to);
          if (count % 2) to[count - 1] = from_acc<T>(line[count / 2]);
        } else {
          for (int64_t p = 0; p < x.up; ++p) {
            const A* pixel = line + p * capacity;
            for (int64_t i = p; i < count; i += x.up, pixel += t.lanes) narrow<T>(pixel, t.lanes, to + i * stride);
          }
        }
      }
    }
  }

  void run(const Tile& t) const {
    A pixels[tile_numbers], columns[tile_numbers], sums[tile_numbers];
    const int64_t total = t.images * t.rows * t.pitch;
    for (int64_t s = 0; s < y.down; ++s) copy_in(t, s, pixels + s * x.down * capacity);
    for (int64_t phase_y = 0; phase_y < y.up; ++phase_y) {
      const int64_t n = total - y.halo * t.pitch;
      for (int64_t s = 0; s < x.down; ++s)
        sum_phase(y, phase_y, pixels + s * capacity, x.down * capacity, t.pitch, n, columns + s * capacity);
      for (int64_t phase_x = 0; phase_x < x.up; ++phase_x)
        sum_phase(x, phase_x, columns, capacity, t.lanes, n - x.halo * t.lanes, sums + phase_x * capacity);
      copy_out(t, phase_y, sums);
    }
  }
};

// False where a single row is too much for a tile, and nothing was done.
template <class T>
bool resample_tiles(const UpFirDn2d& op, const Separable<Acc<T>>& axes, int threads) {
  const int64_t image_count = op.layout == Layout::contiguous ? op.n * op.c : op.n;
  Tiles<T> tiles;
  tiles.x = axes.x, tiles.y = axes.y;
  tiles.stride = op.layout == Layout::contiguous ? 1 : op.c;
  if (!tiles.divide(image_count)) return false;
  const int64_t slabs = pieces_of(tiles.stride, tiles.lanes);
  const int64_t across_x = pieces_of(tiles.x.steps(), tiles.tile_w);
  const int64_t across_y = pieces_of(tiles.y.steps(), tiles.tile_h);
  const int64_t groups = pieces_of(image_count, tiles.images), elements = op.n * op.c * op.out_h * op.out_w;
  parallel(groups * across_y * across_x * slabs, elements, threads, [&](int64_t i) {
    const int64_t slab = i % slabs, tile_x = i / slabs % across_x, tile_y = i / slabs / across_x % across_y;
    const int64_t first = i / slabs / across_x / across_y * tiles.images, c = slab * tiles.lanes;
    typename Tiles<T>::Tile tile;
    tile.in = static_cast<const T*>(op.x) + first * op.in_h * op.in_w * tiles.stride + c;
    tile.out = static_cast<T*>(op.y) + first * op.out_h * op.out_w * tiles.stride + c;
    tile.images = smaller(tiles.images, image_count - first);
    tile.j_x = tile_x * tiles.tile_w;
    tile.j_y = tile_y * tiles.tile_h;
    tile.w = smaller(tiles.tile_w, tiles.x.steps() - tile.j_x);
    tile.h = smaller(tiles.tile_h, tiles.y.steps() - tile.j_y);
    tile.lanes = smaller(tiles.lanes, tiles.stride - c);
    tile.pitch = (tile.w + tiles.x.halo) * tile.lanes;
    tile.rows = tile.h + tiles.y.halo;
    tiles.run(tile);
  });
  return true;
}

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
