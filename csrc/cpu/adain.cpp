// adain on the CPU: which pieces of work there are, and which thread count they are worth.
#include "adain_contiguous.h"
#include "adain_small.h"

namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA {
namespace {

// Calls body(n, c0, width) for every slab of at most `width` channels of a sample.
template <class Body>
void over_slabs(const AdaIN& op, int64_t width, int threads, Body body) {
  const int64_t slabs = (op.c + width - 1) / width;
  parallel(op.n * slabs, op.n * op.c * op.h * op.w, threads, [&](int64_t i) {
    const int64_t c0 = i % slabs * width;
    body(i / slabs, c0, smaller(width, op.c - c0));
  });
}

// Narrower slabs give every thread some work; 16 channels are a cache line.
int64_t slab_width(const AdaIN& op, int threads) {
  int64_t width = widest_slab;
  while (width > 16 && op.n * ((op.c + width - 1) / width) < 2 * threads) width /= 2;
  return width;
}

bool is_small(const AdaIN& op) { return op.layout == Layout::contiguous && op.h * op.w <= small_plane; }

template <class T>
void forward(const AdaINForward& f, int threads) {
  const AdaIN& op = f.op;
  if (is_small(op)) {
    over_slabs(op, lane_count<Acc<T>>, threads,
               [&](int64_t n, int64_t c0, int64_t width) { forward_small<T>(f, n, c0, width); });
  } else if (op.layout == Layout::contiguous) {
    parallel(op.n * op.c, op.n * op.c * op.h * op.w, threads, [&](int64_t i) { forward_plane<T>(f, i); });
  } else {
    over_slabs(op, slab_width(op, threads), threads, [&](int64_t n, int64_t c0, int64_t width) {
      const int64_t offset = n * op.h * op.w * op.c + c0;
      forward_slab<T>(f, n, c0, width, static_cast<const T*>(op.x) + offset, static_cast<T*>(f.y) + offset, op.c);
    });
  }
}

template <class T>
void backward(const AdaINBackward& f, int threads) {
  const AdaIN& op = f.op;
  if (is_small(op)) {
    over_slabs(op, lane_count<Acc<T>>, threads,
               [&](int64_t n, int64_t c0, int64_t width) { backward_small<T>(f, n, c0, width); });
  } else if (op.layout == Layout::contiguous) {
    parallel(op.n * op.c, op.n * op.c * op.h * op.w, threads, [&](int64_t i) { backward_plane<T>(f, i); });
  } else {
    over_slabs(op, slab_width(op, threads), threads, [&](int64_t n, int64_t c0, int64_t width) {
      const int64_t offset = n * op.h * op.w * op.c + c0;
      backward_slab<T>(f, n, c0, width, static_cast<const T*>(op.x) + offset, static_cast<const T*>(f.dy) + offset,
                       f.dx ? static_cast<T*>(f.dx) + offset : nullptr, op.c);
    });
  }
  if (!f.dnoise) return;
  const int64_t size = op.h * op.w, blocks = (size + block_size - 1) / block_size;
  parallel(op.n * blocks, op.n * op.c * size, threads, [&](int64_t i) {
    const int64_t n = i / blocks, start = i % blocks * block_size, count = smaller(block_size, size - start);
    if (op.layout == Layout::contiguous)
      noise_gradient_block<T>(f, n, start, count);
    else
      noise_gradient_pixels<T>(f, n, start, count);
  });
}

}  // namespace

Status adain_forward(const AdaINForward& f, int threads) {
  return with_dtype(f.op.dtype, [&](auto t) { return forward<decltype(t)>(f, threads), Status::ok; });
}

Status adain_backward(const AdaINBackward& f, int threads) {
  return with_dtype(f.op.dtype, [&](auto t) { return backward<decltype(t)>(f, threads), Status::ok; });
}

}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
