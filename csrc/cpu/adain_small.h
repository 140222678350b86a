// adain on the CPU, [N][C][H][W] with few pixels: as many planes as there are lanes are transposed, and then treated
// like neighbouring channels. A plane alone would fill no register, and its constants would cost more than its pixels.
#pragma once

#include "adain_channels_last.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

constexpr int64_t small_plane = 64;

template <class T>
inline void planes_to_lanes(const T* x, int64_t planes, int64_t pixels, T* lanes) {
  for (int64_t c = 0; c < planes; ++c)
    for (int64_t p = 0; p < pixels; ++p) lanes[p * lane_count<Acc<T>> + c] = x[c * pixels + p];
}

template <class T>
inline void lanes_to_planes(const T* lanes, int64_t planes, int64_t pixels, T* x) {
  for (int64_t c = 0; c < planes; ++c)
    for (int64_t p = 0; p < pixels; ++p) x[c * pixels + p] = lanes[p * lane_count<Acc<T>> + c];
}

template <class T>
void forward_small(const AdaINForward& f, int64_t n, int64_t c0, int64_t width) {
  constexpr int64_t stride = lane_count<Acc<T>>;
  const int64_t pixels = f.op.h * f.op.w, first = (n * f.op.c + c0) * pixels;
  T x[small_plane * stride] = {}, y[small_plane * stride];  // zeros in lanes without a plane
  planes_to_lanes(static_cast<const T*>(f.op.x) + first, width, pixels, x);
  forward_slab<T>(f, n, c0, width, x, y, stride);
  lanes_to_planes(y, width, pixels, static_cast<T*>(f.y) + first);
}

template <class T>
void backward_small(const AdaINBackward& f, int64_t n, int64_t c0, int64_t width) {
  constexpr int64_t stride = lane_count<Acc<T>>;
  const int64_t pixels = f.op.h * f.op.w, first = (n * f.op.c + c0) * pixels;
  T x[small_plane * stride] = {}, dy[small_plane * stride] = {}, dx[small_plane * stride];
  planes_to_lanes(static_cast<const T*>(f.op.x) + first, width, pixels, x);
  planes_to_lanes(static_cast<const T*>(f.dy) + first, width, pixels, dy);
  backward_slab<T>(f, n, c0, width, x, dy, f.dx ? dx : nullptr, stride);
  if (f.dx) lanes_to_planes(dx, width, pixels, static_cast<T*>(f.dx) + first);
}

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
