// bias_act for the activations networks are made of: linear, relu and lrelu with a positive gain, on whole 16-byte
// vectors that each have one bias (planes of whole vectors) or a row of them (channels_last). The activation is known
// to the compiler, and the derivative is the sign of y: no division, nothing read that is not needed.
//
// A thread takes up to 4 vectors at a time, loaded before the first is used; bias_act.cu says how many.
#pragma once

#include "bias_act.cuh"
#include "divide.cuh"
#include "reduce.cuh"

namespace stylegan_fast {
namespace cuda {

constexpr int vectors_at_once = 4;

// What goes with a vector: one bias, or as many as it has elements.
enum class Biases { plane, row };

// Fewer than 2^31 vectors, `each` of them a thread. For planes, `period` vectors have one bias and there are `biases`
// of them; a row is `period` vectors, and `threads` of a block, a multiple of it, are at work: each has its own biases.
struct VectorGrid {
  unsigned vectors, each, threads;
  Divisor period, biases;
};

// Of u = x + b, given the slopes on either side of 0.
template <Activation act, typename A>
__device__ __forceinline__ A activated(A u, A positive, A negative) {
  if (act == Activation::linear) return u * positive;
  if (act == Activation::relu) return (u < A(0) ? A(0) : u) * positive;  // a NaN stays one
  return u * (u >= A(0) ? positive : negative);
}

// The slope at the u whose y this is.
template <Activation act, typename A>
__device__ __forceinline__ A slope_at(A y, A positive, A negative) {
  if (act == Activation::relu) return y > A(0) ? positive : A(0);
  return y >= A(0) ? positive : negative;
}

template <typename T, Activation act, Biases biases>
__global__ void __launch_bounds__(bias_act_threads) bias_act_vectors(BiasActForward p, VectorGrid grid) {
  using A = acc_t<T>;
  constexpr int size = Vec<T>::size, some = biases == Biases::row ? size : 1;
  if (threadIdx.x >= grid.threads) return;
  const A positive = A(p.op.gain), negative = A(p.op.gain) * A(p.op.alpha), clamp = A(p.op.clamp);
  A row[some] = {};
  if (biases == Biases::row) {
    unsigned lane = threadIdx.x;
    lane = grid.period.split(lane);
    if (p.op.b_is_acc) {
      load_acc<size>(static_cast<const A*>(p.op.b) + lane * size, row);
    } else {
      const auto b = static_cast<const Pack<T, size>*>(p.op.b)[lane];
#pragma unroll
      for (int i = 0; i < some; ++i) row[i] = b[i];
    }
  }
  const unsigned turn = grid.each * grid.threads;
  for (unsigned first = blockIdx.x * turn + threadIdx.x; first < grid.vectors; first += gridDim.x * turn) {
    Pack<T, size> x[vectors_at_once];
    A bias[vectors_at_once];
#pragma unroll
    for (int k = 0; k < vectors_at_once; ++k) {
      const unsigned at = first + k * grid.threads;
      if (k >= int(grid.each) || at >= grid.vectors) continue;
      x[k] = static_cast<const Pack<T, size>*>(p.x)[at];
      if (biases == Biases::plane) {
        unsigned plane = at;
        grid.period.split(plane);
        bias[k] = p.op.b ? bias_of<T>(p.op, grid.biases.split(plane)) : A(0);
      }
    }
#pragma unroll
    for (int k = 0; k < vectors_at_once; ++k) {
      const unsigned at = first + k * grid.threads;
      if (k >= int(grid.each) || at >= grid.vectors) continue;
      A v[size];
#pragma unroll
      for (int i = 0; i < size; ++i)
        v[i] = activated<act>(x[k][i] + (biases == Biases::row ? row[i % some] : bias[k]), positive,
                              negative);
      if (clamp >= A(0)) {
#pragma unroll
        for (int i = 0; i < size; ++i) v[i] = v[i] > clamp ? clamp : v[i] < -clamp ? -clamp : v[i];
      }
      static_cast<Vec<T>*>(p.y)[at] = Pack<T, size>::of(v);
    }
  }
}

// dx of a vector.
template <typename T, Activation act>
class Slopes {
 public:
  using A = acc_t<T>;
  static constexpr int size = Vec<T>::size;

  // The clamp as y stores it, so that a clamped y is recognised whatever its dtype.
  __device__ __forceinline__ explicit Slopes(const BiasAct& op)
      : positive_(A(op.gain)), negative_(A(op.gain) * A(op.alpha)), clamp_(to_acc(from_acc<T>(A(op.clamp)))) {}

  __device__ __forceinline__ void apply(const Pack<T, size>& dy, const Pack<T, size>& y, A* dx) const {
#pragma unroll
    for (int i = 0; i < size; ++i)
      dx[i] = dy[i] * slope_at<act>(y[i], positive_, negative_);
    if (clamp_ >= A(0)) {
#pragma unroll
      for (int i = 0; i < size; ++i) {
        const A v = y[i];
        if (v >= clamp_ || v <= -clamp_) dx[i] = A(0);
      }
    }
  }

