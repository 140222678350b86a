// The filter of a specialised upfirdn2d tier, read once by every thread.
#pragma once

#include "vec.cuh"

namespace stylegan_fast {
namespace cuda {

// A filter of taps x taps, as an outer product, which those of networks are: filter[i][j] * gain = down[i] * across[j].
// Down and across, 3 taps cost 6 multiplications an output and not 9, 4 cost 8 and not 16. Where its first element is
// 0 it may be such a product too, and is not taken for one.
template <typename A, int taps>
class Filter {
 public:
  A down[taps], across[taps];

  __device__ __forceinline__ explicit Filter(const UpFirDn2d& p)
      : values_(static_cast<const A*>(p.filter)), reversed_(!p.flip_filter), gain_(A(p.gain)) {
    const A corner = at(0, 0);
#pragma unroll
    for (int i = 0; i < taps; ++i) {
      down[i] = at(i, 0);
      across[i] = at(0, i) * (gain_ / corner);
    }
    separable_ = fabs(corner) >= A(0x1p-40);  // no product below loses its digits to underflow
#pragma unroll
    for (int i = 1; i < taps; ++i) {
#pragma unroll
      for (int j = 1; j < taps; ++j) {
        // The roundings of an outer product, and of a division by its sum, are some units in the last place. False
        // where anything is NaN or Inf.
        const A whole = at(i, j) * corner, product = at(i, 0) * at(0, j);
        separable_ = separable_ && fabs(whole - product) <= A(0x1p-21) * fmin(fabs(whole), fabs(product));
      }
    }
  }

  // The same for all threads.
  __device__ __forceinline__ bool separable() const { return separable_; }

  // Correlated with, times gain.
  __device__ __forceinline__ A operator()(int i, int j) const { return gain_ * at(i, j); }

 private:
  __device__ __forceinline__ A at(int i, int j) const {
    const int tap = i * taps + j;
    return values_[reversed_ ? taps * taps - 1 - tap : tap];
  }

  const A* values_;
  bool reversed_, separable_;
  A gain_;
};

}  // namespace cuda
}  // namespace stylegan_fast
