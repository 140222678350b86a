// adain on the CPU, [N][C][H][W]: planes too large to keep. They are cut into slabs, so that threads can share a plane.
#pragma once

#include "adain_plane.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

// The slabs of a plane depend on its size alone, and so does the order their sums are added in.
constexpr int64_t most_slabs = 64;
struct Slabs {
  int64_t size, length, count;

  explicit Slabs(int64_t size) : size(size) {
    constexpr int64_t shortest = 32768, whole_parts = 4096;
    const int64_t even = ((size - 1) / most_slabs / whole_parts + 1) * whole_parts;
    length = even < shortest ? shortest : even;
    count = (size - 1) / length + 1;
  }
  int64_t start(int64_t slab) const { return slab * length; }
  int64_t end(int64_t slab) const { return smaller((slab + 1) * length, size); }
};

template <class T, bool with_noise>
Moments moments_of_slab(Before<T, with_noise> t, int64_t from, int64_t to, Normalisation<Acc<T>> k) {
  using A = Acc<T>;
  alignas(64) A kept[part_size<A>];
  const T* nothing = nullptr;
  Moments found;
  for (int64_t start = from; start < to; start += part_size<A>)
    add_moments(t, start, smaller(start + part_size<A>, to), k, kept, nothing, found);
  return found;
}

template <bool activated, class T, bool with_noise>
void write_slab(Before<T, with_noise> t, int64_t from, int64_t to, Normalisation<Acc<T>> k, T* y, bool past_cache) {
  const Acc<T>* nothing_kept = nullptr;
  const T* nothing = nullptr;
  over_blocks_reversed<Acc<T>>(from, to, [&](int64_t start, int64_t count) {
    normalise<activated>(t, nothing_kept, start, count, k, y, nothing, past_cache);
  });
  finish_streams();
}

// The work of `threads` on plane `index`; with 1 thread this is itself a piece of work.
template <class T, bool with_noise, bool activated>
void forward_large(const AdaINForward& f, int64_t index, int threads) {
  using A = Acc<T>;
  const Plane<T, with_noise> plane(f.op, index);
  const Slabs slabs(plane.size);
  Normalisation<A> k = plane.constants(f.op);
  Moments found[most_slabs], moments;
  parallel(slabs.count, plane.size, threads, [&](int64_t slab) {
    found[slab] = moments_of_slab(plane.t, slabs.start(slab), slabs.end(slab), k);
  });
  for (int64_t slab = 0; slab < slabs.count; ++slab)
    moments.merge(found[slab].count, found[slab].mean(), found[slab].deviations);
  const A mean = static_cast<A>(moments.mean()), rstd = static_cast<A>(moments.rstd(f.op.eps));
  write<A>(f.mean, index, mean);
  write<A>(f.rstd, index, rstd);
  plane.set_statistics(f.op, mean, rstd, k);
  T* const y = static_cast<T*>(f.y) + index * plane.size;
  const bool past_cache = goes_past_cache(f.op, y);
  parallel(slabs.count, plane.size, threads, [&](int64_t i) {
    const int64_t slab = slabs.count - 1 - i;
    write_slab<activated>(plane.t, slabs.start(slab), slabs.end(slab), k, y, past_cache);
  });
}

struct SlabSums {
  double first = 0, second = 0;
};

template <bool activated, class T, bool with_noise>
SlabSums sums_of_slab(Before<T, with_noise> t, const T* dy, int64_t from, int64_t to, Normalisation<Acc<T>> k) {
  const T* nothing = nullptr;
  Sum dz, dzs;
  over_blocks_of<Acc<T>>(from, to, [&](int64_t start, int64_t count) {
    const TwoSums<Acc<T>> sums = sums_of_dz<activated>(t, dy, start, count, k, nothing);
    dz.add(sum_of<Acc<T>>(sums.first));
    dzs.add(sum_of<Acc<T>>(sums.second));
  });
  return {dz.total(), dzs.total()};
}

template <bool activated, class T, bool with_noise>
SlabSums gradient_of_slab(Before<T, with_noise> t, const T* dy, int64_t from, int64_t to, Normalisation<Acc<T>> k,
                          T* dx, bool past_cache) {
  Sum dt, dt_noise;
  over_blocks_reversed<Acc<T>>(from, to, [&](int64_t start, int64_t count) {
    const TwoSums<Acc<T>> sums = gradient<activated>(t, dy, start, count, k, dx, 0, past_cache);
    dt.add(sum_of<Acc<T>>(sums.first));
    dt_noise.add(sum_of<Acc<T>>(sums.second));
  });
  finish_streams();
  return {dt.total(), dt_noise.total()};
}

template <class T, bool with_noise, bool activated>
void backward_large(const AdaINBackward& f, int64_t index, int threads) {
  using A = Acc<T>;
  const Plane<T, with_noise> plane(f.op, index);
  const Slabs slabs(plane.size);
  Normalisation<A> k = plane.constants(f.op);
  plane.set_statistics(f.op, f.mean, f.rstd, k);
  const T* const dy = static_cast<const T*>(f.dy) + index * plane.size;
  SlabSums found[most_slabs];
  parallel(slabs.count, plane.size, threads, [&](int64_t slab) {
    found[slab] = sums_of_slab<activated>(plane.t, dy, slabs.start(slab), slabs.end(slab), k);
  });
  Sum sum_dz, sum_dzs, sum_dt, sum_dt_noise;
  for (int64_t slab = 0; slab < slabs.count; ++slab) {
    sum_dz.add(found[slab].first);
    sum_dzs.add(found[slab].second);
  }
  write<A>(f.dshift, index, sum_dz.total());
  write<A>(f.dscale, index, sum_dzs.total());
  if (!f.dx && !f.dbias && !f.dnoise_strength) return;
  k.mean_dz = all_lanes(static_cast<A>(sum_dz.total() / static_cast<double>(plane.size)));
  k.mean_dzs = all_lanes(static_cast<A>(sum_dzs.total() / static_cast<double>(plane.size)));
  T* const dx = f.dx ? static_cast<T*>(f.dx) + index * plane.size : nullptr;
  const bool past_cache = goes_past_cache(f.op, dx);
  parallel(slabs.count, plane.size, threads, [&](int64_t i) {
    const int64_t slab = slabs.count - 1 - i;
    found[slab] = gradient_of_slab<activated>(plane.t, dy, slabs.start(slab), slabs.end(slab), k, dx, past_cache);
  });
  for (int64_t slab = 0; slab < slabs.count; ++slab) {
    sum_dt.add(found[slab].first);
    sum_dt_noise.add(found[slab].second);
  }
  write<A>(f.dbias, index, sum_dt.total());
  write<A>(f.dnoise_strength, index, sum_dt_noise.total());
}

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
