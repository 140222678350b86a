// adain on the CPU that reads its input through phases and blur, where a register holds neighbouring channels:
// [N][H][W][C], and small planes of [N][C][H][W], transposed. A piece of work is a slab of channels of one sample, in
// chunks of a register's width; a pixel of a chunk is one register, so that phases and blur move nothing across lanes.
#pragma once

#include "adain_chunk.h"
#include "adain_plane.h"
#include "adain_reading.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

// Pixels whose values are made, and summed in the accumulation type, at a time.
constexpr int64_t run_pixels = 64;
// Of a row of x: three of them stay in the first-level cache.
constexpr int64_t strip_bytes = 8192;

// Where the numbers of a slab lie.
template <class Pixel>
struct Lattice {
  Pixel* first;
  int64_t pixel, row, phase;  // numbers from one to the next
  bool phases;

  Pixel* row_at(int64_t i) const { return first + (phases ? 2 * (i % 2) * phase + (i + 1) / 2 * row : i * row); }
  int64_t column_at(int64_t j) const { return phases ? j % 2 * phase + (j + 1) / 2 * pixel : j * pixel; }
};

// v of columns [from, to) of one row of the image, whose rows begin at above, here and below (null: beyond the border).
// next: the row to ask for, as the one that the next call has not in the cache.
template <class T>
void blur_run(Lattice<const T> from_rows, const T* above, const T* here, const T* below, const T* next, int64_t w,
              int64_t from, int64_t to, int64_t width, Lanes<Acc<T>>* RESTRICT v) {
  using A = Acc<T>;
  using V = Lanes<A>;
  const V two = all_lanes(A(2)), sixteenth = all_lanes(A(0.0625));
  if (!above) above = below, below = nullptr;
  const auto run = [&](auto rows, auto full) INLINED_BODY {
    const int64_t n = full.value ? lane_count<A> : width;
    const auto column = [&](int64_t j) INLINED_BODY {
      const int64_t offset = from_rows.column_at(j);
      ask_for(next + offset);
      V a = {}, b, c = {};
      get<A>(here + offset, n, b);
      if constexpr (rows.value > 1) get<A>(above + offset, n, a);
      if constexpr (rows.value > 2) get<A>(below + offset, n, c);
      return weighted_sum(a, b, c, two);
    };
    V left = from > 0 ? column(from - 1) : V{}, middle = column(from);
    for (int64_t j = from; j < to; ++j) {
      const V right = j + 1 < w ? column(j + 1) : V{};
      v[j - from] = weighted_sum(left, middle, right, two) * sixteenth;
      left = middle;
      middle = right;
    }
  };
  if (width < lane_count<A>) {
    if (below) return run(Number<3>(), Constant<false>());
    return above ? run(Number<2>(), Constant<false>()) : run(Number<1>(), Constant<false>());
  }
  if (below) return run(Number<3>(), Constant<true>());
  return above ? run(Number<2>(), Constant<true>()) : run(Number<1>(), Constant<true>());
}

// The planes of one register.
template <class T>
struct ReadChunk {
  using A = Acc<T>;
  using V = Lanes<A>;
  int64_t width, first;  // planes, and the index of the first of them
  const A* noise;
  V bias, strength;
  Normalisation<A> k;

  INLINED V before(const V& v, int64_t pixel) const {
    return (noise ? fused(strength, all_lanes(noise[pixel]), v) : v) + bias;
  }
};

template <class T>
struct ReadSlab {
  using A = Acc<T>;
  using V = Lanes<A>;
  static constexpr int64_t lanes = lane_count<A>, most_chunks = widest_slab / lanes;
  static constexpr int64_t most_kept = kept_size<A> / lane_count<A>;
  const AdaIN& op;
  Lattice<const T> x;
  int64_t n, c0, width, chunks, pixels;
  bool keeps;  // the values of the whole slab

  ReadSlab(const AdaIN& op, Lattice<const T> x, int64_t n, int64_t c0, int64_t width)
      : op(op),
        x(x),
        n(n),
        c0(c0),
        width(width),
        chunks((width + lanes - 1) / lanes),
        pixels(op.h * op.w),
        keeps(chunks * pixels <= most_kept) {}

  int64_t width_of(int64_t chunk) const { return smaller(lanes, width - chunk * lanes); }