 private:
  A positive_, negative_, clamp_;
};

// Vectors first, first + stride, ... before `end`, `each` of them: dx is written and handed to add(dx).
template <typename T, Activation act, typename F>
__device__ __forceinline__ void differentiate_vectors(const BiasActBackward& p, const Slopes<T, act>& slopes,
                                                      unsigned first, unsigned stride, unsigned end, int each, F add) {
  using A = acc_t<T>;
  constexpr int size = Vec<T>::size;
  Pack<T, size> dy[vectors_at_once], y[vectors_at_once];
#pragma unroll
  for (int k = 0; k < vectors_at_once; ++k) {
    const unsigned at = first + k * stride;
    if (k >= each || at >= end) continue;
    dy[k] = static_cast<const Pack<T, size>*>(p.dy)[at];
    y[k] = static_cast<const Pack<T, size>*>(p.y)[at];
  }
#pragma unroll
  for (int k = 0; k < vectors_at_once; ++k) {
    const unsigned at = first + k * stride;
    if (k >= each || at >= end) continue;
    A dx[size];
    slopes.apply(dy[k], y[k], dx);
    static_cast<Vec<T>*>(p.dx)[at] = Pack<T, size>::of(dx);
    add(dx);
  }
}

template <typename T, Activation act>
__global__ void __launch_bounds__(bias_act_threads) bias_act_slopes(BiasActBackward p, VectorGrid grid) {
  const Slopes<T, act> slopes(p.op);
  const unsigned turn = grid.each * grid.threads;
  for (unsigned first = blockIdx.x * turn + threadIdx.x; first < grid.vectors; first += gridDim.x * turn)
    differentiate_vectors(p, slopes, first, grid.threads, grid.vectors, int(grid.each), [](const acc_t<T>*) {});
}

// The same for rows of biases, with a row of partial sums from every block.
template <typename T, Activation act>
__global__ void __launch_bounds__(bias_act_threads) bias_act_slopes_of_rows(BiasActBackward p, VectorGrid grid) {
  using A = acc_t<T>;
  constexpr int size = Vec<T>::size;
  const Slopes<T, act> slopes(p.op);
  A sums[size] = {};
  const unsigned turn = grid.each * grid.threads;
  if (threadIdx.x < grid.threads) {
    for (unsigned first = blockIdx.x * turn + threadIdx.x; first < grid.vectors; first += gridDim.x * turn)
      differentiate_vectors(p, slopes, first, grid.threads, grid.vectors, int(grid.each), [&](const A* dx) {
#pragma unroll
        for (int i = 0; i < size; ++i) sums[i] += dx[i];
      });
  }
  // Over the threads that have the same biases.
  SHARED(A, slots, bias_act_threads * size);
#pragma unroll
  for (int i = 0; i < size; ++i) slots[threadIdx.x * size + i] = sums[i];
  __syncthreads();
  const unsigned row = grid.period.value() * size;
  for (unsigned column = threadIdx.x; column < row; column += bias_act_threads) {
    A sum = A(0);
    for (unsigned at = column; at < grid.threads * size; at += row) sum += slots[at];
    static_cast<A*>(p.db_partials)[int64_t(blockIdx.x) * row + column] = sum;
  }
}

// The same for planes: each is cut into slices, each slice is the work of a team of `lanes` threads, all in one warp or
// the whole block. The order is that of the planes and, within one, of its slices.
struct TeamGrid {
  unsigned teams, lanes, period, slice;
  Divisor splits, biases;
};

template <typename T, Activation act, bool whole_block>
__global__ void __launch_bounds__(bias_act_threads) bias_act_slopes_of_planes(BiasActBackward p, TeamGrid grid) {
  using A = acc_t<T>;
  constexpr int size = Vec<T>::size;
  const Slopes<T, act> slopes(p.op);
  const unsigned lanes = whole_block ? bias_act_threads : grid.lanes, at_once = bias_act_threads / lanes;
  const unsigned own = threadIdx.x / lanes, lane = threadIdx.x % lanes;
  for (unsigned first = blockIdx.x * at_once; first < grid.teams; first += gridDim.x * at_once) {
    const unsigned team = first + own;
    unsigned n = team;
    const unsigned split = grid.splits.split(n), begin = n * grid.period + split * grid.slice;
    const unsigned left = grid.period - split * grid.slice, end = begin + (left < grid.slice ? left : grid.slice);
    const unsigned channel = grid.biases.split(n);
    Sums<A, 1> sum = {};
    if (team < grid.teams) {
      for (unsigned at = begin + lane; at < end; at += vectors_at_once * lanes)
        differentiate_vectors(p, slopes, at, lanes, end, vectors_at_once, [&](const A* dx) {
          A some = dx[0];
#pragma unroll
          for (int i = 1; i < size; ++i) some += dx[i];
          sum.value[0] += some;
        });
    }
    if (whole_block) {
      sum = block_reduce<1>(sum);
    } else {
      for (unsigned mask = 1; mask < lanes; mask *= 2) sum = combine(sum, shuffle_xor(sum, int(mask)));
    }
    const int64_t row = int64_t(n) * grid.splits.value() + split;
    if (lane == 0 && team < grid.teams)
      static_cast<A*>(p.db_partials)[row * grid.biases.value() + channel] = sum.value[0];
  }
}

}  // namespace cuda
}  // namespace stylegan_fast
