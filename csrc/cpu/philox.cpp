// philox_normal on the CPU: the words of a block of counters, their normal numbers, and these woven into the order of
// the definition; all of it in the first-level cache.
//
// Relative error of a number: below 3 * 2^-23. Over all 2^23 values of u_0 the radius is off by at most 0.8 * 2^-23,
// and over all of u_1 sine and cosine times a radius by 1.5 * 2^-23 (1.0 with FMA).
#include "../philox.h"

#include "simd.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

constexpr int64_t block_size = 256;  // counters
constexpr int64_t blocks_per_piece = 16;

// A register of words, each in the lower half of 64 bits: there a multiplication finds them, and leaves both halves of
// the product. Nothing ever looks at the upper halves, so nothing clears them. (Words side by side, left to GCC to
// multiply, take two to eight times as long.)
constexpr int64_t words_count = register_bytes / 8;
typedef uint64_t Words __attribute__((vector_size(register_bytes)));
typedef uint32_t Narrow __attribute__((vector_size(register_bytes / 2)));

inline Words product(Words words, uint32_t multiplier) {
#if defined(__AVX512F__)
  // One instruction, as the plain intrinsic, of which GCC 12 warns: its header reads an uninitialised variable.
  const __m512i both = _mm512_maskz_mul_epu32(0xff, bits_as<__m512i>(words), _mm512_set1_epi64(multiplier));
  return bits_as<Words>(both);
#elif defined(__AVX2__)
  return bits_as<Words>(_mm256_mul_epu32(bits_as<__m256i>(words), _mm256_set1_epi64x(multiplier)));
#elif defined(__SSE2__)
  return bits_as<Words>(_mm_mul_epu32(bits_as<__m128i>(words), _mm_set1_epi64x(multiplier)));
#else
  return (words & 0xffffffffu) * static_cast<uint64_t>(multiplier);
#endif
}

struct Block {
  alignas(64) uint32_t word[4][block_size];
  alignas(64) float number[4][block_size];
};

// The words of the counters first .. first + count, or of a few more.
void fill_words(int64_t seed, int64_t first, int64_t count, Block& block) {
  constexpr int at_once = 2;  // one multiplication waits for the one before it; the other vector's does not
  static_assert(block_size % (at_once * words_count) == 0, "a block is whole vectors");
  Words lanes;
  for (int64_t i = 0; i < words_count; ++i) lanes[i] = static_cast<uint64_t>(i);
  for (int64_t start = 0; start < count; start += at_once * words_count) {
    Words c[4][at_once] = {};
    for (int i = 0; i < at_once; ++i) {
      c[0][i] = lanes + static_cast<uint64_t>(first + start + i * words_count);
      c[1][i] = c[0][i] >> 32;
    }
    uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(static_cast<uint64_t>(seed) >> 32);
#pragma GCC unroll philox_rounds
    for (int round = 0; round < philox_rounds; ++round) {
      for (int i = 0; i < at_once; ++i) {
        const Words of0 = product(c[0][i], philox_multiplier0), of2 = product(c[2][i], philox_multiplier1);
        c[0][i] = (of2 >> 32) ^ c[1][i] ^ static_cast<uint64_t>(key0);
        c[2][i] = (of0 >> 32) ^ c[3][i] ^ static_cast<uint64_t>(key1);
        c[1][i] = of2;
        c[3][i] = of0;
      }
      key0 += philox_weyl0;
      key1 += philox_weyl1;
    }
    for (int k = 0; k < 4; ++k)
      for (int i = 0; i < at_once; ++i) {
        const Narrow narrow = __builtin_convertvector(c[k][i], Narrow);
        __builtin_memcpy(&block.word[k][start + i * words_count], &narrow, sizeof narrow);
      }
  }
}

