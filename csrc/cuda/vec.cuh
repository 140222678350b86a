// The machine, part 2: element types and 16-byte vectors.
#pragma once

#include <cstring>
#include <initializer_list>

#include "launch.cuh"

namespace stylegan_fast {
namespace cuda {

// The accumulation type: double for double, float for the rest.
template <typename T>
struct AccOf {
  using type = float;
};
template <>
struct AccOf<double> {
  using type = double;
};
template <typename T>
using acc_t = typename AccOf<T>::type;

__device__ __forceinline__ double to_acc(double v) { return v; }
__device__ __forceinline__ float to_acc(float v) { return v; }
__device__ __forceinline__ float to_acc(__half v) { return __half2float(v); }
__device__ __forceinline__ float to_acc(__nv_bfloat16 v) { return __bfloat162float(v); }

template <typename T>
__device__ __forceinline__ T from_acc(acc_t<T> v) {
  return v;
}
template <>
__device__ __forceinline__ __half from_acc<__half>(float v) {
  return __float2half_rn(v);
}
template <>
__device__ __forceinline__ __nv_bfloat16 from_acc<__nv_bfloat16>(float v) {
  return __float2bfloat16_rn(v);
}

// A product that is never contracted into a neighbouring sum, so that computed twice it is the same number twice.
#if defined(STYLEGAN_FAST_EMULATOR)
inline float multiply(float a, float b) { return a * b; }
inline double multiply(double a, double b) { return a * b; }
#else
__device__ __forceinline__ float multiply(float a, float b) { return __fmul_rn(a, b); }
__device__ __forceinline__ double multiply(double a, double b) { return __dmul_rn(a, b); }
#endif

// a / b to 2 units in the last place, of numbers that are far from the ends of their range: no call.
#if defined(STYLEGAN_FAST_EMULATOR)
inline float nearly_divided(float a, float b) { return a / b; }
#else
__device__ __forceinline__ float nearly_divided(float a, float b) { return __fdividef(a, b); }
#endif

// 1 / sqrt(v); in fp32 to 2 units in the last place, without the branches of a correctly rounded root and division.
#if defined(STYLEGAN_FAST_EMULATOR)
inline float inverse_sqrt(float v) { return 1.0f / std::sqrt(v); }
#else
__device__ __forceinline__ float inverse_sqrt(float v) { return rsqrtf(v); }
#endif
__device__ __forceinline__ double inverse_sqrt(double v) { return 1.0 / sqrt(v); }

// n elements of one load or store. [i]: element i as an accumulator.
template <typename T, int n, typename = void>
struct alignas(n * sizeof(T)) Pack {
  static constexpr int size = n;
  T element[n];

  __device__ __forceinline__ acc_t<T> operator[](int i) const { return to_acc(element[i]); }
  __device__ __forceinline__ static Pack of(const acc_t<T>* values) {
    Pack pack;
#pragma unroll
    for (int i = 0; i < n; ++i) pack.element[i] = from_acc<T>(values[i]);
    return pack;
  }
};

// Two 16-bit numbers in the word they lie in.
template <typename T>
struct Pair;

#if defined(STYLEGAN_FAST_EMULATOR)
template <typename T>
struct Pair {
  static float value(uint32_t word, int i) {
    T element;
    memcpy(&element, reinterpret_cast<const char*>(&word) + i * sizeof(T), sizeof(T));
    return to_acc(element);
  }
  static uint32_t of(float low, float high) {
    const T elements[2] = {from_acc<T>(low), from_acc<T>(high)};
    uint32_t word;
    memcpy(&word, elements, sizeof(word));
    return word;
  }
};
#else
template <>
struct Pair<__nv_bfloat16> {
  __device__ __forceinline__ static float value(uint32_t word, int i) {
    return __uint_as_float(i ? word & 0xffff0000u : word << 16);
  }
  __device__ __forceinline__ static uint32_t of(float low, float high) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    uint32_t word;
    memcpy(&word, &pair, sizeof(word));
    return word;
  }
};
template <>
struct Pair<__half> {
  __device__ __forceinline__ static float value(uint32_t word, int i) {
    __half2 pair;
    memcpy(&pair, &word, sizeof(pair));
    return i ? __high2float(pair) : __low2float(pair);
  }
  __device__ __forceinline__ static uint32_t of(float low, float high) {
    const __half2 pair = __floats2half2_rn(low, high);
    uint32_t word;
    memcpy(&word, &pair, sizeof(word));
    return word;
  }
};
#endif

// 16-bit numbers stay in the words they came in until they are used. Of single elements the compiler took every load
// apart where it stood, into the same registers, so that a thread waited for one load before it began the next: on an
// H200 bf16 took as long as fp32.
template <typename T, int n>
struct alignas(n * sizeof(T)) Pack<T, n, std::enable_if_t<sizeof(T) == 2 && n % 2 == 0>> {
  static constexpr int size = n;
  uint32_t word[n / 2];

