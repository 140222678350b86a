// adain for channels_last: the moments of a thread's channels, and how batches of pixels are merged into them.
#pragma once

#include "adain_slab.cuh"

namespace stylegan_fast {
namespace cuda {

// Moments of a thread's channels, which have all met the same pixels.
template <typename A>
struct ChannelMoments {
  A count, mean[slab_width], m2[slab_width];
};

template <typename A>
__device__ __forceinline__ ChannelMoments<A> combine(ChannelMoments<A> a, const ChannelMoments<A>& b) {
  if (b.count == A(0)) return a;
  if (a.count == A(0)) return b;
  const A count = a.count + b.count, share = b.count / count;
#pragma unroll
  for (int i = 0; i < slab_width; ++i) {
    const A delta = b.mean[i] - a.mean[i];
    a.mean[i] += delta * share;
    a.m2[i] += b.m2[i] + delta * delta * a.count * share;
  }
  a.count = count;
  return a;
}

template <typename A>
__device__ __forceinline__ ChannelMoments<A> shuffle_xor(ChannelMoments<A> v, int mask) {
  v.count = __shfl_xor_sync(full_warp, v.count, mask);
#pragma unroll
  for (int i = 0; i < slab_width; ++i) {
    v.mean[i] = __shfl_xor_sync(full_warp, v.mean[i], mask);
    v.m2[i] = __shfl_xor_sync(full_warp, v.m2[i], mask);
  }
  return v;
}

template <typename A>
__device__ __forceinline__ Moments<A> of_channel(const ChannelMoments<A>& v, int i) {
  return {v.count, v.mean[i], v.m2[i]};
}

// Of the first `count` values of a batch, in two passes in registers.
template <int batch, typename A>
__device__ __forceinline__ ChannelMoments<A> batch_moments(const A (&value)[batch][slab_width], int count) {
  ChannelMoments<A> moments{};
  moments.count = A(count);
  const A share = A(1) / A(count);
#pragma unroll
  for (int i = 0; i < slab_width; ++i) {
    A sum = A(0);
#pragma unroll
    for (int k = 0; k < batch; ++k)
      if (k < count) sum += value[k][i];
    moments.mean[i] = sum * share;
#pragma unroll
    for (int k = 0; k < batch; ++k) {
      const A deviation = value[k][i] - moments.mean[i];
      if (k < count) moments.m2[i] += deviation * deviation;
    }
  }
  return moments;
}

// Merges the first `count` values of a batch into a thread's moments. A whole batch is most of the work: no division in
// full precision, whose error would be that of the weight of a difference of means; no question whether either is empty.
template <int batch, typename A>
__device__ __forceinline__ void merge_batch(ChannelMoments<A>& total, const A (&value)[batch][slab_width], int count) {
  if (count < batch) {
    total = combine(total, batch_moments(value, count));
    return;
  }
  const A before = total.count, share = nearly_divided(A(batch), before + A(batch)), weight = before * share;
  total.count = before + A(batch);
#pragma unroll
  for (int i = 0; i < slab_width; ++i) {
    A sum = A(0), m2 = A(0);
#pragma unroll
    for (int k = 0; k < batch; ++k) sum += value[k][i];
    const A mean = sum * (A(1) / A(batch));
#pragma unroll
    for (int k = 0; k < batch; ++k) m2 = fma(value[k][i] - mean, value[k][i] - mean, m2);
    const A delta = mean - total.mean[i];
    total.mean[i] = fma(delta, share, total.mean[i]);
    total.m2[i] += fma(delta * delta, weight, m2);
  }
}

}  // namespace cuda
}  // namespace stylegan_fast
