// adain on the CPU, [N][C][H][W] with few pixels: as many planes as there are lanes are transposed, and then treated
// like neighbouring channels. A plane alone would fill no register, and its constants would cost more than its pixels.
#pragma once

#include "adain_channels_last.h"
#include "lane_shuffles.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

static_assert(few_pixels % lane_count<float> == 0 && few_pixels % lane_count<double> == 0, "whole squares");

// lanes[p] is pixel p of all planes; zero in the lanes without one.
template <class T>
INLINED void planes_to_lanes(const T* x, int64_t planes, int64_t pixels, Acc<T>* lanes) {
  using A = Acc<T>;
  constexpr int64_t size = lane_count<A>;
  int64_t p = 0;
  do {
    const int64_t width = smaller(size, pixels - p);
    Lanes<A> square[size];
    for (int64_t c = 0; c < size; ++c) get<A>(x + c * pixels + p, c < planes ? width : 0, square[c]);
    transpose<A>(square);
    __builtin_memcpy(lanes + p * size, square, sizeof square);
  } while ((p += size) < pixels);
}

template <class T>
INLINED void lanes_to_planes(const Acc<T>* lanes, int64_t planes, int64_t pixels, T* x) {
  using A = Acc<T>;
  constexpr int64_t size = lane_count<A>;
  for (int64_t p = 0; p < pixels; p += size) {
    const int64_t width = smaller(size, pixels - p);
    Lanes<A> square[size];
    __builtin_memcpy(square, lanes + p * size, sizeof square);
    transpose<A>(square);
    for (int64_t c = 0; c < smaller(planes, size); ++c) put<A>(square[c], width, x + c * pixels + p);
  }
}

// The planes that come next: they are met a register of each at a time, which the processor does not foresee.
template <bool to_write = false, class T>
inline void ask_for_next(const T* planes, int64_t count) {
  constexpr int64_t line = 64 / static_cast<int64_t>(sizeof(T));
  for (int64_t i = count; i < 2 * count; i += line) to_write ? ask_to_write(planes + i) : ask_for(planes + i);
}

template <class T>
void forward_small(const AdaINForward& f, int64_t n, int64_t first_c, int64_t count) {
  using A = Acc<T>;
  constexpr int64_t stride = lane_count<A>;
  over_chunks<A>(f.op, first_c, count, [&](int64_t c0, int64_t width, auto whole) INLINED_BODY {
    const int64_t pixels = pixels_of<whole.value>(f.op), first = (n * f.op.c + c0) * pixels;
    const T* const from = static_cast<const T*>(f.op.x) + first;
    T* const to = static_cast<T*>(f.y) + first;
    A x[few_pixels * stride], y[few_pixels * stride];
    ask_for_next(from, width * pixels);
    ask_for_next<true>(to, width * pixels);
    planes_to_lanes(from, width, pixels, x);
    forward_few<A, whole.value>(f, n, c0, width, x, y, stride);
    lanes_to_planes(y, width, pixels, to);
  });
}

template <class T>
void backward_small(const AdaINBackward& f, int64_t n, int64_t first_c, int64_t count) {
  using A = Acc<T>;
  constexpr int64_t stride = lane_count<A>;
  over_chunks<A>(f.op, first_c, count, [&](int64_t c0, int64_t width, auto whole) INLINED_BODY {
    const int64_t pixels = pixels_of<whole.value>(f.op), first = (n * f.op.c + c0) * pixels;
    const T* const from = static_cast<const T*>(f.op.x) + first;
    const T* const dy_from = static_cast<const T*>(f.dy) + first;
    T* const to = f.dx ? static_cast<T*>(f.dx) + first : nullptr;
    A x[few_pixels * stride], dy[few_pixels * stride], dx[few_pixels * stride];
    ask_for_next(from, width * pixels);
    ask_for_next(dy_from, width * pixels);
    if (to) ask_for_next<true>(to, width * pixels);
    planes_to_lanes(from, width, pixels, x);
    planes_to_lanes(dy_from, width, pixels, dy);
    backward_few<A, whole.value>(f, n, c0, width, x, dy, to ? dx : nullptr, stride);
    if (to) lanes_to_planes(dx, width, pixels, to);
  });
}

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
