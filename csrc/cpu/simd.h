// What every CPU kernel file starts with. Such a file is compiled once per instruction set, with STYLEGAN_FAST_ISA
// naming the namespace; everything in it is internal but the entry points. No templates or inline functions of the
// standard library may be used there: their AVX-512 copy could be the one the linker keeps for the whole library.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../api.h"
#include "parallel.h"

#if defined(__F16C__)
#include <immintrin.h>
#endif

#ifndef STYLEGAN_FAST_ISA
#error "STYLEGAN_FAST_ISA must name the namespace of this instruction set"
#endif

#if defined(__AVX512F__)
#define STYLEGAN_FAST_REGISTER 64
#elif defined(__AVX2__)
#define STYLEGAN_FAST_REGISTER 32
#else
#define STYLEGAN_FAST_REGISTER 16
#endif

#define RESTRICT __restrict
// What stands in the innermost loops: a call would cost more than it computes. INLINED_BODY is that of a lambda.
#define INLINED inline __attribute__((always_inline))
#define INLINED_BODY __attribute__((always_inline))

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

struct F16 {
  uint16_t bits;
};
struct BF16 {
  uint16_t bits;
};

template <class T>
struct AccOf {
  using type = float;
};
template <>
struct AccOf<double> {
  using type = double;
};
template <class T>
using Acc = typename AccOf<T>::type;

template <class To, class From>
inline To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof to);
  return to;
}

// a * b + c. Contraction is off everywhere else: a value computed twice, in a vector loop and in its scalar tail, must
// be the same number, or a constant plane is not constant.
inline float fused(float a, float b, float c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}
inline double fused(double a, double b, double c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  return __builtin_fma(a, b, c);
#else
  return a * b + c;
#endif
}

// Asks for the cache line of *x, to be read or written soon, as far as the second-level cache: a core has more lines on
// their way there than to the first. Measured with AVX-512 (Zen 4), adain in fp32 outside the cache, one thread, against
// asking for them as far as the first: 1.1 to 1.4 times as fast forward from 8x8 to 64x64, 1.1 to 1.4 times backward.
template <class T>
inline void ask_for(const T* x) {
  __builtin_prefetch(x, 0, 2);
}
template <class T>
inline void ask_to_write(const T* x) {
  __builtin_prefetch(x, 1, 2);
}

// ------------------------------------------------------------------------------------------- numbers in memory

inline float to_acc(float x) { return x; }
inline double to_acc(double x) { return x; }
inline float to_acc(BF16 x) { return bits_as<float>(static_cast<uint32_t>(x.bits) << 16); }
inline float to_acc(F16 x) {
#if defined(__F16C__)
  return _cvtsh_ss(x.bits);
#elif defined(__aarch64__)
  return static_cast<float>(bits_as<__fp16>(x.bits));
#else
  // Shifted into place the number is 2^112 times too small, subnormals included; inf and nan get their exponent back.
  const uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000) << 16;
  const uint32_t magnitude = static_cast<uint32_t>(x.bits & 0x7fff) << 13;
  const uint32_t scaled = bits_as<uint32_t>(bits_as<float>(magnitude) * 0x1p112f);
  return bits_as<float>(sign | (magnitude >= 0x0f800000u ? magnitude | 0x7f800000u : scaled));
#endif
}

template <class T>
inline T from_acc(Acc<T> x) {
  return x;
}
template <>
inline BF16 from_acc<BF16>(float x) {
  const uint32_t bits = bits_as<uint32_t>(x);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;  // to nearest, ties to even
  const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return {static_cast<uint16_t>(nan ? (bits >> 16) | 0x40u : rounded)};
}
#if defined(__AVX512F__)
// 16 of them. A NaN's upper half is taken as it is: it says NaN as soon as any arithmetic made or passed it. With masks:
// the headers of GCC 12 make the forms without them warn.
inline __m256i narrowed(__m512 from) {
  const __mmask16 all = 0xffff, number = _mm512_cmp_ps_mask(from, from, _CMP_ORD_Q);
  const __m512i bits = _mm512_castps_si512(from);
  const __m512i odd = _mm512_and_si512(_mm512_maskz_srli_epi32(all, bits, 16), _mm512_set1_epi32(1));
  const __m512i nearest = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
  const __m512i rounded = _mm512_mask_add_epi32(bits, number, bits, nearest);
  // The upper halves, side by side: one instruction for a shift and a truncation.
  const __m512i places = _mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 0x1f001d, 0x1b0019, 0x170015, 0x130011, 0xf000d,
                                          0xb0009, 0x70005, 0x30001);
  const __m512i upper = _mm512_maskz_permutexvar_epi16(0xffffffff, places, rounded);
  __m256i found;
  __builtin_memcpy(&found, &upper, sizeof found);
  return found;
}
#endif
template <>
inline F16 from_acc<F16>(float x) {
#if defined(__F16C__)
  return {_cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT)};
#elif defined(__aarch64__)
  return {bits_as<uint16_t>(static_cast<__fp16>(x))};
