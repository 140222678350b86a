// adain where a contiguous plane is held in the registers of the threads that share it: one read of x (and dy), one
// write. What differs between the tiers is who shares a plane and how they add up: a Team, see adain_warp.cuh,
// adain_block.cuh and adain_cluster.cuh.
//
//   leads()                  true in one thread of those that share a plane
//   first_pack(chunks)       the first of a thread's packs in its plane; the next are pack_step() apart
//   first(), index(), step() the plane to begin with is first() + index(), the next is step() further; first() is the
//                            same for all threads that meet at a barrier
//   sum(v)                   over the team, the same bits in each of its threads
//   finish()                 before a thread ends
//   threads()                of the team; the thread's number is first_pack(1)
//   meet(), part()           barriers: after what threads of the team write for each other in shared memory, and before
//                            they write it again, where the sums between are none
//
// and how the plane is read, and its gradient taken back: a Way, AsItLies or that of adain_reading_resident.cuh, whose
// Plane has
//
//   first()                  v of its first pixel
//   fetch(pixel)             of a pack; value(fetched, i) is its v. Where the Way is `ahead` other packs are under way
//                            in between
//   put(pixel, dt)           in the backward, of a pack
//   flush(team)              after all of them, by all threads
//
// A thread holds `chunks` packs of `width` pixels: 16 bytes' worth, or 1 where pointers or sizes do not allow it. Lanes
// hold neighbouring packs, so that a warp reads 512 bytes in a row. Where pack_step() is a constant the distances
// between packs become part of the load instructions, not registers.
#pragma once

#include "adain_formulas.cuh"
#include "divide.cuh"

namespace stylegan_fast {
namespace cuda {

// Planes are counted in 32 bits: a 64-bit division is a call, and ptxas spills around it.
constexpr int64_t most_resident_planes = int64_t(1) << 31;
// The number of none of them. What stands behind a comparison with it is not done earlier: without one ptxas put a
// block's parameters into uniform registers, for which it waited, before it had ordered the block's pixels. Of numbers
// read before it ptxas moved those behind it that no question was asked of, whether their pointer is null.
constexpr unsigned no_plane = 0xffffffffu;

// Whether that is worth its registers: single pixels have none to spare.
template <int width>
constexpr bool waits_once = width > 1;

// What the host knows of the planes: how to find a plane's sample and channel, and 1 / M.
struct PlaneGrid {
  Divisor channels;
  float per_pixel;
};

template <typename Team>
__device__ __forceinline__ int pack_at(const Team& team, int chunks, int k) {
  return team.first_pack(chunks) + k * team.pack_step();
}

// f(k, pixel) for each of the thread's packs that lies in the plane.
template <int width, int chunks, typename Team, typename F>
__device__ __forceinline__ void for_packs(const Team& team, int pixels, F f) {
#pragma unroll
  for (int k = 0; k < chunks; ++k) {
    const int pixel = pack_at(team, chunks, k) * width;
    if (pixel < pixels) f(k, pixel);
  }
}

template <int width, typename A>
__device__ __forceinline__ void load_noise(const A* noise, int pixel, A* values) {
  if (noise) {
    load_acc<width>(noise + pixel, values);
  } else {
#pragma unroll
    for (int i = 0; i < width; ++i) values[i] = A(0);
  }
}

// The noise of a thread's packs, each ordered at the latest while the thread works on the one before: ordered where it
// is used, it would be waited for there.
template <int width, int chunks, typename A, typename Team>
class NoiseAhead {
 public:
  __device__ __forceinline__ NoiseAhead(const Team& team, const A* noise, int pixels)
      : team_(team), noise_(noise), pixels_(pixels) {}

  // Orders the first pack's, or those of both.
  __device__ __forceinline__ void begin() {
    order(0);
    if (chunks == 2) order(1);
  }

  // Of pack k; those before it have been taken.
  __device__ __forceinline__ const A* take(int k) {
    if (chunks > 2 && k + 1 < chunks) order(k + 1);
    return values_[k % 2];
  }

 private:
  const Team& team_;
  const A* const noise_;
  const int pixels_;
  A values_[2][width];

