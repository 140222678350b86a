// The CPU entry points: arguments checked, empty tensors answered, the kernels of the best instruction set called.
#include <atomic>
#include <cstring>
#include <initializer_list>

#include "../api.h"
#include "../check.h"
#include "../status.h"
#include "pages.h"

#define STYLEGAN_FAST_DECLARE(isa)                       \
  namespace isa {                                        \
  Status adain_forward(const AdaINForward&, int);        \
  Status adain_backward(const AdaINBackward&, int);      \
  Status philox_normal(const PhiloxNormal&, int);        \
  Status bias_act_forward(const BiasActForward&, int);   \
  Status bias_act_backward(const BiasActBackward&, int); \
  int64_t bias_act_backward_partials(const BiasActBackward&); \
  Status bias_act_second(const BiasActSecond&, int);     \
  Status upfirdn2d(const UpFirDn2d&, int);               \
  }

#define STYLEGAN_FAST_KERNELS(isa)                                                                   \
  {                                                                                                  \
#isa, isa::adain_forward, isa::adain_backward, isa::philox_normal, isa::bias_act_forward,           \
        isa::bias_act_backward, isa::bias_act_backward_partials, isa::bias_act_second, isa::upfirdn2d \
  }

namespace stylegan_fast::cpu {

STYLEGAN_FAST_DECLARE(baseline)
#ifdef STYLEGAN_FAST_WITH_X86
STYLEGAN_FAST_DECLARE(avx2)
STYLEGAN_FAST_DECLARE(avx512)
#endif

namespace {

struct Kernels {
  const char* name;
  Status (*adain_forward)(const AdaINForward&, int);
  Status (*adain_backward)(const AdaINBackward&, int);
  Status (*philox_normal)(const PhiloxNormal&, int);
  Status (*bias_act_forward)(const BiasActForward&, int);
  Status (*bias_act_backward)(const BiasActBackward&, int);
  int64_t (*bias_act_backward_partials)(const BiasActBackward&);
  Status (*bias_act_second)(const BiasActSecond&, int);
  Status (*upfirdn2d)(const UpFirDn2d&, int);
};

// From least to most demanding.
constexpr Kernels all_kernels[] = {
    STYLEGAN_FAST_KERNELS(baseline),
#ifdef STYLEGAN_FAST_WITH_X86
    STYLEGAN_FAST_KERNELS(avx2),
    STYLEGAN_FAST_KERNELS(avx512),
#endif
};

// How many of them this machine can run: everything the compiler was allowed to use must be there.
int runnable() {
#ifdef STYLEGAN_FAST_WITH_X86
  __builtin_cpu_init();
  if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"))) return 1;
  if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")))
    return 2;
  return 3;
#else
  return 1;
#endif
}

std::atomic<const Kernels*> chosen{nullptr};

const Kernels& kernels() {
  const Kernels* k = chosen.load();
  if (!k) chosen.store(k = &all_kernels[runnable() - 1]);
  return *k;
}

int64_t bytes_of(DType dtype) {
  switch (dtype) {
    case DType::f64: return 8;
    case DType::f32: return 4;
    default: return 2;
  }
}

int64_t acc_bytes(DType dtype) { return dtype == DType::f64 ? 8 : 4; }

void zero(void* values, int64_t bytes) {
  if (values && bytes) std::memset(values, 0, static_cast<size_t>(bytes));
}

bool empty(const AdaIN& a) { return !a.n || !a.c || !a.h || !a.w; }

int64_t image_bytes(const AdaIN& a) { return a.n * a.c * a.h * a.w * bytes_of(a.dtype); }

// Of x and dx, which with phases have a row and a column more.
int64_t input_bytes(const AdaIN& a) {
  return a.phases ? a.n * a.c * (a.h + 2) * (a.w + 2) * bytes_of(a.dtype) : image_bytes(a);
}

}  // namespace

const char* capability() { return kernels().name; }

bool set_capability(const char* name) {
  for (int i = 0; i < runnable(); ++i) {
    if (std::strcmp(all_kernels[i].name, name) == 0) {
      chosen.store(&all_kernels[i]);
      return true;
    }
  }
  return false;
}

Status adain_forward(const AdaINForward& f, int threads) {
  if (Status status = check(f); status != Status::ok) return status;
  if (!empty(f.op)) {
    expect_writes(f.y, image_bytes(f.op));
    return kernels().adain_forward(f, threads);
  }
  zero(f.mean, f.op.n * f.op.c * acc_bytes(f.op.dtype));
  zero(f.rstd, f.op.n * f.op.c * acc_bytes(f.op.dtype));
  return Status::ok;
}

Status adain_backward(const AdaINBackward& f, int threads) {
  if (Status status = check(f); status != Status::ok) return status;
  if (!empty(f.op)) {
    expect_writes(f.dx, input_bytes(f.op));
    return kernels().adain_backward(f, threads);
  }
  zero(f.dx, input_bytes(f.op));  // phases of an empty image have pixels that nothing reads
  for (void* sums : {f.dscale, f.dshift}) zero(sums, f.op.n * f.op.c * acc_bytes(f.op.dtype));
  for (void* sums : {f.dbias, f.dnoise_strength}) zero(sums, f.op.c * acc_bytes(f.op.dtype));
  zero(f.dnoise, f.op.n * f.op.h * f.op.w * acc_bytes(f.op.dtype));
  return Status::ok;
}

Status philox_normal(const PhiloxNormal& p, int threads) {
  const Status status = check(p);
  if (status != Status::ok || !p.n || !p.size) return status;
  expect_writes(p.y, p.n * p.size * static_cast<int64_t>(sizeof *p.y));
  return kernels().philox_normal(p, threads);
}

// Refuses what the CUDA kernels alone do.
static Status for_cpu(const char* op, Status checked, const BiasAct& b) {
  if (checked != Status::ok) return checked;
  if (b.b && !b.b_is_acc) return fail(Status::unsupported, "%s: on the CPU b must be of the accumulation type", op);
  return Status::ok;
}

Status bias_act_forward(const BiasActForward& f, int threads) {
  const Status status = for_cpu("bias_act_forward", check(f), f.op);
  if (status != Status::ok || !f.op.size) return status;
  expect_writes(f.y, f.op.size * bytes_of(f.op.dtype));
  return kernels().bias_act_forward(f, threads);
}

int64_t bias_act_backward_partials(const BiasActBackward& f) {
  return f.op.size ? kernels().bias_act_backward_partials(f) : 0;
}

Status bias_act_backward(const BiasActBackward& f, int threads) {
  const Status status = for_cpu("bias_act_backward", check(f), f.op);
  if (status != Status::ok || !f.op.size) return status;
  if (f.db_partials && f.op.size % (f.op.bias_step * f.op.bias_size) != 0)
    return fail(Status::invalid_argument, "bias_act_backward: db is asked for, but some biases have fewer elements");
  expect_writes(f.dx, f.op.size * bytes_of(f.op.dtype));
  return kernels().bias_act_backward(f, threads);
}

Status bias_act_second(const BiasActSecond& f, int threads) {
  const Status status = for_cpu("bias_act_second", check(f), f.op);
  if (status != Status::ok || !f.op.size) return status;
  expect_writes(f.d2x, f.op.size * bytes_of(f.op.dtype));
  return kernels().bias_act_second(f, threads);
}

Status upfirdn2d(const UpFirDn2d& u, int threads) {
  const Status status = check(u);
  if (status != Status::ok || !u.n || !u.c) return status;
  expect_writes(u.y, u.n * u.c * u.out_h * u.out_w * bytes_of(u.dtype));
  return kernels().upfirdn2d(u, threads);
}

}  // namespace stylegan_fast::cpu
