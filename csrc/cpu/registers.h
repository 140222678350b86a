// What the kernels of bias_act and upfirdn2d do with a register full of numbers.
#pragma once

#include "simd.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

typedef int32_t Ints __attribute__((vector_size(STYLEGAN_FAST_REGISTER)));
typedef uint32_t Words __attribute__((vector_size(STYLEGAN_FAST_REGISTER)));

inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

// ------------------------------------------------------------------------------------------------------- arithmetic

// a * b + c, rounded once where the machine can.
inline Lanes<float> fused(const Lanes<float>& a, const Lanes<float>& b, const Lanes<float>& c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX2__) && defined(__FMA__)
  return _mm256_fmadd_ps(a, b, c);
#else
  return a * b + c;
#endif
}

// --------------------------------------------------------------------------------------------------------- in memory

inline void get_all(const float* x, Lanes<float>& to) { __builtin_memcpy(&to, x, sizeof to); }
inline void get_all(const double* x, Lanes<double>& to) { __builtin_memcpy(&to, x, sizeof to); }
inline void put_all(const Lanes<float>& from, float* x) { __builtin_memcpy(x, &from, sizeof from); }
inline void put_all(const Lanes<double>& from, double* x) { __builtin_memcpy(x, &from, sizeof from); }

inline void get_all(const F16* x, Lanes<float>& to) {
  float row[lane_count<float>];
  load(x, lane_count<float>, row);
  __builtin_memcpy(&to, row, sizeof to);
}
inline void put_all(const Lanes<float>& from, F16* x) {
  float row[lane_count<float>];
  __builtin_memcpy(row, &from, sizeof from);
  store(row, lane_count<float>, x);
}

inline void get_all(const BF16* x, Lanes<float>& to) {
#if defined(__AVX512F__)  // with masks here and below: without, the headers of GCC 12 warn
  const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
  const Words words = reinterpret_cast<Words>(_mm512_maskz_cvtepu16_epi32(0xffff, halves));
#elif defined(__AVX2__)
  const Words words =
      reinterpret_cast<Words>(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x))));
#elif defined(__SSE2__)
  const Words words = reinterpret_cast<Words>(
      _mm_unpacklo_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x)), _mm_setzero_si128()));
#else
  Words words;
  for (int i = 0; i < 4; ++i) words[i] = x[i].bits;
#endif
  to = reinterpret_cast<Lanes<float>>(words << 16);
}
// As from_acc<BF16>.
inline void put_all(const Lanes<float>& from, BF16* x) {
#if defined(__AVX512F__)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(x), narrowed(from));
#else
  const Words bits = reinterpret_cast<Words>(from);
  const Words rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const Words chosen = from == from ? rounded : (bits >> 16) | 0x40u;
#if defined(__AVX2__)
  const __m256i all = reinterpret_cast<__m256i>(chosen);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(x),
                   _mm_packus_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1)));
#elif defined(__SSE2__)
  // There is only a signed way to pack them.
  const __m128i packed = _mm_srai_epi32(_mm_slli_epi32(reinterpret_cast<__m128i>(chosen), 16), 16);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(x), _mm_packs_epi32(packed, packed));
#else
  for (int i = 0; i < 4; ++i) x[i].bits = static_cast<uint16_t>(chosen[i]);
#endif
#endif
}

template <class T>
inline Lanes<Acc<T>> lanes_at(const T* x) {
  Lanes<Acc<T>> values;
  get_all(x, values);
  return values;
}

// The first `width` lanes, the others zero: rare, and not worth a copy at every place.
template <class T>
__attribute__((noinline)) void get_some(const T* x, int64_t width, Lanes<Acc<T>>& to) {
  Acc<T> row[lane_count<Acc<T>>] = {};
  for (int64_t i = 0; i < width; ++i) row[i] = to_acc(x[i]);
  __builtin_memcpy(&to, row, sizeof to);
}
template <class T>
__attribute__((noinline)) void put_some(const Lanes<Acc<T>>& from, int64_t width, T* x) {
  Acc<T> row[lane_count<Acc<T>>];
  __builtin_memcpy(row, &from, sizeof from);
  for (int64_t i = 0; i < width; ++i) x[i] = from_acc<T>(row[i]);
}

