// adain on the CPU, [N][H][W][C]: a piece of work is a slab of neighbouring channels of one sample, walked in blocks of
// pixels, and within a block one chunk of lanes after the other.
#pragma once

#include "adain_few_pixels.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

// Chunks that are walked together where they are whole. Two of 16 bits are a line of the cache: one by one they meet it
// twice, and with strides of powers of two it may be gone in between.
template <class T>
constexpr int64_t chunks_together = lane_count<Acc<T>> * static_cast<int64_t>(sizeof(T)) == 32 ? 2 : 1;

// Copies, which no result overwrites, of so many chunks.
template <int64_t count, class T>
struct SomeChunks {
  Chunk<T> k[count];

  INLINED explicit SomeChunks(const Chunk<T>* from) {
    for (int64_t i = 0; i < count; ++i) k[i] = from[i];
  }
};

template <int64_t together, bool whole, class T>
void add_block(const Chunk<T>* chunks, int64_t start, int64_t count, LaneMoments<Acc<T>>* moments) {
  using V = Lanes<Acc<T>>;
  const SomeChunks<together, T> some(chunks);
  V d[together][block_pixels], sum[together] = {};
  for (int64_t p = 0; p < count; ++p) {
    ask_for(some.k[0].x + (start + p) * some.k[0].stride + some.k[0].ahead);
#pragma GCC unroll 2
    for (int64_t i = 0; i < together; ++i) sum[i] += d[i][p] = some.k[i].template from_pivot<whole>(start + p);
  }
  for (int64_t i = 0; i < together; ++i) {
    const V mean = sum[i] / static_cast<Acc<T>>(count);
    moments[i].add_block(d[i], count, mean);
  }
}

template <int64_t together, bool whole, bool activated, class T>
void write_block(const Chunk<T>* chunks, int64_t start, int64_t count, int64_t ahead, T* y) {
  const SomeChunks<together, T> some(chunks);
  for (int64_t p = start; p < start + count; ++p) {
    ask_for(some.k[0].x + p * some.k[0].stride + ahead);
    ask_to_write(y + p * some.k[0].stride + ahead);
#pragma GCC unroll 2
    for (int64_t i = 0; i < together; ++i) {
      const Chunk<T>& k = some.k[i];
      const auto out = k.template output_of<activated>(k.template from_pivot<whole>(p));
      put<Acc<T>>(out, whole ? k.lanes : k.width, y + i * k.lanes + p * k.stride);
    }
  }
}

// Calls body(some, whole, chunk, start, count) for every block of pixels and within it for all of a slab's chunks, so
// that a pixel's cache lines are met together: some.value chunks at a time, `together` where they are whole.
template <int64_t together, class T, class Body>
inline void over_blocks(int64_t pixels, int64_t width, bool reversed, Body body) {
  constexpr int64_t lanes = Chunk<T>::lanes, one = 1;
  const int64_t blocks = (pixels + block_pixels - 1) / block_pixels;
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t start = (reversed ? blocks - 1 - i : i) * block_pixels, count = smaller(block_pixels, pixels - start);
    int64_t chunk = 0;
    for (; (chunk + together) * lanes <= width; chunk += together)
      body(Constant<together>(), Constant<true>(), chunk, start, count);
    for (; (chunk + one) * lanes <= width; ++chunk) body(Constant<one>(), Constant<true>(), chunk, start, count);
    if (chunk * lanes < width) body(Constant<one>(), Constant<false>(), chunk, start, count);
  }
}

// Storage for chunks, which have no value before their planes are known.
template <class T>
struct Chunks {
  alignas(64) unsigned char storage[widest_slab / Chunk<T>::lanes * sizeof(Chunk<T>)];
  int64_t count, back;  // back: the `ahead` of a walk from the last block to the first

  Chunks(const AdaIN& op, int64_t n, int64_t c0, int64_t width, const T* x, int64_t stride)
      : count((width + Chunk<T>::lanes - 1) / Chunk<T>::lanes) {
    // Where one block is the whole plane, the next slab's pixels come next.
    const bool single = op.h * op.w <= block_pixels;
    back = single ? width : -block_pixels * stride;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t c = i * Chunk<T>::lanes;
      Chunk<T> chunk(op, n, c0 + c, smaller(Chunk<T>::lanes, width - c), x + c, stride);
      if (single) chunk.ahead = width;
      __builtin_memcpy(storage + i * sizeof chunk, &chunk, sizeof chunk);
    }
  }
  Chunk<T>& operator[](int64_t i) { return reinterpret_cast<Chunk<T>*>(storage)[i]; }
};