// -2 log u for u in (0, 1): u = m * 2^e with m in [sqrt(1/2), sqrt(2)), f = m - 1, and
// log m = f - f^2/2 + f^3 * P(f), P the polynomial of degree 7 with the least relative error of log m.
inline float minus_two_log(float u) {
  constexpr uint32_t sqrt_half = 0x3f3504f3;
  const uint32_t bits = bits_as<uint32_t>(u);
  const int32_t exponent = static_cast<int32_t>(bits - sqrt_half) >> 23;
  const float f = bits_as<float>(bits - (static_cast<uint32_t>(exponent) << 23)) - 1.0f;
  const float e = static_cast<float>(exponent);
  float p = fused(-0.07634493f, f, 0.12761575f);
  p = fused(p, f, -0.13160183f);
  p = fused(p, f, 0.14201759f);
  p = fused(p, f, -0.16623357f);
  p = fused(p, f, 0.20001227f);
  p = fused(p, f, -0.2500082f);
  p = fused(p, f, 0.3333333f);
  // log 2 in two parts: e times the first is exact.
  constexpr float log2_high = 0.693359375f, log2_low = -2.12194440e-4f;
  const float rest = fused(f * f, fused(f, p, -0.5f), e * log2_low);
  return -2.0f * fused(e, log2_high, f + rest);
}

// Two words a, b to two normal numbers (Box and Muller 1958).
void fill_numbers(const uint32_t* RESTRICT a, const uint32_t* RESTRICT b, int64_t count, float* RESTRICT cosines,
                  float* RESTRICT sines) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    const float u = (static_cast<float>(static_cast<int32_t>(a[i] >> 9)) + 0.5f) * 0x1p-23f;
    const float radius = __builtin_sqrtf(minus_two_log(u));
    // The angle is a multiple of a quarter turn and f turns more, |f| <= 1/8: all exact.
    const int32_t turns = static_cast<int32_t>(b[i] >> 9);
    const int32_t quarter = (turns + (1 << 20)) >> 21;
    const float f = (static_cast<float>(turns - (quarter << 21)) + 0.5f) * 0x1p-23f;
    // sin(2 pi f) = f * (2 pi + f^2 * S(f^2)), cos(2 pi f) = 1 + f^2 * C(f^2), S of degree 2 and C of degree 3 with
    // the least relative error; 2 pi in two parts.
    constexpr float two_pi_high = 6.2831855f, two_pi_low = -1.7484555e-7f;
    const float ff = f * f;
    const float s = fused(fused(-75.4456f, ff, 81.593765f), ff, -41.34167f);
    const float sine = fused(f, two_pi_high, f * fused(ff, s, two_pi_low));
    const float c = fused(fused(fused(59.229244f, ff, -85.44324f), ff, 64.939323f), ff, -19.739208f);
    const float cosine = fused(ff, c, 1.0f);
    const bool swapped = quarter & 1;
    const uint32_t sign_of_cosine = static_cast<uint32_t>((quarter + 1) & 2) << 30;
    const uint32_t sign_of_sine = static_cast<uint32_t>(quarter & 2) << 30;
    cosines[i] = radius * bits_as<float>(bits_as<uint32_t>(swapped ? sine : cosine) ^ sign_of_cosine);
    sines[i] = radius * bits_as<float>(bits_as<uint32_t>(swapped ? cosine : sine) ^ sign_of_sine);
  }
}

void weave(const Block& block, int64_t count, float* RESTRICT y) {
  const float *RESTRICT a = block.number[0], *RESTRICT b = block.number[1];
  const float *RESTRICT c = block.number[2], *RESTRICT d = block.number[3];
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    y[4 * i] = a[i];
    y[4 * i + 1] = b[i];
    y[4 * i + 2] = c[i];
    y[4 * i + 3] = d[i];
  }
}

}  // namespace

Status philox_normal(const PhiloxNormal& p, int threads) {
  constexpr int64_t numbers = 4 * block_size, piece_size = numbers * blocks_per_piece;
  const int64_t pieces = (p.size + piece_size - 1) / piece_size;
  parallel(p.n * pieces, p.n * p.size, threads, [&](int64_t i) {
    const int64_t sample = i / pieces, piece = i % pieces;
    const int64_t end = smaller(p.size, (piece + 1) * piece_size);
    float* y = p.y + sample * p.size;
    for (int64_t start = piece * piece_size; start < end; start += numbers) {
      const int64_t left = smaller(numbers, end - start), count = (left + 3) / 4;
      Block block;
      fill_words(p.seeds[sample], start / 4, count, block);
      fill_numbers(block.word[0], block.word[1], count, block.number[0], block.number[1]);
      fill_numbers(block.word[2], block.word[3], count, block.number[2], block.number[3]);
      weave(block, left / 4, y + start);
      for (int64_t i = left & ~int64_t(3); i < left; ++i) y[start + i] = block.number[i % 4][i / 4];
    }
  });
  return Status::ok;
}

}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
