// adain on the CPU that reads its input through phases and blur, [N][C][H][W]: as adain_contiguous.h, but on values
// that are made part by part (adain_reading.h), and with a gradient that takes the same way back.
#pragma once

#include "adain_plane.h"
#include "adain_reading.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

// Pixels of the gradient that wait for the rows beside them: a band of rows, and at least three rows of a strip.
template <class A>
constexpr int64_t band_pixels = 24576 / sizeof(A);
template <class A>
constexpr int64_t widest_strip = 12288 / sizeof(A);

template <class T, bool with_noise>
struct ReadPlane {
  using A = Acc<T>;
  static constexpr int64_t most = block_size<A>;
  const AdaIN& op;
  int64_t n, c, index, size;
  Reading<T> reading;
  const A* noise;
  Lanes<A> strength, bias;

  ReadPlane(const AdaIN& op, int64_t index)
      : op(op),
        n(index / op.c),
        c(index % op.c),
        index(index),
        size(op.h * op.w),
        reading(op, static_cast<const T*>(op.x), n, c),
        noise(with_noise ? static_cast<const A*>(op.noise) + n * op.noise_stride_n : nullptr),
        strength(all_lanes(channel<A>(op.noise_strength, c, 0))),
        bias(all_lanes(channel<A>(op.bias, c, 0))) {}

  Parts parts() const { return {op.h, op.w, most}; }
  int64_t start(Part part) const { return part.row * op.w + part.column; }
  // Whether all values stay in the cache from one pass to the next.
  bool keeps() const { return size <= kept_size<A>; }
  void read(Part part, A* values) const { reading.template read<most>(part, values); }

  // What the loops take the values of a part from.
  Before<A, with_noise> before(Part part, const A* values) const {
    return {values, with_noise ? noise + start(part) : nullptr, strength, bias};
  }

  Normalisation<A> constants() const {
    A values[lane_count<A>] = {};
    const Part first{0, 1, 0, smaller(op.w, 2)};
    read(first, values);
    Normalisation<A> k{};
    k.slope = all_lanes(static_cast<A>(op.negative_slope));
    k.output_slope = all_lanes(static_cast<A>(op.output_negative_slope));
    k.pivot = all_lanes(k.from_pivot(before(first, values)(0, first.columns))[0]);
    return k;
  }
  void set_statistics(A mean, A rstd, Normalisation<A>& k) const {
    k.mean = all_lanes(mean);
    k.rstd = all_lanes(rstd);
    k.shift = all_lanes(parameter<A>(op.shift, n, c, 0));
    k.gain = all_lanes(parameter<A>(op.scale, n, c, 1) * rstd);
  }
  // With the forward's statistics.
  Normalisation<A> constants(const AdaINBackward& f) const {
    Normalisation<A> k = constants();
    set_statistics(static_cast<const A*>(f.mean)[index], static_cast<const A*>(f.rstd)[index], k);
    return k;
  }
};

template <class T, bool with_noise, bool activated>
void forward_read_plane(const AdaINForward& f, int64_t index) {
  using A = Acc<T>;
  const ReadPlane<T, with_noise> plane(f.op, index);
  const Parts parts = plane.parts();
  const bool keeps = plane.keeps();
  T* const y = static_cast<T*>(f.y) + index * plane.size;
  alignas(64) A kept[kept_size<A>], values[block_size<A>];
  Normalisation<A> k = plane.constants();
  Moments moments;
  for (int64_t i = 0; i < parts.count; ++i) {
    const Part part = parts[i];
    const int64_t start = plane.start(part), count = part.size();
    A* const d = keeps ? kept + start : kept;
    plane.read(part, values);
    const Lanes<A> sum = centre(plane.before(part, values), 0, count, k, d, keeps ? y + start : nullptr);
    const A mean = sum_of<A>(sum) / static_cast<A>(count);
    const TwoSums<A> sums = deviations(d, count, mean);
    moments.merge_block(count, mean, sum_of<A>(sums.first), sum_of<A>(sums.second));
  }
  const A mean = static_cast<A>(moments.mean()), rstd = static_cast<A>(moments.rstd(f.op.eps));
  write<A>(f.mean, index, mean);
  write<A>(f.rstd, index, rstd);
  plane.set_statistics(mean, rstd, k);
  for (int64_t i = parts.count - 1; i >= 0; --i) {
    const Part part = parts[i];
    const int64_t start = plane.start(part);
    if (keeps)
      plane.reading.ask_for_next(part);
    else
      plane.read(part, values);
    normalise<activated, T>(plane.before(part, values), keeps ? kept + start : nullptr, 0, part.size(), k, y + start,
                            nullptr, goes_past_cache(f.op, y + start));
  }
  finish_streams();
}

