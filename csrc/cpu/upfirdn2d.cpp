// upfirdn2d on the CPU, polyphase: of the zero-inserted image only the real pixels are ever touched.
//
// Both layouts are one kernel: a row is `pixels` groups of `channels` neighbouring numbers, one number when contiguous,
// and C when channels_last. Along a row, tap k meets real pixels at a regular step: if output o reads pixel i, output
// o + up/g reads pixel i + down/g, g being the greatest common divisor of up and down.
#include "upfirdn2d_boxes.h"
#include "upfirdn2d_pixels.h"
#include "upfirdn2d_tiles.h"
#include "upfirdn2d_walk.h"
#if STYLEGAN_FAST_REGISTER == 64
#include "upfirdn2d_small.h"
#endif

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

constexpr int64_t row_block = 2048;  // numbers of an output row summed at a time

int64_t common_divisor(int64_t a, int64_t b) {
  while (b) {
    const int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

int64_t floor_divide(int64_t a, int64_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

// Where one tap meets the input along one axis, for outputs first, first + step_out, ... below `end`.
struct Meeting {
  int64_t out, in, count;
};

// Outputs o in [begin, end) with a real pixel under tap k: o * down + k - pad = up * i, 0 <= i < in_size.
inline Meeting meet(int64_t k, int64_t up, int64_t down, int64_t pad, int64_t in_size, int64_t begin, int64_t end) {
  const int64_t divisor = common_divisor(up, down), step_out = up / divisor, step_in = down / divisor;
  // Solutions repeat every step_out outputs, so one of the first step_out is one, or none is.
  int64_t first = begin;
  while (first < begin + step_out && floor_divide(first * down + k - pad, up) * up != first * down + k - pad) ++first;
  if (first == begin + step_out) return {0, 0, 0};
  int64_t in = floor_divide(first * down + k - pad, up);
  if (in < 0) {
    const int64_t skip = (-in + step_in - 1) / step_in;
    first += skip * step_out;
    in += skip * step_in;
  }
  if (first >= end || in >= in_size) return {0, 0, 0};
  const int64_t until_end = (end - first + step_out - 1) / step_out;
  const int64_t until_edge = (in_size - in + step_in - 1) / step_in;
  return {first, in, smaller(until_end, until_edge)};
}

// sum[i * step_out] += weight * x[i * step_in], for groups of `channels` numbers.
template <class T>
void add_tap(Acc<T> weight, const T* RESTRICT x, int64_t step_in, int64_t pixel_stride, int64_t channels, int64_t count,
             int64_t step_out, Acc<T>* RESTRICT sum) {
  if (step_in == 1 && step_out == 1 && channels == pixel_stride) {
#pragma omp simd
    for (int64_t i = 0; i < count * channels; ++i) sum[i] = fused(weight, to_acc(x[i]), sum[i]);
  } else if (channels == 1 && step_in == 1 && step_out == 2) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) sum[2 * i] = fused(weight, to_acc(x[i]), sum[2 * i]);
  } else if (channels == 1 && step_in == 2 && step_out == 1) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) sum[i] = fused(weight, to_acc(x[2 * i]), sum[i]);
  } else {
    for (int64_t i = 0; i < count; ++i) {
      const T* from = x + i * step_in * pixel_stride;
      Acc<T>* to = sum + i * step_out * channels;
#pragma omp simd
      for (int64_t c = 0; c < channels; ++c) to[c] = fused(weight, to_acc(from[c]), to[c]);
    }
  }
}

template <class T>
struct Job {
  using A = Acc<T>;
  const UpFirDn2d& op;
  int64_t pixel_stride;  // numbers from one pixel to the next
  int64_t divisor;

  // The weight of tap (ky, kx) of the correlation.
  A weight(int64_t ky, int64_t kx) const {
    const A* f = static_cast<const A*>(op.filter);
    const A tap = op.flip_filter ? f[ky * op.filter_w + kx]
                                 : f[(op.filter_h - 1 - ky) * op.filter_w + (op.filter_w - 1 - kx)];
    return tap * static_cast<A>(op.gain);
  }