  // Rows are read downwards or upwards: step is 1 or -1.
  void read_row(int64_t chunk, int64_t row, int64_t from, int64_t to, int64_t step, V* v) const {
    const int64_t c = chunk * lanes, count = width_of(chunk), unread = row + 2 * step;
    const T* const here = x.row_at(row) + c;
    const T* const next = unread >= 0 && unread < op.h ? x.row_at(unread) + c : here;
    if (op.blur)
      return blur_run<T>(x, row ? x.row_at(row - 1) + c : nullptr, here,
                         row + 1 < op.h ? x.row_at(row + 1) + c : nullptr, next, op.w, from, to, count, v);
    for (int64_t j = from; j < to; ++j) {
      ask_for(next + x.column_at(j));
      get<A>(here + x.column_at(j), count, v[j - from]);
    }
  }

  // Of pixels [start, start + count) in the order of memory.
  void read(int64_t chunk, int64_t start, int64_t count, int64_t step, V* v) const {
    for (int64_t row = start / op.w, from = start % op.w; count; ++row, from = 0) {
      const int64_t to = smaller(op.w, from + count);
      read_row(chunk, row, from, to, step, v);
      v += to - from;
      count -= to - from;
    }
  }

  void start_chunk(int64_t chunk, ReadChunk<T>& found) const {
    const int64_t c = c0 + chunk * lanes;
    found.width = width_of(chunk);
    found.first = n * op.c + c;
    found.noise = op.noise ? static_cast<const A*>(op.noise) + n * op.noise_stride_n : nullptr;
    found.bias = found.strength = V{};
    if (op.bias) get<A>(static_cast<const A*>(op.bias) + c, found.width, found.bias);
    if (op.noise) get<A>(static_cast<const A*>(op.noise_strength) + c, found.width, found.strength);
    Normalisation<A> k{};
    k.slope = all_lanes(static_cast<A>(op.negative_slope));
    k.output_slope = all_lanes(static_cast<A>(op.output_negative_slope));
    V v;
    read(chunk, 0, 1, 1, &v);
    k.pivot = k.from_pivot(found.before(v, 0));
    found.k = k;
  }
  void set_statistics(int64_t chunk, V mean, V rstd, Normalisation<A>& k) const {
    A scales[lanes] = {}, shifts[lanes] = {};
    for (int64_t i = 0; i < width_of(chunk); ++i) {
      scales[i] = parameter<A>(op.scale, n, c0 + chunk * lanes + i, 1);
      shifts[i] = parameter<A>(op.shift, n, c0 + chunk * lanes + i, 0);
    }
    k.mean = mean;
    k.rstd = rstd;
    get_all(scales, k.gain);
    k.gain *= rstd;
    get_all(shifts, k.shift);
  }
  void set_statistics(const AdaINBackward& f, int64_t chunk, ReadChunk<T>& found) const {
    V mean, rstd;
    get<A>(static_cast<const A*>(f.mean) + found.first, found.width, mean);
    get<A>(static_cast<const A*>(f.rstd) + found.first, found.width, rstd);
    set_statistics(chunk, mean, rstd, found.k);
  }

  // A slab's chunks one after the other within every run, so that a pixel's cache lines are met together; runs shorter
  // than a row from row to row within a strip that is narrow enough for the rows above and below to stay in the
  // first-level cache.
  template <class Body>
  void over_runs(int64_t step, Body body) const {
    const auto run = [&](int64_t start, int64_t count) {
      for (int64_t chunk = 0; chunk < chunks; ++chunk) body(chunk, start, count);
    };
    const auto in_order = [&](int64_t count, auto visit) {
      for (int64_t i = 0; i < count; ++i) visit(step > 0 ? i : count - 1 - i);
    };
    const auto pieces = [](int64_t whole, int64_t part) { return (whole + part - 1) / part; };
    if (op.w <= run_pixels) {
      in_order(pieces(pixels, run_pixels), [&](int64_t i) {
        run(i * run_pixels, smaller(run_pixels, pixels - i * run_pixels));
      });
      return;
    }
    const int64_t runs = strip_bytes / (run_pixels * width * static_cast<int64_t>(sizeof(T)));
    const int64_t strip = runs ? runs * run_pixels : run_pixels;
    in_order(pieces(op.w, strip), [&](int64_t i) {
      const int64_t from = i * strip, size = smaller(strip, op.w - from);
      in_order(op.h, [&](int64_t row) {
        in_order(pieces(size, run_pixels), [&](int64_t j) {
          run(row * op.w + from + j * run_pixels, smaller(run_pixels, size - j * run_pixels));
        });
      });
    });
  }

