// How bias_act takes a tensor apart: into pieces of work, and these into runs of neighbours.
#pragma once

#include "registers.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

constexpr int64_t numbers_of_piece = 32768;
constexpr int64_t short_run = 1024;  // of numbers whose bias changes before a vector is full

// Neighbours that are computed together: the bias of the i-th is bias[i], or bias[0] throughout.
template <class A>
struct Run {
  int64_t start, n;
  const A* bias;
  bool shared;

  Lanes<A> bias_at(int64_t i, int64_t width) const {
    return shared ? Lanes<A>{} + *bias : get(bias + i, width);
  }
};

// The bias of numbers [start, start + n), one by one.
template <class A>
const A* spread(const BiasAct& op, int64_t start, int64_t n, A* to) {
  const A* b = static_cast<const A*>(op.b);
  int64_t channel = start / op.bias_step % op.bias_size, left = op.bias_step - start % op.bias_step;
  for (int64_t i = 0; i < n; ++i) {
    to[i] = b[channel];
    if (--left) continue;
    left = op.bias_step;
    if (++channel == op.bias_size) channel = 0;
  }
  return to;
}

// How a tensor is cut into pieces of work and these into runs: whole planes, which have one bias each, or rows of
// biases, as many as make up a piece; longer ones into slices. Where neither fills a register, runs of any neighbours.
template <class A>
struct Cut {
  bool by_bias, planes, rows;
  int64_t unit, slice, slices;  // numbers of a plane or row, and of a slice of it; slices of each
  int64_t piece, pieces;        // numbers of a piece of whole planes or rows; pieces in all

  // by_bias: whether it matters where a bias begins and ends. If not, a piece is a run.
  Cut(const BiasAct& op, bool by_bias_) : by_bias(by_bias_) {
    constexpr int64_t lanes = lane_count<A>;
    planes = by_bias && op.bias_step >= lanes;
    rows = by_bias && op.bias_step == 1 && op.bias_size >= lanes;
    unit = planes ? op.bias_step : rows ? op.bias_size : short_run;
    slice = unit / ((unit + numbers_of_piece - 1) / numbers_of_piece);
    slice = (slice + lanes - 1) / lanes * lanes;
    slices = (unit + slice - 1) / slice;
    piece = larger(1, numbers_of_piece / unit) * unit;
    pieces = (op.size + piece - 1) / piece * slices;
  }

  int64_t first(int64_t piece_) const { return piece_ / slices * piece + piece_ % slices * slice; }
  int64_t last(int64_t piece_, int64_t size) const {
    const int64_t whole = smaller(size, (piece_ / slices + 1) * piece);
    return slices == 1 ? whole : smaller(whole, first(piece_) + slice);
  }

  // Of planes, rows of sums: one for each slice of a sample's planes, but one where all planes are one piece.
  int64_t rows_of_planes(const BiasAct& op) const {
    return pieces == 1 ? 1 : op.size / (op.bias_step * op.bias_size) * slices;
  }
};

// Body(run) for runs that together are the whole tensor, and after those of a piece of work done(cut, piece).
template <class A, class Body, class Done>
void over_runs(const BiasAct& op, bool biased, bool summed, int threads, Body body, Done done) {
  const A* b = biased ? static_cast<const A*>(op.b) : nullptr;
  const A none = -A(0);  // x + -0 is x, also where x is -0
  const Cut<A> cut(op, b || summed);
  parallel(cut.pieces, op.size, threads, [&](int64_t p) {
    const int64_t end = cut.last(p, op.size);
    int64_t start = cut.first(p);
    int64_t channel = cut.planes ? start / op.bias_step % op.bias_size : cut.rows ? start % op.bias_size : 0;
    A row[short_run];
    while (start < end) {
      const int64_t n = cut.by_bias ? smaller(cut.unit, end - start) : end - start;
      Run<A> run{start, n, &none, true};
      start += n;
      if (cut.planes && b) {
        run.bias = b + channel;
        if (++channel == op.bias_size) channel = 0;
      } else if (b) {
        run.bias = cut.rows ? b + channel : spread(op, run.start, n, row);
        run.shared = false;
      }
      body(run);
    }
    done(cut, p);
  });
}

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
