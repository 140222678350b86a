// Software __half and __nv_bfloat16: storage and the four conversions the kernels use, rounding to nearest even as the
// hardware does.
#pragma once

#include <cstdint>
#include <cstring>

struct __half {
  uint16_t bits;
};

struct __nv_bfloat16 {
  uint16_t bits;
};

namespace emulator {

inline uint32_t float_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float bits_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace emulator

inline float __bfloat162float(__nv_bfloat16 value) { return emulator::bits_float(uint32_t(value.bits) << 16); }

inline __nv_bfloat16 __float2bfloat16_rn(float value) {
  const uint32_t bits = emulator::float_bits(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {0x7fff};
  return {uint16_t((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

inline float __half2float(__half value) {
  const uint32_t sign = uint32_t(value.bits & 0x8000u) << 16, magnitude = value.bits & 0x7fffu;
  if (magnitude >= 0x7c00u) return emulator::bits_float(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  if (magnitude >= 0x400u) return emulator::bits_float(sign | ((magnitude << 13) + 0x38000000u));
  const float subnormal = float(magnitude) * 0x1p-24f;
  return sign ? -subnormal : subnormal;
}

inline __half __float2half_rn(float value) {
  const uint32_t bits = emulator::float_bits(value), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {0x7fff};
  if (magnitude >= 0x477ff000u) return {uint16_t(sign | 0x7c00u)};  // 65520 and up round to infinity
  if (magnitude < 0x38800000u) {  // subnormal: next to 0.5 a float's ulp is 2^-24, a subnormal half's own
    const float shifted = emulator::bits_float(magnitude) + 0.5f;
    return {uint16_t(sign | (emulator::float_bits(shifted) - 0x3f000000u))};
  }
  return {uint16_t(sign | (magnitude + 0xfffu + (magnitude >> 13 & 1u) - 0x38000000u) >> 13)};
}
