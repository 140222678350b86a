// adain on the CPU, [N][H][W][C]: a piece of work is a slab of neighbouring channels of one sample, walked in blocks of
// pixels. Everything that is one number per plane is one row of numbers here.
#pragma once

#include "adain.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

constexpr int64_t widest_slab = 64;
constexpr int64_t block_pixels = 32;
constexpr int64_t slab_block = widest_slab * block_pixels;

template <class T>
struct Slab {
  using A = Acc<T>;
  const AdaIN& op;
  int64_t n, c0, width, pixels, offset;  // offset: of the slab's first element
  const T* x;
  const A* noise;
  A slope, output_slope;
  A bias[widest_slab], strength[widest_slab];

  Slab(const AdaIN& op, int64_t n, int64_t c0, int64_t width)
      : op(op),
        n(n),
        c0(c0),
        width(width),
        pixels(op.h * op.w),
        offset(n * pixels * op.c + c0),
        x(static_cast<const T*>(op.x) + offset),
        noise(op.noise ? static_cast<const A*>(op.noise) + n * op.noise_stride_n : nullptr),
        slope(static_cast<A>(op.negative_slope)),
        output_slope(static_cast<A>(op.output_negative_slope)) {
    for (int64_t c = 0; c < width; ++c) {
      bias[c] = channel<A>(op.bias, c0 + c, 0);
      strength[c] = channel<A>(op.noise_strength, c0 + c, 0);
    }
  }

  // t of one pixel's channels.
  const A* before_activation(int64_t pixel, A* buffer) const {
    const A* in = load(x + pixel * op.c, width, buffer);
    if (noise) {
      const A here = noise[pixel];
#pragma omp simd
      for (int64_t c = 0; c < width; ++c) buffer[c] = fused(strength[c], here, in[c]) + bias[c];
    } else if (op.bias) {
#pragma omp simd
      for (int64_t c = 0; c < width; ++c) buffer[c] = in[c] + bias[c];
    } else {
      return in;
    }
    return buffer;
  }

  void pivots(A* pivot) const {
    A buffer[widest_slab];
    const A* in = before_activation(0, buffer);
    for (int64_t c = 0; c < width; ++c) pivot[c] = activate(in[c], slope);
  }

  template <class Body>
  void blocks(Body body) const {
    for (int64_t start = 0; start < pixels; start += block_pixels) body(start, smaller(block_pixels, pixels - start));
  }
};

template <class T>
void forward_slab(const AdaINForward& f, int64_t n, int64_t c0, int64_t width) {
  using A = Acc<T>;
  const Slab<T> slab(f.op, n, c0, width);
  A pivot[widest_slab];
  slab.pivots(pivot);
  Moments moments[widest_slab];
  slab.blocks([&](int64_t start, int64_t count) {
    A d[slab_block], t[widest_slab];
    A mean[widest_slab] = {}, rest[widest_slab] = {}, deviations[widest_slab] = {};
    for (int64_t p = 0; p < count; ++p) {
      const A* in = slab.before_activation(start + p, t);
      A* row = d + p * width;
#pragma omp simd
      for (int64_t c = 0; c < width; ++c) {
        row[c] = activate(in[c], slab.slope) - pivot[c];
        mean[c] += row[c];
      }
    }
    for (int64_t c = 0; c < width; ++c) mean[c] /= static_cast<A>(count);
    for (int64_t p = 0; p < count; ++p) {
      const A* row = d + p * width;
#pragma omp simd
      for (int64_t c = 0; c < width; ++c) {
        const A deviation = row[c] - mean[c];
        rest[c] += deviation;
        deviations[c] = fused(deviation, deviation, deviations[c]);
      }
    }
    for (int64_t c = 0; c < width; ++c) moments[c].merge_block(count, mean[c], rest[c], deviations[c]);
  });
  A mean[widest_slab], gain[widest_slab], shift[widest_slab];
  for (int64_t c = 0; c < width; ++c) {
    const int64_t index = n * f.op.c + c0 + c;
    const A rstd = static_cast<A>(moments[c].rstd(f.op.eps));
    mean[c] = static_cast<A>(moments[c].mean());
    gain[c] = parameter<A>(f.op.scale, n, c0 + c, 1) * rstd;
    shift[c] = parameter<A>(f.op.shift, n, c0 + c, 0);
    static_cast<A*>(f.mean)[index] = mean[c];
    static_cast<A*>(f.rstd)[index] = rstd;
  }
  T* y = static_cast<T*>(f.y) + slab.offset;
  for (int64_t p = 0; p < slab.pixels; ++p) {
    A t[widest_slab], out[widest_slab];
    const A* in = slab.before_activation(p, t);
#pragma omp simd
    for (int64_t c = 0; c < width; ++c) {
      const A centred = (activate(in[c], slab.slope) - pivot[c]) - mean[c];
      out[c] = activate(fused(centred, gain[c], shift[c]), slab.output_slope);
    }
    store(out, width, y + p * f.op.c);
  }
}

template <class T>
struct SlabGradient {
  using A = Acc<T>;
  Slab<T> slab;
  const T* dy;
  A pivot[widest_slab], mean[widest_slab], rstd[widest_slab], gain[widest_slab], shift[widest_slab];
  A mean_dz[widest_slab], mean_dzs[widest_slab];

  SlabGradient(const AdaINBackward& f, int64_t n, int64_t c0, int64_t width)
      : slab(f.op, n, c0, width), dy(static_cast<const T*>(f.dy) + slab.offset) {
    slab.pivots(pivot);
    for (int64_t c = 0; c < width; ++c) {
      const int64_t index = n * f.op.c + c0 + c;
      mean[c] = static_cast<const A*>(f.mean)[index];
      rstd[c] = static_cast<const A*>(f.rstd)[index];
      gain[c] = parameter<A>(f.op.scale, n, c0 + c, 1) * rstd[c];
      shift[c] = parameter<A>(f.op.shift, n, c0 + c, 0);
    }
  }

