// adain on the CPU, [N][C][H][W]: a piece of work is a plane, walked in blocks.
//
// The loops are functions of values and plain pointers: what they read through a reference, the compiler would have to
// read again after every store.
#pragma once

#include "adain.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

// t of the elements of a block: the value before the activation.
template <class A, bool with_noise>
struct Before {
  const A* x;
  const A* noise;
  A strength, bias;

  A operator()(int64_t i) const { return (with_noise ? fused(strength, noise[i], x[i]) : x[i]) + bias; }
};

// One plane's constants; `normalised = ((a - pivot) - mean) * rstd`.
template <class A>
struct Normalisation {
  A slope, output_slope;
  A pivot, mean, rstd, shift;
  A gain;               // scale * rstd
  A mean_dz, mean_dzs;  // of dz, and of dz * normalised

  A centred(A t) const { return (activate(t, slope) - pivot) - mean; }
  // The gradient before the activation of the output.
  A dz(A centred, A dy) const { return fused(centred, gain, shift) >= A(0) ? dy : dy * output_slope; }
  A dt(A t, A dy) const {
    const A here = centred(t);
    const A da = ((dz(here, dy) - mean_dz) - (here * rstd) * mean_dzs) * gain;
    return t >= A(0) ? da : da * slope;
  }
};

template <class A>
struct TwoSums {
  A first = 0, second = 0;
};

// d = a - pivot; returns its sum.
template <class A, class Input>
A centre(Input t, int64_t n, A slope, A pivot, A* RESTRICT d) {
  A sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) {
    d[i] = activate(t(i), slope) - pivot;
    sum += d[i];
  }
  return sum;
}

// The sums of the deviations from `mean` and of their squares.
template <class A>
TwoSums<A> deviations(const A* RESTRICT d, int64_t n, A mean) {
  A rest = 0, squares = 0;
#pragma omp simd reduction(+ : rest, squares)
  for (int64_t i = 0; i < n; ++i) {
    const A deviation = d[i] - mean;
    rest += deviation;
    squares = fused(deviation, deviation, squares);
  }
  return {rest, squares};
}

template <class A, class Input>
void normalise(Input t, int64_t n, Normalisation<A> k, A* RESTRICT y) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = activate(fused(k.centred(t(i)), k.gain, k.shift), k.output_slope);
}

// The sums of dz and of dz * normalised.
template <class A, class Input>
TwoSums<A> sums_of_dz(Input t, const A* RESTRICT dy, int64_t n, Normalisation<A> k) {
  A sum = 0, with_normalised = 0;
#pragma omp simd reduction(+ : sum, with_normalised)
  for (int64_t i = 0; i < n; ++i) {
    const A centred = k.centred(t(i)), dz = k.dz(centred, dy[i]);
    sum += dz;
    with_normalised = fused(dz, centred * k.rstd, with_normalised);
  }
  return {sum, with_normalised};
}

// dt, and the sums of dt and of dt * noise.
template <class A, bool with_noise>
TwoSums<A> gradient(Before<A, with_noise> t, const A* RESTRICT dy, int64_t n, Normalisation<A> k, A* RESTRICT dt) {
  A sum = 0, with_map = 0;
#pragma omp simd reduction(+ : sum, with_map)
  for (int64_t i = 0; i < n; ++i) {
    const A here = k.dt(t(i), dy[i]);
    dt[i] = here;
    sum += here;
    if (with_noise) with_map = fused(here, t.noise[i], with_map);
  }
  return {sum, with_map};
}

template <class A>
void add_scaled(const A* RESTRICT from, A factor, int64_t n, A* RESTRICT sum) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) sum[i] = fused(from[i], factor, sum[i]);
}

template <class T>
struct Plane {
  using A = Acc<T>;
  int64_t n, c, index, size;
  const T* x;
  const A* noise;
  A bias, strength, slope, output_slope;

  Plane(const AdaIN& op, int64_t index)
      : n(index / op.c),
        c(index % op.c),
        index(index),
        size(op.h * op.w),
        x(static_cast<const T*>(op.x) + index * size),
        noise(op.noise ? static_cast<const A*>(op.noise) + n * op.noise_stride_n : nullptr),
        bias(channel<A>(op.bias, c, 0)),
        strength(channel<A>(op.noise_strength, c, 0)),
        slope(static_cast<A>(op.negative_slope)),
        output_slope(static_cast<A>(op.output_negative_slope)) {}

  // Calls body(t) for the block [start, start + count).
  template <class Body>
  void before_activation(int64_t start, int64_t count, Body body) const {
    A buffer[block_size];
    const A* in = load(x + start, count, buffer);
    if (noise)
      body(Before<A, true>{in, noise + start, strength, bias});
    else
      body(Before<A, false>{in, nullptr, strength, bias});
  }

  A pivot() const {
    A found = 0;
    before_activation(0, 1, [&](auto t) { found = activate(t(0), slope); });
    return found;
  }

  template <class Body>
  void blocks(Body body) const {
    for (int64_t start = 0; start < size; start += block_size) body(start, smaller(block_size, size - start));
  }
  // From the end, which a first walk has left in the cache where the plane does not fit whole.
  template <class Body>
  void blocks_reversed(Body body) const {
    for (int64_t start = (size - 1) / block_size * block_size; start >= 0; start -= block_size)
      body(start, smaller(block_size, size - start));
  }
};

