// Every pixel twice along both axes, and the mean of two by two: [1,1] up and down. Neither meets an edge, so all
// images of a tensor are one tall image, and its rows are independent.
#pragma once

#include "registers.h"
#include "upfirdn2d_axis.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

#if STYLEGAN_FAST_REGISTER == 64
// Every second group of four lanes.
inline Lanes<float> even_fours(const Lanes<float>& a, const Lanes<float>& b) {
  return STYLEGAN_FAST_PICK(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
}
inline Lanes<float> odd_fours(const Lanes<float>& a, const Lanes<float>& b) {
  return STYLEGAN_FAST_PICK(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
}
#endif

template <class T>
struct Boxes {
  using A = Acc<T>;
  static constexpr int64_t lanes = lane_count<A>;
  A weight;

  // Body(i) for registers that together hold n numbers, the last two overlapping; false where one register is too many.
  template <class Body>
  static bool over_full_lanes(int64_t n, Body body) {
    if (n < lanes) return false;
    over_lanes<A, 0>(n, [](int64_t) {}, [&](int64_t i, int64_t) { body(i); });
    return true;
  }

  // ------------------------------------------------------------------------------------------------ repeated pixels

  void repeat_pixels(const T* in, int64_t width, int64_t channels, T* out) const {
    const int64_t line = 2 * width * channels;
    for (int64_t i = 0; i < width; ++i, in += channels, out += 2 * channels) {
      T* const to[4] = {out, out + channels, out + line, out + line + channels};
      const bool done = over_full_lanes(channels, [&](int64_t c) {
        soon_read(in + c);
        const Lanes<A> value = lanes_at(in + c) * weight;
        for (T* place : to) {
          soon_written(place + c);
          put_all(value, place + c);
        }
      });
      if (done) continue;
      for (int64_t c = 0; c < channels; ++c)
        for (T* place : to) place[c] = from_acc<T>(to_acc(in[c]) * weight);
    }
  }

  void repeat_row(const T* in, int64_t width, T* out) const {
    T* const to[2] = {out, out + 2 * width};
    const bool done = over_full_lanes(width, [&](int64_t i) {
      soon_read(in + i);
      const Lanes<A> value = lanes_at(in + i) * weight;
      const Lanes<A> first = first_pairs(value, value), last = last_pairs(value, value);
      for (T* place : to) {
        soon_written(place + 2 * i);
        soon_written(place + 2 * i + lanes);
        put_all(first, place + 2 * i);
        put_all(last, place + 2 * i + lanes);
      }
    });
    if (done) return;
    for (int64_t i = 0; i < width; ++i)
      for (T* place : to) place[2 * i] = place[2 * i + 1] = from_acc<T>(to_acc(in[i]) * weight);
  }

#if STYLEGAN_FAST_REGISTER == 64
  // Rows of 4 or 8: several of them in one register.
  template <int64_t width>
  void repeat_short_rows(const T* in, T* out) const {
    const Lanes<A> value = lanes_at(in) * weight;
    T pairs[2 * lanes];
    put_all(first_pairs(value, value), pairs);
    put_all(last_pairs(value, value), pairs + lanes);
    for (int64_t row = 0; row < lanes / width; ++row)
      for (int64_t copy = 0; copy < 2; ++copy)
        __builtin_memcpy(out + (2 * row + copy) * 2 * width, pairs + row * 2 * width, 2 * width * sizeof(T));
  }
#endif

  void repeat(const T* in, int64_t rows, int64_t width, int64_t channels, T* out) const {
    int64_t row = 0;
#if STYLEGAN_FAST_REGISTER == 64
    if (channels == 1 && (width == 4 || width == 8)) {
      const int64_t together = lanes / width;
      for (; row + together <= rows; row += together) {
        const T* from = in + row * width;
        width == 4 ? repeat_short_rows<4>(from, out + row * 16) : repeat_short_rows<8>(from, out + row * 32);
      }
    }
#endif
    for (; row < rows; ++row) {
      const T* from = in + row * width * channels;
      T* to = out + row * 4 * width * channels;
      channels == 1 ? repeat_row(from, width, to) : repeat_pixels(from, width, channels, to);
    }
  }

  // ---------------------------------------------------------------------------------------------------------- means

  void mean_pixels(const T* in, int64_t width, int64_t channels, T* out) const {
    const int64_t line = 2 * width * channels;
    for (int64_t i = 0; i < width; ++i, in += 2 * channels, out += channels) {
      const T* const from[4] = {in, in + channels, in + line, in + line + channels};
      const bool done = over_full_lanes(channels, [&](int64_t c) {
        for (const T* place : from) soon_read(place + c);
        soon_written(out + c);
        const Lanes<A> upper = lanes_at(from[0] + c) + lanes_at(from[1] + c);
        const Lanes<A> lower = lanes_at(from[2] + c) + lanes_at(from[3] + c);
        put_all((upper + lower) * weight, out + c);
      });
      if (done) continue;
      for (int64_t c = 0; c < channels; ++c) {
        const A upper = to_acc(from[0][c]) + to_acc(from[1][c]), lower = to_acc(from[2][c]) + to_acc(from[3][c]);
        out[c] = from_acc<T>((upper + lower) * weight);
      }
    }
  }

  // Two input rows from `in`, `width` outputs.
  void mean_row(const T* in, int64_t width, T* out) const {
    const T* const below = in + 2 * width;
    const bool done = over_full_lanes(width, [&](int64_t i) {
      for (const T* line = in; line <= below; line += 2 * width) {
        soon_read(line + 2 * i);
        soon_read(line + 2 * i + lanes);
      }
      soon_written(out + i);
      const Lanes<A> a = lanes_at(in + 2 * i) + lanes_at(below + 2 * i);
      const Lanes<A> b = lanes_at(in + 2 * i + lanes) + lanes_at(below + 2 * i + lanes);
      put_all((even_ones(a, b) + odd_ones(a, b)) * weight, out + i);
    });
    if (done) return;
    for (int64_t i = 0; i < width; ++i) {
      const A left = to_acc(in[2 * i]) + to_acc(below[2 * i]), right = to_acc(in[2 * i + 1]) + to_acc(below[2 * i + 1]);
      out[i] = from_acc<T>((left + right) * weight);
    }
  }

#if STYLEGAN_FAST_REGISTER == 64
  // Output rows of 8, two of them in one register.
  void mean_rows_of_8(const T* in, T* out) const {
    const Lanes<A> a = lanes_at(in) + lanes_at(in + 16), b = lanes_at(in + 32) + lanes_at(in + 48);
    put_all((even_ones(a, b) + odd_ones(a, b)) * weight, out);
  }

  // Output rows of 4, four of them in one register.
  void mean_rows_of_4(const T* in, T* out) const {
    const Lanes<A> a = lanes_at(in), b = lanes_at(in + 16), c = lanes_at(in + 32), d = lanes_at(in + 48);
    const Lanes<A> first = even_ones(a, b) + odd_ones(a, b), last = even_ones(c, d) + odd_ones(c, d);
    put_all((even_fours(first, last) + odd_fours(first, last)) * weight, out);
  }
#endif

  void mean(const T* in, int64_t rows, int64_t width, int64_t channels, T* out) const {
    int64_t row = 0;
#if STYLEGAN_FAST_REGISTER == 64
    if (channels == 1 && (width == 4 || width == 8)) {
      const int64_t together = lanes / width;
      for (; row + together <= rows; row += together)
        width == 4 ? mean_rows_of_4(in + row * 16, out + row * 4) : mean_rows_of_8(in + row * 32, out + row * 8);
    }
#endif
    for (; row < rows; ++row) {
      const T* from = in + row * 4 * width * channels;
      T* to = out + row * width * channels;
      channels == 1 ? mean_row(from, width, to) : mean_pixels(from, width, channels, to);
    }
  }

  // Both taps of every phase weigh the same.
  static bool even(const Axis<A>& axis) {
    const Tap<A>& last = axis.up == 2 ? axis.taps[1][0] : axis.taps[0][1];
    return axis.taps[0][0].weight == last.weight;
  }
  static bool repeats(const Axis<A>& axis) {
    return axis.up == 2 && axis.counts[0] == 1 && axis.counts[1] == 1 && axis.start(0) == 0 && axis.start(1) == 0 &&
           axis.out == 2 * axis.in && even(axis);
  }
  static bool halves(const Axis<A>& axis) {
    return axis.down == 2 && axis.counts[0] == 2 && axis.start(0) == 0 && axis.in == 2 * axis.out && even(axis);
  }

  static bool run(const UpFirDn2d& op, const Separable<A>& axes, int threads) {
    const bool up = repeats(axes.x) && repeats(axes.y);
    if (!up && !(halves(axes.x) && halves(axes.y))) return false;
    const Boxes boxes{axes.x.taps[0][0].weight * axes.y.taps[0][0].weight};
    const bool contiguous = op.layout == Layout::contiguous;
    const int64_t channels = contiguous ? 1 : op.c, images = contiguous ? op.n * op.c : op.n;
    // Rows of the smaller side; a multiple of the rows that share a vector make a piece.
    const int64_t rows = images * (up ? op.in_h : op.out_h), width = up ? op.in_w : op.out_w;
    const int64_t band = larger(1, numbers_of_piece / (width * channels * 4 * lanes)) * lanes;
    parallel(pieces_of(rows, band), 4 * rows * width * channels, threads, [&](int64_t piece) {
      const int64_t first = piece * band, count = smaller(band, rows - first), line = width * channels;
      const T* in = static_cast<const T*>(op.x) + first * line * (up ? 1 : 4);
      T* out = static_cast<T*>(op.y) + first * line * (up ? 4 : 1);
      up ? boxes.repeat(in, count, width, channels, out) : boxes.mean(in, count, width, channels, out);
    });
    return true;
  }
};

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