// x and y: of the slab's first element, with `stride` numbers from pixel to pixel.
template <class T>
void forward_slab(const AdaINForward& f, int64_t n, int64_t c0, int64_t width, const T* x, T* y, int64_t stride) {
  using A = Acc<T>;
  constexpr int64_t lanes = Chunk<T>::lanes;
  const int64_t pixels = f.op.h * f.op.w;
  if (pixels <= few_pixels) {
    return over_chunks<A>(f.op, c0, width, [&](int64_t c, int64_t some, auto whole) INLINED_BODY {
      for (int64_t p = 0; p < pixels; ++p) {
        ask_for(x + p * stride + (c - c0) + width);
        ask_to_write(y + p * stride + (c - c0) + width);
      }
      forward_few<T, whole.value>(f, n, c, some, x + (c - c0), y + (c - c0), stride);
    });
  }
  const bool activated = f.op.output_negative_slope != 1;
  Chunks<T> chunks(f.op, n, c0, width, x, stride);
  LaneMoments<A> moments[widest_slab / lanes];
  constexpr int64_t together = chunks_together<T>;
  const auto add = [&](auto some, auto whole, int64_t chunk, int64_t start, int64_t count) {
    add_block<some.value, whole.value>(&chunks[chunk], start, count, moments + chunk);
  };
  over_blocks<together, T>(pixels, width, false, add);
  for (int64_t i = 0; i < chunks.count; ++i) {
    Chunk<T>& k = chunks[i];
    const double count = moments[i].count, eps = f.op.eps;
    A mean[lanes], rstd[lanes];
#pragma omp simd
    for (int64_t c = 0; c < lanes; ++c) {
      mean[c] = static_cast<A>(moments[i].mean.total(c));
      rstd[c] = static_cast<A>(1 / __builtin_sqrt(moments[i].deviations[c] / count + eps));
    }
    __builtin_memcpy(&k.mean, mean, sizeof k.mean);
    __builtin_memcpy(&k.rstd, rstd, sizeof k.rstd);
    put_wanted<A>(k.mean, k.width, f.mean, k.first);
    put_wanted<A>(k.rstd, k.width, f.rstd, k.first);
    k.set_scale(f.op, n, c0 + i * lanes);
  }
  const auto finish = [&](auto some, auto whole, int64_t chunk, int64_t start, int64_t count) {
    const auto write = activated ? write_block<some.value, whole.value, true, T>
                                 : write_block<some.value, whole.value, false, T>;
    write(&chunks[chunk], start, count, chunks.back, y + chunk * lanes);
  };
  over_blocks<together, T>(pixels, width, true, finish);
}

template <bool whole, bool activated, class T>
void add_sums_of_dz(Chunk<T> k, const T* dy, int64_t start, int64_t count, LaneSums<Acc<T>>& sum_dz,
                    LaneSums<Acc<T>>& sum_dzs) {
  using V = Lanes<Acc<T>>;
  V dz = {}, dzs = {};
  for (int64_t p = start; p < start + count; ++p) {
    ask_for(k.x + p * k.stride + k.ahead);
    ask_for(dy + p * k.stride + k.ahead);
    const V grad = k.template load_pixel<whole>(dy + p * k.stride);
    const V centred = k.template from_pivot<whole>(p) - k.mean, here = k.template dz<activated>(centred, grad);
    dz += here;
    dzs = fused(here, centred * k.rstd, dzs);
  }
  sum_dz.add(dz);
  sum_dzs.add(dzs);
}

template <bool whole, bool activated, class T>
void add_gradient(Chunk<T> k, const T* dy, int64_t start, int64_t count, int64_t ahead, T* dx,
                  LaneSums<Acc<T>>& sum_dt, LaneSums<Acc<T>>& sum_dt_noise) {
  using A = Acc<T>;
  Lanes<A> sum = {}, with_noise = {};
  for (int64_t p = start; p < start + count; ++p) {
    ask_for(k.x + p * k.stride + ahead);
    ask_for(dy + p * k.stride + ahead);
    const Lanes<A> dt = k.template dt<whole, activated>(p, k.template load_pixel<whole>(dy + p * k.stride));
    if (dx) {
      ask_to_write(dx + p * k.stride + ahead);
      put<A>(dt, whole ? k.lanes : k.width, dx + p * k.stride);
    }
    sum += dt;
    if (k.noise) with_noise = fused(dt, all_lanes(k.noise[p]), with_noise);
  }
  sum_dt.add(sum);
  sum_dt_noise.add(with_noise);
}

