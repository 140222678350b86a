// adain, the split tier of channels_last with vectors: the passes of adain_split.cuh, a slab instead of a plane
// at a time. The second pass walks the work in reverse, sample by sample: what the first read last is what the cache
// still holds.
#pragma once

#include "adain_merge.cuh"
#include "adain_slab_moments.cuh"
#include "adain_split.cuh"

namespace stylegan_fast {
namespace cuda {

constexpr int slab_threads = max_warps * warp_size;
// Blocks per multiprocessor: a bound of 128 registers.
constexpr int slab_blocks = 2;
// Pixels a thread reads before it uses the first: 64 bytes.
template <typename T>
constexpr int slab_batch = 64 / int(sizeof(T) * slab_width);

// A block visits a piece of work, then next(), until it is no longer inside(); its threads agree on that. A piece is the
// split()th part of the pixels of a slab; a thread works at channels c() .. c() + 4 of sample n(). Slabs are walked
// first, so that blocks which run together read what lies together. Planes are counted in 32 bits
// (most_resident_planes).
template <bool reverse>
class SlabWalk {
 public:
  __device__ __forceinline__ SlabWalk(const AdaIN& op, int slabs, int splits, int lanes)
      : op_(op), slabs_(slabs), splits_(splits), lanes_(lanes), row_(blockIdx.z), split_(blockIdx.y),
        slab_(blockIdx.x) {}

  __device__ __forceinline__ bool inside() const { return row_ < int(op_.n); }

  __device__ __forceinline__ void next() {
    slab_ += int(gridDim.x);
    if (slab_ >= slabs_) {
      slab_ = int(blockIdx.x);
      split_ += int(gridDim.y);
    }
    if (split_ >= splits_) {
      split_ = int(blockIdx.y);
      row_ += int(gridDim.z);
    }
  }

  __device__ __forceinline__ int n() const { return reverse ? int(op_.n) - 1 - row_ : row_; }
  __device__ __forceinline__ int c() const { return slab() * columns() + int(threadIdx.x) % lanes_ * slab_width; }
  __device__ __forceinline__ int split() const { return reverse ? splits_ - 1 - split_ : split_; }
  // Which of the threads with the same channels.
  __device__ __forceinline__ int worker() const { return int(threadIdx.x) / lanes_; }
  __device__ __forceinline__ bool live() const { return c() < int(op_.c); }

  // The slab's channels, each of which has a thread that writes what slab_reduce() found for it, to [splits, N*C].
  __device__ __forceinline__ bool writes() const {
    return int(threadIdx.x) < columns() && slab() * columns() + int(threadIdx.x) < int(op_.c);
  }
  __device__ __forceinline__ int64_t partial() const {
    return (int64_t(split()) * op_.n + n()) * op_.c + slab() * columns() + int(threadIdx.x);
  }

 protected:
  const AdaIN& op_;
  const int slabs_, splits_, lanes_;

 private:
  int row_, split_, slab_;

  __device__ __forceinline__ int columns() const { return lanes_ * slab_width; }
  __device__ __forceinline__ int slab() const { return reverse ? slabs_ - 1 - slab_ : slab_; }
};

// Pieces that are slices of `slice` neighbouring pixels. A thread works at count() of them: first(), first() + step(),
// ... The pixels of a slice are counted in 32 bits, too: 2048 slices of 2^31 are beyond any memory.
template <bool reverse>
class SlabPlace : public SlabWalk<reverse> {
  using Walk = SlabWalk<reverse>;

 public:
  __device__ __forceinline__ SlabPlace(const AdaIN& op, const AdaINGrid& grid, int lanes)
      : Walk(op, int(grid.slabs), int(grid.splits), lanes), slice_(grid.slice) {}

  __device__ __forceinline__ int64_t first() const { return Walk::split() * slice_ + Walk::worker(); }
  __device__ __forceinline__ int step() const { return slab_threads / Walk::lanes_; }

  __device__ __forceinline__ int count() const {
    const int64_t left = Walk::op_.h * Walk::op_.w - Walk::split() * slice_;
    const int mine = Walk::worker(), pixels = int(left < slice_ ? left : slice_);
    return Walk::live() && mine < pixels ? (pixels - mine + step() - 1) / step() : 0;
  }

 private:
  const int64_t slice_;
};

// Combines over a block the results of the threads with the same channels. Thread i, below the slab's number of
// channels, returns the one of channel i. All threads of the block call it.
template <typename T, int most_warps = max_warps, typename V>
__device__ __forceinline__ auto slab_reduce(V v, int lanes) {
  using S = std::decay_t<decltype(of_channel(v, 0))>;
  SHARED(S, slots, most_warps * slab_channels<T>);
  const int lane = int(threadIdx.x) % warp_size, warp = int(threadIdx.x) / warp_size, columns = lanes * slab_width;
  const int warps = int(blockDim.x) / warp_size;
  v = warp_reduce(v, lanes);
  if (lane < lanes) {
#pragma unroll
    for (int i = 0; i < slab_width; ++i) slots[warp * columns + lane * slab_width + i] = of_channel(v, i);
  }
  __syncthreads();
  S total{};
  if (int(threadIdx.x) < columns) {
    total = slots[threadIdx.x];
    for (int w = 1; w < warps; ++w) total = combine(total, S(slots[w * columns + int(threadIdx.x)]));
  }
  __syncthreads();  // the slots may be written again
  return total;
}

// values[k] = p[k * hop] for a thread's next pixels, of which `left` are left: beyond them the last one again. One branch
// around all loads: with one around each, each would wait for the one before.
template <int batch, typename V>
__device__ __forceinline__ void read_pixels(const void* p, int64_t hop_bytes, int left, V* values) {
  const char* pixel = static_cast<const char*>(p);
  only_the_address(pixel);
  if (left >= batch) {
#pragma unroll
    for (int k = 0; k < batch; ++k, pixel += hop_bytes) values[k] = *reinterpret_cast<const V*>(pixel);
  } else {
#pragma unroll
    for (int k = 0; k < batch; ++k) {
      values[k] = *reinterpret_cast<const V*>(pixel);
      pixel += k + 1 < left ? hop_bytes : 0;
    }
  }
}
// The same of the noise; null: zeros.
template <int batch, typename A>
__device__ __forceinline__ void read_noise(const A* noise, int step, int left, A* values) {
  if (noise) {
    read_pixels<batch>(noise, step * int(sizeof(A)), left, values);
  } else {
#pragma unroll
    for (int k = 0; k < batch; ++k) values[k] = A(0);
  }
}

// A thread's next pixels of x and their noise, ordered while it works on the ones before.
template <typename T>
class PixelsAhead {
 public:
  static constexpr int batch = slab_batch<T>;
  Pack<T, slab_width> raw[batch];
  acc_t<T> noise[batch];