#else
  const uint32_t bits = bits_as<uint32_t>(x);
  const uint32_t magnitude = bits & 0x7fffffffu;
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  if (magnitude > 0x7f800000u) return {static_cast<uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu))};
  if (magnitude >= 0x477ff000u) return {static_cast<uint16_t>(sign | 0x7c00u)};  // 65520 and up round to infinity
  if (magnitude < 0x38800000u) {
    // Below 2^-14: added to 0.5 the sum's last bit is 2^-24, fp16's smallest step, and the addition rounds.
    const uint32_t sum = bits_as<uint32_t>(bits_as<float>(magnitude) + 0.5f);
    return {static_cast<uint16_t>(sign | (sum - 0x3f000000u))};
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return {static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
#endif
}

// --------------------------------------------------------------------------------------------------- registers

constexpr int64_t register_bytes = STYLEGAN_FAST_REGISTER;

// A register full of neighbouring numbers in the accumulation type, in the vector extension of GCC and Clang. It is as
// wide as the registers of this instruction set: GCC takes wider vectors apart into single numbers (a blur with 64-byte
// vectors on AVX2 took eight times as long).
template <class A, int64_t bytes = register_bytes>
struct LanesOf {
  typedef A type __attribute__((vector_size(bytes)));
};
template <class A>
using Lanes = typename LanesOf<A>::type;
template <class A>
constexpr int64_t lane_count = register_bytes / static_cast<int64_t>(sizeof(A));

// The sum of all lanes, by halves.
template <class A, int64_t bytes = register_bytes>
inline A sum_of(typename LanesOf<A, bytes>::type lanes) {
  if constexpr (bytes == 2 * sizeof(A)) {
    return lanes[0] + lanes[1];
  } else {
    typename LanesOf<A, bytes / 2>::type halves[2];
    __builtin_memcpy(halves, &lanes, sizeof lanes);
    return sum_of<A, bytes / 2>(halves[0] + halves[1]);
  }
}

// --------------------------------------------------------------------------------------------- rows of numbers

// n numbers as accumulation type: where they lie if they have it, otherwise converted into buffer.
inline const float* load(const float* x, int64_t, float*) { return x; }
inline const double* load(const double* x, int64_t, double*) { return x; }
template <class T>
inline const float* load(const T* RESTRICT x, int64_t n, float* RESTRICT buffer) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) buffer[i] = to_acc(x[i]);
  return buffer;
}

template <class T>
inline void store(const Acc<T>* RESTRICT from, int64_t n, T* RESTRICT x) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) x[i] = from_acc<T>(from[i]);
}

// Where n results go before `store` puts them into x: x itself if it has the accumulation type.
inline float* room_for(float* x, float*) { return x; }
inline double* room_for(double* x, double*) { return x; }
template <class T>
inline float* room_for(T*, float* buffer) {
  return buffer;
}
inline void store(const float* from, int64_t n, float* x) {
  if (from != x) __builtin_memcpy(x, from, static_cast<size_t>(n) * sizeof *x);
}
inline void store(const double* from, int64_t n, double* x) {
  if (from != x) __builtin_memcpy(x, from, static_cast<size_t>(n) * sizeof *x);
}

#if defined(__F16C__)
template <>
inline const float* load<F16>(const F16* RESTRICT x, int64_t n, float* RESTRICT buffer) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    _mm256_storeu_ps(buffer + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + i))));
  for (; i < n; ++i) buffer[i] = to_acc(x[i]);
  return buffer;
}
template <>
inline void store<F16>(const float* RESTRICT from, int64_t n, F16* RESTRICT x) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(x + i),
                     _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT));
  for (; i < n; ++i) x[i] = from_acc<F16>(from[i]);
}
#endif

// -------------------------------------------------------------------------------------------------- dispatch

// A choice made at compile time, as an argument.
template <auto chosen>
struct Constant {
  static constexpr auto value = chosen;
};

// Calls function(T()) for the type of `dtype`; the callers have checked that it is one.
template <class Function>
inline Status with_dtype(DType dtype, Function function) {
  switch (dtype) {
    case DType::f32: return function(float());
    case DType::f64: return function(double());
    case DType::f16: return function(F16());
    case DType::bf16: return function(BF16());
  }
  return Status::invalid_argument;
}

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Runs body(i) for i in [0, count) on the pool, unless all of it is too little work to wake a thread for: a wake-up
// takes about as long as these many elements. A thread takes a stretch of pieces in a turn: what it asked for ahead of
// time at the end of one turn, another thread's cache gets for nothing, and the processor's own foresight begins anew.
// Turns of 16384 elements, measured against these with adain in fp32, 2 threads, outside the cache: forward 1.15 times as
// long at 16x16 and 32x32, 1.3 at 128x128. Several turns each, for other processes may hold up a thread.
template <class Body>
inline void parallel(int64_t count, int64_t elements, int threads, Body body) {
  constexpr int64_t worth_a_thread = 16384, most_at_a_time = 1 << 20, turns = 4;
  const int64_t useful = smaller(elements / worth_a_thread + 1, threads), even = count / (turns * useful);
  const int64_t fewest = worth_a_thread * count / (elements + 1), most = most_at_a_time * count / (elements + 1);
  const int64_t in_a_turn = even < fewest ? fewest : smaller(even, most);
  struct Work {
    Body& body;
    int64_t count, in_a_turn;
  } work{body, count, in_a_turn ? in_a_turn : 1};
  parallel_for(
      (count + work.in_a_turn - 1) / work.in_a_turn, static_cast<int>(useful),
      [](void* context, int64_t turn) {
        const Work& work = *static_cast<Work*>(context);
        const int64_t end = smaller((turn + 1) * work.in_a_turn, work.count);
        for (int64_t i = turn * work.in_a_turn; i < end; ++i) work.body(i);
      },
      &work);
}

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