// x, dy and dx (null: not wanted): of the slab's first element, with `stride` numbers from pixel to pixel.
template <class T>
void backward_slab(const AdaINBackward& f, int64_t n, int64_t c0, int64_t width, const T* x, const T* dy, T* dx,
                   int64_t stride) {
  using A = Acc<T>;
  constexpr int64_t lanes = Chunk<T>::lanes;
  const int64_t pixels = f.op.h * f.op.w;
  if (pixels <= few_pixels) {
    return over_chunks<A>(f.op, c0, width, [&](int64_t c, int64_t some, auto whole) INLINED_BODY {
      for (int64_t p = 0; p < pixels; ++p) {
        ask_for(x + p * stride + (c - c0) + width);
        ask_for(dy + p * stride + (c - c0) + width);
        if (dx) ask_to_write(dx + p * stride + (c - c0) + width);
      }
      backward_few<T, whole.value>(f, n, c, some, x + (c - c0), dy + (c - c0), dx ? dx + (c - c0) : nullptr, stride);
    });
  }
  const bool activated = f.op.output_negative_slope != 1;
  Chunks<T> chunks(f.op, n, c0, width, x, stride);
  for (int64_t i = 0; i < chunks.count; ++i) chunks[i].set_statistics(f, n, c0 + i * lanes);
  LaneSums<A> dz[widest_slab / lanes], dzs[widest_slab / lanes];
  over_blocks<1, T>(pixels, width, false, [&](auto, auto whole, int64_t chunk, int64_t start, int64_t count) {
    const auto add = activated ? add_sums_of_dz<whole.value, true, T> : add_sums_of_dz<whole.value, false, T>;
    add(chunks[chunk], dy + chunk * lanes, start, count, dz[chunk], dzs[chunk]);
  });
  for (int64_t i = 0; i < chunks.count; ++i) {
    A mean_dz[lanes], mean_dzs[lanes];
    for (int64_t c = 0; c < lanes; ++c) {
      mean_dz[c] = static_cast<A>(dz[i].total(c) / static_cast<double>(pixels));
      mean_dzs[c] = static_cast<A>(dzs[i].total(c) / static_cast<double>(pixels));
    }
    __builtin_memcpy(&chunks[i].mean_dz, mean_dz, sizeof mean_dz);
    __builtin_memcpy(&chunks[i].mean_dzs, mean_dzs, sizeof mean_dzs);
    for (int64_t c = 0; c < chunks[i].width; ++c) {
      write<A>(f.dshift, chunks[i].first + c, dz[i].total(c));
      write<A>(f.dscale, chunks[i].first + c, dzs[i].total(c));
    }
  }
  if (!dx && !f.dbias && !f.dnoise_strength) return;
  LaneSums<A> sum_dt[widest_slab / lanes], sum_dt_noise[widest_slab / lanes];
  over_blocks<1, T>(pixels, width, true, [&](auto, auto whole, int64_t chunk, int64_t start, int64_t count) {
    T* const to = dx ? dx + chunk * lanes : nullptr;
    const auto add = activated ? add_gradient<whole.value, true, T> : add_gradient<whole.value, false, T>;
    add(chunks[chunk], dy + chunk * lanes, start, count, chunks.back, to, sum_dt[chunk], sum_dt_noise[chunk]);
  });
  for (int64_t i = 0; i < chunks.count; ++i) {
    for (int64_t c = 0; c < chunks[i].width; ++c) {
      write<A>(f.dbias, chunks[i].first + c, sum_dt[i].total(c));
      write<A>(f.dnoise_strength, chunks[i].first + c, sum_dt_noise[i].total(c));
    }
  }
}

// Pixels [start, start + count) of sample n's dnoise. Runs when dshift and dscale of all planes are there.
template <class T>
void noise_gradient_pixels(const AdaINBackward& f, int64_t n, int64_t start, int64_t count) {
  using A = Acc<T>;
  constexpr int64_t lanes = Chunk<T>::lanes;
  const int64_t pixels = f.op.h * f.op.w, sample = n * pixels * f.op.c;
  A* dnoise = static_cast<A*>(f.dnoise) + n * pixels;
  for (int64_t p = start; p < start + count; ++p) dnoise[p] = 0;
  for (int64_t c0 = 0; c0 < f.op.c; c0 += lanes) {
    Chunk<T> k(f.op, n, c0, smaller(lanes, f.op.c - c0), static_cast<const T*>(f.op.x) + sample + c0, f.op.c);
    k.set_statistics(f, n, c0);
    get<A>(static_cast<const A*>(f.dshift) + k.first, k.width, k.mean_dz);
    get<A>(static_cast<const A*>(f.dscale) + k.first, k.width, k.mean_dzs);
    k.mean_dz /= static_cast<A>(pixels);
    k.mean_dzs /= static_cast<A>(pixels);
    for (int64_t p = start; p < start + count; ++p) {
      Lanes<A> grad;
      get<A>(static_cast<const T*>(f.dy) + sample + p * f.op.c + c0, k.width, grad);
      const Lanes<A> products = k.template dt<false>(p, grad) * k.strength;
      A sum = 0;
      for (int64_t i = 0; i < k.width; ++i) sum += products[i];
      dnoise[p] += sum;
    }
  }
}

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
