// bias_act: y = clamp(gain * act(x + b), -clamp, clamp) and its two derivatives, one kernel each for all activations.
//
// One read, one write: a thread takes 16 bytes at a time, and divides once per 16 bytes to find its bias. The
// activation is a branch that every thread of a launch takes alike, cheap beside the memory; nine instances of each
// kernel would make the library nine times as large.
#pragma once

#include "vec.cuh"

namespace stylegan_fast {
namespace cuda {

constexpr int bias_act_threads = 256;

// selu's constants (Klambauer et al. 2017).
constexpr double selu_scale = 1.0507009873554804934193349852946, selu_alpha = 1.6732632423543772848170429916717;

template <typename A>
__device__ __forceinline__ A sigmoid(A x) {
  return A(1) / (A(1) + exp(-x));
}

template <typename A>
__device__ __forceinline__ A activate(Activation act, A x, A alpha) {
  switch (act) {
    case Activation::linear: return x;
    case Activation::relu: return x < A(0) ? A(0) : x;  // a NaN stays one
    case Activation::lrelu: return x >= A(0) ? x : alpha * x;
    case Activation::tanh: return tanh(x);
    case Activation::sigmoid: return sigmoid(x);
    case Activation::elu: return x > A(0) ? x : expm1(x);
    case Activation::selu: return A(selu_scale) * (x > A(0) ? x : A(selu_alpha) * expm1(x));
    case Activation::softplus: return (x > A(0) ? x : A(0)) + log1p(exp(-fabs(x)));
    case Activation::swish: return x * sigmoid(x);
  }
  return x;
}

// act'(x). x is read by swish only, the others take y = act(x). At 0 the slope of lrelu is 1, those of relu, elu and
// selu are the left ones, as torch has them.
template <typename A>
__device__ __forceinline__ A first_derivative(Activation act, A x, A y, A alpha) {
  switch (act) {
    case Activation::linear: return A(1);
    case Activation::relu: return y > A(0) ? A(1) : A(0);
    case Activation::lrelu: return y >= A(0) ? A(1) : alpha;
    case Activation::tanh: return A(1) - y * y;
    case Activation::sigmoid: return y * (A(1) - y);
    case Activation::elu: return y > A(0) ? A(1) : y + A(1);
    case Activation::selu: return y > A(0) ? A(selu_scale) : y + A(selu_scale * selu_alpha);
    case Activation::softplus: return -expm1(-y);
    case Activation::swish: {
      const A s = sigmoid(x);
      return s + x * s * (A(1) - s);
    }
  }
  return A(1);
}

template <typename A>
__device__ __forceinline__ A second_derivative(Activation act, A x, A y) {
  switch (act) {
    case Activation::linear:
    case Activation::relu:
    case Activation::lrelu: return A(0);
    case Activation::tanh: return A(-2) * y * (A(1) - y * y);
    case Activation::sigmoid: return y * (A(1) - y) * (A(1) - A(2) * y);
    case Activation::elu: return y > A(0) ? A(0) : y + A(1);
    case Activation::selu: return y > A(0) ? A(0) : y + A(selu_scale * selu_alpha);
    case Activation::softplus: return -exp(-y) * expm1(-y);
    case Activation::swish: {
      const A s = sigmoid(x);
      return s * (A(1) - s) * (A(2) + x * (A(1) - A(2) * s));
    }
  }
  return A(0);
}

// Bias i.
template <typename T>
__device__ __forceinline__ acc_t<T> bias_of(const BiasAct& op, int64_t i) {
  return op.b_is_acc ? static_cast<const acc_t<T>*>(op.b)[i] : to_acc(static_cast<const T*>(op.b)[i]);
}

// Walks the vectors of a grid; `f(first, count, bias)` gets the first element, how many there are and their biases.
template <typename T, typename F>
__device__ __forceinline__ void for_each_vector(const BiasAct& op, F f) {
  using A = acc_t<T>;
  constexpr int size = Vec<T>::size;
  const int64_t step = int64_t(gridDim.x) * blockDim.x * size;
  for (int64_t first = (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) * size; first < op.size; first += step) {
    const int64_t left = op.size - first, count = left < size ? left : size;
    A bias[size];
    int64_t within = op.b ? first % op.bias_step : 0;
    int64_t index = op.b ? first / op.bias_step % op.bias_size : 0;
#pragma unroll
    for (int i = 0; i < size; ++i) {
      bias[i] = op.b ? bias_of<T>(op, index) : A(0);
      if (op.b && ++within == op.bias_step) {
        within = 0;
        if (++index == op.bias_size) index = 0;
      }
    }
    f(first, count, bias);
  }
}

template <typename T>
__global__ void __launch_bounds__(bias_act_threads) bias_act_forward_kernel(BiasActForward p, bool aligned) {
  using A = acc_t<T>;
  constexpr int size = Vec<T>::size;
  const A alpha = A(p.op.alpha), gain = A(p.op.gain), clamp = A(p.op.clamp);
  for_each_vector<T>(p.op, [&](int64_t first, int64_t count, const A* bias) {
    A v[size];
    load(static_cast<const T*>(p.x) + first, count, aligned, v);
#pragma unroll
    for (int i = 0; i < size; ++i) {
      v[i] = gain * activate(p.op.act, v[i] + bias[i], alpha);
      if (clamp >= A(0)) v[i] = v[i] > clamp ? clamp : v[i] < -clamp ? -clamp : v[i];
    }
    store(static_cast<T*>(p.y) + first, count, aligned, v);
  });
}

// What the derivatives share: dy (* ddx where there is one) * gain * f(x + b, y / gain) where the clamp lets it
// through.
template <typename T, typename F>
__device__ __forceinline__ void differentiate(const BiasAct& op, const void* x, const void* y, const void* dy,
                                              const void* ddx, void* to, bool aligned, F f) {
  using A = acc_t<T>;
  constexpr int size = Vec<T>::size;
  const A gain = A(op.gain);
  // As y stores it, so that a clamped y is recognised whatever its dtype.
  const A clamp = to_acc(from_acc<T>(A(op.clamp)));
  for_each_vector<T>(op, [&](int64_t first, int64_t count, const A* bias) {
    A xs[size] = {}, ys[size] = {}, ddxs[size] = {}, v[size];
    if (x) load(static_cast<const T*>(x) + first, count, aligned, xs);
    if (y) load(static_cast<const T*>(y) + first, count, aligned, ys);
    if (ddx) load(static_cast<const T*>(ddx) + first, count, aligned, ddxs);
    load(static_cast<const T*>(dy) + first, count, aligned, v);
#pragma unroll
    for (int i = 0; i < size; ++i) {
      const bool clamped = op.clamp >= 0 && (ys[i] >= clamp || ys[i] <= -clamp);
      const A slope = gain == A(0) ? A(0) : gain * f(xs[i] + bias[i], ys[i] / gain);
      v[i] = clamped ? A(0) : v[i] * slope;
      if (ddx) v[i] *= ddxs[i];
    }
    store(static_cast<T*>(to) + first, count, aligned, v);
  });
}

template <typename T>
__global__ void __launch_bounds__(bias_act_threads) bias_act_backward_kernel(BiasActBackward p, bool aligned) {
  using A = acc_t<T>;
  differentiate<T>(p.op, p.x, p.y, p.dy, nullptr, p.dx, aligned,
                   [&](A x, A y) { return first_derivative(p.op.act, x, y, A(p.op.alpha)); });
}

template <typename T>
__global__ void __launch_bounds__(bias_act_threads) bias_act_second_kernel(BiasActSecond p, bool aligned) {
  using A = acc_t<T>;
  differentiate<T>(p.op, p.x, p.y, p.dy, p.ddx, p.d2x, aligned,
                   [&](A x, A y) { return second_derivative(p.op.act, x, y); });
}

}  // namespace cuda
}  // namespace stylegan_fast
