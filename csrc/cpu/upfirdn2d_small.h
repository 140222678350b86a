// AVX-512 only. Short separable filters over contiguous planes of 4x4, 8x8 and 16x16 pixels: a whole plane is one, four
// or sixteen registers, and a neighbour in any direction is a shuffle that brings in zeros where the plane ends.
// Nothing is stored but the output.
#pragma once

#include "registers.h"
#include "upfirdn2d_axis.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

// Sixteen lanes a and sixteen lanes b, regrouped: the first halves, and the last.
inline Lanes<float> first_halves(const Lanes<float>& a, const Lanes<float>& b) {
  return STYLEGAN_FAST_PICK(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
}
inline Lanes<float> last_halves(const Lanes<float>& a, const Lanes<float>& b) {
  return STYLEGAN_FAST_PICK(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
}
// The place of lane i's neighbour `by` pixels along a row of `width` pixels; 16, of the vector of zeros, where it has
// none.
template <int by, int width>
constexpr int along(int i) {
  return i % width + by < 0 || i % width + by >= width ? 16 : i + by;
}

template <int by, int width>
inline Lanes<float> neighbours(const Lanes<float>& row) {
  if constexpr (by == 0) return row;
  constexpr int (*at)(int) = along<by, width>;
  return STYLEGAN_FAST_PICK(row, Lanes<float>{}, at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7), at(8), at(9),
                            at(10), at(11), at(12), at(13), at(14), at(15));
}

// Vector k of a plane, as it would be read `by` numbers later.
template <int by, int vectors>
inline Lanes<float> shifted(const Lanes<float> (&plane)[vectors], int k) {
  constexpr int whole = (by + 64) / 16 - 4, rest = by - 16 * whole;
  const int first = k + whole, second = first + 1;
  const Lanes<float> a = first >= 0 && first < vectors ? plane[first] : Lanes<float>{};
  if constexpr (rest == 0) return a;
  const Lanes<float> b = second >= 0 && second < vectors ? plane[second] : Lanes<float>{};
  return STYLEGAN_FAST_PICK(a, b, rest, rest + 1, rest + 2, rest + 3, rest + 4, rest + 5, rest + 6, rest + 7, rest + 8,
                            rest + 9, rest + 10, rest + 11, rest + 12, rest + 13, rest + 14, rest + 15);
}

template <class T>
struct SmallPlanes {
  using A = float;
  static constexpr int lanes = 16;

  A wx[2][most_taps], wy[2][most_taps];  // of each phase

  static Lanes<A> weighted(const Lanes<A>& a, A u, const Lanes<A>& b, A v) { return fused(b, Lanes<A>{} + v, a * u); }
  static Lanes<A> weighted(const Lanes<A>& a, A u, const Lanes<A>& b, A v, const Lanes<A>& c, A w) {
    return fused(c, Lanes<A>{} + w, weighted(a, u, b, v));
  }
  static Lanes<A> weighted(const Lanes<A>& a, const Lanes<A>& b, const Lanes<A>& c, const Lanes<A>& d, const A* w) {
    return fused(d, Lanes<A>{} + w[3], weighted(a, w[0], b, w[1], c, w[2]));
  }

  template <int vectors>
  static void read(const T* in, Lanes<A> (&plane)[vectors]) {
    for (int k = 0; k < vectors; ++k) {
      soon_read(in + k * lanes);
      get_all(in + k * lanes, plane[k]);
    }
  }
  static void write(const Lanes<A>& values, T* out) {
    soon_written(out);
    put_all(values, out);
  }

  // Output of the input's size; the first tap lies `start` pixels from the output.
  template <int width, int taps, int start>
  void same(const T* in, T* out) const {
    constexpr int vectors = width * width / lanes;
    Lanes<A> plane[vectors];
    read(in, plane);
    for (int k = 0; k < vectors; ++k) {
      const Lanes<A> up = shifted<start * width>(plane, k), at = shifted<(start + 1) * width>(plane, k);
      Lanes<A> sum = weighted(up, wy[0][0], at, wy[0][1], shifted<(start + 2) * width>(plane, k), wy[0][2]);
      if constexpr (taps == 4) sum = fused(shifted<(start + 3) * width>(plane, k), Lanes<A>{} + wy[0][3], sum);
      Lanes<A> y = weighted(neighbours<start, width>(sum), wx[0][0], neighbours<start + 1, width>(sum), wx[0][1],
                            neighbours<start + 2, width>(sum), wx[0][2]);
      if constexpr (taps == 4) y = fused(neighbours<start + 3, width>(sum), Lanes<A>{} + wx[0][3], y);
      write(y, out + k * lanes);
    }
  }

  // Twice the size; two taps a phase, the first of them one pixel before.
  template <int width>
  void twice(const T* in, T* out) const {
    constexpr int vectors = width * width / lanes;
    Lanes<A> plane[vectors];
    read(in, plane);
    for (int k = 0; k < vectors; ++k) {
      const Lanes<A> sums[2] = {weighted(shifted<-width>(plane, k), wy[0][0], plane[k], wy[0][1]),
                                weighted(plane[k], wy[1][0], shifted<width>(plane, k), wy[1][1])};
      Lanes<A> first[2], last[2];  // of the rows in this vector, stretched; of each phase
      for (int phase = 0; phase < 2; ++phase) {
        const Lanes<A>& sum = sums[phase];
        const Lanes<A> even = weighted(neighbours<-1, width>(sum), wx[0][0], sum, wx[0][1]);
        const Lanes<A> odd = weighted(sum, wx[1][0], neighbours<1, width>(sum), wx[1][1]);
        first[phase] = first_pairs(even, odd);
        last[phase] = last_pairs(even, odd);
      }
      T* to = out + 4 * k * lanes;
      if constexpr (width == 16) {
        write(first[0], to), write(last[0], to + lanes);
        write(first[1], to + 2 * lanes), write(last[1], to + 3 * lanes);
      } else if constexpr (width == 8) {
        write(first[0], to), write(first[1], to + lanes);
        write(last[0], to + 2 * lanes), write(last[1], to + 3 * lanes);
      } else {
        write(first_halves(first[0], first[1]), to), write(last_halves(first[0], first[1]), to + lanes);
        write(first_halves(last[0], last[1]), to + 2 * lanes), write(last_halves(last[0], last[1]), to + 3 * lanes);
      }
    }
  }

  // Half the size, from two vectors of vertical sums to one of outputs.
  template <int width>
  Lanes<A> halved(const Lanes<A>& a, const Lanes<A>& b) const {
    const Lanes<A> even = even_ones(a, b), odd = odd_ones(a, b);
    return weighted(neighbours<-1, width>(odd), even, odd, neighbours<1, width>(even), wx[0]);
  }

  void sixteen_to_eight(const T* in, T* out) const {
    Lanes<A> rows[16], sums[8];
    read(in, rows);
    for (int o = 0; o < 8; ++o) {
      const Lanes<A> above = o > 0 ? rows[2 * o - 1] : Lanes<A>{}, below = o < 7 ? rows[2 * o + 2] : Lanes<A>{};
      sums[o] = weighted(above, rows[2 * o], rows[2 * o + 1], below, wy[0]);
    }
    for (int k = 0; k < 4; ++k) write(halved<8>(sums[2 * k], sums[2 * k + 1]), out + k * lanes);
  }

  void eight_to_four(const T* in, T* out) const {
    Lanes<A> plane[4], sums[2];
    read(in, plane);
    const Lanes<A> even[2] = {first_halves(plane[0], plane[1]), first_halves(plane[2], plane[3])};
    const Lanes<A> odd[2] = {last_halves(plane[0], plane[1]), last_halves(plane[2], plane[3])};
    for (int k = 0; k < 2; ++k) sums[k] = weighted(shifted<-8>(odd, k), even[k], odd[k], shifted<8>(even, k), wy[0]);
    write(halved<4>(sums[0], sums[1]), out);
  }

  using Plane = void (SmallPlanes::*)(const T*, T*) const;

  template <int taps, int start>
  static Plane same_of(int64_t width) {
    if (width == 4) return &SmallPlanes::same<4, taps, start>;
    if (width == 8) return &SmallPlanes::same<8, taps, start>;
    return width == 16 ? &SmallPlanes::same<16, taps, start> : nullptr;
  }

  // The function for this call; null where there is none.
  static Plane choose(const UpFirDn2d& op, const Axis<A>& x, const Axis<A>& y) {
    if (op.layout != Layout::contiguous || x.in != y.in || x.out != y.out || x.up != y.up || x.down != y.down ||
        x.counts[0] != y.counts[0] || x.start(0) != y.start(0))
      return nullptr;
    const int64_t start = x.start(0), taps = x.counts[0], in = x.in, out = x.out;
    if (x.up == 1 && x.down == 1 && in == out) {
      if (taps == 3 && start == -1) return same_of<3, -1>(in);
      if (taps == 4 && start == -1) return same_of<4, -1>(in);
      if (taps == 4 && start == -2) return same_of<4, -2>(in);
    }
    if (x.up == 2 && out == 2 * in && start == -1 && taps == 2 && x.counts[1] == 2 && y.counts[1] == 2 &&
        x.start(1) == 0 && y.start(1) == 0)
      return in == 4    ? &SmallPlanes::twice<4>
             : in == 8  ? &SmallPlanes::twice<8>
             : in == 16 ? &SmallPlanes::twice<16>
                        : nullptr;
    if (x.down == 2 && in == 2 * out && start == -1 && taps == 4)
      return out == 4 ? &SmallPlanes::eight_to_four : out == 8 ? &SmallPlanes::sixteen_to_eight : nullptr;
    return nullptr;
  }

  static bool run(const UpFirDn2d& op, const Separable<A>& axes, int threads) {
    const Plane plane = choose(op, axes.x, axes.y);
    if (!plane) return false;
    SmallPlanes planes;
    for (int64_t phase = 0; phase < axes.x.up; ++phase) {
      for (int64_t t = 0; t < axes.x.counts[phase]; ++t) {
        planes.wx[phase][t] = axes.x.taps[phase][t].weight;
        planes.wy[phase][t] = axes.y.taps[phase][t].weight;
      }
    }
    const int64_t from = op.in_h * op.in_w, to = op.out_h * op.out_w, all = op.n * op.c, band = numbers_of_piece / to;
    parallel(pieces_of(all, band), all * to, threads, [&](int64_t piece) {
      for (int64_t i = piece * band, last = smaller(all, i + band); i < last; ++i)
        (planes.*plane)(static_cast<const T*>(op.x) + i * from, static_cast<T*>(op.y) + i * to);
    });
    return true;
  }
};

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
