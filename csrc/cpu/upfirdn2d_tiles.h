// The filters StyleGAN uses, on the CPU: separable, of a few taps, up and down by 1 or 2 ([1,2,1], [1,1], [1,3,3,1]).
//
// Along an axis, output o = up * j + p (p: its phase) is a sum of inputs i = down * (j + d) + s (s: their parity), the
// pairs (s, d) and their weights depending on p alone. So a tile of the input is copied into one buffer per parity, with
// zeros around, and from then on every sum runs over whole buffers at unit stride: vertically, horizontally, and the
// phases go back interleaved. A pixel is `lanes` neighbouring numbers, 1 when contiguous, and small contiguous images
// are stacked into one tile, so that short rows cost little. Nothing but the copies goes beyond the cache.
#pragma once

#include "simd.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

constexpr int64_t most_taps = 4;         // of one phase
constexpr int64_t tile_numbers = 16384;  // of each stage: three of fp32 are 192 KiB, well inside a level-2 cache
constexpr int64_t widest_tile = 256;     // pixels along a row; a narrow tile has more rows, and so less overlap
constexpr int64_t channels_of_tile = 32;

inline int64_t floor_of(int64_t a, int64_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

template <class A>
struct Tap {
  int64_t parity, offset;  // s and d above
  A weight;
};

template <class A>
struct Axis {
  int64_t up, down, in, out;
  int64_t first, halo;  // smallest d, and how many more pixels than outputs a tile reads
  int64_t counts[2];
  Tap<A> taps[2][most_taps];

  // False where a phase has more taps than are kept here. weights: of the correlation.
  bool plan(int64_t up_, int64_t down_, int64_t pad, int64_t in_, int64_t out_, const A* weights, int64_t size) {
    up = up_, down = down_, in = in_, out = out_;
    int64_t last = first = 0;
    bool found = false;
    for (int64_t phase = 0; phase < up; ++phase) {
      counts[phase] = 0;
      for (int64_t k = 0; k < size; ++k) {
        const int64_t position = phase * down + k - pad;
        if (floor_of(position, up) * up != position) continue;
        if (counts[phase] == most_taps) return false;
        const int64_t i = position / up, offset = floor_of(i, down);
        taps[phase][counts[phase]++] = {i - offset * down, offset, weights[k]};
        first = found ? smaller(first, offset) : offset;
        last = found ? larger(last, offset) : offset;
        found = true;
      }
    }
    halo = last - first;
    return true;
  }
  int64_t steps() const { return (out + up - 1) / up; }  // how many j
};

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
    const int64_t pixels = t.w + x.halo;
    for (int64_t row = 0; row < t.images * t.rows; ++row) {
      const int64_t image = row / t.rows, from_y = (t.j_y + row % t.rows + y.first) * y.down + parity;
      for (int64_t s = 0; s < x.down; ++s) {
        A* line = to + s * capacity + row * t.pitch;
        // Pixels [begin, end) of the line exist.
        const int64_t start = (t.j_x + x.first) * x.down + s;
        const int64_t begin = smaller(pixels, start < 0 ? (-start + x.down - 1) / x.down : 0);
        const int64_t end = larger(begin, smaller(pixels, floor_of(x.in - 1 - start, x.down) + 1));
        if (from_y < 0 || from_y >= y.in || begin == end) {
          for (int64_t i = 0; i < pixels * t.lanes; ++i) line[i] = 0;
          continue;
        }
        for (int64_t i = 0; i < begin * t.lanes; ++i) line[i] = 0;
        for (int64_t i = end * t.lanes; i < pixels * t.lanes; ++i) line[i] = 0;
        const T* from = t.in + ((image * y.in + from_y) * x.in + start + begin * x.down) * stride;
        if (stride == 1) {
          widen<T>(from, end - begin, x.down, line + begin);
        } else {
          for (int64_t i = begin; i < end; ++i, from += x.down * stride) widen<T>(from, t.lanes, 1, line + i * t.lanes);
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
          for (int64_t i = 0; i < count; ++i)
            narrow<T>(line + i % x.up * capacity + i / x.up * t.lanes, t.lanes, to + i * stride);
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

// f[i][j] = down[i] * across[j], to the last bit of it but one; false where the filter is no such product.
template <class A>
bool factors(const A* f, int64_t h, int64_t w, A* down, A* across) {
  constexpr A ulp = sizeof(A) == 8 ? A(0x1p-52) : A(0x1p-23);
  int64_t peak = 0;
  for (int64_t i = 0; i < h * w; ++i)
    if (__builtin_fabs(f[i]) > __builtin_fabs(f[peak])) peak = i;
  if (!(__builtin_fabs(f[peak]) > 0) || !__builtin_isfinite(f[peak])) return false;
  for (int64_t i = 0; i < h; ++i) down[i] = f[i * w + peak % w] / f[peak];
  for (int64_t j = 0; j < w; ++j) across[j] = f[peak / w * w + j];
  for (int64_t i = 0; i < h; ++i)
    for (int64_t j = 0; j < w; ++j)
      if (!(__builtin_fabs(f[i * w + j] - down[i] * across[j]) <= ulp * __builtin_fabs(f[i * w + j]))) return false;
  return true;
}

// False where the call is not one of those above, and nothing was done.
template <class T>
bool resample_tiles(const UpFirDn2d& op, int threads) {
  using A = Acc<T>;
  constexpr int64_t longest = 2 * most_taps;
  const bool small = op.up_x <= 2 && op.up_y <= 2 && op.down_x <= 2 && op.down_y <= 2 && op.filter_h <= longest &&
                     op.filter_w <= longest && op.up_x * op.down_x <= 2 && op.up_y * op.down_y <= 2;
  A down[longest], across[longest], weights_x[longest], weights_y[longest];
  if (!small || !op.in_h || !op.in_w ||
      !factors(static_cast<const A*>(op.filter), op.filter_h, op.filter_w, down, across))
    return false;
  for (int64_t i = 0; i < op.filter_h; ++i) weights_y[i] = down[op.flip_filter ? i : op.filter_h - 1 - i];
  for (int64_t j = 0; j < op.filter_w; ++j)
    weights_x[j] = across[op.flip_filter ? j : op.filter_w - 1 - j] * static_cast<A>(op.gain);
  const int64_t image_count = op.layout == Layout::contiguous ? op.n * op.c : op.n;
  Tiles<T> tiles;
  tiles.stride = op.layout == Layout::contiguous ? 1 : op.c;
  if (!tiles.y.plan(op.up_y, op.down_y, op.pad_y0, op.in_h, op.out_h, weights_y, op.filter_h) ||
      !tiles.x.plan(op.up_x, op.down_x, op.pad_x0, op.in_w, op.out_w, weights_x, op.filter_w) ||
      !tiles.divide(image_count))
    return false;
  const auto pieces = [](int64_t whole, int64_t part) { return (whole + part - 1) / part; };
  const int64_t slabs = pieces(tiles.stride, tiles.lanes);
  const int64_t across_x = pieces(tiles.x.steps(), tiles.tile_w), across_y = pieces(tiles.y.steps(), tiles.tile_h);
  const int64_t groups = pieces(image_count, tiles.images), elements = op.n * op.c * op.out_h * op.out_w;
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
