// The gradient of adain that reads its input through phases and blur, where a register holds neighbouring channels.
#pragma once

#include "adain_reading_slabs.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

// Channels times pixels of a row of the gradient that wait for the rows beside them, three of which stay in the
// first-level cache.
constexpr int64_t strip_numbers = 2048;

// dt through the blur to dx, row by row from the last, as the sums before have left it in the cache.
// gradient_of(chunk, row, from, to, owned_from, owned_to, dt) computes columns [from, to) of a row, and sums the owned.
template <class T, class Body>
void write_gradient(const ReadSlab<T>& slab, Lattice<T> dx, Body gradient_of) {
  using A = Acc<T>;
  using V = Lanes<A>;
  constexpr int64_t lanes = ReadSlab<T>::lanes;
  const int64_t h = slab.op.h, w = slab.op.w, step = strip_numbers / (slab.chunks * lanes);
  // Three rows of each chunk, with a column on either side of a strip.
  constexpr int64_t pitch_of_all = strip_numbers / lanes + 2 * ReadSlab<T>::most_chunks;
  V window[3][pitch_of_all], blurred[strip_numbers / lanes];
  for (int64_t column = 0; column < w; column += step) {
    const int64_t end = smaller(column + step, w), from = column ? column - 1 : 0, to = smaller(end + 1, w);
    const auto dt = [&](int64_t row, int64_t chunk) { return window[row % 3] + chunk * (to - from); };
    const auto finish = [&](int64_t row) {
      T* const line = dx.row_at(row);
      T* const next = dx.row_at(row ? row - 1 : 0);
      for (int64_t chunk = 0; chunk < slab.chunks; ++chunk) {
        const V* v = dt(row, chunk) + column - from;
        if (slab.op.blur) {
          const auto numbers = [&](int64_t i) { return reinterpret_cast<const A*>(dt(i, chunk)); };
          const Lattice<const A> rows{nullptr, lanes, 0, 0, false};
          blur_run<A>(rows, row ? numbers(row - 1) : nullptr, numbers(row), row + 1 < h ? numbers(row + 1) : nullptr,
                      numbers(row), to - from, column - from, end - from, lanes, blurred);
          v = blurred;
        }
        for (int64_t j = column; j < end; ++j) {
          ask_to_write(next + dx.column_at(j) + chunk * lanes);
          put<A>(v[j - column], slab.width_of(chunk), line + dx.column_at(j) + chunk * lanes);
        }
      }
    };
    for (int64_t row = h - 1; row >= 0; --row) {
      for (int64_t chunk = 0; chunk < slab.chunks; ++chunk)
        gradient_of(chunk, row, from, to, column, end, dt(row, chunk));
      if (row + 1 < h) finish(row + 1);
    }
    finish(0);
  }
}

// The pixels of phases that nothing reads.
template <class T>
void clear_unread(const ReadSlab<T>& slab, Lattice<T> dx) {
  if (!dx.phases) return;
  const int64_t rows = slab.op.h / 2 + 1, columns = slab.op.w / 2 + 1;
  for (int64_t phase = 0; phase < 4; ++phase) {
    T* const first = dx.first + phase * dx.phase;
    const auto clear = [&](int64_t i, int64_t j) {
      for (int64_t c = 0; c < slab.width; ++c) first[i * dx.row + j * dx.pixel + c] = from_acc<T>(0);
    };
    for (int64_t j = 0; j < columns; ++j) clear(phase / 2 ? 0 : rows - 1, j);
    for (int64_t i = 0; i < rows; ++i) clear(i, phase % 2 ? 0 : columns - 1);
  }
}