  __device__ __forceinline__ void order(int k) {
    const int pixel = pack_at(team_, chunks, k) * width;
    load_noise<width>(noise_, pixel < pixels_ ? pixel : 0, values_[k % 2]);
    stays_here(values_[k % 2]);
  }
};

template <typename T, int width>
struct AsItLies {
  using V = Pack<T, width>;
  static constexpr bool ahead = true;
  class Plane {
   public:
    template <typename Team>
    __device__ __forceinline__ Plane(const AsItLies&, const AdaIN& op, void* dx, unsigned plane, bool live, const Team&)
        : x_(static_cast<const T*>(op.x) + int64_t(plane) * int(op.h * op.w)),
          dx_(dx && live ? static_cast<T*>(dx) + int64_t(plane) * int(op.h * op.w) : nullptr) {}
    __device__ __forceinline__ acc_t<T> first() const { return to_acc(x_[0]); }
    __device__ __forceinline__ V fetch(int pixel) const { return *reinterpret_cast<const V*>(x_ + pixel); }
    __device__ __forceinline__ acc_t<T> value(const V& fetched, int i) const { return fetched[i]; }
    __device__ __forceinline__ void put(int pixel, const acc_t<T>* dt) const {
      if (dx_) *reinterpret_cast<V*>(dx_ + pixel) = V::of(dt);
    }
    template <typename Team>
    __device__ __forceinline__ void flush(const Team&) const {}

   private:
    const T* const x_;
    T* const dx_;
  };
};

template <typename T, int width, int chunks, typename Team, typename Way = AsItLies<T, width>>
__device__ __forceinline__ void resident_forward(const AdaINForward& p, const PlaneGrid& grid, Team team,
                                                 Way way = {}) {
  using A = acc_t<T>;
  using V = Pack<T, width>;
  const int pixels = int(p.op.h * p.op.w);
  const unsigned planes = unsigned(p.op.n) * grid.channels.value();
  for (unsigned first = team.first(); first < planes; first += team.step()) {
    const bool live = first + team.index() < planes;
    const unsigned plane = live ? first + team.index() : planes - 1;  // who has none reads the last one, and is silent
    unsigned n = plane;
    const unsigned c = grid.channels.split(n);
    const typename Way::Plane source(way, p.op, nullptr, plane, live, team);
    T* const y = static_cast<T*>(p.y) + int64_t(plane) * pixels;
    const A* const noise = noise_of<A>(p.op, n);

    // All that a plane needs is on its way before any of it is waited for: of a small one, waiting is most of the time.
    constexpr int ahead = width == 1 && chunks > 4 ? 4 : chunks;  // or the addresses take the registers
    typename Way::V raw[ahead];
    const auto read = [&](int k) {
      const int pixel = pack_at(team, chunks, k) * width;
      if (Way::ahead && k < chunks && pixel < pixels) raw[k % ahead] = source.fetch(pixel);
    };
#pragma unroll
    for (int k = 0; k < ahead; ++k) read(k);
    NoiseAhead<width, chunks, A, Team> noise_ahead(team, noise, pixels);
    if (waits_once<width>) noise_ahead.begin();
    Channel<A> channel(p.op, c);
    Style<A> style(p.op, A(0), A(0), n, c);
    A firsts[2] = {p.op.x ? source.first() : A(0), number_or_zero<A>(noise, 0)};  // of x and of the noise
    if (waits_once<width>) {
      stays_here(firsts), compute_anew(channel), compute_anew(style);
      if (plane == no_plane) break;  // never
    }
    const A pivot = channel.activation(channel.t(firsts[0], firsts[1]));
    if (!waits_once<width>) noise_ahead.begin();
    A value[chunks][width];  // a - pivot
    Sums<A, 1> sum{{A(0)}};
    for_packs<width, chunks>(team, pixels, [&](int k, int pixel) {
      const typename Way::V pack = Way::ahead ? raw[k % ahead] : source.fetch(pixel);
      read(k + ahead);
      const A* const noises = noise_ahead.take(k);
#pragma unroll
      for (int i = 0; i < width; ++i) {
        value[k][i] = channel.activation(channel.t(source.value(pack, i), noises[i])) - pivot;
        sum.value[0] += value[k][i];
      }
    });
    style.mean = team.sum(sum).value[0] * grid.per_pixel;
    Sums<A, 1> m2{{A(0)}};
    for_packs<width, chunks>(team, pixels, [&](int k, int) {
#pragma unroll
      for (int i = 0; i < width; ++i) m2.value[0] += (value[k][i] - style.mean) * (value[k][i] - style.mean);
    });
    style.rstd = rstd_of(p, team.sum(m2).value[0] * grid.per_pixel);
    if (!live) continue;
    if (team.leads()) write_statistics(p, plane, style.mean, style.rstd);
    for_packs<width, chunks>(team, pixels, [&](int k, int pixel) {
      A z[width];
#pragma unroll
      for (int i = 0; i < width; ++i) z[i] = channel.output(style.z(style.normalised(value[k][i])));
      *reinterpret_cast<V*>(y + pixel) = V::of(z);
    });
  }
  team.finish();
}

}  // namespace cuda
}  // namespace stylegan_fast
