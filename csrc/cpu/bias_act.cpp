// bias_act on the CPU: blocks that stay in the first-level cache are widened, biased, activated and narrowed again.
#include <math.h>

#include "simd.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

constexpr int64_t block_size = 1024;

inline float exp_of(float x) { return ::expf(x); }
inline double exp_of(double x) { return ::exp(x); }
inline float tanh_of(float x) { return ::tanhf(x); }
inline double tanh_of(double x) { return ::tanh(x); }
inline float expm1_of(float x) { return ::expm1f(x); }
inline double expm1_of(double x) { return ::expm1(x); }
inline float log1p_of(float x) { return ::log1pf(x); }
inline double log1p_of(double x) { return ::log1p(x); }

constexpr double selu_scale = 1.0507009873554804934193349852946;
constexpr double selu_alpha = 1.6732632423543772848170429916717;

template <class A>
inline A sigmoid(A u) {
  return A(1) / (A(1) + exp_of(-u));
}

// value: act(u). slope: act'(u) and second: act''(u), from u for swish and from v = act(u) for all others.
template <Activation act, class A>
inline A value(A u, A alpha) {
  if constexpr (act == Activation::linear) return u;
  if constexpr (act == Activation::relu) return u < A(0) ? A(0) : u;  // this way round a NaN stays one
  if constexpr (act == Activation::lrelu) return u >= A(0) ? u : u * alpha;
  if constexpr (act == Activation::tanh) return tanh_of(u);
  if constexpr (act == Activation::sigmoid) return sigmoid(u);
  if constexpr (act == Activation::elu) return u > A(0) ? u : expm1_of(u);
  if constexpr (act == Activation::selu) return A(selu_scale) * (u > A(0) ? u : A(selu_alpha) * expm1_of(u));
  if constexpr (act == Activation::softplus) {
    const A magnitude = u < A(0) ? -u : u;
    return (u < A(0) ? A(0) : u) + log1p_of(exp_of(-magnitude));
  }
  if constexpr (act == Activation::swish) return u * sigmoid(u);
}

template <Activation act, class A>
inline A slope(A u, A v, A alpha) {
  if constexpr (act == Activation::linear) return A(1);
  if constexpr (act == Activation::relu) return v > A(0) ? A(1) : A(0);
  if constexpr (act == Activation::lrelu) return v >= A(0) ? A(1) : alpha;
  if constexpr (act == Activation::tanh) return A(1) - v * v;
  if constexpr (act == Activation::sigmoid) return v * (A(1) - v);
  if constexpr (act == Activation::elu) return v > A(0) ? A(1) : v + A(1);
  if constexpr (act == Activation::selu) return v > A(0) ? A(selu_scale) : v + A(selu_scale * selu_alpha);
  if constexpr (act == Activation::softplus) return -expm1_of(-v);
  if constexpr (act == Activation::swish) {
    const A s = sigmoid(u);
    return s + u * s * (A(1) - s);
  }
}

template <Activation act, class A>
inline A second(A u, A v) {
  if constexpr (act == Activation::tanh) return A(-2) * v * (A(1) - v * v);
  if constexpr (act == Activation::sigmoid) return v * (A(1) - v) * (A(1) - A(2) * v);
  if constexpr (act == Activation::elu) return v > A(0) ? A(0) : v + A(1);
  if constexpr (act == Activation::selu) return v > A(0) ? A(0) : v + A(selu_scale * selu_alpha);
  if constexpr (act == Activation::softplus) {
    const A s = -expm1_of(-v);
    return s * (A(1) - s);
  }
  if constexpr (act == Activation::swish) {
    const A s = sigmoid(u);
    return s * (A(1) - s) * (A(2) + u * (A(1) - A(2) * s));
  }
  return A(0);  // piecewise linear
}

template <class A>
struct Constants {
  A alpha, gain, clamp;
  A v_of_y;  // act(u) = y * v_of_y
};

// Loops over one block. The compiler turns those without a transcendental function into vector code.
template <class A>
using ForwardLoop = void (*)(const Constants<A>&, const A* u, int64_t n, A* y);
template <class A>
using BackwardLoop = void (*)(const Constants<A>&, const A* dy, const A* u, const A* y, int64_t n, A* dx);
template <class A>
using SecondLoop = void (*)(const Constants<A>&, const A* ddx, const A* dy, const A* u, const A* y, int64_t n, A* d2x);

template <class A>
struct Loops {
  ForwardLoop<A> forward;
  BackwardLoop<A> backward;
  SecondLoop<A> second;
};

template <Activation act, class A>
void forward_loop(const Constants<A>& k, const A* RESTRICT u, int64_t n, A* RESTRICT y) {
  const A low = -k.clamp, high = k.clamp;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    A v = value<act, A>(u[i], k.alpha) * k.gain;
    v = v < low ? low : v;
    y[i] = v > high ? high : v;
  }
}

template <Activation act, class A>
void backward_loop(const Constants<A>& k, const A* RESTRICT dy, const A* RESTRICT u, const A* RESTRICT y, int64_t n,
                   A* RESTRICT dx) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const A d = dy[i] * k.gain * slope<act, A>(u[i], y[i] * k.v_of_y, k.alpha);
    dx[i] = y[i] >= k.clamp || y[i] <= -k.clamp ? A(0) : d;
  }
}

template <Activation act, class A>
void second_loop(const Constants<A>& k, const A* RESTRICT ddx, const A* RESTRICT dy, const A* RESTRICT u,
                 const A* RESTRICT y, int64_t n, A* RESTRICT d2x) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const A d = ddx[i] * dy[i] * k.gain * second<act, A>(u[i], y[i] * k.v_of_y);
    d2x[i] = y[i] >= k.clamp || y[i] <= -k.clamp ? A(0) : d;
  }
}

