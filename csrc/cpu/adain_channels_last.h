// adain on the CPU, [N][H][W][C]: a piece of work is a slab of neighbouring channels of one sample, walked in blocks of
// pixels, and within a block one chunk of lanes after the other.
#pragma once

#include "adain_few_pixels.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

template <bool whole, class T>
void add_block(Chunk<T> k, int64_t start, int64_t count, LaneMoments<Acc<T>>& moments) {
  using V = Lanes<Acc<T>>;
  V d[block_pixels], sum = {};
  for (int64_t p = 0; p < count; ++p) {
    ask_for(k.x + (start + p) * k.stride + k.ahead);
    sum += d[p] = k.template from_pivot<whole>(start + p);
  }
  const V mean = sum / static_cast<Acc<T>>(count);
  moments.add_block(d, count, mean);
}

template <bool whole, class T>
void write_block(Chunk<T> k, int64_t start, int64_t count, int64_t ahead, T* y) {
  for (int64_t p = start; p < start + count; ++p) {
    ask_for(k.x + p * k.stride + ahead);
    ask_to_write(y + p * k.stride + ahead);
    put<Acc<T>>(k.template output<whole>(p), whole ? k.lanes : k.width, y + p * k.stride);
  }
}

// A slab's chunks one after the other within every block, so that a pixel's cache lines are met together.
template <class T, class Body>
inline void over_blocks(int64_t pixels, int64_t chunks, bool reversed, Body body) {
  const int64_t blocks = (pixels + block_pixels - 1) / block_pixels;
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t start = (reversed ? blocks - 1 - i : i) * block_pixels;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) body(chunk, start, smaller(block_pixels, pixels - start));
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
  Chunks<T> chunks(f.op, n, c0, width, x, stride);
  LaneMoments<A> moments[widest_slab / lanes];
  over_blocks<T>(pixels, chunks.count, false, [&](int64_t chunk, int64_t start, int64_t count) {
    const Chunk<T>& k = chunks[chunk];
    const auto add = k.width == lanes ? add_block<true, T> : add_block<false, T>;
    add(k, start, count, moments[chunk]);
  });
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
  over_blocks<T>(pixels, chunks.count, true, [&](int64_t chunk, int64_t start, int64_t count) {
    const Chunk<T>& k = chunks[chunk];
    const auto write = k.width == lanes ? write_block<true, T> : write_block<false, T>;
    write(k, start, count, chunks.back, y + chunk * lanes);
  });
}

template <bool whole, class T>
void add_sums_of_dz(Chunk<T> k, const T* dy, int64_t start, int64_t count, LaneSums<Acc<T>>& sum_dz,
                    LaneSums<Acc<T>>& sum_dzs) {
  using V = Lanes<Acc<T>>;
  V dz = {}, dzs = {};
  for (int64_t p = start; p < start + count; ++p) {
    ask_for(k.x + p * k.stride + k.ahead);
    ask_for(dy + p * k.stride + k.ahead);
    const V grad = k.template load_pixel<whole>(dy + p * k.stride);
    const V centred = k.template from_pivot<whole>(p) - k.mean, here = k.dz(centred, grad);
    dz += here;
    dzs = fused(here, centred * k.rstd, dzs);
  }
  sum_dz.add(dz);
  sum_dzs.add(dzs);
}

template <bool whole, class T>
void add_gradient(Chunk<T> k, const T* dy, int64_t start, int64_t count, int64_t ahead, T* dx,
                  LaneSums<Acc<T>>& sum_dt, LaneSums<Acc<T>>& sum_dt_noise) {
  using A = Acc<T>;
  Lanes<A> sum = {}, with_noise = {};
  for (int64_t p = start; p < start + count; ++p) {
    ask_for(k.x + p * k.stride + ahead);
    ask_for(dy + p * k.stride + ahead);
    const Lanes<A> dt = k.template dt<whole>(p, k.template load_pixel<whole>(dy + p * k.stride));
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
  Chunks<T> chunks(f.op, n, c0, width, x, stride);
  for (int64_t i = 0; i < chunks.count; ++i) chunks[i].set_statistics(f, n, c0 + i * lanes);
  LaneSums<A> dz[widest_slab / lanes], dzs[widest_slab / lanes];
  over_blocks<T>(pixels, chunks.count, false, [&](int64_t chunk, int64_t start, int64_t count) {
    const Chunk<T>& k = chunks[chunk];
    const auto add = k.width == lanes ? add_sums_of_dz<true, T> : add_sums_of_dz<false, T>;
    add(k, dy + chunk * lanes, start, count, dz[chunk], dzs[chunk]);
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
  over_blocks<T>(pixels, chunks.count, true, [&](int64_t chunk, int64_t start, int64_t count) {
    const Chunk<T>& k = chunks[chunk];
    T* const to = dx ? dx + chunk * lanes : nullptr;
    const auto add = k.width == lanes ? add_gradient<true, T> : add_gradient<false, T>;
    add(k, dy + chunk * lanes, start, count, chunks.back, to, sum_dt[chunk], sum_dt_noise[chunk]);
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