  // Adds one pixel to the sums of dz and dz * normalised.
  void add_sums(int64_t pixel, A* sum_dz, A* sum_dzs) const {
    A t[widest_slab], narrow[widest_slab];
    const A* in = slab.before_activation(pixel, t);
    const A* grad = load(dy + pixel * slab.op.c, slab.width, narrow);
#pragma omp simd
    for (int64_t c = 0; c < slab.width; ++c) {
      const A centred = (activate(in[c], slab.slope) - pivot[c]) - mean[c];
      const A dz = fused(centred, gain[c], shift[c]) >= A(0) ? grad[c] : grad[c] * slab.output_slope;
      sum_dz[c] += dz;
      sum_dzs[c] = fused(dz, centred * rstd[c], sum_dzs[c]);
    }
  }

  // dt of one pixel's channels; needs mean_dz and mean_dzs.
  void before_activation(int64_t pixel, A* dt) const {
    A t[widest_slab], narrow[widest_slab];
    const A* in = slab.before_activation(pixel, t);
    const A* grad = load(dy + pixel * slab.op.c, slab.width, narrow);
#pragma omp simd
    for (int64_t c = 0; c < slab.width; ++c) {
      const A centred = (activate(in[c], slab.slope) - pivot[c]) - mean[c];
      const A dz = fused(centred, gain[c], shift[c]) >= A(0) ? grad[c] : grad[c] * slab.output_slope;
      const A da = ((dz - mean_dz[c]) - (centred * rstd[c]) * mean_dzs[c]) * gain[c];
      dt[c] = in[c] >= A(0) ? da : da * slab.slope;
    }
  }
};

template <class T>
void backward_slab(const AdaINBackward& f, int64_t n, int64_t c0, int64_t width) {
  using A = Acc<T>;
  SlabGradient<T> gradient(f, n, c0, width);
  const Slab<T>& slab = gradient.slab;
  const int64_t first = n * f.op.c + c0;
  Sum dz[widest_slab], dzs[widest_slab];
  slab.blocks([&](int64_t start, int64_t count) {
    A block_dz[widest_slab] = {}, block_dzs[widest_slab] = {};
    for (int64_t p = start; p < start + count; ++p) gradient.add_sums(p, block_dz, block_dzs);
    for (int64_t c = 0; c < width; ++c) dz[c].add(block_dz[c]), dzs[c].add(block_dzs[c]);
  });
  for (int64_t c = 0; c < width; ++c) {
    write<A>(f.dshift, first + c, dz[c].total());
    write<A>(f.dscale, first + c, dzs[c].total());
    gradient.mean_dz[c] = static_cast<A>(dz[c].total() / static_cast<double>(slab.pixels));
    gradient.mean_dzs[c] = static_cast<A>(dzs[c].total() / static_cast<double>(slab.pixels));
  }
  if (!f.dx && !f.dbias && !f.dnoise_strength) return;
  Sum sum_dt[widest_slab], sum_dt_noise[widest_slab];
  slab.blocks([&](int64_t start, int64_t count) {
    A dt[widest_slab], block_dt[widest_slab] = {}, block_dt_noise[widest_slab] = {};
    for (int64_t p = start; p < start + count; ++p) {
      gradient.before_activation(p, dt);
      if (f.dx) store(dt, width, static_cast<T*>(f.dx) + slab.offset + p * f.op.c);
      const A here = slab.noise ? slab.noise[p] : A(0);
#pragma omp simd
      for (int64_t c = 0; c < width; ++c) {
        block_dt[c] += dt[c];
        block_dt_noise[c] = fused(dt[c], here, block_dt_noise[c]);
      }
    }
    for (int64_t c = 0; c < width; ++c) sum_dt[c].add(block_dt[c]), sum_dt_noise[c].add(block_dt_noise[c]);
  });
  for (int64_t c = 0; c < width; ++c) {
    write<A>(f.dbias, first + c, sum_dt[c].total());
    write<A>(f.dnoise_strength, first + c, sum_dt_noise[c].total());
  }
}

// Pixels [start, start + count) of sample n's dnoise. Runs when dshift and dscale of all planes are there.
template <class T>
void noise_gradient_pixels(const AdaINBackward& f, int64_t n, int64_t start, int64_t count) {
  using A = Acc<T>;
  A* dnoise = static_cast<A*>(f.dnoise) + n * f.op.h * f.op.w;
  for (int64_t p = start; p < start + count; ++p) dnoise[p] = 0;
  for (int64_t c0 = 0; c0 < f.op.c; c0 += widest_slab) {
    const int64_t width = smaller(widest_slab, f.op.c - c0);
    SlabGradient<T> gradient(f, n, c0, width);
    const A pixels = static_cast<A>(gradient.slab.pixels);
    for (int64_t c = 0; c < width; ++c) {
      gradient.mean_dz[c] = static_cast<const A*>(f.dshift)[n * f.op.c + c0 + c] / pixels;
      gradient.mean_dzs[c] = static_cast<const A*>(f.dscale)[n * f.op.c + c0 + c] / pixels;
    }
    for (int64_t p = start; p < start + count; ++p) {
      A dt[widest_slab], sum = 0;
      gradient.before_activation(p, dt);
#pragma omp simd reduction(+ : sum)
      for (int64_t c = 0; c < width; ++c) sum = fused(dt[c], gradient.slab.strength[c], sum);
      dnoise[p] += sum;
    }
  }
}

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
