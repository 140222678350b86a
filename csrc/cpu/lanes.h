// What the kernels of adain do with a register full of numbers.
#pragma once

#include "simd.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

// ------------------------------------------------------------------------------------------- numbers in memory

inline void get_all(const float* x, Lanes<float>& to) { __builtin_memcpy(&to, x, sizeof to); }
inline void get_all(const double* x, Lanes<double>& to) { __builtin_memcpy(&to, x, sizeof to); }
inline void put_all(const Lanes<float>& from, float* x) { __builtin_memcpy(x, &from, sizeof from); }
inline void put_all(const Lanes<double>& from, double* x) { __builtin_memcpy(x, &from, sizeof from); }

inline void get_all(const F16* x, Lanes<float>& to) {
#if defined(__AVX512F__)
  // With a mask: the headers of GCC 12 make the form without one warn.
  to = _mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
#else
  float row[lane_count<float>];
  load(x, lane_count<float>, row);
  __builtin_memcpy(&to, row, sizeof to);
#endif
}
inline void put_all(const Lanes<float>& from, F16* x) {
#if defined(__AVX512F__)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(x), _mm512_maskz_cvtps_ph(0xffff, from, _MM_FROUND_TO_NEAREST_INT));
#else
  float row[lane_count<float>];
  __builtin_memcpy(row, &from, sizeof from);
  store(row, lane_count<float>, x);
#endif
}

typedef uint16_t Halves __attribute__((vector_size(register_bytes / 2)));
typedef uint32_t Words __attribute__((vector_size(register_bytes)));

