// What the kernels of separable filters share: a filter taken apart into its axes, and where the taps of one axis lie.
#pragma once

#include "registers.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

constexpr int64_t most_taps = 4;              // of one phase
constexpr int64_t numbers_of_piece = 65536;  // about how many outputs a thread takes at a time

inline int64_t floor_of(int64_t a, int64_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

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
  // The first pixel under output phase of j = 0; further taps meet the pixels after it.
  int64_t start(int64_t phase) const { return taps[phase][0].offset * down + taps[phase][0].parity; }
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

// A call taken apart, gain included.
template <class A>
struct Separable {
  Axis<A> x, y;

  // False where it cannot be, or needs more taps than are kept.
  bool plan(const UpFirDn2d& op) {
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
    return y.plan(op.up_y, op.down_y, op.pad_y0, op.in_h, op.out_h, weights_y, op.filter_h) &&
           x.plan(op.up_x, op.down_x, op.pad_x0, op.in_w, op.out_w, weights_x, op.filter_w);
  }
};

inline int64_t pieces_of(int64_t whole, int64_t part) { return (whole + part - 1) / part; }

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
