// adain on the CPU, [N][C][H][W]: the loops over the pixels of one plane, of which a register holds neighbours.
//
// They are functions of values and plain pointers: what they read through a reference, the compiler would have to read
// again after every store.
#pragma once

#include "adain.h"
#include "lanes.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

// Registers a sum is spread over, for an addition waits for the one before it: 32 numbers with AVX-512 and AVX2.
constexpr int64_t spread = register_bytes == 64 ? 2 : 4;

// Elements summed in the accumulation type before the sum goes on in double: 64 additions in every lane. With 128,
// AVX2's dbias of a 127x129 plane was 1.2 times as far off as its test allows.
template <class A>
constexpr int64_t block_size = 64 * spread * lane_count<A>;

// Calls body(i, s, width) for every register full of elements, s being the part of a spread sum it belongs to. Only the
// last may have fewer than lane_count elements.
template <class A, class Body>
INLINED void over_registers(int64_t count, Body body) {
  constexpr int64_t lanes = lane_count<A>;
  int64_t i = 0;
  for (; i + spread * lanes <= count; i += spread * lanes) {
#pragma GCC unroll 4
    for (int64_t s = 0; s < spread; ++s) body(i + s * lanes, s, lanes);
  }
  for (; i + lanes <= count; i += lanes) body(i, 0, lanes);
  if (i < count) body(i, 0, count - i);
}

template <class A>
struct SpreadSum {
  Lanes<A> parts[spread] = {};

  Lanes<A> joined() const {
    if constexpr (spread == 2) return parts[0] + parts[1];
    return (parts[0] + parts[1]) + (parts[spread - 2] + parts[spread - 1]);
  }
};

// t of the elements of a plane: the value before the activation.
template <class T, bool with_noise>
struct Before {
  using A = Acc<T>;
  using V = Lanes<A>;
  const T* x;
  const A* noise;
  V strength, bias;

  INLINED V operator()(int64_t i, int64_t width) const {
    V t, map;
    get<A>(x + i, width, t);
    if constexpr (with_noise) {
      get<A>(noise + i, width, map);
      t = fused(strength, map, t);
    }
    return t + bias;
  }
};

// One plane's constants, each in every lane; `normalised = ((a - pivot) - mean) * rstd`.
template <class A>
struct Normalisation {
  using V = Lanes<A>;
  V slope, output_slope;
  V pivot, mean, rstd, shift;
  V gain;               // scale * rstd
  V mean_dz, mean_dzs;  // of dz, and of dz * normalised

  INLINED V from_pivot(V t) const { return (t >= A(0) ? t : t * slope) - pivot; }
  // The gradient before the activation of the output.
  template <bool activated>
  INLINED V dz(V centred, V dy) const {
    if constexpr (!activated) return dy;
    return fused(centred, gain, shift) >= A(0) ? dy : dy * output_slope;
  }
  template <bool activated>
  INLINED V dt(V t, V dy) const {
    const V centred = from_pivot(t) - mean;
    const V da = fused(centred * rstd, -mean_dzs, dz<activated>(centred, dy) - mean_dz) * gain;
    return t >= A(0) ? da : da * slope;
  }
};

// Two sums, each still in as many parts as a register has lanes: `sum_of` adds these up, `sums_of_rows` those of many
// planes at a time.
template <class A>
struct TwoSums {
  Lanes<A> first, second;
};

// d = a - pivot; returns its sum in a register's parts. Meanwhile asks for `soon` to be brought into the cache, as the
// other loops do: planes are read and written in turns too long for the processor to foresee the next. Null: nothing.
template <class A, class Input, class T>
INLINED Lanes<A> centre(Input t, int64_t start, int64_t count, Normalisation<A> k, A* RESTRICT d, const T* soon) {
  SpreadSum<A> sum;
  over_registers<A>(count, [&](int64_t i, int64_t s, int64_t width) INLINED_BODY {
    if (soon) ask_to_write(soon + start + i);
    const Lanes<A> here = first_lanes<A>(k.from_pivot(t(start + i, width)), width);
    put<A>(here, width, d + i);
    sum.parts[s] += here;
  });
  return sum.joined();
}

