// adain, where it reads its input through phases and blur (api.h, struct AdaIN): where u's pixels lie, v of them, and
// the way back of a gradient. No kernel writes u or v: v is computed where it is used, and dx = blur(dt) from a dt that
// is in shared memory.
//
// v must round alike wherever it is computed: blur_of adds up a row first, then three rows. Doubling and dividing by 16
// are exact, so it matters not whether they are fused with what is added.
#pragma once

#include "adain_formulas.cuh"

namespace stylegan_fast {
namespace cuda {

template <typename A>
__device__ __forceinline__ A blur_of(A before, A centre, A after) {
  return fma(A(2), centre, before + after);
}

// Of three rows' sums.
template <typename A>
__device__ __forceinline__ A blurred(A above, A here, A below) {
  return multiply(blur_of(above, here, below), A(1.0 / 16));
}

// Where pixel (i, j) of u lies in x and dx: at row(i) + pixel(j), of a plane of a sample. With phases there are rows -1
// and H and columns -1 and W as well, which nothing reads. columns: 1 for contiguous, 32 for channels_last.
template <int columns>
struct Reader {
  int64_t base, row_stride, odd_row, pixel_stride, odd_pixel, h, w;
  bool phases, blur;

  __device__ __forceinline__ Reader(const AdaIN& op, int64_t n, int64_t c)
      : h(op.h), w(op.w), phases(op.phases), blur(op.blur) {
    const int64_t rows = phases ? h / 2 + 1 : h, row = phases ? w / 2 + 1 : w, channels = phases ? 4 * op.c : op.c;
    if (columns == 1) {
      row_stride = row;
      pixel_stride = 1;
      odd_pixel = op.c * rows * row;
      base = (n * channels + c) * rows * row;
    } else {
      row_stride = row * channels;
      pixel_stride = channels;
      odd_pixel = op.c;
      base = n * rows * row_stride + c;
    }
    odd_row = 2 * odd_pixel;
  }

  __device__ __forceinline__ int64_t row(int64_t i) const {
    return base + (phases ? (i & 1) * odd_row + ((i + 1) >> 1) * row_stride : i * row_stride);
  }
  __device__ __forceinline__ int64_t pixel(int64_t j) const {
    return phases ? (j & 1) * odd_pixel + ((j + 1) >> 1) * pixel_stride : j * pixel_stride;
  }

  // v of `rows` pixels of column j, the first in row i, which may lie above the image or below it. Three loads a pixel.
  template <int rows, typename T>
  __device__ __forceinline__ void strip(const T* x, int64_t i, int64_t j, acc_t<T>* v) const {
    using A = acc_t<T>;
    const int64_t centre = pixel(j);
    if (!blur) {
#pragma unroll
      for (int r = 0; r < rows; ++r) v[r] = inside(i + r) ? to_acc(x[row(i + r) + centre]) : A(0);
      return;
    }
    const bool has_left = j > 0, has_right = j + 1 < w;
    const int64_t left = pixel(j - 1), right = pixel(j + 1);
    const auto row_sum = [&](int64_t k) {
      if (!inside(k)) return A(0);
      const T* const from = x + row(k);
      const A before = has_left ? to_acc(from[left]) : A(0), after = has_right ? to_acc(from[right]) : A(0);
      return blur_of(before, to_acc(from[centre]), after);
    };
    A above = row_sum(i - 1), here = row_sum(i);
#pragma unroll
    for (int r = 0; r < rows; ++r) {
      const A below = row_sum(i + 1 + r);
      v[r] = blurred(above, here, below);
      above = here;
      here = below;
    }
  }

  template <typename T>
  __device__ __forceinline__ acc_t<T> at(const T* x, int64_t i, int64_t j) const {
    acc_t<T> v;
    strip<1>(x, i, j, &v);
    return v;
  }

 private:
  __device__ __forceinline__ bool inside(int64_t i) const { return i >= 0 && i < h; }
};

// Zeros where no pixel of u lies, beside and, where asked, above and below rows [top, bottom). `workers` threads do it
// together.
template <typename T, int columns>
__device__ __forceinline__ void zero_border(T* dx, const Reader<columns>& u, int64_t top, int64_t bottom,
                                            int64_t worker, int64_t workers) {
  for (int64_t i = top + worker; i < bottom; i += workers) {
    dx[u.row(i) + u.pixel(-1)] = from_acc<T>(0);
    dx[u.row(i) + u.pixel(u.w)] = from_acc<T>(0);
  }
  for (int64_t j = worker - 1; j <= u.w; j += workers) {
    if (top == 0) dx[u.row(-1) + u.pixel(j)] = from_acc<T>(0);
    if (bottom == u.h) dx[u.row(u.h) + u.pixel(j)] = from_acc<T>(0);
  }
}

}  // namespace cuda
}  // namespace stylegan_fast
