// adain on the CPU that reads its input through phases and blur, [N][C][H][W] with few pixels: as in adain_small.h, as
// many planes as there are lanes are transposed, and then treated like neighbouring channels.
#pragma once

#include "adain_reading_slabs_backward.h"
#include "adain_small.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

// Rows of planes this small are too short to be blurred one plane at a time. Measured with AVX-512, fp32, one thread:
// 16x16 backward, which transposes three images, 1.5 times as slow as plane by plane.
constexpr int64_t small_read_plane = 256, small_read_plane_backward = 64;

// A small plane in lanes: the pixels of x or, one after the other, of its phases, each in whole squares.
template <class A>
struct SmallInput {
  static constexpr int64_t lanes = lane_count<A>;
  // Phases have the most pixels where the plane is two rows: each then has two rows of w / 2 + 1.
  static constexpr int64_t most = (2 * (small_read_plane + 4) + 4 * lanes) * lanes;
  int64_t groups, pixels, padded, row;
  bool phases;

  explicit SmallInput(const AdaIN& op)
      : groups(op.phases ? 4 : 1),
        pixels(op.phases ? (op.h / 2 + 1) * (op.w / 2 + 1) : op.h * op.w),
        padded((pixels + lanes - 1) / lanes * lanes),
        row(op.phases ? op.w / 2 + 1 : op.w),
        phases(op.phases) {}

  template <class Pixel>
  Lattice<Pixel> lattice(Pixel* first) const {
    return {first, lanes, row * lanes, padded * lanes, phases};
  }
  // Calls body(offset in x, offset in lanes) for each phase of the planes from c0 on.
  template <class Body>
  void over_groups(const AdaIN& op, int64_t n, int64_t c0, Body body) const {
    for (int64_t i = 0; i < groups; ++i) body(((n * groups + i) * op.c + c0) * pixels, i * padded * lanes);
  }
};

template <class A>
constexpr int64_t small_output = (small_read_plane + lane_count<A>) * lane_count<A>;

template <class T>
void forward_read_small(const AdaINForward& f, int64_t n, int64_t c0, int64_t width) {
  using A = Acc<T>;
  const SmallInput<A> input(f.op);
  const int64_t pixels = f.op.h * f.op.w;
  alignas(64) A x[SmallInput<A>::most], y[small_output<A>];
  input.over_groups(f.op, n, c0, [&](int64_t from, int64_t to) {
    planes_to_lanes(static_cast<const T*>(f.op.x) + from, width, input.pixels, x + to);
  });
  forward_read_slab<A>(f, ReadSlab<A>(f.op, input.lattice(static_cast<const A*>(x)), n, c0, width), y, input.lanes);
  lanes_to_planes(y, width, pixels, static_cast<T*>(f.y) + (n * f.op.c + c0) * pixels);
}

template <class T>
void backward_read_small(const AdaINBackward& f, int64_t n, int64_t c0, int64_t width) {
  using A = Acc<T>;
  const SmallInput<A> input(f.op);
  const int64_t pixels = f.op.h * f.op.w;
  alignas(64) A x[SmallInput<A>::most], dx[SmallInput<A>::most], dy[small_output<A>];
  input.over_groups(f.op, n, c0, [&](int64_t from, int64_t to) {
    planes_to_lanes(static_cast<const T*>(f.op.x) + from, width, input.pixels, x + to);
  });
  planes_to_lanes(static_cast<const T*>(f.dy) + (n * f.op.c + c0) * pixels, width, pixels, dy);
  backward_read_slab<A>(f, ReadSlab<A>(f.op, input.lattice(static_cast<const A*>(x)), n, c0, width), dy, input.lanes,
                        input.lattice(f.dx ? dx : nullptr));
  if (!f.dx) return;
  input.over_groups(f.op, n, c0, [&](int64_t to, int64_t from) {
    lanes_to_planes(dx + from, width, input.pixels, static_cast<T*>(f.dx) + to);
  });
}

}  // namespace
}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