// The sums of the deviations from `mean` and of their squares.
template <class A>
INLINED TwoSums<A> deviations(const A* RESTRICT d, int64_t count, A mean) {
  SpreadSum<A> rest, squares;
  const Lanes<A> means = all_lanes(mean);
  over_registers<A>(count, [&](int64_t i, int64_t s, int64_t width) INLINED_BODY {
    Lanes<A> here;
    get<A>(d + i, width, here);
    here = first_lanes<A>(here - means, width);
    rest.parts[s] += here;
    squares.parts[s] = fused(here, here, squares.parts[s]);
  });
  return {rest.joined(), squares.joined()};
}

// y, from the `kept` values of [start, start + count) where there are any.
template <bool activated, class T, class Input>
INLINED void normalise(Input t, const Acc<T>* RESTRICT kept, int64_t start, int64_t count, Normalisation<Acc<T>> k,
               T* RESTRICT y, const T* soon, bool past_cache) {
  using A = Acc<T>;
  over_registers<A>(count, [&](int64_t i, int64_t, int64_t width) INLINED_BODY {
    if (soon) ask_for(soon + start + i);
    Lanes<A> d;
    if (kept)
      get<A>(kept + i, width, d);
    else
      d = k.from_pivot(t(start + i, width));
    const Lanes<A> z = fused(d - k.mean, k.gain, k.shift);
    const Lanes<A> out = activated ? (z >= A(0) ? z : z * k.output_slope) : z;
    if (past_cache && width == lane_count<A>)
      stream<A>(out, y + start + i);
    else
      put<A>(out, width, y + start + i);
  });
}

// The sums of dz and of dz * normalised.
template <bool activated, class T, class Input>
INLINED TwoSums<Acc<T>> sums_of_dz(Input t, const T* RESTRICT dy, int64_t start, int64_t count, Normalisation<Acc<T>> k,
                                   const T* soon) {
  using A = Acc<T>;
  SpreadSum<A> sum, with_normalised;
  over_registers<A>(count, [&](int64_t i, int64_t s, int64_t width) INLINED_BODY {
    if (soon) ask_to_write(soon + start + i);
    Lanes<A> grad;
    get<A>(dy + start + i, width, grad);
    const Lanes<A> centred = first_lanes<A>(k.from_pivot(t(start + i, width)) - k.mean, width);
    const Lanes<A> dz = k.template dz<activated>(centred, grad);
    sum.parts[s] += dz;  // zero in lanes without an element, as dy is
    with_normalised.parts[s] = fused(dz, centred * k.rstd, with_normalised.parts[s]);
  });
  return {sum.joined(), with_normalised.joined()};
}

// dt, and the sums of dt and of dt * noise. dt may be null: not wanted.
template <bool activated, class T, bool with_noise>
INLINED TwoSums<Acc<T>> gradient(Before<T, with_noise> t, const T* RESTRICT dy, int64_t start, int64_t count,
                         Normalisation<Acc<T>> k, T* RESTRICT dt, int64_t to_next,
                                 bool past_cache) {
  using A = Acc<T>;
  SpreadSum<A> sum, with_map;
  over_registers<A>(count, [&](int64_t i, int64_t s, int64_t width) INLINED_BODY {
    Lanes<A> grad, map;
    if (to_next) {
      ask_for(t.x + to_next + start + i);
      ask_for(dy + to_next + start + i);
    }
    get<A>(dy + start + i, width, grad);
    const Lanes<A> here = first_lanes<A>(k.template dt<activated>(t(start + i, width), grad), width);
    if (past_cache && width == lane_count<A>)
      stream<A>(here, dt + start + i);
    else if (dt)
      put<A>(here, width, dt + start + i);
    sum.parts[s] += here;
    if constexpr (with_noise) {
      get<A>(t.noise + start + i, width, map);
      with_map.parts[s] = fused(here, map, with_map.parts[s]);
    }
  });
  return {sum.joined(), with_map.joined()};
}

// sum += strength * dt
template <bool activated, class T, bool with_noise>
void add_scaled_gradient(Before<T, with_noise> t, const T* RESTRICT dy, int64_t start, int64_t count,
                         Normalisation<Acc<T>> k, Acc<T>* RESTRICT sum) {
  using A = Acc<T>;
  over_registers<A>(count, [&](int64_t i, int64_t, int64_t width) INLINED_BODY {
    Lanes<A> grad, so_far;
    get<A>(dy + start + i, width, grad);
    get<A>(sum + i, width, so_far);
    put<A>(fused(k.template dt<activated>(t(start + i, width), grad), t.strength, so_far), width, sum + i);
  });
}