  __device__ __forceinline__ float operator[](int i) const { return Pair<T>::value(word[i / 2], i % 2); }
  __device__ __forceinline__ static Pack of(const float* values) {
    Pack pack;
#pragma unroll
    for (int i = 0; i < n; i += 2) pack.word[i / 2] = Pair<T>::of(values[i], values[i + 1]);
    return pack;
  }
};

// v, or zeros. Of 16-bit numbers whole words are chosen: half as many instructions as for what they hold.
template <typename T, int n>
__device__ __forceinline__ Pack<T, n> kept_if(bool keep, const Pack<T, n>& v) {
  if constexpr (sizeof(T) == 2 && n % 2 == 0) {
    Pack<T, n> kept;
#pragma unroll
    for (int i = 0; i < n / 2; ++i) kept.word[i] = keep ? v.word[i] : 0u;
    return kept;
  } else {
    return keep ? v : Pack<T, n>{};
  }
}

// One 16-byte load or store.
template <typename T>
using Vec = Pack<T, int(16 / sizeof(T))>;

// Hides from the compiler how v came about. What is computed of v before and after is then computed twice, where the
// compiler would otherwise keep all of it in registers from one pass to the next.
template <typename V>
__device__ __forceinline__ void compute_anew(V& v) {
#if !defined(STYLEGAN_FAST_EMULATOR)
  unsigned words[sizeof(v) / 4];
  memcpy(words, &v, sizeof(v));
#pragma unroll
  for (unsigned& word : words) asm volatile("" : "+r"(word));
  memcpy(&v, words, sizeof(v));
#else
  (void)v;
#endif
}

// The compiler may not move the load of these numbers to where they are used, which it does with one used behind a
// branch. They are not waited for here.
template <typename A, int n>
__device__ __forceinline__ void stays_here(A (&values)[n]) {
#pragma unroll
  for (int i = 0; i < n; ++i) compute_anew(values[i]);
}

// Makes an address in global memory a number that the compiler knows nothing more of, where it would keep the numbers of
// elements that it came from instead, and take five instructions for each load where one does.
template <typename T>
__device__ __forceinline__ void only_the_address(T*& p) {
#if !defined(STYLEGAN_FAST_EMULATOR)
  size_t address = __cvta_generic_to_global(p);
  asm volatile("" : "+l"(address));
  p = static_cast<T*>(__cvta_global_to_generic(address));
#else
  (void)p;
#endif
}

// `width` accumulators from where they lie 16-byte aligned (or anyhow, for a width of 1), 16 bytes at a time.
template <int width, typename A>
__device__ __forceinline__ void load_acc(const A* p, A* values) {
  constexpr int step = width < Vec<A>::size ? width : Vec<A>::size;
#pragma unroll
  for (int first = 0; first < width; first += step) {
    const auto v = *reinterpret_cast<const Pack<A, step>*>(p + first);
#pragma unroll
    for (int i = 0; i < step; ++i) values[first + i] = v[i];
  }
}

// Whether all of these pointers may be read as Vec. Null pointers are.
inline bool aligned16(std::initializer_list<const void*> pointers) {
  for (const void* p : pointers)
    if (reinterpret_cast<uintptr_t>(p) % 16) return false;
  return true;
}

// Loads p[0 .. count), count <= Vec<T>::size, in one access where it is whole and `aligned`. The rest of `values` is 0.
template <typename T>
__device__ __forceinline__ void load(const T* p, int64_t count, bool aligned, acc_t<T>* values) {
  constexpr int size = Vec<T>::size;
  if (aligned && count >= size) {
    const Vec<T> v = *reinterpret_cast<const Vec<T>*>(p);
#pragma unroll
    for (int i = 0; i < size; ++i) values[i] = v[i];
  } else {
#pragma unroll
    for (int i = 0; i < size; ++i) values[i] = i < count ? to_acc(p[i]) : acc_t<T>(0);
  }
}

template <typename T>
__device__ __forceinline__ void store(T* p, int64_t count, bool aligned, const acc_t<T>* values) {
  constexpr int size = Vec<T>::size;
  if (aligned && count >= size) {
    *reinterpret_cast<Vec<T>*>(p) = Vec<T>::of(values);
  } else {
#pragma unroll
    for (int i = 0; i < size; ++i)
      if (i < count) p[i] = from_acc<T>(values[i]);
  }
}

}  // namespace cuda
}  // namespace stylegan_fast