  // Outputs [begin, end) of one row, `channels` numbers each. x and y point at the image's first pixel.
  void part_of_row(const T* x, T* y, int64_t out_row, int64_t begin, int64_t end, int64_t channels) const {
    A sum[row_block] = {};
    for (int64_t ky = 0; ky < op.filter_h; ++ky) {
      const Meeting row = meet(ky, op.up_y, op.down_y, op.pad_y0, op.in_h, out_row, out_row + 1);
      if (!row.count) continue;
      for (int64_t kx = 0; kx < op.filter_w; ++kx) {
        const Meeting tap = meet(kx, op.up_x, op.down_x, op.pad_x0, op.in_w, begin, end);
        if (!tap.count) continue;
        add_tap(weight(ky, kx), x + (row.in * op.in_w + tap.in) * pixel_stride, op.down_x / divisor, pixel_stride,
                channels, tap.count, op.up_x / divisor, sum + (tap.out - begin) * channels);
      }
    }
    T* out = y + (out_row * op.out_w + begin) * pixel_stride;
    if (channels == pixel_stride) {
      store(sum, (end - begin) * channels, out);
    } else {
      for (int64_t i = 0; i < end - begin; ++i) store(sum + i * channels, channels, out + i * pixel_stride);
    }
  }
};

template <class T>
void resample(const UpFirDn2d& op, int threads) {
  const bool contiguous = op.layout == Layout::contiguous;
  const int64_t images = contiguous ? op.n * op.c : op.n, stride = contiguous ? 1 : op.c;
  const Job<T> job{op, stride, common_divisor(op.up_x, op.down_x)};
  const int64_t channels = smaller(stride, row_block), block = row_block / channels;
  parallel(images * op.out_h, op.n * op.c * op.out_h * op.out_w, threads, [&](int64_t i) {
    const int64_t image = i / op.out_h, out_row = i % op.out_h;
    const T* x = static_cast<const T*>(op.x) + image * op.in_h * op.in_w * stride;
    T* y = static_cast<T*>(op.y) + image * op.out_h * op.out_w * stride;
    for (int64_t c = 0; c < stride; c += channels)
      for (int64_t begin = 0; begin < op.out_w; begin += block)
        job.part_of_row(x + c, y + c, out_row, begin, smaller(op.out_w, begin + block),
                        smaller(channels, stride - c));
  });
}

template <template <class, int, int, int> class Kernel, class T>
bool resample_with(const UpFirDn2d& op, const Separable<Acc<T>>& axes, int threads) {
  return Kernel<T, 1, 1, 3>::run(op, axes, threads) || Kernel<T, 1, 1, 4>::run(op, axes, threads) ||
         Kernel<T, 2, 1, 4>::run(op, axes, threads) || Kernel<T, 1, 2, 4>::run(op, axes, threads);
}

template <class T>
bool walk_rows(const UpFirDn2d& op, const Separable<Acc<T>>& axes, int threads) {
  return RowWalk<T, 1, 3, -1>::run(op, axes, threads) || RowWalk<T, 1, 4, -1>::run(op, axes, threads) ||
         RowWalk<T, 1, 4, -2>::run(op, axes, threads) || RowWalk<T, 2, 4, -1>::run(op, axes, threads);
}

// The filters of StyleGAN; false where this is none of them, and nothing was done.
template <class T>
bool resample_short(const UpFirDn2d& op, int threads) {
  Separable<Acc<T>> axes;
  if (!axes.plan(op)) return false;
  if (Boxes<T>::run(op, axes, threads)) return true;
#if STYLEGAN_FAST_REGISTER == 64
  if (SmallPlanes<T>::run(op, axes, threads)) return true;
#endif
  if (op.layout == Layout::contiguous && walk_rows<T>(op, axes, threads)) return true;
  if (op.layout == Layout::channels_last ? resample_with<PixelRows, T>(op, axes, threads)
                                         : resample_with<ImageRows, T>(op, axes, threads))
    return true;
  return resample_tiles<T>(op, axes, threads);
}

}  // namespace

Status upfirdn2d(const UpFirDn2d& op, int threads) {
  if (op.dtype == DType::f32 && resample_short<float>(op, threads)) return Status::ok;
  if (op.dtype == DType::bf16 && resample_short<BF16>(op, threads)) return Status::ok;
  return with_dtype(op.dtype, [&](auto t) { return resample<decltype(t)>(op, threads), Status::ok; });
}

}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