// What a plane is called with: all but its statistics.
template <class T, bool with_noise>
struct Plane {
  using A = Acc<T>;
  int64_t n, c, index, size;
  Before<T, with_noise> t;

  INLINED Plane(const AdaIN& op, int64_t index) : n(index / op.c), c(index % op.c), index(index), size(op.h * op.w) {
    t.x = static_cast<const T*>(op.x) + index * size;
    t.noise = with_noise ? static_cast<const A*>(op.noise) + n * op.noise_stride_n : nullptr;
    t.bias = all_lanes(channel<A>(op.bias, c, 0));
    t.strength = all_lanes(channel<A>(op.noise_strength, c, 0));
  }

  INLINED Normalisation<A> constants(const AdaIN& op) const {
    Normalisation<A> k{};
    k.slope = all_lanes(static_cast<A>(op.negative_slope));
    k.output_slope = all_lanes(static_cast<A>(op.output_negative_slope));
    k.pivot = all_lanes(k.from_pivot(t(0, smaller(lane_count<A>, size)))[0]);
    return k;
  }
  // means, rstds: [N, C]
  INLINED void set_statistics(const AdaIN& op, const void* means, const void* rstds, Normalisation<A>& k) const {
    set_statistics(op, static_cast<const A*>(means)[index], static_cast<const A*>(rstds)[index], k);
  }
  INLINED void set_statistics(const AdaIN& op, A mean, A rstd, Normalisation<A>& k) const {
    k.mean = all_lanes(mean);
    k.rstd = all_lanes(rstd);
    k.shift = all_lanes(parameter<A>(op.shift, n, c, 0));
    k.gain = all_lanes(parameter<A>(op.scale, n, c, 1) * rstd);
  }
};

// Results this long leave the cache before anybody reads them. Measured with AVX-512, fp32, one thread, 128x128 to
// 1024x1024, batch 4: 1.0 to 1.2 times as fast into memory written before, 1.0 to 1.1 times into fresh pages.
constexpr int64_t bytes_past_cache = 32 << 20;
template <class T>
bool goes_past_cache(const AdaIN& op, const T* plane) {
  const int64_t bytes = op.n * op.c * op.h * op.w * static_cast<int64_t>(sizeof(T));
  const bool aligned = reinterpret_cast<uintptr_t>(plane) % (sizeof(T) * lane_count<Acc<T>>) == 0;
  return plane && aligned && bytes >= bytes_past_cache;
}

// Calls body(start, count) for the blocks of [from, to).
template <class A, class Body>
INLINED void over_blocks_of(int64_t from, int64_t to, Body body) {
  for (int64_t start = from; start < to; start += block_size<A>) body(start, smaller(block_size<A>, to - start));
}
// From the end, which a first walk has left in the cache where the plane does not fit whole.
template <class A, class Body>
INLINED void over_blocks_reversed(int64_t from, int64_t to, Body body) {
  for (int64_t start = from + (to - from - 1) / block_size<A> * block_size<A>; start >= from; start -= block_size<A>)
    body(start, smaller(block_size<A>, to - start));
}

// Elements whose activated values fit into the first-level cache.
template <class A>
constexpr int64_t part_size = 16384 / static_cast<int64_t>(sizeof(A));

// Adds the moments of elements [from, to), whose d = a - pivot are left in `kept`.
template <class A, class Input, class T>
void add_moments(Input t, int64_t from, int64_t to, const Normalisation<A>& k, A* kept, const T* y, Moments& moments) {
  Sum sum, rest, squares;
  over_blocks_of<A>(from, to, [&](int64_t start, int64_t count) {
    sum.add(sum_of<A>(centre(t, start, count, k, kept + start - from, y)));
  });
  const A mean = static_cast<A>(sum.total() / static_cast<double>(to - from));
  over_blocks_of<A>(from, to, [&](int64_t start, int64_t count) {
    const TwoSums<A> sums = deviations(kept + start - from, count, mean);
    rest.add(sum_of<A>(sums.first));
    squares.add(sum_of<A>(sums.second));
  });
  moments.merge_block(to - from, mean, rest.total(), squares.total());
}

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
