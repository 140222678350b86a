// adain on the CPU, [N][C][H][W]: a piece of work is a plane, walked in blocks.
#pragma once

#include "adain.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

template <class T>
struct Plane {
  using A = Acc<T>;
  const AdaIN& op;
  int64_t n, c, index, size;
  const T* x;
  const A* noise;
  A bias, strength, slope, output_slope;

  Plane(const AdaIN& op, int64_t index)
      : op(op),
        n(index / op.c),
        c(index % op.c),
        index(index),
        size(op.h * op.w),
        x(static_cast<const T*>(op.x) + index * size),
        noise(op.noise ? static_cast<const A*>(op.noise) + n * op.noise_stride_n : nullptr),
        bias(channel<A>(op.bias, c, 0)),
        strength(channel<A>(op.noise_strength, c, 0)),
        slope(static_cast<A>(op.negative_slope)),
        output_slope(static_cast<A>(op.output_negative_slope)) {}

  // t of elements [start, start + count): the value before the activation.
  const A* before_activation(int64_t start, int64_t count, A* buffer) const {
    const A* in = load(x + start, count, buffer);
    if (noise) {
      const A* map = noise + start;
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) buffer[i] = fused(strength, map[i], in[i]) + bias;
    } else if (op.bias) {
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) buffer[i] = in[i] + bias;
    } else {
      return in;
    }
    return buffer;
  }

  A pivot() const {
    A buffer[1];
    return activate(*before_activation(0, 1, buffer), slope);
  }

  template <class Body>
  void blocks(Body body) const {
    for (int64_t start = 0; start < size; start += block_size) body(start, smaller(block_size, size - start));
  }
};

template <class T>
void forward_plane(const AdaINForward& f, int64_t index) {
  using A = Acc<T>;
  const Plane<T> plane(f.op, index);
  const A pivot = plane.pivot();
  Moments moments;
  plane.blocks([&](int64_t start, int64_t count) {
    A t[block_size], d[block_size];
    const A* in = plane.before_activation(start, count, t);
    A sum = 0, rest = 0, deviations = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; ++i) {
      d[i] = activate(in[i], plane.slope) - pivot;
      sum += d[i];
    }
    const A mean = sum / static_cast<A>(count);
#pragma omp simd reduction(+ : rest, deviations)
    for (int64_t i = 0; i < count; ++i) {
      const A deviation = d[i] - mean;
      rest += deviation;
      deviations = fused(deviation, deviation, deviations);
    }
    moments.merge_block(count, mean, rest, deviations);
  });
  const A mean = static_cast<A>(moments.mean()), rstd = static_cast<A>(moments.rstd(f.op.eps));
  static_cast<A*>(f.mean)[index] = mean;
  static_cast<A*>(f.rstd)[index] = rstd;
  const A gain = parameter<A>(f.op.scale, plane.n, plane.c, 1) * rstd;
  const A shift = parameter<A>(f.op.shift, plane.n, plane.c, 0);
  T* y = static_cast<T*>(f.y) + index * plane.size;
  plane.blocks([&](int64_t start, int64_t count) {
    A t[block_size], out[block_size];
    const A* in = plane.before_activation(start, count, t);
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      const A centred = (activate(in[i], plane.slope) - pivot) - mean;
      out[i] = activate(fused(centred, gain, shift), plane.output_slope);
    }
    store(out, count, y + start);
  });
}

template <class T>
Normalisation<Acc<T>> normalisation(const AdaINBackward& f, const Plane<T>& plane) {
  using A = Acc<T>;
  Normalisation<A> k{};
  k.pivot = plane.pivot();
  k.mean = static_cast<const A*>(f.mean)[plane.index];
  k.rstd = static_cast<const A*>(f.rstd)[plane.index];
  k.shift = parameter<A>(f.op.shift, plane.n, plane.c, 0);
  k.gain = parameter<A>(f.op.scale, plane.n, plane.c, 1) * k.rstd;
  return k;
}

