// Short separable filters at the image's size and at twice of it, over contiguous rows of whole registers, with the
// usual padding: a walk along the row with the vertical sums of the register before, of this one and of the next, from
// which shuffles take the neighbours. Nothing is stored but the output. (4x512x32x32 blurred: 547 us; with rows of sums
// in the cache between, as upfirdn2d_rows.h has them, 802; copied: 509. One thread, AVX-512, buffers beyond the cache.)
#pragma once

#include "upfirdn2d_rows.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

#if STYLEGAN_FAST_REGISTER == 64
#define STYLEGAN_FAST_FROM(k) \
  k, k + 1, k + 2, k + 3, k + 4, k + 5, k + 6, k + 7, k + 8, k + 9, k + 10, k + 11, k + 12, k + 13, k + 14, k + 15
#elif STYLEGAN_FAST_REGISTER == 32
#define STYLEGAN_FAST_FROM(k) k, k + 1, k + 2, k + 3, k + 4, k + 5, k + 6, k + 7
#else
#define STYLEGAN_FAST_FROM(k) k, k + 1, k + 2, k + 3
#endif

// start: how many pixels from its output the first tap lies.
template <class T, int up, int taps, int start>
struct RowWalk {
  using A = Acc<T>;
  static constexpr int reach = taps / up;
  static constexpr int lanes = static_cast<int>(lane_count<A>);

  const Axis<A>&x, &y;

  struct Rows {
    const T* at[reach];
    int64_t step[reach];  // 1, or 0 where there is no row but zeros
    A weights[reach];

    Lanes<A> sum(int64_t i) const {
      soon_read(at[reach - 1] + i);
      Lanes<A> total = lanes_at(at[0] + i * step[0]) * weights[0];
      for (int t = 1; t < reach; ++t) total = fused(lanes_at(at[t] + i * step[t]), Lanes<A>{} + weights[t], total);
      return total;
    }
  };

  // Three registers of neighbours.
  struct Sums {
    Lanes<A> before, here, after;

    template <int by>
    Lanes<A> shifted() const {
      if constexpr (by == 0) {
        return here;
      } else if constexpr (by < 0) {
        return STYLEGAN_FAST_PICK(before, here, STYLEGAN_FAST_FROM(lanes + by));
      } else {
        return STYLEGAN_FAST_PICK(here, after, STYLEGAN_FAST_FROM(by));
      }
    }
  };

  template <int phase>
  Lanes<A> across(const Sums& sums) const {
    const Tap<A>* tap = x.taps[phase];
    Lanes<A> total = sums.template shifted<start + phase>() * tap[0].weight;
    total = fused(sums.template shifted<start + phase + 1>(), Lanes<A>{} + tap[1].weight, total);
    if constexpr (reach > 2) total = fused(sums.template shifted<start + 2>(), Lanes<A>{} + tap[2].weight, total);
    if constexpr (reach > 3) total = fused(sums.template shifted<start + 3>(), Lanes<A>{} + tap[3].weight, total);
    return total;
  }

  void row(const T* in, int64_t o, T* out) const {
    const int64_t phase = o % up, top = o / up + y.start(phase);
    Rows rows;
    for (int t = 0; t < reach; ++t) {
      const bool exists = top + t >= 0 && top + t < y.in;
      rows.at[t] = exists ? in + (top + t) * x.in : no_row<T>;
      rows.step[t] = exists;
      rows.weights[t] = y.taps[phase][t].weight;
    }
    Sums sums{{}, rows.sum(0), {}};
    for (int64_t i = 0; i < x.in; i += lanes, out += up * lanes) {
      sums.after = i + lanes < x.in ? rows.sum(i + lanes) : Lanes<A>{};
      soon_written(out);
      if constexpr (up == 1) {
        put_all(across<0>(sums), out);
      } else {
        soon_written(out + lanes);
        const Lanes<A> even = across<0>(sums), odd = across<1>(sums);
        put_all(first_pairs(even, odd), out);
        put_all(last_pairs(even, odd), out + lanes);
      }
      sums.before = sums.here;
      sums.here = sums.after;
    }
  }

  static bool takes(const Axis<A>& axis) {
    for (int64_t phase = 0; phase < up; ++phase)
      if (axis.counts[phase] != reach || axis.start(phase) != axis.start(0) + phase) return false;
    return axis.up == up && axis.down == 1;
  }

  static bool run(const UpFirDn2d& op, const Separable<A>& axes, int threads) {
    const Axis<A>&x = axes.x, &y = axes.y;
    if (!takes(x) || !takes(y) || x.start(0) != start || x.in % lanes || x.out != up * x.in) return false;
    const RowWalk image{x, y};
    const int64_t all_rows = op.n * op.c * y.out, band = larger(1, numbers_of_piece / x.out);
    parallel(pieces_of(all_rows, band), all_rows * x.out, threads, [&](int64_t piece) {
      int64_t row = piece * band, plane = row / y.out, o = row % y.out;
      for (const int64_t last = smaller(all_rows, row + band); row < last; ++row) {
        image.row(static_cast<const T*>(op.x) + plane * y.in * x.in, o, static_cast<T*>(op.y) + row * x.out);
        if (++o == y.out) o = 0, ++plane;
      }
    });
    return true;
  }
};

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
