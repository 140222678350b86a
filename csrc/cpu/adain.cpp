// adain on the CPU: which pieces of work there are, and which thread count they are worth.
#include "adain_contiguous.h"
#include "adain_large.h"
#include "adain_reading_planes.h"
#include "adain_reading_small.h"
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

bool is_small(const AdaIN& op) { return op.layout == Layout::contiguous && op.h * op.w <= few_pixels; }

// Calls body(first, planes) for every group of planes that are done together.
template <class A, class Body>
void over_planes(const AdaIN& op, int threads, Body body) {
  const int64_t planes = op.n * op.c, together = planes_together<A>(op.h * op.w);
  parallel((planes + together - 1) / together, planes * op.h * op.w, threads, [&](int64_t i) {
    body(i * together, smaller(together, planes - i * together));
  });
}

// Calls body(index, share) for every plane that does not stay in the cache; `share` threads are to work on it. Threads
// share planes only where there are fewer of them: they wait for one another twice a plane, and while other processes
// kept the machine busy, 64 planes of 1024x1024 took 5 times as long.
template <class Body>
void over_large_planes(const AdaIN& op, int threads, Body body) {
  const int64_t planes = op.n * op.c, size = op.h * op.w;
  if (planes >= threads)
    return parallel(planes, planes * size, threads, [&](int64_t i) { body(i, 1); });
  for (int64_t i = 0; i < planes; ++i) body(i, threads);
}

template <class T>
bool is_large(const AdaIN& op) {
  return op.h * op.w > kept_size<Acc<T>>;
}

// Calls body(with_noise, activated): whether there is noise, and whether the output has an activation.
template <class Body>
void with_options(const AdaIN& op, Body body) {
  const bool activated = op.output_negative_slope != 1;
  if (op.noise && activated) return body(Constant<true>(), Constant<true>());
  if (op.noise) return body(Constant<true>(), Constant<false>());
  if (activated) return body(Constant<false>(), Constant<true>());
  return body(Constant<false>(), Constant<false>());
}

bool is_small_to_read(const AdaIN& op, int64_t most) {
  return op.layout == Layout::contiguous && op.h * op.w <= most;
}

template <class Pixel>
Lattice<Pixel> lattice_of(const AdaIN& op, Pixel* x, int64_t n) {
  const int64_t pixel = op.phases ? 4 * op.c : op.c, row = (op.phases ? op.w / 2 + 1 : op.w) * pixel;
  return {x ? x + n * (op.phases ? op.h / 2 + 1 : op.h) * row : nullptr, pixel, row, op.c, op.phases};
}

// Through phases or blur.
template <class T>
void forward_read(const AdaINForward& f, int threads) {
  const AdaIN& op = f.op;
  if (is_small_to_read(op, small_read_plane)) {
    over_slabs(op, lane_count<Acc<T>>, threads,
               [&](int64_t n, int64_t c0, int64_t width) { forward_read_small<T>(f, n, c0, width); });
  } else if (op.layout == Layout::contiguous) {
    with_options(op, [&](auto with_noise, auto activated) {
      parallel(op.n * op.c, op.n * op.c * op.h * op.w, threads,
               [&](int64_t i) { forward_read_plane<T, with_noise.value, activated.value>(f, i); });
    });
  } else {
    over_slabs(op, slab_width(op, threads), threads, [&](int64_t n, int64_t c0, int64_t width) {
      Lattice<const T> x = lattice_of(op, static_cast<const T*>(op.x), n);
      x.first += c0;
      forward_read_slab<T>(f, ReadSlab<T>(op, x, n, c0, width),
                           static_cast<T*>(f.y) + n * op.h * op.w * op.c + c0, op.c);
    });
  }
}

template <class T>
void backward_read(const AdaINBackward& f, int threads) {
  const AdaIN& op = f.op;
  const int64_t size = op.h * op.w, elements = op.n * op.c * size;
  if (is_small_to_read(op, small_read_plane_backward)) {
    over_slabs(op, lane_count<Acc<T>>, threads,
               [&](int64_t n, int64_t c0, int64_t width) { backward_read_small<T>(f, n, c0, width); });
  } else if (op.layout == Layout::contiguous) {
    with_options(op, [&](auto with_noise, auto activated) {
      parallel(op.n * op.c, elements, threads,
               [&](int64_t i) { backward_read_plane<T, with_noise.value, activated.value>(f, i); });
    });
  } else {
    over_slabs(op, slab_width(op, threads), threads, [&](int64_t n, int64_t c0, int64_t width) {
      Lattice<const T> x = lattice_of(op, static_cast<const T*>(op.x), n);
      Lattice<T> dx = lattice_of(op, static_cast<T*>(f.dx), n);
      x.first += c0;
      if (dx.first) dx.first += c0;
      backward_read_slab<T>(f, ReadSlab<T>(op, x, n, c0, width),
                            static_cast<const T*>(f.dy) + n * size * op.c + c0, op.c, dx);
    });
  }
  if (!f.dnoise) return;
  if (op.layout == Layout::contiguous) {
    const Parts parts(op.h, op.w, block_size<Acc<T>>);
    parallel(op.n * parts.count, elements, threads, [&](int64_t i) {
      noise_gradient_read<T>(f, i / parts.count, parts[i % parts.count]);
    });
  } else {
    const int64_t runs = (size + run_pixels - 1) / run_pixels;
    parallel(op.n * runs, elements, threads, [&](int64_t i) {
      const int64_t n = i / runs, start = i % runs * run_pixels;
      noise_gradient_read<T>(f, lattice_of(op, static_cast<const T*>(op.x), n),
                             static_cast<const T*>(f.dy) + n * size * op.c, n, start,
                             smaller(run_pixels, size - start));
    });
  }
}

