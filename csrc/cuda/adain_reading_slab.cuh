// adain for channels_last where it reads through blur, and phases too or not: the split tier with vectors. As in
// adain_slab_split.cuh a thread holds 4 channels of a slab, but it walks down a column of pixels. It reads the three
// pixels of each row once, adds them up, and keeps the sums of the last two rows; so x comes once from memory, and the
// neighbours' pixels from the first-level cache.
//
// Only without an activation after the style, which no network with a blur has.
#pragma once

#include "adain_reading.cuh"
#include "adain_slab_split.cuh"

namespace stylegan_fast {
namespace cuda {

// Rows of which a thread has three pixels under way while it works on the rows before them: 24 registers of 16-bit
// numbers, of fp32 the same of half as many rows.
template <typename T>
constexpr int reading_slab_batch = sizeof(T) == 2 ? 4 : 2;

constexpr int reading_slab_threads = slab_threads;

// How the pixels of a slab are cut into pieces: `columns` columns side by side, each with `parts` threads below one
// another, which walk `rows` rows each. A piece is `across` pieces from the one below it.
struct ReadingSlabGrid {
  int slabs, lanes, across, splits, columns, parts, rows;
  float per_pixel;  // 1 / M
};

// Where the 4 channels of pixel (i, j) of u lie in x and dx of a sample: at row(i) + pixel(j), in 32 bits. As Reader.
class SlabReader {
 public:
  const int h, w;

  __device__ __forceinline__ explicit SlabReader(const AdaIN& op)
      : h(int(op.h)), w(int(op.w)), odd_(op.phases ? 1 : 0),
        pixel_stride_(int(op.phases ? 4 * op.c : op.c)), row_stride_((op.phases ? w / 2 + 1 : w) * pixel_stride_),
        odd_pixel_(int(op.phases ? op.c : 0)) {}

  __device__ __forceinline__ int row(int i) const {
    return (i & odd_) * 2 * odd_pixel_ + ((i + odd_) >> odd_) * row_stride_;
  }
  __device__ __forceinline__ int pixel(int j) const {
    return (j & odd_) * odd_pixel_ + ((j + odd_) >> odd_) * pixel_stride_;
  }
  __device__ __forceinline__ int64_t sample() const { return int64_t(odd_ ? h / 2 + 1 : h) * row_stride_; }
  __device__ __forceinline__ bool inside(int i) const { return i >= 0 && i < h; }

 private:
  const int odd_, pixel_stride_, row_stride_, odd_pixel_;
};

// 4 channels of a column and of its neighbours.
template <typename T>
class SlabColumn {
 public:
  using A = acc_t<T>;
  using V = Pack<T, slab_width>;

  // The three pixels of a row.
  struct Row {
    V left, centre, right;
  };

  // Where there is no neighbour the pixel itself is read, and counts as zeros: a branch around a load makes the next one
  // wait.
  __device__ __forceinline__ SlabColumn(const AdaIN& op, const SlabReader& reader, int64_t n, int c, int j)
      : reader(reader), has_left_(j > 0), has_right_(j + 1 < reader.w) {
    const T* const sample = static_cast<const T*>(op.x) + n * reader.sample() + c;
    left_ = sample + reader.pixel(has_left_ ? j - 1 : j);
    centre_ = sample + reader.pixel(j);
    right_ = sample + reader.pixel(has_right_ ? j + 1 : j);
    only_the_address(left_), only_the_address(centre_), only_the_address(right_);
  }

  const SlabReader& reader;

  // Of the row that begins at `row`, see SlabReader.
  __device__ __forceinline__ Row read(int row) const {
    return {*reinterpret_cast<const V*>(left_ + row), *reinterpret_cast<const V*>(centre_ + row),
            *reinterpret_cast<const V*>(right_ + row)};
  }

  // Of row i, zeros where there is none.
  __device__ __forceinline__ Row read_if_inside(int i) const {
    const Row row = read(reader.row(i < 0 ? 0 : i < reader.h ? i : reader.h - 1));
    const bool inside = reader.inside(i);
    return {kept_if(inside, row.left), kept_if(inside, row.centre), kept_if(inside, row.right)};
  }

  __device__ __forceinline__ void sum(const Row& row, A* sums) const {
    const V left = kept_if(has_left_, row.left), right = kept_if(has_right_, row.right);
#pragma unroll
    for (int k = 0; k < slab_width; ++k) sums[k] = blur_of(left[k], row.centre[k], right[k]);
  }