inline void get_all(const BF16* x, Lanes<float>& to) {
#if defined(__AVX512F__)  // GCC widens and narrows through halves of a register
  const __m512i wide = _mm512_maskz_cvtepu16_epi32(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
  Words words;
  __builtin_memcpy(&words, &wide, sizeof words);
#else
  Halves halves;
  __builtin_memcpy(&halves, x, sizeof halves);
  const Words words = __builtin_convertvector(halves, Words);
#endif
  const Words shifted = words << 16;
  __builtin_memcpy(&to, &shifted, sizeof to);
}
// As from_acc<BF16>.
inline void put_all(const Lanes<float>& from, BF16* x) {
#if defined(__AVX512F__)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(x), narrowed(from));
#else
  Words bits;
  __builtin_memcpy(&bits, &from, sizeof bits);
  const Words rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const Words chosen = from == from ? rounded : (bits >> 16) | 0x40u;
  const Halves halves = __builtin_convertvector(chosen, Halves);
  __builtin_memcpy(x, &halves, sizeof halves);
#endif
}

template <int64_t bytes>
struct IndexOf {
  typedef int32_t type __attribute__((vector_size(register_bytes)));
};
template <>
struct IndexOf<8> {
  typedef int64_t type __attribute__((vector_size(register_bytes)));
};
// A whole number in the place of every lane's number.
template <class A>
using Indices = typename IndexOf<sizeof(A)>::type;

// True, as all bits set, in the first `width` lanes.
template <class A>
inline Indices<A> is_below(int64_t width) {
  static const int64_t places[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  Indices<A> place;
  for (int64_t i = 0; i < lane_count<A>; ++i) place[i] = static_cast<decltype(place[0] + 0)>(places[i]);
  return place < static_cast<decltype(place[0] + 0)>(width);
}

// The first `width` lanes from memory, the others zero.
template <class A, class T>
inline void get_some(const T* x, int64_t width, Lanes<A>& to) {
  A row[lane_count<A>] = {};
  for (int64_t i = 0; i < smaller(width, lane_count<A>); ++i) row[i] = to_acc(x[i]);
  __builtin_memcpy(&to, row, sizeof to);
}
template <class A, class T>
inline void put_some(const Lanes<A>& from, int64_t width, T* x) {
  A row[lane_count<A>];
  __builtin_memcpy(row, &from, sizeof from);
  for (int64_t i = 0; i < smaller(width, lane_count<A>); ++i) x[i] = from_acc<T>(row[i]);
}

#if defined(__AVX512F__)
inline __mmask16 first_bits(int64_t width) { return static_cast<__mmask16>((1u << width) - 1); }
template <>
inline void get_some<float>(const float* x, int64_t width, Lanes<float>& to) {
  to = _mm512_maskz_loadu_ps(first_bits(width), x);
}
template <>
inline void put_some<float>(const Lanes<float>& from, int64_t width, float* x) {
  _mm512_mask_storeu_ps(x, first_bits(width), from);
}
#elif defined(__AVX2__)
template <>
inline void get_some<float>(const float* x, int64_t width, Lanes<float>& to) {
  to = _mm256_maskload_ps(x, reinterpret_cast<__m256i>(is_below<float>(width)));
}
template <>
inline void put_some<float>(const Lanes<float>& from, int64_t width, float* x) {
  _mm256_maskstore_ps(x, reinterpret_cast<__m256i>(is_below<float>(width)), from);
}
#endif

template <class A, class T>
INLINED void get(const T* x, int64_t width, Lanes<A>& to) {
  if (width == lane_count<A>)
    get_all(x, to);
  else
    get_some<A>(x, width, to);
}
template <class A, class T>
INLINED void put(const Lanes<A>& from, int64_t width, T* x) {
  if (width == lane_count<A>)
    put_all(from, x);
  else
    put_some<A>(from, width, x);
}

// A whole register written past the cache, which then need not read the line first. x is at a multiple of its size; no
// other thread may read it before `finish_streams` ran. Without such an instruction these are plain writes.
template <class A, class T>
INLINED void stream(const Lanes<A>& from, T* x) {
#if defined(__AVX2__)
  Lanes<A> bits[1];
  put_all(from, reinterpret_cast<T*>(bits));
  if constexpr (sizeof(T) == sizeof(A) && register_bytes == 64) {
#if defined(__AVX512F__)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(x), *reinterpret_cast<const __m512i*>(bits));
#endif
  } else if constexpr (sizeof(T) * lane_count<A> == 32) {
    _mm256_stream_si256(reinterpret_cast<__m256i*>(x), *reinterpret_cast<const __m256i*>(bits));
  } else {
    _mm_stream_si128(reinterpret_cast<__m128i*>(x), *reinterpret_cast<const __m128i*>(bits));
  }
#else
  put_all(from, x);
#endif
}
inline void finish_streams() {
#if defined(__AVX2__)
  _mm_sfence();
#endif
}

// The first `width` lanes as they are, the others zero.
template <class A>
INLINED Lanes<A> first_lanes(const Lanes<A>& of, int64_t width) {
  return width == lane_count<A> ? of : is_below<A>(width) ? of : Lanes<A>{};
}

// -------------------------------------------------------------------------------------------------- arithmetic

// a * b + c, rounded as the scalar `fused` of simd.h.
#if defined(__AVX512F__)
inline Lanes<float> fused(Lanes<float> a, Lanes<float> b, Lanes<float> c) { return _mm512_fmadd_ps(a, b, c); }
inline Lanes<double> fused(Lanes<double> a, Lanes<double> b, Lanes<double> c) { return _mm512_fmadd_pd(a, b, c); }
#elif defined(__AVX2__) && defined(__FMA__)
inline Lanes<float> fused(Lanes<float> a, Lanes<float> b, Lanes<float> c) { return _mm256_fmadd_ps(a, b, c); }
inline Lanes<double> fused(Lanes<double> a, Lanes<double> b, Lanes<double> c) { return _mm256_fmadd_pd(a, b, c); }
#else
inline Lanes<float> fused(Lanes<float> a, Lanes<float> b, Lanes<float> c) { return a * b + c; }
inline Lanes<double> fused(Lanes<double> a, Lanes<double> b, Lanes<double> c) { return a * b + c; }
#endif

// The compiler makes one instruction of it.
template <class A>
INLINED Lanes<A> square_root(Lanes<A> of) {
  A row[lane_count<A>];
  __builtin_memcpy(row, &of, sizeof row);
#pragma omp simd
  for (int64_t i = 0; i < lane_count<A>; ++i) row[i] = static_cast<A>(__builtin_sqrt(row[i]));
  __builtin_memcpy(&of, row, sizeof row);
  return of;
}

template <class A>
inline Lanes<A> all_lanes(A value) {
  return value - Lanes<A>{};  // keeps the sign of a zero
}

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