template <Activation act, class A>
constexpr Loops<A> loops_of = {forward_loop<act, A>, backward_loop<act, A>, second_loop<act, A>};

template <class A>
Loops<A> loops(Activation act) {
  switch (act) {
    case Activation::linear: return loops_of<Activation::linear, A>;
    case Activation::relu: return loops_of<Activation::relu, A>;
    case Activation::lrelu: return loops_of<Activation::lrelu, A>;
    case Activation::tanh: return loops_of<Activation::tanh, A>;
    case Activation::sigmoid: return loops_of<Activation::sigmoid, A>;
    case Activation::elu: return loops_of<Activation::elu, A>;
    case Activation::selu: return loops_of<Activation::selu, A>;
    case Activation::softplus: return loops_of<Activation::softplus, A>;
    case Activation::swish: return loops_of<Activation::swish, A>;
  }
  return {};
}

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

// u = x + b for elements [start, start + n).
template <class T>
const Acc<T>* biased(const BiasAct& op, const void* x, int64_t start, int64_t n, Acc<T>* buffer) {
  using A = Acc<T>;
  const A* in = load(static_cast<const T*>(x) + start, n, buffer);
  if (!op.b) return in;
  const A* b = static_cast<const A*>(op.b);
  int64_t channel = start / op.bias_step % op.bias_size;
  int64_t left = op.bias_step - start % op.bias_step;  // elements that still share this channel's bias
  for (int64_t i = 0; i < n;) {
    if (op.bias_step == 1) {
      const int64_t run = smaller(n - i, op.bias_size - channel);
#pragma omp simd
      for (int64_t j = 0; j < run; ++j) buffer[i + j] = in[i + j] + b[channel + j];
      i += run;
      channel = 0;
      continue;
    }
    const int64_t run = smaller(n - i, left);
    const A shared = b[channel];
#pragma omp simd
    for (int64_t j = 0; j < run; ++j) buffer[i + j] = in[i + j] + shared;
    i += run;
    left = op.bias_step;
    if (++channel == op.bias_size) channel = 0;
  }
  return buffer;
}

constexpr int64_t blocks_per_piece = 16;

template <class Body>
void over_blocks(int64_t size, int threads, Body body) {
  const int64_t piece = block_size * blocks_per_piece;
  parallel((size + piece - 1) / piece, size, threads, [&](int64_t p) {
    for (int64_t start = p * piece, end = smaller(size, start + piece); start < end; start += block_size)
      body(start, smaller(block_size, end - start));
  });
}

template <class T>
inline const Acc<T>* load_or_zero(const void* x, int64_t start, int64_t n, Acc<T>* buffer) {
  if (x) return load(static_cast<const T*>(x) + start, n, buffer);
  for (int64_t i = 0; i < n; ++i) buffer[i] = 0;
  return buffer;
}

template <class T>
void forward(const BiasActForward& f, int threads) {
  using A = Acc<T>;
  const auto k = constants<T>(f.op);
  const auto loop = loops<A>(f.op.act).forward;
  over_blocks(f.op.size, threads, [&](int64_t start, int64_t n) {
    A in[block_size], out[block_size];
    loop(k, biased<T>(f.op, f.x, start, n, in), n, out);
    store(out, n, static_cast<T*>(f.y) + start);
  });
}

template <class T>
void backward(const BiasActBackward& f, int threads) {
  using A = Acc<T>;
  const auto k = constants<T>(f.op);
  const auto loop = loops<A>(f.op.act).backward;
  over_blocks(f.op.size, threads, [&](int64_t start, int64_t n) {
    A dy[block_size], u[block_size], y[block_size], dx[block_size];
    loop(k, load(static_cast<const T*>(f.dy) + start, n, dy),
         f.x ? biased<T>(f.op, f.x, start, n, u) : load_or_zero<T>(nullptr, start, n, u),
         load_or_zero<T>(f.y, start, n, y), n, dx);
    store(dx, n, static_cast<T*>(f.dx) + start);
  });
}

template <class T>
void second_order(const BiasActSecond& f, int threads) {
  using A = Acc<T>;
  const auto k = constants<T>(f.op);
  const auto loop = loops<A>(f.op.act).second;
  over_blocks(f.op.size, threads, [&](int64_t start, int64_t n) {
    A ddx[block_size], dy[block_size], u[block_size], y[block_size], d2x[block_size];
    loop(k, load(static_cast<const T*>(f.ddx) + start, n, ddx), load(static_cast<const T*>(f.dy) + start, n, dy),
         f.x ? biased<T>(f.op, f.x, start, n, u) : load_or_zero<T>(nullptr, start, n, u),
         load_or_zero<T>(f.y, start, n, y), n, d2x);
    store(d2x, n, static_cast<T*>(f.d2x) + start);
  });
}

}  // namespace

Status bias_act_forward(const BiasActForward& f, int threads) {
  return with_dtype(f.op.dtype, [&](auto t) { return forward<decltype(t)>(f, threads), Status::ok; });
}

Status bias_act_backward(const BiasActBackward& f, int threads) {
  return with_dtype(f.op.dtype, [&](auto t) { return backward<decltype(t)>(f, threads), Status::ok; });
}

Status bias_act_second(const BiasActSecond& f, int threads) {
  return with_dtype(f.op.dtype, [&](auto t) { return second_order<decltype(t)>(f, threads), Status::ok; });
}

}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
