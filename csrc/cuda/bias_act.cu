// bias_act: entry points, and which kernel runs.
#include "bias_act.cuh"

#include <algorithm>

#include "../check.h"
#include "bias_act_vectors.cuh"

namespace stylegan_fast {
namespace cuda {
namespace {

constexpr int64_t vector_limit = int64_t(1) << 31;  // vectors are counted in 31 bits

// How the biases lie, of tensors that the vectors tier takes.
enum class Tier { general, plane, row };

Tier tier_of(const BiasAct& op, std::initializer_list<const void*> pointers) {
  const bool piecewise = op.act == Activation::linear || op.act == Activation::relu || op.act == Activation::lrelu;
  // Where the gain is not above 0, the sign of y is not that of x + b.
  if (!piecewise || !(op.gain > 0) || op.dtype == DType::f64 || !aligned16(pointers)) return Tier::general;
  const int64_t width = op.dtype == DType::f32 ? 4 : 8;
  const bool whole = op.size % width == 0 && op.size % (op.bias_step * op.bias_size) == 0;
  if (!whole || op.size / width >= vector_limit) return Tier::general;
  if (op.bias_step % width == 0 || op.bias_size == 1) return Tier::plane;
  // Every thread of a block has biases of its own.
  const bool row = op.bias_step == 1 && op.bias_size % width == 0 && op.bias_size / width <= bias_act_threads;
  return row && aligned16({op.b}) ? Tier::row : Tier::general;
}

// The threads that fill the largest devices several times (1024 blocks): only beyond do they take vectors by the 4.
constexpr int64_t enough_threads = int64_t(1) << 18;

template <typename T>
VectorGrid vector_grid(const BiasAct& op, Tier tier) {
  const int64_t vectors = op.size / Vec<T>::size, each = vectors / enough_threads;
  const int64_t row = op.bias_size / Vec<T>::size;
  VectorGrid grid;
  grid.vectors = unsigned(vectors);
  grid.each = unsigned(each < 1 ? 1 : each > vectors_at_once ? vectors_at_once : each);
  grid.threads = unsigned(tier == Tier::row ? bias_act_threads / row * row : bias_act_threads);
  grid.period = Divisor(unsigned(tier == Tier::row ? row : ceil_div(op.bias_step, Vec<T>::size)));
  grid.biases = Divisor(unsigned(op.bias_size));
  return grid;
}

LaunchShape shape_of(const VectorGrid& grid) {
  return shape_for(bias_act_threads, ceil_div(grid.vectors, int64_t(grid.each) * grid.threads));
}

// A block of rows goes on to further vectors before it writes its row of sums: the largest devices hold some 512
// blocks, and a row of sums for 16 pixels is little beside what was read of them.
constexpr int64_t blocks_of_sums = 512, pixels_of_sums = 16;

LaunchShape shape_with_sums(const BiasAct& op, const VectorGrid& grid) {
  const int64_t work = shape_of(grid).blocks.x, most = ceil_div(op.size / op.bias_size, pixels_of_sums);
  return shape_for(bias_act_threads, std::min({work, most, blocks_of_sums}));
}

// A plane that a block would go over less than twice is the work of a warp, or of as many lanes as it has vectors.
// Longer ones are cut into slices of 8 vectors a thread.
constexpr int64_t block_plane = 2 * bias_act_threads, longest_slice = 8 * bias_act_threads;

template <typename T>
TeamGrid team_grid(const BiasAct& op) {
  const int64_t period = op.bias_step / Vec<T>::size, splits = ceil_div(period, longest_slice);
  TeamGrid grid;
  grid.teams = unsigned(op.size / op.bias_step * splits);
  grid.period = unsigned(period);
  grid.slice = unsigned(ceil_div(period, splits));
  grid.lanes = 1;
  while (grid.lanes < warp_size && 2 * grid.lanes <= period) grid.lanes *= 2;
  if (period >= block_plane) grid.lanes = bias_act_threads;
  grid.splits = Divisor(unsigned(splits));
  grid.biases = Divisor(unsigned(op.bias_size));
  return grid;
}

// Calls f with the activation, which is piecewise linear, as a type.
template <typename F>
Status with_piecewise(Activation act, F f) {
  if (act == Activation::linear) return f(std::integral_constant<Activation, Activation::linear>{});
  if (act == Activation::relu) return f(std::integral_constant<Activation, Activation::relu>{});
  return f(std::integral_constant<Activation, Activation::lrelu>{});
}

template <typename T>
LaunchShape general_shape(const BiasAct& op) {
  return shape_for(bias_act_threads, ceil_div(op.size, int64_t(Vec<T>::size) * bias_act_threads));
}

template <typename T>
Status forward_of_vectors(const char* entry, const BiasActForward& p, Tier tier, void* stream) {
  const VectorGrid grid = vector_grid<T>(p.op, tier);
  return with_piecewise(p.op.act, [&](auto act) {
    const bool row = tier == Tier::row;
    const auto kernel = row ? bias_act_vectors<T, act, Biases::row> : bias_act_vectors<T, act, Biases::plane>;
    return launch(entry, kernel, shape_of(grid), stream, p, grid);
  });
}

template <typename T, Activation act>
Status backward_of_vectors(const char* entry, const BiasActBackward& p, Tier tier, void* stream) {
  const VectorGrid grid = vector_grid<T>(p.op, tier);
  if (!p.db_partials) return launch(entry, bias_act_slopes<T, act>, shape_of(grid), stream, p, grid);
  if (tier == Tier::row)
    return launch(entry, bias_act_slopes_of_rows<T, act>, shape_with_sums(p.op, grid), stream, p, grid);
  const TeamGrid teams = team_grid<T>(p.op);
  const bool block = teams.lanes == bias_act_threads;
  const auto kernel = block ? bias_act_slopes_of_planes<T, act, true> : bias_act_slopes_of_planes<T, act, false>;
  const LaunchShape shape = shape_for(bias_act_threads, ceil_div(teams.teams * int64_t(teams.lanes), bias_act_threads));
  return launch(entry, kernel, shape, stream, p, teams);
}

}  // namespace

Status bias_act_forward(const BiasActForward& given, void* stream) {
  const char* entry = "bias_act_forward";
  const Status checked = check(given);
  if (checked != Status::ok || given.op.size == 0) return checked;
  BiasActForward p = given;
  if (!p.op.b) p.op.bias_step = p.op.bias_size = 1;
  const Tier tier = tier_of(p.op, {p.x, p.y});
  return with_dtype(entry, p.op.dtype, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (!std::is_same_v<T, double>) {
      if (tier != Tier::general) return forward_of_vectors<T>(entry, p, tier, stream);
    }
    return launch(entry, bias_act_forward_kernel<T>, general_shape<T>(p.op), stream, p, aligned16({p.x, p.y}));
  });
}

int64_t bias_act_backward_partials(const BiasActBackward& p) {
  const Tier tier = tier_of(p.op, {p.dy, p.y, p.dx});
  const auto rows = [&](auto zero) -> int64_t {
    using T = decltype(zero);
    if (tier == Tier::row) return shape_with_sums(p.op, vector_grid<T>(p.op, tier)).blocks.x;
    return p.op.size / (p.op.bias_step * p.op.bias_size) * team_grid<T>(p.op).splits.value();
  };
  const bool none = p.op.size == 0 || tier == Tier::general || p.op.act == Activation::linear;
  // A tensor with one bias is a plane whatever its step; teams go over whole vectors of a step.
  const int64_t width = p.op.dtype == DType::f32 ? 4 : 8;
  if (none || (tier == Tier::plane && p.op.bias_step % width != 0)) return 0;
  return p.op.dtype == DType::f32 ? rows(float{}) : rows(__half{});
}

Status bias_act_backward(const BiasActBackward& p, void* stream) {
  const char* entry = "bias_act_backward";
  const Status checked = check(p);
  if (checked != Status::ok || p.op.size == 0) return checked;
  if (p.db_partials && bias_act_backward_partials(p) == 0)
    return fail(Status::unsupported, "%s: this call has no partial sums for db", entry);
  if (p.op.act == Activation::linear && p.op.clamp < 0) {
    // dx = gain * dy, the op itself without a bias.
    BiasActForward scaled{p.op, p.dy, p.dx};
    scaled.op.b = nullptr;
    return bias_act_forward(scaled, stream);
  }
  const Tier tier = tier_of(p.op, {p.dy, p.y, p.dx});
  return with_dtype(entry, p.op.dtype, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (!std::is_same_v<T, double>) {
      if (tier != Tier::general && p.op.act == Activation::relu)
        return backward_of_vectors<T, Activation::relu>(entry, p, tier, stream);
      if (tier != Tier::general && p.op.act == Activation::lrelu)
        return backward_of_vectors<T, Activation::lrelu>(entry, p, tier, stream);
    }
    return launch(entry, bias_act_backward_kernel<T>, general_shape<T>(p.op), stream, p,
                  aligned16({p.dy, p.x, p.y, p.dx}));
  });
}

Status bias_act_second(const BiasActSecond& p, void* stream) {
  const char* entry = "bias_act_second";
  const Status checked = check(p);
  if (checked != Status::ok || p.op.size == 0) return checked;
  return with_dtype(entry, p.op.dtype, [&](auto zero) {
    using T = decltype(zero);
    return launch(entry, bias_act_second_kernel<T>, general_shape<T>(p.op), stream, p,
                  aligned16({p.ddx, p.dy, p.x, p.y, p.d2x}));
  });
}

}  // namespace cuda
}  // namespace stylegan_fast
