// upfirdn2d, the general tier: any filter, up, down, padding and layout; one thread per output element.
//
// Along one dimension, output o reads the positions q = o * down - pad0 + tap of the upsampled row, tap = 0 ..
// filter-1. Only q = up * i is not an inserted zero, so a thread steps through every up-th tap only (its phase of the
// filter), and through those whose pixel i lies in the image: padding and inserted zeros cost nothing, and never meet
// an Inf or NaN.
#pragma once

#include "vec.cuh"

namespace stylegan_fast {
namespace cuda {

constexpr int upfirdn2d_threads = 256;

// The taps tap, tap + up, ... of one output along one dimension: `count` of them, meeting pixels i, i + 1, ...
struct Taps {
  int64_t tap, pixel, count;

  __device__ __forceinline__ Taps(int64_t out, int64_t down, int64_t up, int64_t pad0, int64_t filter, int64_t in) {
    const int64_t start = out * down - pad0;
    pixel = start > 0 ? (start + up - 1) / up : 0;  // the first pixel at or after both `start` and the image's edge
    tap = pixel * up - start;
    const int64_t in_filter = tap < filter ? (filter - tap + up - 1) / up : 0, in_image = pixel < in ? in - pixel : 0;
    count = in_filter < in_image ? in_filter : in_image;
  }
};

template <typename T, bool channels_last>
__global__ void __launch_bounds__(upfirdn2d_threads) upfirdn2d_kernel(UpFirDn2d p) {
  using A = acc_t<T>;
  const T* const x = static_cast<const T*>(p.x);
  const A* const filter = static_cast<const A*>(p.filter);
  const int64_t size = p.n * p.c * p.out_h * p.out_w, step = int64_t(gridDim.x) * blockDim.x;
  const int64_t stride_x = channels_last ? p.c : 1, stride_y = stride_x * p.in_w;
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < size; i += step) {
    const int64_t rest = channels_last ? i / p.c : i;  // of [N, out_h, out_w] or [N*C, out_h, out_w]
    const int64_t out_x = rest % p.out_w, out_y = rest / p.out_w % p.out_h, image = rest / p.out_w / p.out_h;
    const Taps across(out_x, p.down_x, p.up_x, p.pad_x0, p.filter_w, p.in_w);
    const Taps down(out_y, p.down_y, p.up_y, p.pad_y0, p.filter_h, p.in_h);
    const int64_t base = channels_last ? image * p.in_h * stride_y + i % p.c : image * p.in_h * stride_y;
    A sum = A(0);
    for (int64_t ky = 0; ky < down.count; ++ky) {
      const int64_t tap_y = down.tap + ky * p.up_y;
      const A* const row = filter + (p.flip_filter ? tap_y : p.filter_h - 1 - tap_y) * p.filter_w;
      const T* const pixels = x + base + (down.pixel + ky) * stride_y + across.pixel * stride_x;
      for (int64_t kx = 0; kx < across.count; ++kx) {
        const int64_t tap_x = across.tap + kx * p.up_x;
        sum += row[p.flip_filter ? tap_x : p.filter_w - 1 - tap_x] * to_acc(pixels[kx * stride_x]);
      }
    }
    static_cast<T*>(p.y)[i] = from_acc<T>(A(p.gain) * sum);
  }
}

}  // namespace cuda
}  // namespace stylegan_fast