// dt of a block: the gradient before the activation.
template <class T, class A>
void gradient_block(const Plane<T>& plane, const Normalisation<A>& k, const T* dy, int64_t start, int64_t count,
                    A* dt) {
  A t[block_size], narrow[block_size];
  const A* in = plane.before_activation(start, count, t);
  const A* grad = load(dy + start, count, narrow);
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    const A centred = (activate(in[i], plane.slope) - k.pivot) - k.mean;
    const A dz = slope_of_output(k, centred, grad[i], plane.output_slope);
    const A da = ((dz - k.mean_dz) - (centred * k.rstd) * k.mean_dzs) * k.gain;
    dt[i] = in[i] >= A(0) ? da : da * plane.slope;
  }
}

template <class T>
void backward_plane(const AdaINBackward& f, int64_t index) {
  using A = Acc<T>;
  const Plane<T> plane(f.op, index);
  Normalisation<A> k = normalisation(f, plane);
  const T* dy = static_cast<const T*>(f.dy) + index * plane.size;
  Sum sum_dz, sum_dzs;
  plane.blocks([&](int64_t start, int64_t count) {
    A t[block_size], narrow[block_size];
    const A* in = plane.before_activation(start, count, t);
    const A* grad = load(dy + start, count, narrow);
    A block_dz = 0, block_dzs = 0;
#pragma omp simd reduction(+ : block_dz, block_dzs)
    for (int64_t i = 0; i < count; ++i) {
      const A centred = (activate(in[i], plane.slope) - k.pivot) - k.mean;
      const A dz = slope_of_output(k, centred, grad[i], plane.output_slope);
      block_dz += dz;
      block_dzs = fused(dz, centred * k.rstd, block_dzs);
    }
    sum_dz.add(block_dz);
    sum_dzs.add(block_dzs);
  });
  write<A>(f.dshift, index, sum_dz.total());
  write<A>(f.dscale, index, sum_dzs.total());
  if (!f.dx && !f.dbias && !f.dnoise_strength) return;
  k.mean_dz = static_cast<A>(sum_dz.total() / static_cast<double>(plane.size));
  k.mean_dzs = static_cast<A>(sum_dzs.total() / static_cast<double>(plane.size));
  Sum sum_dt, sum_dt_noise;
  plane.blocks([&](int64_t start, int64_t count) {
    A dt[block_size];
    gradient_block(plane, k, dy, start, count, dt);
    if (f.dx) store(dt, count, static_cast<T*>(f.dx) + index * plane.size + start);
    A sum = 0;
    if (f.dbias) {
#pragma omp simd reduction(+ : sum)
      for (int64_t i = 0; i < count; ++i) sum += dt[i];
      sum_dt.add(sum);
    }
    if (f.dnoise_strength) {
      const A* map = plane.noise + start;
      sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t i = 0; i < count; ++i) sum = fused(dt[i], map[i], sum);
      sum_dt_noise.add(sum);
    }
  });
  write<A>(f.dbias, index, sum_dt.total());
  write<A>(f.dnoise_strength, index, sum_dt_noise.total());
}

// Elements [start, start + count) of sample n's dnoise. Runs when dshift and dscale of all planes are there.
template <class T>
void noise_gradient_block(const AdaINBackward& f, int64_t n, int64_t start, int64_t count) {
  using A = Acc<T>;
  A sum[block_size] = {}, dt[block_size];
  for (int64_t c = 0; c < f.op.c; ++c) {
    const Plane<T> plane(f.op, n * f.op.c + c);
    Normalisation<A> k = normalisation(f, plane);
    k.mean_dz = static_cast<const A*>(f.dshift)[plane.index] / static_cast<A>(plane.size);
    k.mean_dzs = static_cast<const A*>(f.dscale)[plane.index] / static_cast<A>(plane.size);
    gradient_block(plane, k, static_cast<const T*>(f.dy) + plane.index * plane.size, start, count, dt);
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) sum[i] = fused(dt[i], plane.strength, sum[i]);
  }
  store(sum, count, static_cast<A*>(f.dnoise) + n * f.op.h * f.op.w + start);
}

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
