// adain on the CPU, [N][C][H][W]: planes that stay in the cache. A piece of work is a group of them.
#pragma once

#include "adain_plane.h"
#include "lane_shuffles.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

// Elements of a plane whose activated values stay in the second-level cache until they are written: up to 128x128.
template <class A>
constexpr int64_t kept_size = 65536 / static_cast<int64_t>(sizeof(A));

// How many planes are done together: what is one number per plane is then computed for all of them at once, and the
// processor need not wait for one plane's sums before it begins the next. 8 KB of them: with x, the kept values and y they
// fill the first-level cache. 16 KB took 1.12 times as long forward at 16x16 and 32x32 (AVX-512, 2 threads).
constexpr int64_t most_together = 16;
template <class A>
int64_t planes_together(int64_t size) {
  constexpr int64_t room = part_size<A> / 2;
  return size * most_together <= room ? most_together : size < room ? room / size : 1;
}

// The mean and the squared deviations of planes, as `Moments::merge_block` takes them from a block.
struct PlaneMoments {
  double mean[most_together], rest[most_together], squares[most_together];
};

// One register of sums for each of the planes that are done together.
template <class A>
struct PlaneRows {
  Lanes<A> rows[most_together];

  // The sums of the first `planes` rows. What is in the others is not looked at.
  void totals(int64_t planes, A* sums) {
    constexpr int64_t lanes = lane_count<A>;
    for (int64_t i = 0; i < planes; i += lanes) {
      Lanes<A> square[lanes];
      const int64_t width = smaller(lanes, planes - i);
      for (int64_t k = 0; k < lanes; ++k) square[k] = k < width ? rows[i + k] : Lanes<A>{};
      put<A>(sums_of_rows<A>(square), width, sums + i);
    }
  }
};

// Planes of one block: the sums of all of them first, for one plane's deviations wait for its mean.
template <class T, bool with_noise>
void moments_of_blocks(const AdaIN& op, int64_t first, int64_t planes, Acc<T>* kept, const T* y, PlaneMoments& found) {
  using A = Acc<T>;
  const int64_t size = op.h * op.w;
  PlaneRows<A> sums, squares;
  A mean[most_together], rest[most_together], square[most_together];
  for (int64_t i = 0; i < planes; ++i) {
    const Plane<T, with_noise> plane(op, first + i);
    sums.rows[i] = centre(plane.t, 0, size, plane.constants(op), kept + i * size, y + i * size);
  }
  sums.totals(planes, mean);
  for (int64_t i = 0; i < planes; ++i) mean[i] /= static_cast<A>(size);
  for (int64_t i = 0; i < planes; ++i) {
    const TwoSums<A> both = deviations(kept + i * size, size, mean[i]);
    sums.rows[i] = both.first;
    squares.rows[i] = both.second;
  }
  sums.totals(planes, rest);
  squares.totals(planes, square);
  for (int64_t i = 0; i < planes; ++i) {
    found.mean[i] = mean[i];
    found.rest[i] = rest[i];
    found.squares[i] = square[i];
  }
}

template <class T, bool with_noise>
void moments_of_plane(const Plane<T, with_noise>& plane, const AdaIN& op, Acc<T>* kept, const T* y, int64_t i,
                      PlaneMoments& found) {
  Moments moments;
  add_moments(plane.t, 0, plane.size, plane.constants(op), kept, y, moments);
  found.mean[i] = moments.mean();
  found.rest[i] = 0;
  found.squares[i] = moments.deviations;
}

template <class T, bool with_noise, bool activated>
void forward_planes(const AdaINForward& f, int64_t first, int64_t planes) {
  using A = Acc<T>;
  alignas(64) A kept[kept_size<A>];
  const int64_t size = f.op.h * f.op.w;
  T* const y = static_cast<T*>(f.y) + first * size;
  PlaneMoments moments;
  if (size <= block_size<A>) {
    moments_of_blocks<T, with_noise>(f.op, first, planes, kept, y, moments);
  } else {
    for (int64_t i = 0; i < planes; ++i)
      moments_of_plane(Plane<T, with_noise>(f.op, first + i), f.op, kept + i * size, y + i * size, i, moments);
  }
  A mean[most_together], rstd[most_together];
  const double reciprocal = 1 / static_cast<double>(size), eps = f.op.eps;
#pragma omp simd
  for (int64_t i = 0; i < planes; ++i) {
    const double missing = moments.rest[i] * reciprocal, deviations = moments.squares[i] - moments.rest[i] * missing;
    mean[i] = static_cast<A>(moments.mean[i] + missing);
    rstd[i] = static_cast<A>(1 / __builtin_sqrt(deviations * reciprocal + eps));
  }
  for (int64_t i = 0; i < planes; ++i) {
    const Plane<T, with_noise> plane(f.op, first + i);
    write<A>(f.mean, plane.index, mean[i]);
    write<A>(f.rstd, plane.index, rstd[i]);
    Normalisation<A> k = plane.constants(f.op);
    plane.set_statistics(f.op, mean[i], rstd[i], k);
    const bool past_cache = goes_past_cache(f.op, y + i * size);
    normalise<activated>(plane.t, kept + i * size, 0, size, k, y + i * size, plane.t.x + planes * size, past_cache);
  }
  finish_streams();
}

