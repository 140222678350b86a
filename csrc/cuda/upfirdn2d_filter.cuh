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
    A value[taps][taps];
#pragma unroll
    for (int tap = 0; tap < taps * taps; ++tap) value[tap / taps][tap % taps] = at(tap / taps, tap % taps);
    const A corner = value[0][0], scale = nearly_divided(gain_, corner);
    separable_ = fabs(corner) >= A(0x1p-40);  // no product below loses its digits to underflow
#pragma unroll
    for (int i = 0; i < taps; ++i) {
      down[i] = value[i][0];
      across[i] = value[0][i] * scale;
    }
#pragma unroll
    for (int i = 1; i < taps; ++i) {
#pragma unroll
      for (int j = 1; j < taps; ++j) {
        // The roundings of an outer product, and of a division by its sum, are some units in the last place. False
        // where anything is NaN or Inf. (Not &&, which would load one tap after the other.)
        const A whole = value[i][j] * corner, product = value[i][0] * value[0][j];
        separable_ &= fabs(whole - product) <= A(0x1p-21) * fmin(fabs(whole), fabs(product));
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

// Rows and columns of output by any filter, which is looked up anew for each of them, as are the pixels. x: where pixel
// (0, 0) is, y: where (first_row, first_column) goes. stride: elements from one pixel to the next.
template <typename T, int pack, int up, int down, int taps, int pad>
__device__ __forceinline__ void filter_plainly(const UpFirDn2d& p, const Filter<acc_t<T>, taps>& filter, const T* x,
                                               T* y, int stride, int first_row, int rows, int first_column,
                                               int columns) {
  using A = acc_t<T>;
  const int in_w = int(p.in_w), in_h = int(p.in_h), out_w = int(p.out_w);
#pragma unroll 1
  for (int pixel = 0; pixel < rows * columns; ++pixel) {
    const int row = pixel / columns, column = pixel % columns;
    A sums[pack] = {};
#pragma unroll 1
    for (int tap = 0; tap < taps * taps; ++tap) {
      // In the image with zeros inserted.
      const int i = (first_row + row) * down - pad + tap / taps, j = (first_column + column) * down - pad + tap % taps;
      if (i < 0 || j < 0 || i % up || j % up || i / up >= in_h || j / up >= in_w) continue;
      const auto v = *reinterpret_cast<const Pack<T, pack>*>(x + (i / up * in_w + j / up) * stride);
      const A weight = filter(tap / taps, tap % taps);
#pragma unroll
      for (int e = 0; e < pack; ++e) sums[e] += weight * v[e];
    }
    *reinterpret_cast<Pack<T, pack>*>(y + (row * out_w + column) * stride) = Pack<T, pack>::of(sums);
  }
}

}  // namespace cuda
}  // namespace stylegan_fast
