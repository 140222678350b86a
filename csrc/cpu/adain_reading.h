// How adain on the CPU, [N][C][H][W], makes values to work on where it reads its input through phases and blur: a part
// of a plane at a time, in the accumulation type, into a buffer in the first-level cache. See api.h for the formulas.
//
// A value has the same bits whichever part it is made in, so a plane read twice is the same plane: what a scalar loop
// and a vector loop compute, they compute by the same operations.
#pragma once

#include "adain.h"
#include "lane_shuffles.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

// Whole rows of a plane, or a piece of one.
struct Part {
  int64_t row, rows, column, columns;

  int64_t size() const { return rows * columns; }
};

// A plane, cut into parts of at most `most` pixels (an even number, as the columns of phases come in pairs).
struct Parts {
  int64_t h, w, rows, columns, across, count;

  Parts(int64_t h, int64_t w, int64_t most)
      : h(h),
        w(w),
        rows(w < most ? most / w : 1),
        columns(smaller(w, most)),
        across((w + columns - 1) / columns),
        count((h + rows - 1) / rows * across) {}

  Part operator[](int64_t i) const {
    const int64_t row = i / across * rows, column = i % across * columns;
    return {row, smaller(rows, h - row), column, smaller(columns, w - column)};
  }
};

// Calls body(i, width) for every register full of n numbers. Only the last may have fewer than lane_count.
template <class A, class Body>
inline void over_lanes(int64_t n, Body body) {
  int64_t i = 0;
  for (; i + lane_count<A> <= n; i += lane_count<A>) body(i, lane_count<A>);
  if (i < n) body(i, n - i);
}

template <int number>
struct Number {
  static constexpr int value = number;
};

// [1, 2, 1], unscaled.
template <class V>
INLINED V weighted_sum(V before, V here, V after, V two) {
  return fused(two, here, before + after);
}

// to = above + 2 * here + below; a null row is zero.
template <class T>
void sum_rows(const T* above, const T* here, const T* below, int64_t n, Acc<T>* RESTRICT to) {
  using A = Acc<T>;
  const Lanes<A> two = all_lanes(A(2));
  if (!above) above = below, below = nullptr;
  const auto loop = [&](auto rows) INLINED_BODY {
    over_lanes<A>(n, [&](int64_t i, int64_t width) INLINED_BODY {
      Lanes<A> a = {}, b, c = {};
      get<A>(here + i, width, b);
      if constexpr (rows.value > 1) get<A>(above + i, width, a);
      if constexpr (rows.value > 2) get<A>(below + i, width, c);
      put<A>(weighted_sum(a, b, c, two), width, to + i);
    });
  };
  if (below) return loop(Number<3>());
  if (above) return loop(Number<2>());
  return loop(Number<1>());
}

// Where a block lies in its image: which of its neighbours there are.
struct Sides {
  bool above, below, left, right;
};

// Blurs a block of at most `most` pixels: whole rows of an image, or a piece of one row. image: its first pixel, with
// `pitch` numbers from row to row.
template <int64_t most, class T>
void blur_block(const T* image, int64_t pitch, int64_t rows, int64_t columns, Sides sides, Acc<T>* RESTRICT to) {
  using A = Acc<T>;
  constexpr A sixteenth = A(0.0625);
  alignas(64) A padded[most + 2 * lane_count<A>];
  A* const sums = padded + lane_count<A>;
  const int64_t size = rows * columns, from = sides.left ? -1 : 0, end = size + (sides.right ? 1 : 0);
  sums[-1] = sums[size] = 0;
  // Rows that follow each other are summed as one, but for the image's first and last.
  const int64_t first = sides.above ? 0 : 1, last = rows - (sides.below ? 0 : 1);
  const auto sum = [&](int64_t row, int64_t n, bool above, bool below) {
    const T* here = image + row * pitch + from;
    sum_rows<T>(above ? here - pitch : nullptr, here, below ? here + pitch : nullptr, n, sums + row * columns + from);
  };
  if (rows == 1) {
    sum(0, end - from, sides.above, sides.below);
  } else {
    if (first) sum(0, columns, false, true);
    if (first < last) sum(first, (last - first) * columns, true, true);
    if (last < rows) sum(last, columns, true, false);
  }
  const Lanes<A> two = all_lanes(A(2)), scale = all_lanes(sixteenth);
  over_lanes<A>(size, [&](int64_t i, int64_t width) INLINED_BODY {
    Lanes<A> before, here, after;
    get<A>(sums + i - 1, width, before);
    get<A>(sums + i, width, here);
    get<A>(sums + i + 1, width, after);
    put<A>(weighted_sum(before, here, after, two) * scale, width, to + i);
  });
  if (rows == 1) return;
  // A row's first and last pixel have met those of its neighbours.
  for (const A* row = sums; row < sums + size; row += columns, to += columns) {
    const int64_t end_of_row = columns - 1;
    to[0] = weighted_sum(A(0), row[0], end_of_row ? row[1] : A(0), A(2)) * sixteenth;
    to[end_of_row] = weighted_sum(end_of_row ? row[end_of_row - 1] : A(0), row[end_of_row], A(0), A(2)) * sixteenth;
  }
}