template <class T>
Normalisation<Acc<T>> normalisation(const AdaIN& op, const Plane<T>& plane, Acc<T> mean, Acc<T> rstd) {
  using A = Acc<T>;
  Normalisation<A> k{};
  k.slope = plane.slope;
  k.output_slope = plane.output_slope;
  k.pivot = plane.pivot();
  k.mean = mean;
  k.rstd = rstd;
  k.shift = parameter<A>(op.shift, plane.n, plane.c, 0);
  k.gain = parameter<A>(op.scale, plane.n, plane.c, 1) * rstd;
  return k;
}

template <class T>
void forward_plane(const AdaINForward& f, int64_t index) {
  using A = Acc<T>;
  const Plane<T> plane(f.op, index);
  const A pivot = plane.pivot();
  Moments moments;
  plane.blocks([&](int64_t start, int64_t count) {
    plane.before_activation(start, count, [&](auto t) {
      A d[block_size];
      const A mean = centre(t, count, plane.slope, pivot, d) / static_cast<A>(count);
      const TwoSums<A> sums = deviations(d, count, mean);
      moments.merge_block(count, mean, sums.first, sums.second);
    });
  });
  const A mean = static_cast<A>(moments.mean()), rstd = static_cast<A>(moments.rstd(f.op.eps));
  static_cast<A*>(f.mean)[index] = mean;
  static_cast<A*>(f.rstd)[index] = rstd;
  const auto k = normalisation(f.op, plane, mean, rstd);
  plane.blocks_reversed([&](int64_t start, int64_t count) {
    plane.before_activation(start, count, [&](auto t) {
      A buffer[block_size];
      T* y = static_cast<T*>(f.y) + index * plane.size + start;
      A* room = room_for(y, buffer);
      normalise(t, count, k, room);
      store(room, count, y);
    });
  });
}

template <class T>
Normalisation<Acc<T>> normalisation(const AdaINBackward& f, const Plane<T>& plane) {
  using A = Acc<T>;
  return normalisation(f.op, plane, static_cast<const A*>(f.mean)[plane.index],
                       static_cast<const A*>(f.rstd)[plane.index]);
}

template <class T>
void backward_plane(const AdaINBackward& f, int64_t index) {
  using A = Acc<T>;
  const Plane<T> plane(f.op, index);
  Normalisation<A> k = normalisation(f, plane);
  const T* dy = static_cast<const T*>(f.dy) + index * plane.size;
  Sum sum_dz, sum_dzs;
  plane.blocks([&](int64_t start, int64_t count) {
    plane.before_activation(start, count, [&](auto t) {
      A narrow[block_size];
      const TwoSums<A> sums = sums_of_dz(t, load(dy + start, count, narrow), count, k);
      sum_dz.add(sums.first);
      sum_dzs.add(sums.second);
    });
  });
  write<A>(f.dshift, index, sum_dz.total());
  write<A>(f.dscale, index, sum_dzs.total());
  if (!f.dx && !f.dbias && !f.dnoise_strength) return;
  k.mean_dz = static_cast<A>(sum_dz.total() / static_cast<double>(plane.size));
  k.mean_dzs = static_cast<A>(sum_dzs.total() / static_cast<double>(plane.size));
  Sum sum_dt, sum_dt_noise;
  plane.blocks_reversed([&](int64_t start, int64_t count) {
    plane.before_activation(start, count, [&](auto t) {
      A narrow[block_size], buffer[block_size];
      T* dx = f.dx ? static_cast<T*>(f.dx) + index * plane.size + start : nullptr;
      A* dt = dx ? room_for(dx, buffer) : buffer;
      const TwoSums<A> sums = gradient(t, load(dy + start, count, narrow), count, k, dt);
      sum_dt.add(sums.first);
      sum_dt_noise.add(sums.second);
      if (dx) store(dt, count, dx);
    });
  });
  write<A>(f.dbias, index, sum_dt.total());
  write<A>(f.dnoise_strength, index, sum_dt_noise.total());
}

// Elements [start, start + count) of sample n's dnoise. Runs when dshift and dscale of all planes are there.
template <class T>
void noise_gradient_block(const AdaINBackward& f, int64_t n, int64_t start, int64_t count) {
  using A = Acc<T>;
  A sum[block_size] = {};
  for (int64_t c = 0; c < f.op.c; ++c) {
    const Plane<T> plane(f.op, n * f.op.c + c);
    Normalisation<A> k = normalisation(f, plane);
    k.mean_dz = static_cast<const A*>(f.dshift)[plane.index] / static_cast<A>(plane.size);
    k.mean_dzs = static_cast<const A*>(f.dscale)[plane.index] / static_cast<A>(plane.size);
    plane.before_activation(start, count, [&](auto t) {
      A narrow[block_size], dt[block_size];
      const T* dy = static_cast<const T*>(f.dy) + plane.index * plane.size + start;
      gradient(t, load(dy, count, narrow), count, k, dt);
      add_scaled(dt, plane.strength, count, sum);
    });
  }
  store(sum, count, static_cast<A*>(f.dnoise) + n * f.op.h * f.op.w + start);
}

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
