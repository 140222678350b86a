// Short separable filters over channels_last images: whole pixels are vectors, so a neighbour is a pixel away in any
// direction and nothing is ever shuffled.
//
// Along an output row, each pixel of the input is summed vertically once and kept in a ring of as many pixels as one
// output meets; outputs are sums over that ring. Memory is read and written in order, at most 512 channels at a time,
// so that the ring stays in the first-level cache.
#pragma once

#include "registers.h"
#include "upfirdn2d_axis.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

constexpr int64_t slab_channels = 512;

// Where there is no pixel.
template <class T>
constexpr T no_pixel[slab_channels] = {};

template <class T, int up, int down, int taps>
struct PixelRows {
  using A = Acc<T>;
  static constexpr int reach = taps / up;          // input pixels under one output
  static constexpr int window = reach + up - 1;    // under the outputs of one step
  static constexpr int fresh = down;               // of those, under none of the step before
  static constexpr int64_t lanes = lane_count<A>;

  const Axis<A>&x, &y;
  int64_t channels, width;  // numbers from one pixel to the next, and how many of them are computed at a time

  static bool takes(const Axis<A>& axis) {
    for (int64_t phase = 0; phase < up; ++phase)
      if (axis.counts[phase] != reach || axis.start(phase) != axis.start(0) + phase) return false;
    return axis.up == up && axis.down == down;
  }

  // One step along a row, for `width` channels: sums `from` into the newest pixels of the ring, and the ring into `to`.
  void step(const T* const (&from)[fresh][reach], const A* weights_y, A* const (&ring)[window],
            T* const (&to)[up]) const {
    for (int64_t c = 0;; c = smaller(c + lanes, width - lanes)) {
      Lanes<A> pixels[window];
      for (int k = 0; k < window - fresh; ++k) get_all(ring[k] + c, pixels[k]);
      for (int k = 0; k < fresh; ++k) {
        soon_read(from[k][reach - 1] + c);
        Lanes<A> sum = lanes_at(from[k][0] + c) * weights_y[0];
        for (int t = 1; t < reach; ++t) sum = fused(lanes_at(from[k][t] + c), Lanes<A>{} + weights_y[t], sum);
        put_all(sum, ring[window - fresh + k] + c);
        pixels[window - fresh + k] = sum;
      }
      for (int phase = 0; phase < up; ++phase) {
        Lanes<A> sum = pixels[phase] * x.taps[phase][0].weight;
        for (int t = 1; t < reach; ++t) sum = fused(pixels[phase + t], Lanes<A>{} + x.taps[phase][t].weight, sum);
        soon_written(to[phase] + c);
        put_all(sum, to[phase] + c);
      }
      if (c + lanes >= width) return;
    }
  }

  // Output rows [begin, end) of one image; in and out point at the first of the channels.
  void rows(const T* in, T* out, int64_t begin, int64_t end) const {
    alignas(64) A numbers[window][slab_channels];
    T beyond[slab_channels];  // takes the odd phase of a last step that has none
    const int64_t steps = x.steps(), start = x.start(0);
    for (int64_t o = begin; o < end; ++o) {
      const int64_t phase_y = o % up, top = o / up * down + y.start(phase_y);
      A weights_y[reach], *ring[window];
      for (int t = 0; t < reach; ++t) weights_y[t] = y.taps[phase_y][t].weight;
      for (int k = 0; k < window; ++k) ring[k] = numbers[k];
      const T* from[fresh][reach];
      const auto look_at = [&](int64_t pixel, const T*(&column)[reach]) {
        for (int t = 0; t < reach; ++t) {
          const bool exists = pixel >= 0 && pixel < x.in && top + t >= 0 && top + t < y.in;
          column[t] = exists ? in + ((top + t) * x.in + pixel) * channels : no_pixel<T>;
        }
      };
      for (int k = 0; k < window - fresh; ++k) {
        look_at(start + k, from[0]);
        for (int64_t c = 0; c < width; ++c) {
          A sum = 0;
          for (int t = 0; t < reach; ++t) sum = fused(to_acc(from[0][t][c]), weights_y[t], sum);
          numbers[k][c] = sum;
        }
      }
      T* line = out + o * x.out * channels;
      for (int64_t j = 0; j < steps; ++j) {
        for (int k = 0; k < fresh; ++k) look_at(start + j * down + window - fresh + k, from[k]);
        T* to[up];
        for (int phase = 0; phase < up; ++phase)
          to[phase] = j * up + phase < x.out ? line + (j * up + phase) * channels : beyond;
        step(from, weights_y, ring, to);
        A* oldest[fresh];
        for (int k = 0; k < fresh; ++k) oldest[k] = ring[k];
        for (int k = 0; k < window - fresh; ++k) ring[k] = ring[k + fresh];
        for (int k = 0; k < fresh; ++k) ring[window - fresh + k] = oldest[k];
      }
    }
  }

  static bool run(const UpFirDn2d& op, const Separable<A>& axes, int threads) {
    if (!takes(axes.x) || !takes(axes.y) || op.c < lanes) return false;
    // Slabs of one width; the last begins early enough to have it too, and repeats what the one before it wrote.
    const int64_t slabs = pieces_of(op.c, slab_channels);
    const PixelRows image{axes.x, axes.y, op.c, smaller(op.c, pieces_of(pieces_of(op.c, slabs), lanes) * lanes)};
    const int64_t row = op.out_w * op.c, band = larger(1, numbers_of_piece / row), bands = pieces_of(op.out_h, band);
    parallel(op.n * bands, op.n * op.out_h * row, threads, [&](int64_t i) {
      const T* in = static_cast<const T*>(op.x) + i / bands * op.in_h * op.in_w * op.c;
      T* out = static_cast<T*>(op.y) + i / bands * op.out_h * row;
      const int64_t begin = i % bands * band;
      for (int64_t slab = 0; slab < slabs; ++slab) {
        const int64_t c = smaller(slab * image.width, op.c - image.width);
        image.rows(in + c, out + c, begin, smaller(op.out_h, begin + band));
      }
    });
    return true;
  }
};

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
