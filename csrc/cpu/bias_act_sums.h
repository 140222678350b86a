// The gradient of bias_act's bias: the sums of dx, each piece's while it is in the cache.
#pragma once

#include "bias_act_runs.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

// The sum of n neighbours. Four sums, of which none waits for another.
template <class T>
Acc<T> sum_of_run(const T* x, int64_t n) {
  using A = Acc<T>;
  constexpr int64_t lanes = lane_count<A>;
  Lanes<A> all = {};
  int64_t i = 0;
  if (n >= 4 * lanes) {
    Lanes<A> sums[4] = {};
    for (; i + 4 * lanes <= n; i += 4 * lanes)
      for (int64_t k = 0; k < 4; ++k) sums[k] += lanes_at(x + i + k * lanes);
    all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  }
  for (; i + lanes <= n; i += lanes) all += lanes_at(x + i);
  A sum = sum_of<A>(all);
  for (; i < n; ++i) sum += to_acc(x[i]);
  return sum;
}

// From column `from` on, the sums of the columns of `rows` rows of n neighbours, `together` registers of columns at a
// time and as many rows as make four sums of which none waits for another. Returns the first column that is left.
template <int64_t together, class T>
int64_t sum_columns(const T* x, int64_t rows, int64_t n, int64_t from, Acc<T>* sums) {
  using A = Acc<T>;
  constexpr int64_t lanes = lane_count<A>, at_once = 4 / together;
  for (; from + together * lanes <= n; from += together * lanes) {
    Lanes<A> sum[at_once][together] = {};
    const auto add = [&](int64_t row, int64_t to) {
      for (int64_t k = 0; k < together; ++k) sum[to][k] += lanes_at(x + row * n + from + k * lanes);
    };
    int64_t row = 0;
    for (; row + at_once <= rows; row += at_once)
      for (int64_t i = 0; i < at_once; ++i) add(row + i, i);
    for (; row < rows; ++row) add(row, 0);
    for (int64_t k = 0; k < together; ++k) {
      for (int64_t i = 1; i < at_once; ++i) sum[0][k] += sum[i][k];
      put_all(sum[0][k], sums + from + k * lanes);
    }
  }
  return from;
}

// Adds n neighbours to the sums of their biases, of which there are `biases`, fewer than a register has lanes, in turns;
// `channel` is the first one's. After as many registers as there are biases they are in the same lanes again.
template <class T>
void add_short_rows(const T* x, int64_t n, int64_t biases, int64_t channel, Acc<T>* sums) {
  using A = Acc<T>;
  constexpr int64_t lanes = lane_count<A>;
  Lanes<A> found[lanes] = {};
  int64_t i = 0;
  for (; i + biases * lanes <= n; i += biases * lanes)
    for (int64_t k = 0; k < biases; ++k) found[k] += lanes_at(x + i + k * lanes);
  const auto add = [&](A value) {
    sums[channel] += value;
    if (++channel == biases) channel = 0;
  };
  for (int64_t k = 0; k < biases; ++k)
    for (int64_t lane = 0; lane < lanes; ++lane) add(found[k][lane]);
  for (; i < n; ++i) add(to_acc(x[i]));
}

// A piece's part of the sums of x over the numbers of each bias: what it wrote last is still in the cache.
template <class T>
void sum_piece(const BiasAct& op, const Cut<Acc<T>>& cut, int64_t piece, const T* x, Acc<T>* partials) {
  using A = Acc<T>;
  const int64_t start = cut.first(piece), end = cut.last(piece, op.size);
  if (cut.planes && cut.pieces > 1) {
    const int64_t plane = start / op.bias_step, channel = plane % op.bias_size, sample = plane / op.bias_size;
    A* to = partials + (sample * cut.slices + piece % cut.slices) * op.bias_size + channel;
    for (int64_t at = start; at < end; at += cut.unit) *to++ = sum_of_run(x + at, smaller(cut.unit, end - at));
    return;
  }
  A* const sums = partials + (cut.planes ? 0 : piece * op.bias_size);
  for (int64_t i = 0; i < op.bias_size; ++i) sums[i] = 0;
  int64_t channel = start / op.bias_step % op.bias_size;
  if (cut.planes) {
    for (int64_t at = start; at < end; at += cut.unit) {
      sums[channel] += sum_of_run(x + at, cut.unit);
      if (++channel == op.bias_size) channel = 0;
    }
  } else if (cut.rows) {
    const int64_t n = smaller(cut.unit, end - start), rows = (end - start) / n;
    int64_t i = sum_columns<4>(x + start, rows, n, 0, sums + channel);
    i = sum_columns<2>(x + start, rows, n, i, sums + channel);
    i = sum_columns<1>(x + start, rows, n, i, sums + channel);
    for (; i < n; ++i)
      for (int64_t row = 0; row < rows; ++row) sums[channel + i] += to_acc(x[start + row * n + i]);
  } else if (op.bias_step == 1) {
    add_short_rows(x + start, end - start, op.bias_size, channel, sums);
  } else {
    for (int64_t i = start; i < end; ++i) sums[i / op.bias_step % op.bias_size] += to_acc(x[i]);
  }
}

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