 private:
  const T *left_, *centre_, *right_;
  const bool has_left_, has_right_;
};

// v of a column's rows from `first` on, some at a time.
template <typename T, int batch = reading_slab_batch<T>>
class SlabRows {
  static_assert(batch % 2 == 0, "where the rows of a batch lie depends on whether its first is odd");

 public:
  using A = acc_t<T>;

  __device__ __forceinline__ SlabRows(const SlabColumn<T>& column, int first)
      : column_(column), next_(first + 1), at_(column.reader.row(next_)) {
    column.sum(column.read_if_inside(first - 1), above_);
    column.sum(column.read_if_inside(first), here_);
#pragma unroll
    for (int r = 0; r <= batch; ++r) from_next_[r] = column.reader.row(next_ + r) - at_;
    read();
  }

  // v of the next `batch` rows, and orders those after them where it is to go on.
  __device__ __forceinline__ void take(A (&v)[batch][slab_width], bool goes_on) {
#pragma unroll
    for (int r = 0; r < batch; ++r) {
      A below[slab_width];
      column_.sum(rows_[r], below);
#pragma unroll
      for (int k = 0; k < slab_width; ++k) {
        v[r][k] = blurred(above_[k], here_[k], below[k]);
        above_[k] = here_[k];
        here_[k] = below[k];
      }
    }
    next_ += batch;
    at_ += from_next_[batch];
    if (goes_on) read();
  }

 private:
  const SlabColumn<T>& column_;
  int next_, at_;              // row next_ begins there,
  int from_next_[batch + 1];   // and those after it so much further on
  A above_[slab_width], here_[slab_width];
  typename SlabColumn<T>::Row rows_[batch];

  __device__ __forceinline__ void read() {
    if (next_ >= 0 && next_ + batch <= column_.reader.h) {
#pragma unroll
      for (int r = 0; r < batch; ++r) rows_[r] = column_.read(at_ + from_next_[r]);
    } else {
#pragma unroll
      for (int r = 0; r < batch; ++r) rows_[r] = column_.read_if_inside(next_ + r);
    }
  }
};

// What a thread knows of its channels c .. c + 4 of sample n.
template <typename A>
struct ReadChannels {
  Channel<A> channel[slab_width];
  A pivot[slab_width];
  const A* noise;

  template <typename T>
  __device__ __forceinline__ static ReadChannels of(const AdaIN& op, const SlabReader& reader, int64_t n, int c) {
    ReadChannels channels;
    channels.noise = noise_of<A>(op, n);
    A strength[slab_width], bias[slab_width], here[slab_width], below[slab_width];
    load_parameters(op.noise ? static_cast<const A*>(op.noise_strength) + c : nullptr, 1, A(0), strength);
    load_parameters(op.bias ? static_cast<const A*>(op.bias) + c : nullptr, 1, A(0), bias);
    const SlabColumn<T> column(op, reader, n, c, 0);
    column.sum(column.read_if_inside(0), here);
    column.sum(column.read_if_inside(1), below);
    const A first_noise = channels.noise ? channels.noise[0] : A(0);
#pragma unroll
    for (int k = 0; k < slab_width; ++k) {
      channels.channel[k] = Channel<A>(op, strength[k], bias[k]);
      const A v = blurred(A(0), here[k], below[k]);
      channels.pivot[k] = channels.channel[k].activation(channels.channel[k].t(v, first_noise));
    }
    return channels;
  }

  __device__ __forceinline__ A from_pivot(A v, A noise_value, int k) const {
    return channel[k].activation(channel[k].t(v, noise_value)) - pivot[k];
  }
};

// A thread of a piece: column j, rows [top, bottom); none of either where there is nothing for it to do.
template <bool reverse>
class ReadingPiece : public SlabWalk<reverse> {
  using Walk = SlabWalk<reverse>;

 public:
  __device__ __forceinline__ ReadingPiece(const AdaIN& op, const ReadingSlabGrid& grid)
      : Walk(op, grid.slabs, grid.splits, grid.lanes), grid_(grid) {}

  __device__ __forceinline__ int j() const { return across() * grid_.columns + Walk::worker() % grid_.columns; }
  __device__ __forceinline__ int top() const { return (down() * grid_.parts + part()) * grid_.rows; }
  __device__ __forceinline__ int bottom() const {
    const int end = top() + grid_.rows, h = int(Walk::op_.h);
    return end < h ? end : h;
  }
  __device__ __forceinline__ bool works() const {
    return Walk::live() && part() < grid_.parts && j() < int(Walk::op_.w) && top() < int(Walk::op_.h);
  }

