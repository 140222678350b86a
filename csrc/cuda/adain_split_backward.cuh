// The backward kernels of adain's split tier; the formulas stand in adain_formulas.cuh.
#pragma once

#include "adain_split.cuh"

namespace stylegan_fast {
namespace cuda {

template <typename T, int columns, typename A>
__device__ __forceinline__ PixelGradient<A> gradient_at(const Plane<T, columns>& plane, const Style<A>& style, A x,
                                                        A dy, int64_t pixel) {
  return {plane.channel, style, plane.t(x, pixel), plane.pivot, dy};
}

template <typename A, typename P>
__device__ __forceinline__ A dt_at(const P& plane, const Style<A>& style, const PixelGradient<A>& g, A mean_dz,
                                   A mean_dz_normalised) {
  return dt_of(plane.channel, style, g.normalised, g.dz, g.negative, mean_dz, mean_dz_normalised);
}

template <typename T, int columns>
__global__ void __launch_bounds__(adain_threads, adain_blocks)
    adain_backward_sums(AdaINBackward p, AdaINGrid grid, PlaneSums to) {
  using A = acc_t<T>;
  const T *const x = static_cast<const T*>(p.op.x), *const dy = static_cast<const T*>(p.dy);
  for (Place<columns> place(p.op, grid); place.inside(p.op); place.next(p.op, grid)) {
    Sums<A, 2> sums{{A(0), A(0)}};
    if (place.live) {
      const Plane<T, columns> plane(p.op, place.n, place.c);
      const Style<A> style(p.op, p.mean, p.rstd, place.n, place.c);
#pragma unroll 4
      for (int64_t pixel = place.first; pixel < place.end; pixel += place.step()) {
        const int64_t i = plane.at(pixel);
        const PixelGradient<A> gradient = gradient_at(plane, style, to_acc(x[i]), to_acc(dy[i]), pixel);
        sums.value[0] += gradient.dz;
        sums.value[1] += gradient.dz * gradient.normalised;
      }
    }
    sums = block_reduce<columns>(sums);
    if (place.leads()) write_sums(to, place.partial(p.op), sums.value[0], sums.value[1]);
  }
}

// sums: [N*C] of dz and of dz * normalised. to: the planes' or slices' parts of dbias and dnoise_strength.
template <typename T, int columns>
__global__ void __launch_bounds__(adain_threads, adain_blocks)
    adain_backward_apply(AdaINBackward p, AdaINGrid grid, PlaneSums sums, PlaneSums to) {
  using A = acc_t<T>;
  const T *const x = static_cast<const T*>(p.op.x), *const dy = static_cast<const T*>(p.dy);
  T* const __restrict__ dx = static_cast<T*>(p.dx);
  const A per_pixel = A(grid.per_pixel);
  for (Place<columns> place(p.op, grid); place.inside(p.op); place.next(p.op, grid)) {
    Sums<A, 2> totals{{A(0), A(0)}};
    if (place.live) {
      const Plane<T, columns> plane(p.op, place.n, place.c);
      const Style<A> style(p.op, p.mean, p.rstd, place.n, place.c);
      const A mean_dz = static_cast<const A*>(sums.first)[place.n * p.op.c + place.c] * per_pixel;
      const A mean_dz_normalised = static_cast<const A*>(sums.second)[place.n * p.op.c + place.c] * per_pixel;
#pragma unroll 4
      for (int64_t pixel = place.first; pixel < place.end; pixel += place.step()) {
        const int64_t i = plane.at(pixel);
        const PixelGradient<A> gradient = gradient_at(plane, style, to_acc(x[i]), to_acc(dy[i]), pixel);
        const A dt = dt_at(plane, style, gradient, mean_dz, mean_dz_normalised);
        if (dx) dx[i] = from_acc<T>(dt);
        totals.value[0] += dt;
        if (plane.noise) totals.value[1] += dt * plane.noise[pixel];
      }
    }
    if (!to.first && !to.second) continue;
    totals = block_reduce<columns>(totals);
    if (place.leads()) write_sums(to, place.partial(p.op), totals.value[0], totals.value[1]);
  }
}

// One pixel of one sample per thread (columns = 1) or per warp, whose lanes then share the channels (columns = 32).
template <typename T, int columns>
__global__ void __launch_bounds__(adain_threads, adain_blocks)
    adain_backward_dnoise(AdaINBackward p, AdaINGrid grid, PlaneSums sums) {
  using A = acc_t<T>;
  const A per_pixel = A(grid.per_pixel);
  const T *const x = static_cast<const T*>(p.op.x), *const dy = static_cast<const T*>(p.dy);
  const int64_t pixels = p.op.h * p.op.w, workers = blockDim.x / columns;
  const int64_t worker = threadIdx.x / columns, first_c = threadIdx.x % columns;
  for (int64_t n = blockIdx.y; n < p.op.n; n += gridDim.y) {
    for (int64_t pixel = blockIdx.x * workers + worker; pixel < pixels; pixel += gridDim.x * workers) {
      Sums<A, 1> total{{A(0)}};
      for (int64_t c = first_c; c < p.op.c; c += columns) {
        const Plane<T, columns> plane(p.op, n, c);
        const Style<A> style(p.op, p.mean, p.rstd, n, c);
        const int64_t i = plane.at(pixel);
        const PixelGradient<A> gradient = gradient_at(plane, style, to_acc(x[i]), to_acc(dy[i]), pixel);
        const A mean_dz = static_cast<const A*>(sums.first)[n * p.op.c + c] * per_pixel;
        const A mean_dz_normalised = static_cast<const A*>(sums.second)[n * p.op.c + c] * per_pixel;
        total.value[0] += dt_at(plane, style, gradient, mean_dz, mean_dz_normalised) * plane.channel.strength;
      }
      if (columns > 1) total = warp_reduce(total);
      if (first_c == 0) static_cast<A*>(p.dnoise)[n * pixels + pixel] = total.value[0];
    }
  }
}

}  // namespace cuda
}  // namespace stylegan_fast