template <class T>
void forward(const AdaINForward& f, int threads) {
  const AdaIN& op = f.op;
  if (op.phases || op.blur) {
    forward_read<T>(f, threads);
  } else if (is_small(op)) {
    over_slabs(op, lane_count<Acc<T>>, threads,
               [&](int64_t n, int64_t c0, int64_t width) { forward_small<T>(f, n, c0, width); });
  } else if (op.layout == Layout::contiguous) {
    with_options(op, [&](auto with_noise, auto activated) {
      if (is_large<T>(op)) {
        over_large_planes(op, threads, [&](int64_t index, int share) {
          forward_large<T, with_noise.value, activated.value>(f, index, share);
        });
      } else {
        over_planes<Acc<T>>(op, threads, [&](int64_t first, int64_t planes) {
          forward_planes<T, with_noise.value, activated.value>(f, first, planes);
        });
      }
    });
  } else {
    over_slabs(op, slab_width(op, threads), threads, [&](int64_t n, int64_t c0, int64_t width) {
      const int64_t offset = n * op.h * op.w * op.c + c0;
      forward_slab<T>(f, n, c0, width, static_cast<const T*>(op.x) + offset, static_cast<T*>(f.y) + offset, op.c);
    });
  }
}

template <class T>
void noise_gradient(const AdaINBackward& f, int threads) {
  constexpr int64_t at_once = block_size<Acc<T>>;
  const AdaIN& op = f.op;
  const int64_t size = op.h * op.w, blocks = (size + at_once - 1) / at_once;
  parallel(op.n * blocks, op.n * op.c * size, threads, [&](int64_t i) {
    const int64_t n = i / blocks, start = i % blocks * at_once, count = smaller(at_once, size - start);
    if (op.layout == Layout::channels_last)
      noise_gradient_pixels<T>(f, n, start, count);
    else if (op.output_negative_slope != 1)
      noise_gradient_block<T, true>(f, n, start, count);
    else
      noise_gradient_block<T, false>(f, n, start, count);
  });
}

template <class T>
void backward(const AdaINBackward& f, int threads) {
  const AdaIN& op = f.op;
  if (op.phases || op.blur) return backward_read<T>(f, threads);
  if (is_small(op)) {
    over_slabs(op, lane_count<Acc<T>>, threads,
               [&](int64_t n, int64_t c0, int64_t width) { backward_small<T>(f, n, c0, width); });
  } else if (op.layout == Layout::contiguous) {
    with_options(op, [&](auto with_noise, auto activated) {
      if (is_large<T>(op)) {
        over_large_planes(op, threads, [&](int64_t index, int share) {
          backward_large<T, with_noise.value, activated.value>(f, index, share);
        });
      } else {
        over_planes<Acc<T>>(op, threads, [&](int64_t first, int64_t planes) {
          backward_planes<T, with_noise.value, activated.value>(f, first, planes);
        });
      }
    });
  } else {
    over_slabs(op, slab_width(op, threads), threads, [&](int64_t n, int64_t c0, int64_t width) {
      const int64_t offset = n * op.h * op.w * op.c + c0;
      backward_slab<T>(f, n, c0, width, static_cast<const T*>(op.x) + offset, static_cast<const T*>(f.dy) + offset,
                       f.dx ? static_cast<T*>(f.dx) + offset : nullptr, op.c);
    });
  }
  if (f.dnoise) noise_gradient<T>(f, threads);
}

// to[c] = the sum over n of planes[n, c], in this order.
template <class A>
void add_up_samples(const A* planes, int64_t n, int64_t c, A* to) {
  constexpr int64_t together = 64;
  for (int64_t first = 0; first < c; first += together) {
    double sums[together] = {};
    const int64_t width = smaller(together, c - first);
    for (int64_t sample = 0; sample < n; ++sample)
      for (int64_t i = 0; i < width; ++i) sums[i] += static_cast<double>(planes[sample * c + first + i]);
    for (int64_t i = 0; i < width; ++i) to[first + i] = static_cast<A>(sums[i]);
  }
}

// The kernels write dbias and dnoise_strength plane by plane; of one sample, these are the sums.
template <class T>
void backward_and_sums(const AdaINBackward& f, int threads) {
  using A = Acc<T>;
  if (f.op.n == 1) return backward<T>(f, threads);
  A* const rooms[2] = {static_cast<A*>(f.plane_sums), static_cast<A*>(f.plane_sums) + f.op.n * f.op.c};
  AdaINBackward planes = f;
  if (f.dbias) planes.dbias = rooms[0];
  if (f.dnoise_strength) planes.dnoise_strength = rooms[1];
  backward<T>(planes, threads);
  if (f.dbias) add_up_samples(rooms[0], f.op.n, f.op.c, static_cast<A*>(f.dbias));
  if (f.dnoise_strength) add_up_samples(rooms[1], f.op.n, f.op.c, static_cast<A*>(f.dnoise_strength));
}

}  // namespace

Status adain_forward(const AdaINForward& f, int threads) {
  return with_dtype(f.op.dtype, [&](auto t) { return forward<decltype(t)>(f, threads), Status::ok; });
}

Status adain_backward(const AdaINBackward& f, int threads) {
  return with_dtype(f.op.dtype, [&](auto t) { return backward_and_sums<decltype(t)>(f, threads), Status::ok; });
}

}  // namespace stylegan_fast::cpu::STYLEGAN_FAST_ISA
