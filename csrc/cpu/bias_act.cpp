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

// Body(run) for runs that together are the whole tensor.
template <class A, class Body>
void over_runs(const BiasAct& op, bool biased, int threads, Body body) {
  constexpr int64_t lanes = lane_count<A>;
  const A* b = biased ? static_cast<const A*>(op.b) : nullptr;
  const A none = -A(0);  // x + -0 is x, also where x is -0
  const bool planes = b && op.bias_step >= lanes, rows = b && op.bias_step == 1 && op.bias_size >= lanes;
  // A piece of work is whole planes, or rows, where they are shorter.
  const int64_t unit = planes ? op.bias_step : rows ? op.bias_size : short_run;
  const int64_t piece = larger(1, numbers_of_piece / unit) * (unit < numbers_of_piece ? unit : numbers_of_piece);
  parallel((op.size + piece - 1) / piece, op.size, threads, [&](int64_t p) {
    const int64_t begin = p * piece, end = smaller(op.size, begin + piece);
    A row[short_run];
    int64_t channel = planes ? begin / op.bias_step % op.bias_size : rows ? begin % op.bias_size : 0;
    int64_t next = planes ? begin - begin % op.bias_step : rows ? begin - channel : begin;
    for (int64_t start = begin; start < end; start = next) {
      next = b ? next + unit : end;
      Run<A> run{start, smaller(end, next) - start, &none, true};
      if (planes) {
        run.bias = b + channel;
        if (++channel == op.bias_size) channel = 0;
      } else if (b) {
        run.bias = rows ? b + channel : spread(op, start, run.n, row);
        run.shared = false;
        channel = 0;
      }
      body(run);
    }
  });
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
  over_runs<A>(f.op, true, threads, [&](const Run<A>& run) {
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
  });
}

// The gradients in `in`, multiplied, times d(act)/du or d2(act)/du2 as derivative(constants, u, act(u)) has it.
template <Activation act, class T, int inputs, class Derivative>
void differentiate(const BiasAct& op, const void* const (&in_)[inputs], const void* x_, const void* y_, void* to_,
                   int threads, Derivative derivative) {
  using A = Acc<T>;
  constexpr bool reads_x = act == Activation::swish;
  const auto k = constants<T>(op);
  over_runs<A>(op, reads_x, threads, [&](const Run<A>& run) {
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
  });
}

template <Activation act, class T>
void backward(const BiasActBackward& f, int threads) {
  using A = Acc<T>;
  differentiate<act, T>(f.op, {f.dy}, f.x, f.y, f.dx, threads,
                        [](const Constants<A>& k, const Lanes<A>& u, const Lanes<A>& v) {
                          return slope<act, A>(u, v, k.alpha);
                        });
}

template <Activation act, class T>
void second_order(const BiasActSecond& f, int threads) {
  using A = Acc<T>;
  differentiate<act, T>(
      f.op, {f.ddx, f.dy}, f.x, f.y, f.d2x, threads,
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

Status bias_act_backward(const BiasActBackward& f, int threads) {
  return with_act_and_dtype(f.op, [&](auto act, auto t) { backward<act.act, decltype(t)>(f, threads); });
}

Status bias_act_second(const BiasActSecond& f, int threads) {
  return with_act_and_dtype(f.op, [&](auto act, auto t) { second_order<act.act, decltype(t)>(f, threads); });
}

}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
