// adain for channels_last, what its tiers share. A slab is up to 128 bytes of neighbouring channels of one sample. A
// thread holds 4 of its channels and strides over pixels: `lanes` threads side by side (a power of two) read a pixel's
// slab, the next ones the next pixel's, so that a warp reads whole sectors. Threads whose channels lie beyond C only
// keep the barriers company.
#pragma once

#include "adain_formulas.cuh"

namespace stylegan_fast {
namespace cuda {

constexpr int slab_bytes = 128;  // a line of the cache

// Channels of a thread: 16 bytes of fp32, 8 of 16-bit numbers. Each takes 7 registers of constants, with the backward's
// sums 11: of 8 channels they leave none for reading ahead, and ptxas spills.
constexpr int slab_width = 4;

template <typename T>
constexpr int slab_channels = slab_bytes / int(sizeof(T));  // at most
constexpr int most_slab_lanes = slab_bytes / 2 / slab_width;

// Parameters of neighbouring channels; null: left_out.
template <typename A>
__device__ __forceinline__ void load_parameters(const A* p, int64_t stride, A left_out, A* values) {
  if (!p) {
#pragma unroll
    for (int i = 0; i < slab_width; ++i) values[i] = left_out;
  } else if (stride == 1 && reinterpret_cast<uintptr_t>(p) % 16 == 0) {
    load_acc<slab_width>(p, values);
  } else {
#pragma unroll
    for (int i = 0; i < slab_width; ++i) values[i] = p[i * stride];
  }
}

// What a thread knows of its channels c .. c + 4 of sample n.
template <typename T>
struct Channels {
  using A = acc_t<T>;
  using V = Pack<T, slab_width>;
  Channel<A> channel[slab_width];
  A pivot[slab_width];
  const A* noise;
  int64_t base;  // of pixel 0

  __device__ __forceinline__ Channels(const AdaIN& op, int64_t n, int64_t c)
      : noise(noise_of<A>(op, n)), base(n * op.h * op.w * op.c + c) {
    A strength[slab_width], bias[slab_width];
    load_parameters(op.noise ? static_cast<const A*>(op.noise_strength) + c : nullptr, 1, A(0), strength);
    load_parameters(op.bias ? static_cast<const A*>(op.bias) + c : nullptr, 1, A(0), bias);
    const V first = read(op.x, base);
    const A first_noise = noise_at(0);
#pragma unroll
    for (int i = 0; i < slab_width; ++i) {
      channel[i] = Channel<A>(op, strength[i], bias[i]);
      pivot[i] = channel[i].activation(channel[i].t(first[i], first_noise));
    }
  }

  // i: of an element of [N, C, H, W].
  __device__ __forceinline__ static V read(const void* tensor, int64_t i) {
    return *reinterpret_cast<const V*>(static_cast<const T*>(tensor) + i);
  }
  __device__ __forceinline__ static void write(void* tensor, int64_t i, const V& v) {
    *reinterpret_cast<V*>(static_cast<T*>(tensor) + i) = v;
  }
  __device__ __forceinline__ A noise_at(int64_t pixel) const { return noise ? noise[pixel] : A(0); }

  // Of channel i: the activation less the pivot.
  __device__ __forceinline__ A from_pivot(const V& x, A noise, int i) const {
    return channel[i].activation(channel[i].t(x[i], noise)) - pivot[i];
  }
};

// Their styles, for whoever knows their statistics, or those of a finished forward.
template <typename A>
struct Styles {
  Style<A> style[slab_width];

  Styles() = default;

  __device__ __forceinline__ Styles(const AdaIN& op, int64_t n, int64_t c) {
    A scale[slab_width], shift[slab_width];
    load(op.scale, n, c, A(1), scale);
    load(op.shift, n, c, A(0), shift);
#pragma unroll
    for (int i = 0; i < slab_width; ++i) style[i] = Style<A>{A(0), A(0), scale[i], shift[i]};
  }

  __device__ __forceinline__ Styles(const AdaIN& op, const void* means, const void* rstds, int64_t n, int64_t c)
      : Styles(op, n, c) {
    A mean[slab_width], rstd[slab_width];
    load_parameters(static_cast<const A*>(means) + n * op.c + c, 1, A(0), mean);
    load_parameters(static_cast<const A*>(rstds) + n * op.c + c, 1, A(0), rstd);
#pragma unroll
    for (int i = 0; i < slab_width; ++i) style[i].mean = mean[i], style[i].rstd = rstd[i];
  }

 private:
  __device__ __forceinline__ static void load(const PlaneParameter& p, int64_t n, int64_t c, A left_out, A* values) {
    const A* const first = p.data ? static_cast<const A*>(p.data) + n * p.stride_n + c * p.stride_c : nullptr;
    load_parameters(first, p.stride_c, left_out, values);
  }
};

template <typename T>
__device__ __forceinline__ PixelGradient<acc_t<T>> gradient_of(const Channels<T>& channels,
                                                               const Styles<acc_t<T>>& styles,
                                                               const Pack<T, slab_width>& x,
                                                               const Pack<T, slab_width>& dy, acc_t<T> noise, int i) {
  return {channels.channel[i], styles.style[i], channels.channel[i].t(x[i], noise), channels.pivot[i],
          dy[i]};
}

}  // namespace cuda
}  // namespace stylegan_fast
