// bias_act on the CPU: one walk over memory, a vector at a time from memory to memory. The bias is one number for the
// length of a plane, or a row of numbers beside the row of a channels_last pixel.
#include "bias_act_formulas.h"

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

template <class A>
struct Constants {
  A alpha, gain, clamp;
  A v_of_y;  // act(u) = y * v_of_y
};

template <class T>
Constants<Acc<T>> constants(const BiasAct& op) {
  using A = Acc<T>;
  Constants<A> k;
  k.alpha = static_cast<A>(op.alpha);
  k.gain = static_cast<A>(op.gain);
  // As y stores it, so that the backward recognises a clamped y whatever its dtype. No clamp is NaN: every comparison
  // with it is false, and an infinite y keeps its slope.
  k.clamp = op.clamp >= 0 ? to_acc(from_acc<T>(static_cast<A>(op.clamp))) : static_cast<A>(__builtin_nan(""));
  k.v_of_y = op.gain != 0 ? A(1) / k.gain : A(0);
  return k;
}

// Registers computed in one turn: a cache line of those activations that are bound by memory.
template <Activation act, class T>
constexpr int group = act == Activation::linear || act == Activation::relu || act == Activation::lrelu
                          ? 64 / static_cast<int>(lane_count<Acc<T>> * sizeof(T))
                          : 0;

template <Activation act, class T>
void forward(const BiasActForward& f, int threads) {
  using A = Acc<T>;
  const auto k = constants<T>(f.op);
  const auto compute = [&](const Run<A>& run) {
    const T* x = static_cast<const T*>(f.x) + run.start;
    T* y = static_cast<T*>(f.y) + run.start;
    const Constants<A> own = k;  // no store to y can change it, for all the compiler knows
    const bool clamped = own.clamp >= 0;
    const auto ahead = [&](int64_t i) {
      soon_read(x + i);
      soon_written(y + i);
    };
    over_lanes<A, group<act, T>>(run.n, ahead, [&](int64_t i, int64_t width) {
      Lanes<A> v = value<act, A>(get(x + i, width) + run.bias_at(i, width), own.alpha) * own.gain;
      if (clamped) v = at_most<A>(at_least<A>(v, -own.clamp), own.clamp);
      put(v, width, y + i);
    });
  };
  over_runs<A>(f.op, true, false, threads, compute, [](const Cut<A>&, int64_t) {});
}

// The gradients in `in`, multiplied, times d(act)/du or d2(act)/du2 as derivative(constants, u, act(u)) has it. partials:
// of its sums, or null.
template <Activation act, class T, int inputs, class Derivative>
void differentiate(const BiasAct& op, const void* const (&in_)[inputs], const void* x_, const void* y_, void* to_,
                   void* partials, int threads, Derivative derivative) {
  using A = Acc<T>;
  constexpr bool reads_x = act == Activation::swish;
  const auto k = constants<T>(op);
  const auto compute = [&](const Run<A>& run) {
    const T* in[inputs];
    for (int i = 0; i < inputs; ++i) in[i] = static_cast<const T*>(in_[i]) + run.start;
    const T* x = reads_x ? static_cast<const T*>(x_) + run.start : nullptr;
    const T* y = y_ ? static_cast<const T*>(y_) + run.start : nullptr;
    T* to = static_cast<T*>(to_) + run.start;
    const Constants<A> own = k;
    const auto ahead = [&](int64_t i) {
      for (const T* values : in) soon_read(values + i);
      if (reads_x) soon_read(x + i);
      if (y) soon_read(y + i);
      soon_written(to + i);
    };
    over_lanes<A, group<act, T>>(run.n, ahead, [&](int64_t i, int64_t width) {
      Lanes<A> u = {}, out = {}, product = get(in[0] + i, width) * own.gain;
      for (int k = 1; k < inputs; ++k) product *= get(in[k] + i, width);
      if constexpr (reads_x) u = get(x + i, width) + run.bias_at(i, width);
      if (y) out = get(y + i, width);
      const Lanes<A> d = product * derivative(own, u, out * own.v_of_y);
      put(out >= own.clamp || out <= -own.clamp ? Lanes<A>{} : d, width, to + i);
    });
  };
  over_runs<A>(op, reads_x, partials, threads, compute, [&](const Cut<A>& cut, int64_t piece) {
    if (partials) sum_piece(op, cut, piece, static_cast<const T*>(to_), static_cast<A*>(partials));
  });
}

template <Activation act, class T>
void backward(const BiasActBackward& f, int threads) {
  using A = Acc<T>;
  differentiate<act, T>(f.op, {f.dy}, f.x, f.y, f.dx, f.db_partials, threads,
                        [](const Constants<A>& k, const Lanes<A>& u, const Lanes<A>& v) {
                          return slope<act, A>(u, v, k.alpha);
                        });
}

template <Activation act, class T>
void second_order(const BiasActSecond& f, int threads) {
  using A = Acc<T>;
  differentiate<act, T>(
      f.op, {f.ddx, f.dy}, f.x, f.y, f.d2x, nullptr, threads,
      [](const Constants<A>&, const Lanes<A>& u, const Lanes<A>& v) { return second<act, A>(u, v); });
}

template <class Function>
Status with_act_and_dtype(const BiasAct& op, Function function) {
  return with_dtype(op.dtype, [&](auto t) {
    with_activation(op.act, [&](auto act) { function(act, t); });
    return Status::ok;
  });
}

}  // namespace

Status bias_act_forward(const BiasActForward& f, int threads) {
  return with_act_and_dtype(f.op, [&](auto act, auto t) { forward<act.act, decltype(t)>(f, threads); });
}

int64_t bias_act_backward_partials(const BiasActBackward& f) {
  const auto rows = [&](const auto& cut) { return cut.planes ? cut.rows_of_planes(f.op) : cut.pieces; };
  return f.op.dtype == DType::f64 ? rows(Cut<double>(f.op, true)) : rows(Cut<float>(f.op, true));
}

Status bias_act_backward(const BiasActBackward& f, int threads) {
  return with_act_and_dtype(f.op, [&](auto act, auto t) { backward<act.act, decltype(t)>(f, threads); });
}

Status bias_act_second(const BiasActSecond& f, int threads) {
  return with_act_and_dtype(f.op, [&](auto act, auto t) { second_order<act.act, decltype(t)>(f, threads); });
}

}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