// dy: of the slab's first number, with `stride` from pixel to pixel. dx.first may be null: not wanted.
template <class T>
void backward_read_slab(const AdaINBackward& f, const ReadSlab<T>& slab, const T* dy, int64_t stride, Lattice<T> dx) {
  using A = Acc<T>;
  using V = Lanes<A>;
  constexpr int64_t lanes = ReadSlab<T>::lanes, most = ReadSlab<T>::most_chunks;
  ReadChunk<T> chunks[most];
  V kept[ReadSlab<T>::most_kept], made[strip_numbers / lanes + 2];
  LaneSums<A> sums_dz[most], sums_dzs[most];
  for (int64_t i = 0; i < slab.chunks; ++i) {
    slab.start_chunk(i, chunks[i]);
    slab.set_statistics(f, i, chunks[i]);
  }
  slab.visit([&](auto activated) {
    slab.over_runs(1, [&](int64_t chunk, int64_t start, int64_t count) {
      V* const v = slab.keeps ? kept + chunk * slab.pixels + start : made;
      slab.read(chunk, start, count, 1, v);
      const ReadChunk<T> k = chunks[chunk];
      const T* const grads = dy + start * stride + chunk * lanes;
      V sum = {}, with_normalised = {}, grad;
      const int64_t ahead = slab.ahead(start + count - 1, 1);
      for (int64_t p = 0; p < count; ++p) {
        ask_for(grads + (p + ahead) * stride);
        get<A>(grads + p * stride, k.width, grad);
        const V centred = k.k.from_pivot(k.before(v[p], start + p)) - k.k.mean;
        const V dz = k.k.template dz<activated.value>(centred, grad);
        sum += dz;
        with_normalised = fused(dz, centred * k.k.rstd, with_normalised);
      }
      sums_dz[chunk].add(sum);
      sums_dzs[chunk].add(with_normalised);
    });
    for (int64_t i = 0; i < slab.chunks; ++i) {
      A dz[lanes], dzs[lanes];
      for (int64_t c = 0; c < lanes; ++c) {
        dz[c] = static_cast<A>(sums_dz[i].total(c) / static_cast<double>(slab.pixels));
        dzs[c] = static_cast<A>(sums_dzs[i].total(c) / static_cast<double>(slab.pixels));
      }
      get_all(dz, chunks[i].k.mean_dz);
      get_all(dzs, chunks[i].k.mean_dzs);
      for (int64_t c = 0; c < chunks[i].width; ++c) {
        write<A>(f.dshift, chunks[i].first + c, sums_dz[i].total(c));
        write<A>(f.dscale, chunks[i].first + c, sums_dzs[i].total(c));
      }
    }
    if (!dx.first && !f.dbias && !f.dnoise_strength) return;
    LaneSums<A> sums_dt[most], sums_dt_noise[most];
    V waiting[most] = {}, waiting_noise[most] = {};
    int64_t waited[most] = {};
    const auto gradient_of = [&](int64_t chunk, int64_t row, int64_t from, int64_t to, int64_t owned, int64_t end,
                                 V* dt) {
      const int64_t start = row * slab.op.w;
      const V* const v = slab.keeps ? kept + chunk * slab.pixels + start + from : made;
      if (!slab.keeps) slab.read_row(chunk, row, from, to, -1, made);
      const ReadChunk<T> k = chunks[chunk];
      const int64_t ahead = slab.ahead(start, -1);
      // Columns are summed up to a run's length in the accumulation type; those of several short rows are one run.
      for (int64_t first = from; first < to;) {
        const int64_t last = smaller(to, first + run_pixels - waited[chunk]);
        V sum = waiting[chunk], with_noise = waiting_noise[chunk], grad;
        for (int64_t j = first; j < last; ++j) {
          ask_for(dy + (start + j + ahead) * stride + chunk * lanes);
          get<A>(dy + (start + j) * stride + chunk * lanes, k.width, grad);
          const V here = k.k.template dt<activated.value>(k.before(v[j - from], start + j), grad);
          dt[j - from] = here;
          if (j < owned || j >= end) continue;
          sum += here;
          if (k.noise) with_noise = fused(here, all_lanes(k.noise[start + j]), with_noise);
        }
        waiting[chunk] = sum;
        waiting_noise[chunk] = with_noise;
        waited[chunk] += last - first;
        first = last;
        if (waited[chunk] < run_pixels && (row || last < to)) continue;
        sums_dt[chunk].add(sum);
        sums_dt_noise[chunk].add(with_noise);
        waiting[chunk] = waiting_noise[chunk] = V{};
        waited[chunk] = 0;
      }
    };
    if (dx.first) {
      clear_unread(slab, dx);
      write_gradient(slab, dx, gradient_of);
    } else {
      V dt[strip_numbers / lanes];
      for (int64_t row = slab.op.h - 1; row >= 0; --row)
        for (int64_t from = 0; from < slab.op.w; from += strip_numbers / lanes)
          for (int64_t chunk = 0; chunk < slab.chunks; ++chunk) {
            const int64_t to = smaller(from + strip_numbers / lanes, slab.op.w);
            gradient_of(chunk, row, from, to, from, to, dt);
          }
    }
    for (int64_t i = 0; i < slab.chunks; ++i) {
      for (int64_t c = 0; c < chunks[i].width; ++c) {
        write<A>(f.dbias, chunks[i].first + c, sums_dt[i].total(c));
        write<A>(f.dnoise_strength, chunks[i].first + c, sums_dt_noise[i].total(c));
      }
    }
  });
}

// Pixels [start, start + count) of sample n's dnoise, at most run_pixels. x and dy: of the sample.
template <class T>
void noise_gradient_read(const AdaINBackward& f, Lattice<const T> x, const T* dy, int64_t n, int64_t start,
                         int64_t count) {
  using A = Acc<T>;
  using V = Lanes<A>;
  V v[run_pixels], products[run_pixels] = {};
  for (int64_t c0 = 0; c0 < f.op.c; c0 += lane_count<A>) {
    Lattice<const T> from = x;
    from.first += c0;
    const ReadSlab<T> slab(f.op, from, n, c0, smaller(lane_count<A>, f.op.c - c0));
    ReadChunk<T> k;
    slab.start_chunk(0, k);
    slab.set_statistics(f, 0, k);
    get<A>(static_cast<const A*>(f.dshift) + k.first, k.width, k.k.mean_dz);
    get<A>(static_cast<const A*>(f.dscale) + k.first, k.width, k.k.mean_dzs);
    k.k.mean_dz /= static_cast<A>(slab.pixels);
    k.k.mean_dzs /= static_cast<A>(slab.pixels);
    slab.read(0, start, count, 1, v);
    for (int64_t p = 0; p < count; ++p) {
      V grad;
      get<A>(dy + (start + p) * f.op.c + c0, k.width, grad);
      const V dt = k.k.template dt<true>(k.before(v[p], start + p), grad);
      products[p] += first_lanes<A>(dt * k.strength, k.width);
    }
  }
  A* const dnoise = static_cast<A*>(f.dnoise) + n * f.op.h * f.op.w;
  for (int64_t p = 0; p < count; ++p) dnoise[start + p] = sum_of<A>(products[p]);
}

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
