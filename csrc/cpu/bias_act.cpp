// bias_act on the CPU: one walk over memory, a vector at a time from memory to memory. The bias is one number for the
// length of a plane, or a row of numbers beside the row of a channels_last pixel.
#include "bias_act_formulas.h"
#include "bias_act_sums.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

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