  // From a pixel to the one to ask for: that of the next run, as long as it is one of the plane.
  int64_t ahead(int64_t pixel, int64_t step) const {
    const int64_t further = step * (op.w <= run_pixels ? run_pixels : op.w);
    return pixel + further >= 0 && pixel + further < pixels ? further : 0;
  }

  // Whether the output has an activation, for the loops to be compiled with.
  template <class Body>
  void visit(Body body) const {
    if (op.output_negative_slope != 1) return body(Constant<true>());
    return body(Constant<false>());
  }
};

template <class T>
Lanes<Acc<T>> add_run(const ReadChunk<T>& chunk, int64_t start, int64_t count, Lanes<Acc<T>>* v,
                      LaneMoments<Acc<T>>& moments) {
  using V = Lanes<Acc<T>>;
  const ReadChunk<T> k = chunk;
  V sum = {};
  for (int64_t p = 0; p < count; ++p) sum += v[p] = k.k.from_pivot(k.before(v[p], start + p));
  const V mean = sum / static_cast<Acc<T>>(count);
  moments.add_block(v, count, mean);
  return mean;
}

// y: of the slab's first number, with `stride` from pixel to pixel.
template <class T>
void forward_read_slab(const AdaINForward& f, const ReadSlab<T>& slab, T* y, int64_t stride) {
  using A = Acc<T>;
  using V = Lanes<A>;
  constexpr int64_t lanes = ReadSlab<T>::lanes, most = ReadSlab<T>::most_chunks;
  ReadChunk<T> chunks[most];
  LaneMoments<A> moments[most];
  V kept[ReadSlab<T>::most_kept];
  for (int64_t i = 0; i < slab.chunks; ++i) slab.start_chunk(i, chunks[i]);
  // a - pivot, where it is kept.
  const auto run = [&](int64_t chunk, int64_t start) {
    return slab.keeps ? kept + chunk * slab.pixels + start : kept;
  };
  slab.over_runs(1, [&](int64_t chunk, int64_t start, int64_t count) {
    V* const v = run(chunk, start);
    slab.read(chunk, start, count, 1, v);
    add_run(chunks[chunk], start, count, v, moments[chunk]);
  });
  for (int64_t i = 0; i < slab.chunks; ++i) {
    A means[lanes], rstds[lanes];
    for (int64_t c = 0; c < lanes; ++c) {
      means[c] = static_cast<A>(moments[i].mean.total(c));
      rstds[c] = static_cast<A>(1 / __builtin_sqrt(moments[i].deviations[c] / moments[i].count + f.op.eps));
    }
    V mean, rstd;
    get_all(means, mean);
    get_all(rstds, rstd);
    put_wanted<A>(mean, chunks[i].width, f.mean, chunks[i].first);
    put_wanted<A>(rstd, chunks[i].width, f.rstd, chunks[i].first);
    slab.set_statistics(i, mean, rstd, chunks[i].k);
  }
  slab.visit([&](auto activated) {
    slab.over_runs(-1, [&](int64_t chunk, int64_t start, int64_t count) {
      V* const v = run(chunk, start);
      const ReadChunk<T> k = chunks[chunk];
      if (!slab.keeps) {
        slab.read(chunk, start, count, -1, v);
        for (int64_t p = 0; p < count; ++p) v[p] = k.k.from_pivot(k.before(v[p], start + p));
      }
      T* const to = y + start * stride + chunk * lanes;
      const int64_t ahead = slab.ahead(start, -1);
      for (int64_t p = 0; p < count; ++p) {
        const V z = fused(v[p] - k.k.mean, k.k.gain, k.k.shift);
        ask_to_write(to + (p + ahead) * stride);
        put<A>(activated.value ? (z >= A(0) ? z : z * k.k.output_slope) : z, k.width, to + p * stride);
      }
    });
  });
}

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
