// Division of numbers below 2^31 by one divisor again and again: the host finds a multiplier, the device multiplies and
// shifts (Granlund and Montgomery 1994, section 4). A division proper costs some twenty instructions.
#pragma once

#include "launch.cuh"

namespace stylegan_fast {
namespace cuda {

class Divisor {
 public:
  // 1 <= divisor < 2^31
  Divisor() : Divisor(1) {}
  explicit Divisor(unsigned divisor) : divisor_(divisor), shift_(31) {
    while ((uint64_t(1) << (shift_ - 31)) < divisor) ++shift_;
    // Too large by less than 1, and n times that is less than 2^shift, for n < 2^31.
    multiplier_ = unsigned((uint64_t(1) << shift_) / divisor + 1);
  }

  __host__ __device__ __forceinline__ unsigned value() const { return divisor_; }

  // n becomes the quotient; returns the remainder.
  __device__ __forceinline__ unsigned split(unsigned& n) const {
    const unsigned quotient = unsigned((uint64_t(n) * multiplier_) >> shift_), remainder = n - quotient * divisor_;
    n = quotient;
    return remainder;
  }

 private:
  unsigned divisor_, multiplier_, shift_;
};

}  // namespace cuda
}  // namespace stylegan_fast
