// adain where a slab of channels_last (see adain_slab.cuh) is held in the registers of the threads that share it: one
// read of x (and dy), one write. Who shares it and how they add up is a Team's business:
//
//   thread()                 which of the team's threads this is
//   first(), step()          the slab to begin with, and from slab to slab
//   sum<A, k>(v, log_lanes)  over the team's threads with the same channels, the same bits in each of them
//   finish()                 before a thread ends
//
// A thread holds up to `packs` pixels of its 4 channels. What lies beyond C reads the last channels, and is silent.
#pragma once

#include "adain_slab.cuh"
#include "divide.cuh"

namespace stylegan_fast {
namespace cuda {

// Elements of a sample, which are found in 32 bits.
constexpr int64_t most_resident_sample = int64_t(1) << 31;

// Slabs of a sample, and how a team shares the pixels of one: the threads of one channel are `step`, of which each has
// `whole` pixels, and the first `rest` of them one more. No division is left to the device: of 4x4 planes those took
// longer than all other arithmetic.
struct SlabGrid {
  Divisor slabs;
  int log_lanes, step, whole, rest;
  float per_pixel;  // 1 / M
};

template <typename T, int packs, typename Team>
class ResidentSlab {
 public:
  using A = acc_t<T>;
  using V = Pack<T, slab_width>;
  bool live;
  int n, c;

  __device__ __forceinline__ ResidentSlab(const AdaIN& op, const SlabGrid& grid, const Team& team, unsigned i_slab)
      : live(true), step_(grid.step) {
    const int slab = int(grid.slabs.split(i_slab)), lane = team.thread() & ((1 << grid.log_lanes) - 1);
    n = int(i_slab);
    c = ((slab << grid.log_lanes) + lane) * slab_width;
    if (c >= int(op.c)) live = false, c = int(op.c) - slab_width;
    pixel_ = team.thread() >> grid.log_lanes;
    count_ = grid.whole + (pixel_ < grid.rest ? 1 : 0);
    hop_ = unsigned(step_) * unsigned(op.c);
    first_ = unsigned(pixel_) * unsigned(op.c) + unsigned(c);
  }

  __device__ __forceinline__ void compute_places_anew() {
    compute_anew(count_);
    compute_anew(pixel_);
    compute_anew(first_);
  }
  __device__ __forceinline__ bool leads() const { return live && pixel_ == 0; }
  __device__ __forceinline__ int64_t plane(const AdaIN& op) const { return n * op.c + c; }

  // Whether the thread has a k-th pixel. Where it has not, everything is computed of zeros, and not added: a branch
  // around every pixel costs ptxas thirty registers.
  __device__ __forceinline__ bool has(int k) const { return k < count_; }
  __device__ __forceinline__ int pixel(int k) const { return pixel_ + k * step_; }
  // The noise of its next `count` pixels, 0 where there is none.
  template <int count>
  __device__ __forceinline__ void read_noise(const A* noise, int pixels, int first, A* values) const {
    numbers_or_zeros<count>(noise, values, [&](int k) {
      return pixel(first + k) < pixels ? pixel(first + k) : pixels - 1;
    });
  }
  __device__ __forceinline__ V read(const AdaIN& op, const void* tensor, int k) const {
    return has(k) ? Channels<T>::read(sample_of(op, tensor, n), first_ + unsigned(k) * hop_) : V{};
  }
  __device__ __forceinline__ void write(const AdaIN& op, void* tensor, int k, const V& v) const {
    if (!live || !has(k)) return;
    Channels<T>::write(static_cast<T*>(tensor) + n * op.h * op.w * op.c, first_ + unsigned(k) * hop_, v);
  }

 private:
  __device__ __forceinline__ static const T* sample_of(const AdaIN& op, const void* tensor, int n) {
    return static_cast<const T*>(tensor) + n * op.h * op.w * op.c;
  }

