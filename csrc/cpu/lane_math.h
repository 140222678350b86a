// Arithmetic on the vectors of lanes.h beyond + - * /.
#pragma once

#include "lanes.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

// a * b + c, rounded once where the machine can.
inline Lanes<float> fused(const Lanes<float>& a, const Lanes<float>& b, const Lanes<float>& c) {
#if defined(__AVX512F__)
  return reinterpret_cast<Lanes<float>>(_mm512_fmadd_ps(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b),
                                                        reinterpret_cast<__m512>(c)));
#elif defined(__FMA__)
  Lanes<float> sum;
  for (int half = 0; half < 2; ++half) {
    __m256 x, y, z;
    __builtin_memcpy(&x, reinterpret_cast<const char*>(&a) + 32 * half, 32);
    __builtin_memcpy(&y, reinterpret_cast<const char*>(&b) + 32 * half, 32);
    __builtin_memcpy(&z, reinterpret_cast<const char*>(&c) + 32 * half, 32);
    z = _mm256_fmadd_ps(x, y, z);
    __builtin_memcpy(reinterpret_cast<char*>(&sum) + 32 * half, &z, 32);
  }
  return sum;
#else
  return a * b + c;
#endif
}

// Asks for memory that a walk now at x, or at y with its results, will meet soon. A page ahead: the hardware's own
// prefetching ends with the page. A blur of 4x256x64x64 in channels_last took 2460 us without, 1484 with the first and
// 1250 with both, a copy of it 1050 (one thread, buffers beyond the cache).
template <class T>
inline void soon_read(const T* x) {
  __builtin_prefetch(reinterpret_cast<const char*>(x) + 4096);
}
template <class T>
inline void soon_written(T* y) {
  __builtin_prefetch(reinterpret_cast<char*>(y) + 4096, 1);
}

// `get` and `put` for less than a vector, which is rare and need not be repeated at every place.
template <class T>
__attribute__((noinline)) void get_some(const T* x, int64_t width, Lanes<Acc<T>>& to) {
  get<Acc<T>>(x, width, to);
}
template <class T>
__attribute__((noinline)) void put_some(const Lanes<Acc<T>>& from, int64_t width, T* x) {
  put<Acc<T>>(from, width, x);
}

template <class T>
inline Lanes<Acc<T>> lanes_at(const T* x) {
  Lanes<Acc<T>> values;
  get_all(x, values);
  return values;
}

// Of 32 neighbours in two vectors, those at even and at odd places; and back: `first_pairs`, `last_pairs`.
#if defined(__clang__) || __GNUC__ >= 12
#define STYLEGAN_FAST_PICK(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int32_t Places __attribute__((vector_size(64)));
#define STYLEGAN_FAST_PICK(a, b, ...) __builtin_shuffle(a, b, (Places){__VA_ARGS__})
#endif
inline Lanes<float> even_ones(const Lanes<float>& a, const Lanes<float>& b) {
  return STYLEGAN_FAST_PICK(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}
inline Lanes<float> odd_ones(const Lanes<float>& a, const Lanes<float>& b) {
  return STYLEGAN_FAST_PICK(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
}
// The same for groups of four.
inline Lanes<float> even_fours(const Lanes<float>& a, const Lanes<float>& b) {
  return STYLEGAN_FAST_PICK(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
}
inline Lanes<float> odd_fours(const Lanes<float>& a, const Lanes<float>& b) {
  return STYLEGAN_FAST_PICK(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
}
// The first, and the last, eight lanes of both.
inline Lanes<float> first_halves(const Lanes<float>& a, const Lanes<float>& b) {
  return STYLEGAN_FAST_PICK(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
}
inline Lanes<float> last_halves(const Lanes<float>& a, const Lanes<float>& b) {
  return STYLEGAN_FAST_PICK(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
}
inline Lanes<float> first_pairs(const Lanes<float>& even, const Lanes<float>& odd) {
  return STYLEGAN_FAST_PICK(even, odd, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
inline Lanes<float> last_pairs(const Lanes<float>& even, const Lanes<float>& odd) {
  return STYLEGAN_FAST_PICK(even, odd, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