  template <typename Place>
  __device__ __forceinline__ PixelsAhead(const AdaIN& op, const Place& place)
      : left_(place.count()), step_(place.step()), hop_(place.step() * op.c),
        x_(static_cast<const T*>(op.x) + (place.n() * op.h * op.w + place.first()) * op.c + place.c()),
        noise_(noise_of<acc_t<T>>(op, place.n())) {
    if (noise_) noise_ += place.first();
    order();
  }
  // The number of those in `raw` and `noise` and of all later ones.
  __device__ __forceinline__ int left() const { return left_; }
  __device__ __forceinline__ void next() {
    left_ -= batch;
    x_ += batch * hop_;
    if (noise_) noise_ += batch * step_;
    if (left_ > 0) order();
  }

 private:
  int left_, step_;
  int64_t hop_;
  const T* x_;
  const acc_t<T>* noise_;

  __device__ __forceinline__ void order() {
    read_pixels<batch>(x_, hop_ * int(sizeof(T)), left_, raw);
    read_noise<batch>(noise_, step_, left_, noise);
  }
};

// Moments of this thread's pixels, relative to the pivot, batch by batch.
template <typename T>
__device__ __forceinline__ ChannelMoments<acc_t<T>> moments_of(const AdaIN& op, const SlabPlace<false>& place) {
  using A = acc_t<T>;
  PixelsAhead<T> ahead(op, place);
  const Channels<T> channels(op, place.n(), place.c());
  constexpr int batch = slab_batch<T>;
  ChannelMoments<A> total{};
  while (ahead.left() > 0) {
    const PixelsAhead<T> now = ahead;
    ahead.next();
    A value[batch][slab_width];
#pragma unroll
    for (int k = 0; k < batch; ++k) {
#pragma unroll
      for (int i = 0; i < slab_width; ++i) value[k][i] = channels.from_pivot(now.raw[k], now.noise[k], i);
    }
    merge_batch(total, value, now.left());
  }
  return total;
}

// partials: [splits, N*C] Moments, or null where a plane is one slice.
template <typename T>
__global__ void __launch_bounds__(slab_threads, slab_blocks)
    adain_slab_stats(AdaINForward p, AdaINGrid grid, int lanes, void* partials) {
  using A = acc_t<T>;
  for (SlabPlace<false> place(p.op, grid, lanes); place.inside(); place.next()) {
    ChannelMoments<A> moments{};
    if (place.count()) moments = moments_of<T>(p.op, place);
    const Moments<A> column = slab_reduce<T>(moments, lanes);
    if (!place.writes()) continue;
    if (partials) static_cast<Moments<A>*>(partials)[place.partial()] = column;
    else write_moments<A>(p, place.partial(), column);
  }
}

template <typename T>
__global__ void __launch_bounds__(slab_threads, slab_blocks)
    adain_slab_apply(AdaINForward p, AdaINGrid grid, int lanes) {
  using A = acc_t<T>;
  for (SlabPlace<true> place(p.op, grid, lanes); place.inside(); place.next()) {
    if (!place.count()) continue;
    PixelsAhead<T> ahead(p.op, place);
    const Channels<T> channels(p.op, place.n(), place.c());
    const Styles<A> styles(p.op, p.mean, p.rstd, place.n(), place.c());
    constexpr int batch = slab_batch<T>;
    const int64_t hop = place.step() * p.op.c;
    T* y = static_cast<T*>(p.y) + channels.base + place.first() * p.op.c;
    while (ahead.left() > 0) {
      const PixelsAhead<T> now = ahead;
      ahead.next();
      T* to = y;
      only_the_address(to);
      y += batch * hop;
#pragma unroll
      for (int k = 0; k < batch; ++k, to += hop) {
        A z[slab_width];
#pragma unroll
        for (int i = 0; i < slab_width; ++i) {
          const Style<A>& style = styles.style[i];
          const A a = channels.from_pivot(now.raw[k], now.noise[k], i);
          z[i] = channels.channel[i].output(style.z(style.normalised(a)));
        }
        if (k < now.left()) *reinterpret_cast<Pack<T, slab_width>*>(to) = Pack<T, slab_width>::of(z);
      }
    }
  }
}

}  // namespace cuda
}  // namespace stylegan_fast