// dt of a part, and the sums of dt and of dt * noise.
template <bool activated, class T, bool with_noise>
TwoSums<Acc<T>> gradient_of_values(Before<Acc<T>, with_noise> t, const T* RESTRICT dy, int64_t count,
                                   Normalisation<Acc<T>> k, Acc<T>* RESTRICT dt) {
  using A = Acc<T>;
  SpreadSum<A> sum, with_map;
  over_registers<A>(count, [&](int64_t i, int64_t s, int64_t width) INLINED_BODY {
    Lanes<A> grad, map;
    get<A>(dy + i, width, grad);
    const Lanes<A> here = first_lanes<A>(k.template dt<activated>(t(i, width), grad), width);
    put<A>(here, width, dt + i);
    sum.parts[s] += here;
    if constexpr (with_noise) {
      get<A>(t.noise + i, width, map);
      with_map.parts[s] = fused(here, map, with_map.parts[s]);
    }
  });
  return {sum.joined(), with_map.joined()};
}

// The gradient before the activation, a band of rows after the other, and through the blur to dx. Bands go upwards: the
// sums before have left the last rows in the cache.
template <class T, class Body>
void write_gradient(Reading<T, T> dx, Body gradient_of) {
  using A = Acc<T>;
  constexpr int64_t most = block_size<A>;
  const int64_t h = dx.h, w = dx.w;
  alignas(64) A window[band_pixels<A> + 2 * widest_strip<A>], blurred[most];
  dx.clear_unread();
  // A strip's values beside it are computed twice, and summed once.
  const int64_t step = w <= widest_strip<A> ? w : widest_strip<A> - 4;
  for (int64_t column = 0; column < w; column += step) {
    const int64_t end = smaller(column + step, w), from = column ? column - 2 : 0, to = smaller(end + 2, w);
    const int64_t pitch = to - from, band = smaller(h, band_pixels<A> / pitch);
    for (int64_t row = (h - 1) / band * band; row >= 0; row -= band) {
      const int64_t rows = smaller(band, h - row), below = smaller(2, h - row - rows);
      // The rows below were the first of the band before.
      __builtin_memmove(window + rows * pitch, window, static_cast<size_t>(below * pitch) * sizeof(A));
      if (pitch == w) {
        const Parts parts(rows, w, most);
        for (int64_t i = 0; i < parts.count; ++i) {
          Part part = parts[i];
          A* const dt = window + part.row * pitch + part.column;
          part.row += row;
          gradient_of(part, true, dt);
        }
      } else {
        for (int64_t i = 0; i < rows; ++i) {
          A* const dt = window + i * pitch;
          if (from < column) gradient_of(Part{row + i, 1, from, column - from}, false, dt);
          for (int64_t j = column; j < end; j += most)
            gradient_of(Part{row + i, 1, j, smaller(most, end - j)}, true, dt + j - from);
          if (end < to) gradient_of(Part{row + i, 1, end, to - end}, false, dt + end - from);
        }
      }
      // All rows are complete whose neighbours are there.
      const int64_t first = row ? row + 1 : 0, last = smaller(row + rows + 1, h);
      const Parts parts(last - first, end - column, pitch == w ? most : smaller(most, end - column));
      for (int64_t i = 0; i < parts.count; ++i) {
        Part part = parts[i];
        part.row += first;
        part.column += column;
        const A* const dt = window + (part.row - row) * pitch + part.column - from;
        if (!dx.blur) {
          dx.write(part, dt);
          continue;
        }
        const Sides sides{part.row > 0, part.row + part.rows < h, part.column > 0, part.column + part.columns < w};
        A* const du = dx.phases ? blurred : room_for(dx.plane + part.row * w + part.column, blurred);
        blur_block<most>(dt, pitch, part.rows, part.columns, sides, du);
        dx.write(part, du);
      }
    }
  }
}

