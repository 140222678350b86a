// The contract between the native library and everybody who calls it.
//
// The library knows nothing of torch, Python or GANs: it is handed raw pointers, sizes and a thread count or a stream.
// It never allocates, synchronises or throws; outputs and workspace are passed in by the caller. Every entry point
// returns a Status, and `last_error()` says in one line what was wrong.
//
// Sizes: a tensor is [N, C, H, W], M = H*W, a "plane" is one (n, c) slice.
// "acc" is the accumulation type: double where dtype is f64, float otherwise. Image-like tensors (x, y, dy, dx) have
// `dtype`; every other tensor has the acc type.
#pragma once

#include <cstdint>

namespace stylegan_fast {

enum class DType : int32_t { f32 = 0, f64 = 1, f16 = 2, bf16 = 3 };

// Dense layouts only. contiguous: [N][C][H][W]. channels_last: [N][H][W][C].
enum class Layout : int32_t { contiguous = 0, channels_last = 1 };

enum class Status : int32_t {
  ok = 0,
  invalid_argument = 1,  // a size, enum or pointer that no kernel could accept
  unsupported = 2,       // valid, but this backend has no kernel for it
  launch_failed = 3,     // the CUDA runtime refused; last_error() has its words
};

// One line on the last failure in this thread; empty if there was none.
const char* last_error();

// ---------------------------------------------------------------------------------------------------------- adain
//   u[n,c,i,j] = x[n,c,i,j], or with `phases` x[n, (2*(i%2) + j%2)*C + c, (i+1)/2, (j+1)/2]
//   v = u, or with `blur` u correlated with [1,2,1] x [1,2,1] / 16, zeros beyond the border
//   t = v + noise_strength[c] * noise[n,0,h,w] + bias[c]
//   a = t if t >= 0 else negative_slope * t
//   z = scale[n,c] * (a - mean_hw(a)) / sqrt(var_hw(a) + eps) + shift[n,c]        (biased variance)
//   y = z if z >= 0 else output_negative_slope * z

struct PlaneParameter {      // one acc value per plane, e.g. a strided half of an [N, 2C] tensor
  const void* data;          // null: left out
  int64_t stride_n;          // in elements; 0 where one row serves every sample
  int64_t stride_c;
};

struct AdaIN {
  DType dtype;
  Layout layout;
  int64_t n, c, h, w;          // of y
  bool phases, blur;
  const void* x;               // [N, C, H, W] dtype, or with phases [N, 4*C, H/2 + 1, W/2 + 1], H and W even
  PlaneParameter scale;        // null: 1
  PlaneParameter shift;        // null: 0
  const void* noise;           // [N|1, 1, H, W] acc, each [H, W] dense; null: none
  int64_t noise_stride_n;      // in elements; H*W, or 0 where one map serves every sample
  const void* noise_strength;  // [C] acc; null exactly where noise is null
  const void* bias;            // [C] acc; null: none
  double negative_slope, eps, output_negative_slope;
};

// mean is stored relative to the plane's pivot p, its first activation a[n,c,0,0]: mean = mean_hw(a - p). So a
// normalised value is ((a - p) - mean) * rstd, which is exactly 0 everywhere on a constant plane.
struct AdaINForward {
  AdaIN op;
  void* y;     // [N, C, H, W] dtype, op.layout
  void* mean;  // [N, C] acc; on the CPU null: not wanted
  void* rstd;  // [N, C] acc; on the CPU null: not wanted
  void* workspace;
};

// Any result may be null: not wanted. Only dnoise needs dscale and dshift with it.
struct AdaINBackward {
  AdaIN op;
  const void* dy;        // [N, C, H, W] dtype, op.layout
  const void* mean;      // [N, C] acc, from the forward
  const void* rstd;      // [N, C] acc, from the forward
  void* dx;              // of x's shape, dtype and op.layout; zeros where nothing was read
  void* dscale;          // [N, C] acc   sum_hw(dz * normalised)
  void* dshift;          // [N, C] acc   sum_hw(dz)
  void* dbias;           // [C] acc      sum_nhw(dt)
  void* dnoise_strength; // [C] acc      sum_nhw(dt * noise)
  void* dnoise;          // [N, 1, H, W] acc   sum_c(dt * noise_strength)
  void* plane_sums;      // [2, N, C] acc: room for the planes' parts of dbias and dnoise_strength. May be null where N is 1
  void* workspace;
};

// -------------------------------------------------------------------------------------------------- philox_normal
// Normal numbers from Philox4x32-10 (Salmon et al. 2011). Sample n's numbers 4q to 4q+3 are those of the key seeds[n]
// (low word, high word) and the counter (q's low word, q's high word, 0, 0): of its four words r,
//   u_k = ((r_k >> 9) + 0.5) * 2^-23,  R = sqrt(-2 log u_0), A = 2 pi u_1: R cos A, R sin A; likewise of u_2 and u_3.

struct PhiloxNormal {
  int64_t n, size;       // samples, and numbers of each
  const int64_t* seeds;  // [N]
  float* y;              // [N, size]
};

// ------------------------------------------------------------------------------------------------------- bias_act
//   y = clamp(gain * act(x + b), -clamp, clamp), b broadcast along one dimension
// The slope at 0 of lrelu is 1, of relu 0, of selu the left one. Where |y| reaches the clamp, rounded to dtype as y is,
// the slope is 0.

enum class Activation : int32_t {
  linear = 0, relu = 1, lrelu = 2, tanh = 3, sigmoid = 4, elu = 5, selu = 6, softplus = 7, swish = 8
};

struct BiasAct {
  DType dtype;
  Activation act;
  int64_t size;       // number of elements; x is walked in memory order
  int64_t bias_step;  // consecutive elements that share one bias value
  int64_t bias_size;  // the bias of element i is b[(i / bias_step) % bias_size]
  const void* b;      // [bias_size]; null: none
  bool b_is_acc;      // b's dtype: acc, or as x's (cuda only)
  double alpha, gain;
  double clamp;       // < 0: none
};

struct BiasActForward {
  BiasAct op;
  const void* x;  // [size] dtype
  void* y;        // [size] dtype
};

// dx = dy * dy/dx. Which of x and y is read depends on the activation: swish reads x (and b), the others y.
struct BiasActBackward {
  BiasAct op;
  const void* dy;  // [size] dtype
  const void* x;   // [size] dtype; may be null where y is read
  const void* y;   // [size] dtype; may be null where x is read and clamp < 0
  void* dx;        // [size] dtype
  void* db_partials;  // [bias_act_backward_partials(), bias_size] acc; null: not wanted
};

// d2x = ddx * dy * d2y/dx2; zero for piecewise linear activations, so callers skip it there.
struct BiasActSecond {
  BiasAct op;
  const void* ddx;  // [size] dtype
  const void* dy;   // [size] dtype
  const void* x;    // [size] dtype; may be null where y is read
  const void* y;    // [size] dtype; may be null where x is read and clamp < 0
  void* d2x;        // [size] dtype
};

// ------------------------------------------------------------------------------------------------------ upfirdn2d
// Insert up-1 zeros after every pixel, pad with zeros (crop where negative), correlate with f (convolve, i.e. with f
// flipped, unless flip_filter), keep every down-th pixel, multiply by gain.
//   out_h = (in_h * up_y + pad_y0 + pad_y1 - filter_h) / down_y + 1, likewise out_w

struct UpFirDn2d {
  DType dtype;
  Layout layout;
  int64_t n, c, in_h, in_w, out_h, out_w;
  int32_t up_x, up_y, down_x, down_y;
  int32_t pad_x0, pad_x1, pad_y0, pad_y1;
  int32_t filter_h, filter_w;
  bool flip_filter;
  double gain;
  const void* x;       // [N, C, in_h, in_w] dtype
  const void* filter;  // [filter_h, filter_w] acc
  void* y;             // [N, C, out_h, out_w] dtype
};

// ---------------------------------------------------------------------------------------------------- entry points

namespace cpu {
// The instruction set the CPU kernels run on: "baseline", "avx2" or "avx512".
const char* capability();
// Takes a lower one; false where this machine or this build has none of that name.
bool set_capability(const char* name);
// Runs on the OpenMP threads that `library`, already in the process, runs on; false where it has none, and then every
// kernel runs on the calling thread alone.
bool use_pool_of(const char* library);

Status adain_forward(const AdaINForward&, int threads);
Status adain_backward(const AdaINBackward&, int threads);
Status philox_normal(const PhiloxNormal&, int threads);
Status bias_act_forward(const BiasActForward&, int threads);
Status bias_act_backward(const BiasActBackward&, int threads);
Status bias_act_second(const BiasActSecond&, int threads);
Status upfirdn2d(const UpFirDn2d&, int threads);
// How many rows of partial sums of dx over the elements of each bias the kernel can write with dx: db is their sum. 0
// where it cannot; db_partials is null then.
int64_t bias_act_backward_partials(const BiasActBackward&);
}  // namespace cpu

namespace cuda {
// `stream` is a cudaStream_t of the current device. Workspace sizes are in bytes; a workspace of that size, 16-byte
// aligned, is passed in the struct.
int64_t adain_forward_workspace(const AdaINForward&);
int64_t adain_backward_workspace(const AdaINBackward&);
int64_t bias_act_backward_partials(const BiasActBackward&);  // as on the CPU

Status adain_forward(const AdaINForward&, void* stream);
Status adain_backward(const AdaINBackward&, void* stream);
Status philox_normal(const PhiloxNormal&, void* stream);
Status bias_act_forward(const BiasActForward&, void* stream);
Status bias_act_backward(const BiasActBackward&, void* stream);
Status bias_act_second(const BiasActSecond&, void* stream);
Status upfirdn2d(const UpFirDn2d&, void* stream);
}  // namespace cuda

}  // namespace stylegan_fast
