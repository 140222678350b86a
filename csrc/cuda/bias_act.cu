// bias_act: entry points.
#include "bias_act.cuh"

#include "../check.h"

namespace stylegan_fast {
namespace cuda {
namespace {

template <typename T>
LaunchShape shape_of(const BiasAct& op) {
  return shape_for(bias_act_threads, ceil_div(op.size, int64_t(Vec<T>::size) * bias_act_threads));
}

}  // namespace

Status bias_act_forward(const BiasActForward& p, void* stream) {
  const char* entry = "bias_act_forward";
  const Status checked = check(p);
  if (checked != Status::ok || p.op.size == 0) return checked;
  return with_dtype(entry, p.op.dtype, [&](auto zero) {
    using T = decltype(zero);
    return launch(entry, bias_act_forward_kernel<T>, shape_of<T>(p.op), stream, p, aligned16({p.x, p.y}));
  });
}

Status bias_act_backward(const BiasActBackward& p, void* stream) {
  const char* entry = "bias_act_backward";
  const Status checked = check(p);
  if (checked != Status::ok || p.op.size == 0) return checked;
  return with_dtype(entry, p.op.dtype, [&](auto zero) {
    using T = decltype(zero);
    return launch(entry, bias_act_backward_kernel<T>, shape_of<T>(p.op), stream, p,
                  aligned16({p.dy, p.x, p.y, p.dx}));
  });
}

Status bias_act_second(const BiasActSecond& p, void* stream) {
  const char* entry = "bias_act_second";
  const Status checked = check(p);
  if (checked != Status::ok || p.op.size == 0) return checked;
  return with_dtype(entry, p.op.dtype, [&](auto zero) {
    using T = decltype(zero);
    return launch(entry, bias_act_second_kernel<T>, shape_of<T>(p.op), stream, p,
                  aligned16({p.ddx, p.dy, p.x, p.y, p.d2x}));
  });
}

}  // namespace cuda
}  // namespace stylegan_fast
