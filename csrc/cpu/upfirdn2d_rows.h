// Short separable filters over contiguous images of at least 16 pixels a row.
//
// A few output rows at a time: their taps are summed vertically, straight from the input, into rows of sums that stay
// in the first-level cache and have zeros where there are no pixels; then horizontally, straight into the output. Where
// the image is halved, sums at even and at odd places are kept apart, so that every load is of neighbours.
#pragma once

#include "registers.h"
#include "upfirdn2d_axis.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

constexpr int64_t longest_run = 512;   // steps along a row
constexpr int64_t sums_at_once = 2048;  // 8 KiB, and as much again where the image is halved

// Where there is no row.
template <class T>
constexpr T no_row[2 * longest_run + 8] = {};

template <class T, int up, int down, int taps>
struct ImageRows {
  using A = Acc<T>;
  static constexpr int reach = taps / up;        // input pixels under one output
  static constexpr int window = reach + up - 1;  // under the outputs of one step
  static constexpr int64_t lanes = lane_count<A>;

  const Axis<A>&x, &y;

  static bool takes(const Axis<A>& axis) {
    for (int64_t phase = 0; phase < up; ++phase)
      if (axis.counts[phase] != reach || axis.start(phase) != axis.start(0) + phase) return false;
    return axis.up == up && axis.down == down;
  }

  struct Run {
    int64_t first, steps;  // along the row
    int64_t pixel;         // the first under them
    int64_t begin, end;    // of the pixels after it, those that exist
    int64_t pitch;         // from one row of sums to the next
  };

  // `rows` at pixel `from`, summed into place `to` of the line of even and that of odd sums.
  static void sum_column(const T* const (&rows)[reach], const A* weights, int64_t from, A* sum) {
    A total = to_acc(rows[0][from]) * weights[0];
    for (int t = 1; t < reach; ++t) total = fused(to_acc(rows[t][from]), weights[t], total);
    *sum = total;
  }
  static Lanes<A> sum_columns(const T* const (&rows)[reach], const A* weights, int64_t from) {
    soon_read(rows[reach - 1] + from);
    Lanes<A> total = lanes_at(rows[0] + from) * weights[0];
    for (int t = 1; t < reach; ++t) total = fused(lanes_at(rows[t] + from), Lanes<A>{} + weights[t], total);
    return total;
  }

  // One row of sums. rows: at the run's first existing pixel.
  static void vertical(const Run& run, const T* const (&rows)[reach], const A* weights, A* const (&lines)[down]) {
    const int64_t count = run.end - run.begin, all = (run.steps - 1) * down + window;
    for (int64_t i = 0; i < run.begin; ++i) lines[i % down][i / down] = 0;
    for (int64_t i = run.end; i < all; ++i) lines[i % down][i / down] = 0;
    if constexpr (down == 1) {
      A* sums = lines[0] + run.begin;
      if (count >= lanes) {
        for (int64_t i = 0;; i = smaller(i + lanes, count - lanes)) {
          put_all(sum_columns(rows, weights, i), sums + i);
          if (i + lanes == count) break;
        }
      } else {
        for (int64_t i = 0; i < count; ++i) sum_column(rows, weights, i, sums + i);
      }
    } else {
      A* even = lines[run.begin % 2] + run.begin / 2;
      A* odd = lines[(run.begin + 1) % 2] + (run.begin + 1) / 2;
      int64_t done = 0;
      for (; done + 2 * lanes <= count; done += 2 * lanes) {
        const Lanes<A> a = sum_columns(rows, weights, done), b = sum_columns(rows, weights, done + lanes);
        put_all(even_ones(a, b), even + done / 2);
        put_all(odd_ones(a, b), odd + done / 2);
      }
      for (; done < count; ++done) sum_column(rows, weights, done, (done % 2 ? odd : even) + done / 2);
    }
  }

  Lanes<A> across(const A* const (&lines)[down], int64_t phase, int64_t at) const {
    Lanes<A> total = lanes_at(lines[0] + at + phase) * x.taps[phase][0].weight;
    for (int t = 1; t < reach; ++t)
      total = fused(lanes_at(lines[t % down] + at + phase + t / down), Lanes<A>{} + x.taps[phase][t].weight, total);
    return total;
  }

