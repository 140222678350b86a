// The backward of adain_resident.cuh: one read of x and of dy, one write, and all sums of a plane.
#pragma once

#include "adain_resident.cuh"

namespace stylegan_fast {
namespace cuda {

// Whether the noise is ordered before the pivot is waited for. Where packs are read through phases and blur ptxas spills a
// register for sm_90 if it is, and for sm_75 if it is not.
#if defined(STYLEGAN_FAST_CLUSTERS)
template <typename Way, int width>
constexpr bool noise_first = waits_once<width> && Way::ahead;
#else
template <typename Way, int width>
constexpr bool noise_first = waits_once<width>;
#endif

// Packs of x and of dy that the backward has under way while it works on another, out of what its values leave of 128
// registers: 8 values in flight of each. All of a thread's packs at a time spill.
template <int width>
constexpr int packs_ahead = width == 8 ? 1 : 2;

// dx, and dshift and dscale, of one plane. Returns the thread's share of the sums of dt and dt * noise.
template <typename T, int width, int chunks, typename Team, typename Way>
__device__ __forceinline__ Sums<acc_t<T>, 2> backward_of_plane(const AdaINBackward& p, const PlaneGrid& grid,
                                                               Team& team, const Way& way, unsigned n, unsigned c,
                                                               bool live) {
  using A = acc_t<T>;
  using V = Pack<T, width>;
  static_assert(width * chunks <= 32, "the signs of t are kept in 32 bits");
  const int pixels = int(p.op.h * p.op.w);
  const unsigned plane = n * unsigned(p.op.c) + c;
  const typename Way::Plane source(way, p.op, p.dx, plane, live, team);
  const T* const dy = static_cast<const T*>(p.dy) + int64_t(plane) * pixels;
  const A* const noise = noise_of<A>(p.op, n);

  constexpr int ahead = chunks < packs_ahead<width> ? chunks : packs_ahead<width>;
  typename Way::V raw_x[ahead];
  V raw_dy[ahead];
  const auto read = [&](int k) {
    const int pixel = pack_at(team, chunks, k) * width;
    if (k >= chunks || pixel >= pixels) return;
    if (Way::ahead) raw_x[k % ahead] = source.fetch(pixel);
    raw_dy[k % ahead] = *reinterpret_cast<const V*>(dy + pixel);
  };
#pragma unroll
  for (int k = 0; k < ahead; ++k) read(k);
  NoiseAhead<width, chunks, A, Team> noise_ahead(team, noise, pixels);
  if (noise_first<Way, width>) noise_ahead.begin();
  Channel<A> channel(p.op, c);
  Style<A> style(p.op, p.mean, p.rstd, n, c);
  A firsts[2] = {p.op.x ? source.first() : A(0), number_or_zero<A>(noise, 0)};  // of x and of the noise
  Sums<A, 2> totals{{A(0), A(0)}};
  if (waits_once<width>) {
    stays_here(firsts), compute_anew(channel), compute_anew(style);
    if (plane == no_plane) return totals;  // never
  }
  const A pivot = channel.activation(channel.t(firsts[0], firsts[1]));
  if (!noise_first<Way, width>) noise_ahead.begin();
  A normalised[chunks][width], dz[chunks][width];
  unsigned negative = 0;
  Sums<A, 2> sums{{A(0), A(0)}};  // of dz and dz * normalised
  for_packs<width, chunks>(team, pixels, [&](int k, int pixel) {
    const typename Way::V x_pack = Way::ahead ? raw_x[k % ahead] : source.fetch(pixel);
    const V dy_pack = raw_dy[k % ahead];
    read(k + ahead);
    const A* const noises = noise_ahead.take(k);
#pragma unroll
    for (int i = 0; i < width; ++i) {
      const PixelGradient<A> gradient(channel, style, channel.t(source.value(x_pack, i), noises[i]), pivot,
                                      dy_pack[i]);
      normalised[k][i] = gradient.normalised;
      dz[k][i] = gradient.dz;
      negative |= unsigned(gradient.negative) << (k * width + i);
      sums.value[0] += gradient.dz;
      sums.value[1] += gradient.dz * gradient.normalised;
    }
  });
  sums = team.sum(sums);
  if (live && team.leads()) write_sums({p.dshift, p.dscale}, plane, sums.value[0], sums.value[1]);
  const A mean_dz = sums.value[0] * grid.per_pixel, mean_dz_normalised = sums.value[1] * grid.per_pixel;
  for_packs<width, chunks>(team, pixels, [&](int k, int pixel) {
    A noises[width];
    load_noise<width>(p.dnoise_strength ? noise : nullptr, pixel, noises);
    A dts[width];
#pragma unroll
    for (int i = 0; i < width; ++i) {
      const bool below = negative >> (k * width + i) & 1u;
      const A dt = dt_of(channel, style, normalised[k][i], dz[k][i], below, mean_dz, mean_dz_normalised);
      dts[i] = dt;
      totals.value[0] += dt;
      totals.value[1] += dt * noises[i];
    }
    source.put(pixel, dts);
  });
  source.flush(team);
  return totals;
}

template <typename T, int width, int chunks, typename Team, typename Way = AsItLies<T, width>>
__device__ __forceinline__ void resident_backward(const AdaINBackward& p, const PlaneGrid& grid, Team team,
                                                  Way way = {}) {
  const unsigned planes = unsigned(p.op.n) * grid.channels.value();
  for (unsigned first = team.first(); first < planes; first += team.step()) {
    const bool live = first + team.index() < planes;
    const unsigned plane = live ? first + team.index() : planes - 1;
    unsigned n = plane;
    const unsigned c = grid.channels.split(n);
    Sums<acc_t<T>, 2> totals = backward_of_plane<T, width, chunks>(p, grid, team, way, n, c, live);
    if (!p.dbias && !p.dnoise_strength) continue;
    totals = team.sum(totals);
    if (live && team.leads()) write_sums({p.dbias, p.dnoise_strength}, plane, totals.value[0], totals.value[1]);
  }
  team.finish();
}

}  // namespace cuda
}  // namespace stylegan_fast
