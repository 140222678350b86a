// exp, expm1, log(1 + e) and tanh of vectors: in fp32 by polynomials, within 2 ulp over all numbers, infinities and NaN
// included; in fp64 number by number from the C library. The coefficients are Chebyshev interpolations of the functions
// named beside them, rounded to fp32; their own relative error is below 2^-27.
#pragma once

#include <math.h>

#include "registers.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

template <class A>
inline Lanes<A> magnitude_of(const Lanes<A>& x) {
  return x < 0 ? -x : x;
}
// This way round a NaN stays one.
template <class A>
inline Lanes<A> at_most(const Lanes<A>& x, A limit) {
  return x > limit ? Lanes<A>{} + limit : x;
}
template <class A>
inline Lanes<A> at_least(const Lanes<A>& x, A limit) {
  return x < limit ? Lanes<A>{} + limit : x;
}

// x = exponent * log(2) + rest, |rest| <= log(2) / 2; x from -110 to 89.
struct Reduced {
  Ints exponent;
  Lanes<float> rest;
};
inline Reduced reduced(const Lanes<float>& x) {
  constexpr float magic = 0x1.8p23f;  // added to a number below 2^22, it leaves no room for a fraction
  const Lanes<float> shifted = x * 0x1.715476p0f + magic, whole = shifted - magic;
  // log(2) in two parts, of which the first has so few digits that its product is exact.
  const Lanes<float> rest = fused(whole, Lanes<float>{} + 0x1.bd0106p-13f, x - whole * 0x1.63p-1f);
  return {reinterpret_cast<Ints>(shifted) - reinterpret_cast<Ints>(Lanes<float>{} + magic), rest};
}

// (exp(r) - 1 - r) / r^2, times r^2.
inline Lanes<float> exp_beyond_linear(const Lanes<float>& r) {
  Lanes<float> sum = Lanes<float>{} + 0x1.a1256cp-13f;
  sum = fused(sum, r, Lanes<float>{} + 0x1.6d43bp-10f);
  sum = fused(sum, r, Lanes<float>{} + 0x1.1110ep-7f);
  sum = fused(sum, r, Lanes<float>{} + 0x1.5554e8p-5f);
  sum = fused(sum, r, Lanes<float>{} + 0x1.555556p-3f);
  sum = fused(sum, r, Lanes<float>{} + 0.5f);
  return r * r * sum;
}

inline Lanes<float> power_of_two(const Ints& exponent) {
  return reinterpret_cast<Lanes<float>>((exponent + 127) << 23);
}

// exp(x) = scaled * scale: a result that is subnormal or infinite is rounded only when the two are multiplied.
struct Scaled {
  Lanes<float> scaled, scale;
};
inline Scaled scaled_exp(const Lanes<float>& x) {
  const Reduced part = reduced(at_least(at_most(x, 89.0f), -110.0f));
  const Ints half = part.exponent >> 1;
  // What 1 + rest loses is added to the remainder.
  const Lanes<float> sum = 1.0f + part.rest, lost = (1.0f - sum) + part.rest;
  return {(sum + (lost + exp_beyond_linear(part.rest))) * power_of_two(half), power_of_two(part.exponent - half)};
}
inline Lanes<float> exp_of(const Lanes<float>& x) {
  const Scaled e = scaled_exp(x);
  return e.scaled * e.scale;
}

// Up to x = 88.
inline Lanes<float> expm1_of(const Lanes<float>& x) {
  const Reduced part = reduced(at_least(at_most(x, 88.0f), -30.0f));
  const Lanes<float> scale = power_of_two(part.exponent), small = part.rest + exp_beyond_linear(part.rest);
  return fused(scale, small, scale - 1.0f);
}

// log(1 + e) for e from 0 to 1: with s = e / (2 + e) it is 2 atanh(s), and e - s e = 2 s.
inline Lanes<float> log1p_of(const Lanes<float>& e) {
  const Lanes<float> s = e / (2.0f + e), z = s * s;
  Lanes<float> sum = Lanes<float>{} + 0x1.dba26p-3f;  // (2 atanh(s) - 2 s) / s^3
  sum = fused(sum, z, Lanes<float>{} + 0x1.bc8cf8p-3f);
  sum = fused(sum, z, Lanes<float>{} + 0x1.24c926p-2f);
  sum = fused(sum, z, Lanes<float>{} + 0x1.9998d4p-2f);
  sum = fused(sum, z, Lanes<float>{} + 0x1.555556p-1f);
  return e - s * (e - z * sum);
}

inline Lanes<float> tanh_of(const Lanes<float>& x) {
  const Lanes<float> magnitude = magnitude_of<float>(x), z = x * x;
  Lanes<float> sum = Lanes<float>{} - 0x1.b135380p-8f;  // (tanh(x) - x) / x^3
  sum = fused(sum, z, Lanes<float>{} + 0x1.5d220ep-6f);
  sum = fused(sum, z, Lanes<float>{} - 0x1.b9a044p-5f);
  sum = fused(sum, z, Lanes<float>{} + 0x1.110feap-3f);
  sum = fused(sum, z, Lanes<float>{} - 0x1.555554p-2f);
  const Lanes<float> near = fused(x * z, sum, x);
  const Lanes<float> far = 1.0f - 2.0f / (1.0f + exp_of(2.0f * magnitude));
  return magnitude < 0.55f ? near : x < 0 ? -far : far;
}

template <class Function>
inline Lanes<double> each(const Lanes<double>& x, Function function) {
  Lanes<double> y;
  for (int64_t i = 0; i < lane_count<double>; ++i) y[i] = function(x[i]);
  return y;
}
inline Lanes<double> exp_of(const Lanes<double>& x) {
  return each(x, [](double v) { return ::exp(v); });
}
inline Lanes<double> expm1_of(const Lanes<double>& x) {
  return each(x, [](double v) { return ::expm1(v); });
}
inline Lanes<double> log1p_of(const Lanes<double>& x) {
  return each(x, [](double v) { return ::log1p(v); });
}
inline Lanes<double> tanh_of(const Lanes<double>& x) {
  return each(x, [](double v) { return ::tanh(v); });
}

// 1 / (1 + exp(-x)). With e = exp(-|x|) and s = e / (1 + e) it is 1 - s for positive x, and for negative ones s, which
// where e is small is closer to e - e s.
constexpr float small_e = 0.25f;
template <class A>
inline Lanes<A> sigmoid_of(const Lanes<A>& x) {
  const Lanes<A> e = exp_of(-magnitude_of<A>(x)), s = e / (A(1) + e);
  return x < 0 ? (e < A(small_e) ? e - e * s : s) : A(1) - s;
}

// x / (1 + exp(-x)); NaN for minus infinity.
inline Lanes<double> swish_of(const Lanes<double>& x) { return x * sigmoid_of<double>(x); }
inline Lanes<float> swish_of(const Lanes<float>& x) {
  const Scaled parts = scaled_exp(-magnitude_of<float>(x));
  const Lanes<float> e = parts.scaled * parts.scale, s = e / (1.0f + e);
  // Times x before exp(x) becomes subnormal and loses digits. Beyond 110 nothing but 0, x
  // and what infinity makes is left.
  const Lanes<float> product = parts.scaled * x * parts.scale;
  const Lanes<float> negative = e < small_e ? fused(-product, s, product) : x * s;
  const Lanes<float> positive = x > 110.0f ? x : fused(-x, s, x);
  return x < -110.0f ? x * 0.0f : x < 0 ? negative : positive;
}

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