// to = even and odd in turns, n of each.
template <class T>
void interleave_rows(const T* even, const T* odd, int64_t n, Acc<T>* RESTRICT to) {
  using A = Acc<T>;
  over_lanes<A>(n, [&](int64_t i, int64_t width) INLINED_BODY {
    Lanes<A> a, b, low, high;
    get<A>(even + i, width, a);
    get<A>(odd + i, width, b);
    interleave<A>(a, b, low, high);
    put<A>(low, smaller(lane_count<A>, 2 * width), to + 2 * i);
    if (2 * width > lane_count<A>) put<A>(high, 2 * width - lane_count<A>, to + 2 * i + lane_count<A>);
  });
}

template <class T>
void split_row(const Acc<T>* from, int64_t n, T* RESTRICT even, T* RESTRICT odd) {
  using A = Acc<T>;
  over_lanes<A>(n, [&](int64_t i, int64_t width) INLINED_BODY {
    Lanes<A> low, high = {}, a, b;
    get<A>(from + 2 * i, smaller(lane_count<A>, 2 * width), low);
    if (2 * width > lane_count<A>) get<A>(from + 2 * i + lane_count<A>, 2 * width - lane_count<A>, high);
    separate<A>(low, high, a, b);
    put<A>(a, width, even + i);
    put<A>(b, width, odd + i);
  });
}

// n numbers that are read soon, where their order is none that the processor foresees.
template <class T>
inline void ask_for_lines(const T* numbers, int64_t n) {
  constexpr int64_t line = 64 / sizeof(T);
  for (int64_t i = 0; i < n; i += line) ask_for(numbers + i);
}

// Where the pixels of one plane, [h][w], lie in x or, Pixel being T, in dx.
template <class T, class Pixel = const T>
struct Reading {
  using A = Acc<T>;
  Pixel* plane;       // with phases, its phase (0, 0)
  int64_t h, w;
  int64_t pitch;  // numbers from row to row
  int64_t phase;  // numbers from phase to phase
  bool phases, blur;

  Reading(const AdaIN& op, Pixel* x, int64_t n, int64_t c) : h(op.h), w(op.w), phases(op.phases), blur(op.blur) {
    pitch = phases ? w / 2 + 1 : w;
    const int64_t size = phases ? (h / 2 + 1) * pitch : h * w;
    phase = op.c * size;
    plane = x + (n * (phases ? 4 : 1) * op.c + c) * size;
  }

  // The pixels of u's row with columns of this parity, from column `parity` on.
  Pixel* row_of_phase(int64_t row, int64_t parity) const {
    return plane + (2 * (row % 2) + parity) * phase + (row + 1) / 2 * pitch + parity;
  }

  template <int64_t most>
  void read(Part part, A* to) const {
    if (!phases) return read_whole<most>(part, to);
    if (blur) return part.rows > 1 ? read_phases<most>(part, to) : read_row_of_phases<most>(part, to);
    for (int64_t i = 0; i < part.rows; ++i, to += part.columns) {
      const int64_t pair = part.column / 2;
      interleave_rows<T>(row_of_phase(part.row + i, 0) + pair, row_of_phase(part.row + i, 1) + pair, part.columns / 2,
                         to);
    }
  }

  template <int64_t most>
  void read_whole(Part part, A* to) const {
    const Sides sides{part.row > 0, part.row + part.rows < h, part.column > 0, part.column + part.columns < w};
    blur_block<most, T>(plane + part.row * w + part.column, w, part.rows, part.columns, sides, to);
  }

  // Phases are summed vertically before they are interleaved, and interleaved last: half the shuffling.
  // even, odd: sums of the pairs from the first on, odd also of the one before it, even of the one after the last.
  static void interleave_blurred(const A* RESTRICT even, const A* RESTRICT odd, int64_t pairs, A* RESTRICT to) {
    const Lanes<A> two = all_lanes(A(2)), sixteenth = all_lanes(A(0.0625));
    over_lanes<A>(pairs, [&](int64_t i, int64_t width) INLINED_BODY {
      Lanes<A> here, after, odd_before, odd_here, low, high;
      get<A>(even + i, width, here);
      get<A>(even + i + 1, width, after);
      get<A>(odd + i - 1, width, odd_before);
      get<A>(odd + i, width, odd_here);
      interleave<A>(weighted_sum(odd_before, here, odd_here, two) * sixteenth,
                    weighted_sum(here, odd_here, after, two) * sixteenth, low, high);
      put<A>(low, smaller(lane_count<A>, 2 * width), to + 2 * i);
      if (2 * width > lane_count<A>) put<A>(high, 2 * width - lane_count<A>, to + 2 * i + lane_count<A>);
    });
  }