  int count_, pixel_, step_;
  unsigned hop_, first_;  // they wrap only where there is no pixel
};

template <typename T, int packs, typename Team>
__device__ __forceinline__ void slab_resident_forward(const AdaINForward& p, const SlabGrid& grid, Team team) {
  using A = acc_t<T>;
  using V = Pack<T, slab_width>;
  constexpr int noises = 4;  // at a time, and no styles yet where pixels are many: a second block needs the registers
  const unsigned slabs = unsigned(p.op.n) * grid.slabs.value();
  for (unsigned i_slab = team.first(); i_slab < slabs; i_slab += team.step()) {
    ResidentSlab<T, packs, Team> slab(p.op, grid, team, i_slab);
    const Channels<T> channels(p.op, slab.n, slab.c);
    V raw[packs];
#pragma unroll
    for (int k = 0; k < packs; ++k) raw[k] = slab.read(p.op, p.op.x, k);
    Styles<A> styles;
    if (packs == noises) styles = Styles<A>(p.op, slab.n, slab.c);
    A value[packs][slab_width];  // a - pivot
    Sums<A, slab_width> sum{};
#pragma unroll
    for (int first = 0; first < packs; first += noises) {
      A noise[noises];
      slab.template read_noise<noises>(channels.noise, int(p.op.h * p.op.w), first, noise);
#pragma unroll
      for (int k = first; k < first + noises; ++k) {
#pragma unroll
        for (int i = 0; i < slab_width; ++i) {
          value[k][i] = channels.from_pivot(raw[k], noise[k - first], i);
          if (slab.has(k)) sum.value[i] += value[k][i];
        }
      }
    }
    if (packs != noises) styles = Styles<A>(p.op, slab.n, slab.c);
    sum = team.sum(sum, grid.log_lanes);
#pragma unroll
    for (int i = 0; i < slab_width; ++i) styles.style[i].mean = sum.value[i] * grid.per_pixel;
    Sums<A, slab_width> m2{};
#pragma unroll
    for (int k = 0; k < packs; ++k) {
#pragma unroll
      for (int i = 0; i < slab_width; ++i) {
        const A deviation = value[k][i] - styles.style[i].mean;
        if (slab.has(k)) m2.value[i] += deviation * deviation;
      }
    }
    m2 = team.sum(m2, grid.log_lanes);
    slab.compute_places_anew();  // kept from above, they would spill
#pragma unroll
    for (int i = 0; i < slab_width; ++i) {
      styles.style[i].rstd = rstd_of(p, m2.value[i] * grid.per_pixel);
      if (slab.leads()) write_statistics(p, slab.plane(p.op) + i, styles.style[i].mean, styles.style[i].rstd);
    }
#pragma unroll
    for (int k = 0; k < packs; ++k) {
      A y[slab_width];
#pragma unroll
      for (int i = 0; i < slab_width; ++i)
        y[i] = channels.channel[i].output(styles.style[i].z(styles.style[i].normalised(value[k][i])));
      slab.write(p.op, p.y, k, V::of(y));
    }
  }
  team.finish();
}

// Keeps x and dy as they were read, and computes twice what it needs of a pixel: of 16-bit numbers that takes half the
// registers, and so twice the pixels fit.
template <typename T, int packs, typename Team>
__device__ __forceinline__ void slab_resident_backward(const AdaINBackward& p, const SlabGrid& grid, Team team) {
  using A = acc_t<T>;
  using V = Pack<T, slab_width>;
  const unsigned slabs = unsigned(p.op.n) * grid.slabs.value();
  for (unsigned i_slab = team.first(); i_slab < slabs; i_slab += team.step()) {
    ResidentSlab<T, packs, Team> slab(p.op, grid, team, i_slab);
    V x[packs], dy[packs];
#pragma unroll
    for (int k = 0; k < packs; ++k) x[k] = slab.read(p.op, p.op.x, k), dy[k] = slab.read(p.op, p.dy, k);
    const Channels<T> channels(p.op, slab.n, slab.c);
    const Styles<A> styles(p.op, p.mean, p.rstd, slab.n, slab.c);
    A noise[packs];
    slab.template read_noise<packs>(channels.noise, int(p.op.h * p.op.w), 0, noise);
    Sums<A, 2 * slab_width> sums{};  // of dz and dz * normalised
#pragma unroll
    for (int k = 0; k < packs; ++k) {
#pragma unroll
      for (int i = 0; i < slab_width; ++i) {
        const PixelGradient<A> gradient = gradient_of(channels, styles, x[k], dy[k], noise[k], i);
        if (!slab.has(k)) continue;
        sums.value[2 * i] += gradient.dz;
        sums.value[2 * i + 1] += gradient.dz * gradient.normalised;
      }
    }
    sums = team.sum(sums, grid.log_lanes);
    slab.compute_places_anew();
#pragma unroll
    for (int i = 0; i < slab_width; ++i) {
      if (slab.leads())
        write_sums({p.dshift, p.dscale}, slab.plane(p.op) + i, sums.value[2 * i], sums.value[2 * i + 1]);
      sums.value[2 * i] *= grid.per_pixel, sums.value[2 * i + 1] *= grid.per_pixel;
    }
    // Again: kept, it would take registers.
    slab.template read_noise<packs>(channels.noise, int(p.op.h * p.op.w), 0, noise);
    Sums<A, 2 * slab_width> totals{};  // of dt and dt * noise
#pragma unroll
    for (int k = 0; k < packs; ++k) {
      compute_anew(x[k]), compute_anew(dy[k]);
      A dx[slab_width];
#pragma unroll
      for (int i = 0; i < slab_width; ++i) {
        const PixelGradient<A> gradient = gradient_of(channels, styles, x[k], dy[k], noise[k], i);
        const A dt = dt_of(channels.channel[i], styles.style[i], gradient.normalised, gradient.dz, gradient.negative,
                           sums.value[2 * i], sums.value[2 * i + 1]);
        dx[i] = dt;
        if (!slab.has(k)) continue;
        totals.value[2 * i] += dt;
        totals.value[2 * i + 1] += dt * noise[k];
      }
      if (p.dx) slab.write(p.op, p.dx, k, V::of(dx));
    }
    if (!p.dbias && !p.dnoise_strength) continue;
    totals = team.sum(totals, grid.log_lanes);
    if (!slab.leads()) continue;
#pragma unroll
    for (int i = 0; i < slab_width; ++i)
      write_sums({p.dbias, p.dnoise_strength}, slab.plane(p.op) + i, totals.value[2 * i], totals.value[2 * i + 1]);
  }
  team.finish();
}

}  // namespace cuda
}  // namespace stylegan_fast
