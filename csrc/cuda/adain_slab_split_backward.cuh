// The backward kernels of adain's split tier of channels_last; the formulas stand in adain_formulas.cuh.
#pragma once

#include "adain_slab_split.cuh"

namespace stylegan_fast {
namespace cuda {

constexpr int slab_backward_batch = 4;  // pixels of which a thread reads x and dy before it uses the first

// f(place in the tensor, x, dy, noise) for each of the thread's pixels, several of them read ahead.
template <typename T, bool reverse, typename F>
__device__ __forceinline__ void for_slab_pixels(const AdaINBackward& p, const Channels<T>& channels,
                                                const SlabPlace<reverse>& place, F f) {
  constexpr int batch = slab_backward_batch;
  const int step = place.step();
  const int64_t hop = step * p.op.c;
  int64_t pixel = place.first(), at = channels.base + pixel * p.op.c;
  for (int left = place.count(); left > 0; left -= batch, pixel += batch * step, at += batch * hop) {
    Pack<T, slab_width> x[batch], dy[batch];
    acc_t<T> noise[batch];
    read_pixels<batch>(static_cast<const T*>(p.op.x) + at, hop * int(sizeof(T)), left, x);
    read_pixels<batch>(static_cast<const T*>(p.dy) + at, hop * int(sizeof(T)), left, dy);
    read_noise<batch>(channels.noise ? channels.noise + pixel : nullptr, step, left, noise);
#pragma unroll
    for (int k = 0; k < batch; ++k)
      if (k < left) f(at + k * hop, x[k], dy[k], noise[k]);
  }
}

// Two sums side by side for each channel.
template <typename A>
__device__ __forceinline__ Sums<A, 2> of_channel(const Sums<A, 2 * slab_width>& v, int i) {
  return {{v.value[2 * i], v.value[2 * i + 1]}};
}

template <typename T>
__global__ void __launch_bounds__(slab_threads, slab_blocks)
    adain_slab_backward_sums(AdaINBackward p, AdaINGrid grid, int lanes, PlaneSums to) {
  using A = acc_t<T>;
  using V = Pack<T, slab_width>;
  for (SlabPlace<false> place(p.op, grid, lanes); place.inside(); place.next()) {
    Sums<A, 2 * slab_width> sums{};
    if (place.count()) {
      const Channels<T> channels(p.op, place.n(), place.c());
      const Styles<A> styles(p.op, p.mean, p.rstd, place.n(), place.c());
      for_slab_pixels(p, channels, place, [&](int64_t, const V& x, const V& dy, A noise) {
#pragma unroll
        for (int i = 0; i < slab_width; ++i) {
          const PixelGradient<A> gradient = gradient_of(channels, styles, x, dy, noise, i);
          sums.value[2 * i] += gradient.dz;
          sums.value[2 * i + 1] += gradient.dz * gradient.normalised;
        }
      });
    }
    const Sums<A, 2> column = slab_reduce<T>(sums, lanes);
    if (place.writes()) write_sums(to, place.partial(), column.value[0], column.value[1]);
  }
}

// sums: [N*C] of dz and of dz * normalised. to: the planes' or slices' parts of dbias and dnoise_strength.
template <typename T>
__global__ void __launch_bounds__(slab_threads, slab_blocks)
    adain_slab_backward_apply(AdaINBackward p, AdaINGrid grid, int lanes, PlaneSums sums, PlaneSums to) {
  using A = acc_t<T>;
  using V = Pack<T, slab_width>;
  const A per_pixel = A(grid.per_pixel);
  for (SlabPlace<true> place(p.op, grid, lanes); place.inside(); place.next()) {
    Sums<A, 2 * slab_width> totals{};
    if (place.count()) {
      const Channels<T> channels(p.op, place.n(), place.c());
      const Styles<A> styles(p.op, p.mean, p.rstd, place.n(), place.c());
      const int64_t plane = place.n() * p.op.c + place.c();
      A mean_dz[slab_width], mean_dz_normalised[slab_width];
      load_parameters(static_cast<const A*>(sums.first) + plane, 1, A(0), mean_dz);
      load_parameters(static_cast<const A*>(sums.second) + plane, 1, A(0), mean_dz_normalised);
#pragma unroll
      for (int i = 0; i < slab_width; ++i) mean_dz[i] *= per_pixel, mean_dz_normalised[i] *= per_pixel;
      for_slab_pixels(p, channels, place, [&](int64_t at, const V& x, const V& dy, A noise) {
        A dx[slab_width];
#pragma unroll
        for (int i = 0; i < slab_width; ++i) {
          const PixelGradient<A> gradient = gradient_of(channels, styles, x, dy, noise, i);
          const A dt = dt_of(channels.channel[i], styles.style[i], gradient.normalised, gradient.dz, gradient.negative,
                             mean_dz[i], mean_dz_normalised[i]);
          dx[i] = dt;
          totals.value[2 * i] += dt;
          totals.value[2 * i + 1] += dt * noise;
        }
        if (p.dx) channels.write(p.dx, at, V::of(dx));
      });
    }
    if (!to.first && !to.second) continue;
    const Sums<A, 2> column = slab_reduce<T>(totals, lanes);
    if (place.writes()) write_sums(to, place.partial(), column.value[0], column.value[1]);
  }
}

}  // namespace cuda
}  // namespace stylegan_fast