template <class T, bool with_noise, bool activated>
void backward_read_plane(const AdaINBackward& f, int64_t index) {
  using A = Acc<T>;
  const ReadPlane<T, with_noise> plane(f.op, index);
  const Parts parts = plane.parts();
  const bool keeps = plane.keeps();
  const T* const dy = static_cast<const T*>(f.dy) + index * plane.size;
  alignas(64) A kept[kept_size<A>], made[block_size<A>];
  Normalisation<A> k = plane.constants(f);
  Sum sum_dz, sum_dzs, sum_dt, sum_dt_noise;
  for (int64_t i = 0; i < parts.count; ++i) {
    const Part part = parts[i];
    const int64_t start = plane.start(part);
    A* const values = keeps ? kept + start : made;
    plane.read(part, values);
    const TwoSums<A> sums =
        sums_of_dz<activated, T>(plane.before(part, values), dy + start, 0, part.size(), k, nullptr);
    sum_dz.add(sum_of<A>(sums.first));
    sum_dzs.add(sum_of<A>(sums.second));
  }
  write<A>(f.dshift, index, sum_dz.total());
  write<A>(f.dscale, index, sum_dzs.total());
  if (!f.dx && !f.dbias && !f.dnoise_strength) return;
  k.mean_dz = all_lanes(static_cast<A>(sum_dz.total() / static_cast<double>(plane.size)));
  k.mean_dzs = all_lanes(static_cast<A>(sum_dzs.total() / static_cast<double>(plane.size)));
  const auto gradient_of = [&](Part part, bool counts, A* dt) {
    const int64_t start = plane.start(part);
    const A* const values = keeps ? kept + start : made;
    if (keeps) {
      plane.reading.ask_for_next(part);
      ask_for_lines(dy + plane.size + start, part.size());
    } else {
      plane.read(part, made);
    }
    const TwoSums<A> sums =
        gradient_of_values<activated, T>(plane.before(part, values), dy + start, part.size(), k, dt);
    if (!counts) return;
    sum_dt.add(sum_of<A>(sums.first));
    sum_dt_noise.add(sum_of<A>(sums.second));
  };
  if (f.dx) {
    write_gradient<T>(Reading<T, T>(f.op, static_cast<T*>(f.dx), plane.n, plane.c), gradient_of);
  } else {
    A dt[block_size<A>];
    for (int64_t i = parts.count - 1; i >= 0; --i) gradient_of(parts[i], true, dt);
  }
  write<A>(f.dbias, index, sum_dt.total());
  write<A>(f.dnoise_strength, index, sum_dt_noise.total());
}

// A part of sample n's dnoise. Runs when dshift and dscale of all planes are there.
template <class T>
void noise_gradient_read(const AdaINBackward& f, int64_t n, Part part) {
  using A = Acc<T>;
  constexpr int64_t most = block_size<A>;
  alignas(64) A sum[most] = {}, values[most], dt[most];
  for (int64_t c = 0; c < f.op.c; ++c) {
    const ReadPlane<T, true> plane(f.op, n * f.op.c + c);
    const T* const dy = static_cast<const T*>(f.dy) + plane.index * plane.size + plane.start(part);
    plane.read(part, values);
    Normalisation<A> k = plane.constants(f);
    k.mean_dz = all_lanes(static_cast<const A*>(f.dshift)[plane.index] / static_cast<A>(plane.size));
    k.mean_dzs = all_lanes(static_cast<const A*>(f.dscale)[plane.index] / static_cast<A>(plane.size));
    gradient_of_values<true, T>(plane.before(part, values), dy, part.size(), k, dt);
    over_lanes<A>(part.size(), [&](int64_t i, int64_t width) INLINED_BODY {
      Lanes<A> here, so_far;
      get<A>(dt + i, width, here);
      get<A>(sum + i, width, so_far);
      put<A>(fused(here, plane.strength, so_far), width, sum + i);
    });
  }
  store(sum, part.size(), static_cast<A*>(f.dnoise) + n * f.op.h * f.op.w + part.row * f.op.w + part.column);
}

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