// Body(i, width) for registers that together hold n numbers: all of them full and the last two overlapping, as nothing
// is computed in place, or one that is not full. Before each `group` registers, ahead(i). A group of 0: no loop of its
// own for full registers, and half the code.
template <class A, int group, class Ahead, class Body>
inline void over_lanes(int64_t n, Ahead ahead, Body body) {
  constexpr int64_t lanes = lane_count<A>;
  int64_t i = 0;
  if constexpr (group > 0) {
    for (; i + group * lanes <= n; i += group * lanes) {
      ahead(i);
      for (int64_t k = 0; k < group; ++k) body(i + k * lanes, lanes);
    }
    if (i == n) return;
  }
  const int64_t width = smaller(n, lanes);
  for (i = smaller(i, n - width);; i = smaller(i + width, n - width)) {
    ahead(i);
    body(i, width);
    if (i + width >= n) return;
  }
}
template <class T>
inline Lanes<Acc<T>> get(const T* x, int64_t width) {
  Lanes<Acc<T>> values;
  width == lane_count<Acc<T>> ? get_all(x, values) : get_some(x, width, values);
  return values;
}
template <class T>
inline void put(const Lanes<Acc<T>>& values, int64_t width, T* y) {
  width == lane_count<Acc<T>> ? put_all(values, y) : put_some(values, width, y);
}

// Asks for memory that a walk now at x, or at y with its results, will meet soon. A page ahead: the hardware's own
// prefetching ends with the page. A blur of 4x256x64x64 in channels_last took 2460 us without, 1484 with the first and
// 1250 with both, a copy of it 1050 (one thread, buffers beyond the cache).
template <class T>
inline void soon_read(const T* x) {
  ask_for(reinterpret_cast<const char*>(x) + 4096);
}
template <class T>
inline void soon_written(T* y) {
  ask_to_write(reinterpret_cast<char*>(y) + 4096);
}

// ------------------------------------------------------------------------------------------------ between neighbours

#if defined(__clang__) || __GNUC__ >= 12
#define STYLEGAN_FAST_PICK(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define STYLEGAN_FAST_PICK(a, b, ...) __builtin_shuffle(a, b, (Ints){__VA_ARGS__})
#endif
#if STYLEGAN_FAST_REGISTER == 64
#define STYLEGAN_FAST_EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define STYLEGAN_FAST_ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#define STYLEGAN_FAST_FIRST 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define STYLEGAN_FAST_LAST 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif STYLEGAN_FAST_REGISTER == 32
#define STYLEGAN_FAST_EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define STYLEGAN_FAST_ODD 1, 3, 5, 7, 9, 11, 13, 15
#define STYLEGAN_FAST_FIRST 0, 8, 1, 9, 2, 10, 3, 11
#define STYLEGAN_FAST_LAST 4, 12, 5, 13, 6, 14, 7, 15
#else
#define STYLEGAN_FAST_EVEN 0, 2, 4, 6
#define STYLEGAN_FAST_ODD 1, 3, 5, 7
#define STYLEGAN_FAST_FIRST 0, 4, 1, 5
#define STYLEGAN_FAST_LAST 2, 6, 3, 7
#endif

// Of the neighbours in two registers, those at even and at odd places; and back: `first_pairs`, `last_pairs`.
inline Lanes<float> even_ones(const Lanes<float>& a, const Lanes<float>& b) {
  return STYLEGAN_FAST_PICK(a, b, STYLEGAN_FAST_EVEN);
}
inline Lanes<float> odd_ones(const Lanes<float>& a, const Lanes<float>& b) {
  return STYLEGAN_FAST_PICK(a, b, STYLEGAN_FAST_ODD);
}
inline Lanes<float> first_pairs(const Lanes<float>& even, const Lanes<float>& odd) {
  return STYLEGAN_FAST_PICK(even, odd, STYLEGAN_FAST_FIRST);
}
inline Lanes<float> last_pairs(const Lanes<float>& even, const Lanes<float>& odd) {
  return STYLEGAN_FAST_PICK(even, odd, STYLEGAN_FAST_LAST);
}

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