  // One output row from its row of sums; `to` is where the run begins.
  void horizontal(const Run& run, const A* const (&lines)[down], T* to) const {
    if constexpr (up == 1) {
      for (int64_t i = 0; i < run.steps; i += lanes) {
        soon_written(to + i);
        put<T>(across(lines, 0, i), smaller(lanes, run.steps - i), to + i);
      }
    } else {
      const int64_t count = smaller(2 * run.steps, x.out - 2 * run.first);
      for (int64_t i = 0; i < run.steps; i += lanes) {
        const Lanes<A> even = across(lines, 0, i), odd = across(lines, 1, i);
        const int64_t left = count - 2 * i;
        soon_written(to + 2 * i);
        soon_written(to + 2 * i + lanes);
        put<T>(first_pairs(even, odd), smaller(lanes, left), to + 2 * i);
        if (left > lanes) put<T>(last_pairs(even, odd), smaller(lanes, left - lanes), to + 2 * i + lanes);
      }
    }
  }

  // Output rows [begin, end) of one image.
  void rows(const T* in, T* out, int64_t begin, int64_t end, const Run& run) const {
    alignas(64) A sums[down][sums_at_once + 64];
    const int64_t at_once = larger(1, sums_at_once / run.pitch);
    for (int64_t first = begin; first < end; first += at_once) {
      const int64_t count = smaller(at_once, end - first);
      for (int64_t i = 0; i < count; ++i) {
        const int64_t o = first + i, phase = o % up, top = o / up * down + y.start(phase);
        const T* from[reach];
        A weights[reach];
        for (int t = 0; t < reach; ++t) {
          const bool exists = top + t >= 0 && top + t < y.in;
          from[t] = exists ? in + (top + t) * x.in + run.pixel + run.begin : no_row<T>;
          weights[t] = y.taps[phase][t].weight;
        }
        A* lines[down];
        for (int s = 0; s < down; ++s) lines[s] = sums[s] + i * run.pitch;
        vertical(run, from, weights, lines);
      }
      for (int64_t i = 0; i < count; ++i) {
        const A* lines[down];
        for (int s = 0; s < down; ++s) lines[s] = sums[s] + i * run.pitch;
        horizontal(run, lines, out + (first + i) * x.out + run.first * up);
      }
    }
  }

  static bool run(const UpFirDn2d& op, const Separable<A>& axes, int threads) {
    if (!takes(axes.x) || !takes(axes.y) || axes.x.steps() < lanes) return false;
    const ImageRows image{axes.x, axes.y};
    const Axis<A>&x = axes.x, &y = axes.y;
    // Runs of nearly one length; pieces of work of whole rows, which do not end with an image.
    const int64_t runs = pieces_of(x.steps(), longest_run), length = pieces_of(x.steps(), runs);
    const int64_t all_rows = op.n * op.c * y.out, band = larger(1, numbers_of_piece / x.out);
    parallel(pieces_of(all_rows, band), all_rows * x.out, threads, [&](int64_t piece) {
      const int64_t last = smaller(all_rows, (piece + 1) * band);
      for (int64_t row = piece * band; row < last;) {
        const int64_t plane = row / y.out, begin = row % y.out, end = smaller(y.out, begin + last - row);
        for (int64_t first = 0; first < x.steps(); first += length) {
          Run part;
          part.first = first;
          part.steps = smaller(length, x.steps() - first);
          part.pixel = first * down + x.start(0);
          const int64_t all = (part.steps - 1) * down + window;
          part.begin = smaller(all, larger(0, -part.pixel));
          part.end = larger(part.begin, smaller(all, x.in - part.pixel));
          part.pitch = (part.steps + window + lanes - 1) / lanes * lanes;
          image.rows(static_cast<const T*>(op.x) + plane * y.in * x.in, static_cast<T*>(op.y) + plane * y.out * x.out,
                     begin, end, part);
        }
        row += end - begin;
      }
    });
    return true;
  }
};

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