 private:
  const ReadingSlabGrid& grid_;

  __device__ __forceinline__ int part() const { return Walk::worker() / grid_.columns; }
  __device__ __forceinline__ int across() const { return Walk::split() % grid_.across; }
  __device__ __forceinline__ int down() const { return Walk::split() / grid_.across; }
};

// f(first row, how many from there on, v of a batch of them, the noise there) for a thread that works.
template <typename T, bool reverse, typename F>
__device__ __forceinline__ void for_rows(const AdaIN& op, const SlabReader& reader, const ReadingPiece<reverse>& piece,
                                         const acc_t<T>* noise, F f) {
  using A = acc_t<T>;
  constexpr int batch = reading_slab_batch<T>;
  const int j = piece.j(), bottom = piece.bottom();
  const SlabColumn<T> column(op, reader, piece.n(), piece.c(), j);
  SlabRows<T> rows(column, piece.top());
  const A* noise_here = noise ? noise + piece.top() * reader.w + j : nullptr;
  only_the_address(noise_here);
  for (int i = piece.top(); i < bottom; i += batch) {
    const int count = bottom - i;
    A noises[batch], v[batch][slab_width];
    numbers_or_zeros<batch>(noise_here, noises, [&](int r) { return (r < count ? r : count - 1) * reader.w; });
    if (noise_here) noise_here += batch * reader.w;
    rows.take(v, count > batch);
    f(i, count, v, noises);
  }
}

// partials: [splits, N*C] Moments, or null where a plane is one piece.
template <typename T>
__global__ void __launch_bounds__(reading_slab_threads, 2)
    adain_reading_slab_stats(AdaINForward p, ReadingSlabGrid grid, void* partials) {
  using A = acc_t<T>;
  constexpr int batch = reading_slab_batch<T>;
  const SlabReader reader(p.op);
  for (ReadingPiece<false> piece(p.op, grid); piece.inside(); piece.next()) {
    ChannelMoments<A> moments{};
    if (piece.works()) {
      const auto channels = ReadChannels<A>::template of<T>(p.op, reader, piece.n(), piece.c());
      for_rows<T>(p.op, reader, piece, channels.noise,
                  [&](int, int count, A (&v)[batch][slab_width], const A (&noise)[batch]) {
#pragma unroll
                    for (int r = 0; r < batch; ++r) {
#pragma unroll
                      for (int k = 0; k < slab_width; ++k) v[r][k] = channels.from_pivot(v[r][k], noise[r], k);
                    }
                    merge_batch(moments, v, count);
                  });
    }
    const Moments<A> column = slab_reduce<T>(moments, grid.lanes);
    if (!piece.writes()) continue;
    if (partials) static_cast<Moments<A>*>(partials)[piece.partial()] = column;
    else write_moments<A>(p, piece.partial(), column);
  }
}

template <typename T>
__global__ void __launch_bounds__(reading_slab_threads, 2)
    adain_reading_slab_apply(AdaINForward p, ReadingSlabGrid grid) {
  using A = acc_t<T>;
  using V = Pack<T, slab_width>;
  constexpr int batch = reading_slab_batch<T>;
  const SlabReader reader(p.op);
  for (ReadingPiece<true> piece(p.op, grid); piece.inside(); piece.next()) {
    if (!piece.works()) continue;
    const int n = piece.n(), c = piece.c(), stride = int(p.op.c);
    const auto channels = ReadChannels<A>::template of<T>(p.op, reader, n, c);
    const Styles<A> styles(p.op, p.mean, p.rstd, n, c);
    T* const y = static_cast<T*>(p.y) + (int64_t(n) * reader.h * reader.w + piece.j()) * stride + c;
    for_rows<T>(p.op, reader, piece, channels.noise,
                [&](int i, int count, A (&v)[batch][slab_width], const A (&noise)[batch]) {
#pragma unroll
                  for (int r = 0; r < batch; ++r) {
#pragma unroll
                    for (int k = 0; k < slab_width; ++k) {
                      const Style<A>& style = styles.style[k];
                      v[r][k] = style.z(style.normalised(channels.from_pivot(v[r][k], noise[r], k)));
                    }
                    if (r < count) *reinterpret_cast<V*>(y + (i + r) * reader.w * stride) = V::of(v[r]);
                  }
                });
  }
}

}  // namespace cuda
}  // namespace stylegan_fast