// Two sums of each plane: `block_sums(i, start, count)` finds those of a block of plane i, the last blocks first if
// reversed.
template <class A, bool reversed, class BlockSums>
INLINED void sums_of_planes(int64_t size, int64_t planes, BlockSums block_sums, double* first, double* second) {
  if (size <= block_size<A>) {
    PlaneRows<A> firsts, seconds;
    for (int64_t i = 0; i < planes; ++i) {
      const TwoSums<A> sums = block_sums(i, 0, size);
      firsts.rows[i] = sums.first;
      seconds.rows[i] = sums.second;
    }
    A totals[2][most_together];
    firsts.totals(planes, totals[0]);
    seconds.totals(planes, totals[1]);
    for (int64_t i = 0; i < planes; ++i) {
      first[i] = totals[0][i];
      second[i] = totals[1][i];
    }
    return;
  }
  for (int64_t i = 0; i < planes; ++i) {
    Sum one, other;
    const auto add = [&](int64_t start, int64_t count) {
      const TwoSums<A> sums = block_sums(i, start, count);
      one.add(sum_of<A>(sums.first));
      other.add(sum_of<A>(sums.second));
    };
    if (reversed)
      over_blocks_reversed<A>(0, size, add);
    else
      over_blocks_of<A>(0, size, add);
    first[i] = one.total();
    second[i] = other.total();
  }
}

template <class T, bool with_noise, bool activated>
void backward_planes(const AdaINBackward& f, int64_t first, int64_t planes) {
  using A = Acc<T>;
  const int64_t size = f.op.h * f.op.w, to_next = planes * size;
  const T* const dy = static_cast<const T*>(f.dy) + first * size;
  T* const dx = f.dx ? static_cast<T*>(f.dx) + first * size : nullptr;
  double sums[2][most_together];
  const auto sums_of_block = [&](int64_t i, int64_t start, int64_t count) INLINED_BODY {
    const Plane<T, with_noise> plane(f.op, first + i);
    Normalisation<A> k = plane.constants(f.op);
    plane.set_statistics(f.op, f.mean, f.rstd, k);
    const T* soon = dx ? dx + i * size : nullptr;
    return sums_of_dz<activated>(plane.t, dy + i * size, start, count, k, soon);
  };
  sums_of_planes<A, false>(size, planes, sums_of_block, sums[0], sums[1]);
  A mean_dz[most_together], mean_dzs[most_together];
  for (int64_t i = 0; i < planes; ++i) {
    write<A>(f.dshift, first + i, sums[0][i]);
    write<A>(f.dscale, first + i, sums[1][i]);
    mean_dz[i] = static_cast<A>(sums[0][i] / static_cast<double>(size));
    mean_dzs[i] = static_cast<A>(sums[1][i] / static_cast<double>(size));
  }
  if (!f.dx && !f.dbias && !f.dnoise_strength) return;
  const auto gradient_of_block = [&](int64_t i, int64_t start, int64_t count) INLINED_BODY {
    const Plane<T, with_noise> plane(f.op, first + i);
    Normalisation<A> k = plane.constants(f.op);
    plane.set_statistics(f.op, f.mean, f.rstd, k);
    k.mean_dz = all_lanes(mean_dz[i]);
    k.mean_dzs = all_lanes(mean_dzs[i]);
    T* const to = dx ? dx + i * size : nullptr;
    return gradient<activated>(plane.t, dy + i * size, start, count, k, to, to_next, goes_past_cache(f.op, to));
  };
  sums_of_planes<A, true>(size, planes, gradient_of_block, sums[0], sums[1]);
  for (int64_t i = 0; i < planes; ++i) {
    write<A>(f.dbias, first + i, sums[0][i]);
    write<A>(f.dnoise_strength, first + i, sums[1][i]);
  }
  finish_streams();
}

// Elements [start, start + count) of sample n's dnoise. Runs when dshift and dscale of all planes are there.
template <class T, bool activated>
void noise_gradient_block(const AdaINBackward& f, int64_t n, int64_t start, int64_t count) {
  using A = Acc<T>;
  A sum[block_size<A>] = {};
  for (int64_t c = 0; c < f.op.c; ++c) {
    const Plane<T, true> plane(f.op, n * f.op.c + c);
    const int64_t i = plane.index;
    Normalisation<A> k = plane.constants(f.op);
    plane.set_statistics(f.op, f.mean, f.rstd, k);
    k.mean_dz = all_lanes(static_cast<const A*>(f.dshift)[i] / static_cast<A>(plane.size));
    k.mean_dzs = all_lanes(static_cast<const A*>(f.dscale)[i] / static_cast<A>(plane.size));
    add_scaled_gradient<activated>(plane.t, static_cast<const T*>(f.dy) + i * plane.size, start, count, k, sum);
  }
  A* const dnoise = static_cast<A*>(f.dnoise) + n * f.op.h * f.op.w + start;
  __builtin_memcpy(dnoise, sum, static_cast<size_t>(count) * sizeof(A));
}

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