  // n sums of a phase from this pair of columns on, of `row` and, where n is more, of every second row after it.
  void sum_phase(int64_t row, int64_t parity, int64_t pair, int64_t n, bool above, bool below, A* sums) const {
    sum_rows<T>(above ? row_of_phase(row - 1, parity) + pair : nullptr, row_of_phase(row, parity) + pair,
                below ? row_of_phase(row + 1, parity) + pair : nullptr, n, sums);
  }

  // A piece of a row.
  template <int64_t most>
  void read_row_of_phases(Part part, A* to) const {
    const int64_t row = part.row, pair = part.column / 2, pairs = part.columns / 2;
    const bool above = row > 0, below = row + 1 < h, left = pair > 0, right = pair + pairs < w / 2;
    A even[most / 2 + 1], odd[most / 2 + 1];
    sum_phase(row, 0, pair, pairs + right, above, below, even);
    sum_phase(row, 1, pair - left, pairs + left, above, below, odd + 1 - left);
    if (!right) even[pairs] = 0;
    if (!left) odd[0] = 0;
    interleave_blurred(even, odd + 1, pairs, to);
  }

  // Whole rows. Those of one parity are neighbours in a phase, with one unread pixel between them, and summed as one.
  template <int64_t most>
  void read_phases(Part part, A* to) const {
    const int64_t pairs = w / 2;
    A sums[2][2][most / 2 + 8];  // their first is the pixel before the first row
    for (int64_t p = 0; p < 2; ++p) {
      const int64_t first = part.row + (part.row % 2 != p), end = part.row + part.rows;
      for (int64_t q = 0; q < 2; ++q) {
        A* to_sums = sums[p][q] + 1;
        const int64_t from = first ? first : 2, last = (h - 1) % 2 == p && end == h ? h - 1 : end;
        if (!first) sum_phase(0, q, 0, pairs, false, true, to_sums);
        const int64_t n = (last - from - 1) / 2 * pitch + pairs;
        if (from < last) sum_phase(from, q, 0, n, true, true, to_sums + (from - first) / 2 * pitch);
        if (last < end) sum_phase(last, q, 0, pairs, true, false, to_sums + (last - first) / 2 * pitch);
        for (int64_t row = first; row < end; row += 2, to_sums += pitch) to_sums[q ? -1 : pairs] = 0;
      }
    }
    for (int64_t row = part.row; row < part.row + part.rows; ++row, to += w) {
      const int64_t line = 1 + (row - part.row) / 2 * pitch;
      interleave_blurred(sums[row % 2][0] + line, sums[row % 2][1] + line, pairs, to);
    }
  }

  // This part of the plane that follows, whose phases lie as far apart.
  void ask_for_next(Part part) const {
    if (!phases) return ask_for_lines(plane + (h + part.row) * w + part.column, part.size());
    for (int64_t p = 0; p < 4; ++p)
      ask_for_lines(plane + p * phase + (h / 2 + 1 + part.row / 2) * pitch, part.size() / 4 + pitch);
  }

  // Writes a part of du, which is dt through the blur, to where u was read.
  void write(Part part, const A* from) const {
    if (!phases) return store(from, part.size(), plane + part.row * w + part.column);
    for (int64_t i = 0; i < part.rows; ++i, from += part.columns) {
      const int64_t row = part.row + i, pair = part.column / 2;
      split_row<T>(from, part.columns / 2, row_of_phase(row, 0) + pair, row_of_phase(row, 1) + pair);
    }
  }
  // The pixels of phases that nothing reads.
  void clear_unread() const {
    if (!phases) return;
    const int64_t rows = h / 2 + 1;
    for (int64_t p = 0; p < 4; ++p) {
      T* const first = plane + p * phase;
      T* const row = first + (p / 2 ? 0 : rows - 1) * pitch;
      for (int64_t j = 0; j < pitch; ++j) row[j] = from_acc<T>(0);
      T* const column = first + (p % 2 ? 0 : pitch - 1);
      for (int64_t i = 0; i < rows; ++i) column[i * pitch] = from_acc<T>(0);
    }
  }
};

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
