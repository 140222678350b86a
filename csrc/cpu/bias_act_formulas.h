// The activations and their derivatives, a vector at a time.
#pragma once

#include "lane_functions.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

constexpr double selu_scale = 1.0507009873554804934193349852946;
constexpr double selu_alpha = 1.6732632423543772848170429916717;

// value: act(u). slope: act'(u) and second: act''(u), from u for swish and from v = act(u) for all others.
template <Activation act, class A>
inline Lanes<A> value(const Lanes<A>& u, A alpha) {
  if constexpr (act == Activation::relu) return at_least<A>(u, A(0));
  if constexpr (act == Activation::lrelu) return u >= 0 ? u : u * alpha;
  if constexpr (act == Activation::tanh) return tanh_of(u);
  if constexpr (act == Activation::sigmoid) return sigmoid_of<A>(u);
  if constexpr (act == Activation::elu) return u > 0 ? u : expm1_of(at_most<A>(u, A(0)));
  if constexpr (act == Activation::selu)
    return A(selu_scale) * (u > 0 ? u : A(selu_alpha) * expm1_of(at_most<A>(u, A(0))));
  if constexpr (act == Activation::softplus)
    return at_least<A>(u, A(0)) + log1p_of(exp_of(-magnitude_of<A>(u)));
  if constexpr (act == Activation::swish) return swish_of(u);
  return u;
}

template <Activation act, class A>
inline Lanes<A> slope(const Lanes<A>& u, const Lanes<A>& v, A alpha) {
  const Lanes<A> zero = {}, one = zero + A(1);
  if constexpr (act == Activation::relu) return v > 0 ? one : zero;
  if constexpr (act == Activation::lrelu) return v >= 0 ? one : zero + alpha;
  if constexpr (act == Activation::tanh) return A(1) - v * v;
  if constexpr (act == Activation::sigmoid) return v * (A(1) - v);
  if constexpr (act == Activation::elu) return v > 0 ? one : v + A(1);
  if constexpr (act == Activation::selu) return v > 0 ? zero + A(selu_scale) : v + A(selu_scale * selu_alpha);
  if constexpr (act == Activation::softplus) return -expm1_of(-v);
  if constexpr (act == Activation::swish) {
    const Lanes<A> s = sigmoid_of<A>(u);
    return s + u * s * (A(1) - s);
  }
  return one;
}

template <Activation act, class A>
inline Lanes<A> second(const Lanes<A>& u, const Lanes<A>& v) {
  const Lanes<A> zero = {};
  if constexpr (act == Activation::tanh) return A(-2) * v * (A(1) - v * v);
  if constexpr (act == Activation::sigmoid) return v * (A(1) - v) * (A(1) - A(2) * v);
  if constexpr (act == Activation::elu) return v > 0 ? zero : v + A(1);
  if constexpr (act == Activation::selu) return v > 0 ? zero : v + A(selu_scale * selu_alpha);
  if constexpr (act == Activation::softplus) {
    const Lanes<A> s = -expm1_of(-v);
    return s * (A(1) - s);
  }
  if constexpr (act == Activation::swish) {
    const Lanes<A> s = sigmoid_of<A>(u);
    return s * (A(1) - s) * (A(2) + u * (A(1) - A(2) * s));
  }
  return zero;  // piecewise linear
}

// Calls function(Act<act>()) for the activation of a call; the callers have checked that it is one.
template <Activation activation>
struct Act {
  static constexpr Activation act = activation;
};
template <class Function>
inline void with_activation(Activation act, Function function) {
  switch (act) {
    case Activation::linear: return function(Act<Activation::linear>());
    case Activation::relu: return function(Act<Activation::relu>());
    case Activation::lrelu: return function(Act<Activation::lrelu>());
    case Activation::tanh: return function(Act<Activation::tanh>());
    case Activation::sigmoid: return function(Act<Activation::sigmoid>());
    case Activation::elu: return function(Act<Activation::elu>());
    case Activation::selu: return function(Act<Activation::selu>());
    case Activation::softplus: return function(Act<Activation::softplus>());
    case Activation::swish: return function(Act<Activation::swish>());
  }
}

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
