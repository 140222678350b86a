#include "check.h"

#include <cinttypes>

#include "status.h"

namespace stylegan_fast {

namespace {

const char* name(DType dtype) {
  switch (dtype) {
    case DType::f32: return "float32";
    case DType::f64: return "float64";
    case DType::f16: return "float16";
    case DType::bf16: return "bfloat16";
  }
  return nullptr;
}

bool is_layout(Layout layout) { return layout == Layout::contiguous || layout == Layout::channels_last; }

Status check_op(const char* op, const AdaIN& a) {
  if (!name(a.dtype)) return fail(Status::invalid_argument, "%s: there is no dtype %d", op, static_cast<int>(a.dtype));
  if (!is_layout(a.layout))
    return fail(Status::invalid_argument, "%s: there is no layout %d", op, static_cast<int>(a.layout));
  const auto wrong = [&](const char* what) {
    return fail(Status::invalid_argument,
                "%s: %s, for y [%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 "] of %s", op, what, a.n, a.c, a.h,
                a.w, name(a.dtype));
  };
  if (a.n < 0 || a.c < 0 || a.h < 0 || a.w < 0) return wrong("a size is negative");
  if (a.phases && (a.h % 2 || a.w % 2)) return wrong("phases make an even height and width");
  if (!a.x && a.n && a.c && a.h && a.w) return wrong("x is null");
  if ((a.noise == nullptr) != (a.noise_strength == nullptr) && a.n && a.c && a.h && a.w)
    return wrong("noise and noise_strength must be given together");
  return Status::ok;
}

Status check_op(const char* op, const BiasAct& b) {
  if (!name(b.dtype)) return fail(Status::invalid_argument, "%s: there is no dtype %d", op, static_cast<int>(b.dtype));
  if (b.act < Activation::linear || b.act > Activation::swish)
    return fail(Status::invalid_argument, "%s: there is no activation %d", op, static_cast<int>(b.act));
  if (b.size < 0 || b.bias_step < 1 || b.bias_size < 1)
    return fail(Status::invalid_argument,
                "%s: size %" PRId64 " must be at least 0, bias_step %" PRId64 " and bias_size %" PRId64 " at least 1",
                op, b.size, b.bias_step, b.bias_size);
  return Status::ok;
}

Status null_pointer(const char* op, const char* field, const BiasAct& b) {
  return fail(Status::invalid_argument, "%s: %s is null, for %" PRId64 " elements of %s", op, field, b.size,
              name(b.dtype));
}

// Which of x and y the derivatives of an activation are computed from.
bool reads_x(const BiasAct& b) { return b.act == Activation::swish; }
bool reads_y(const BiasAct& b) { return b.clamp >= 0 || !(reads_x(b) || b.act == Activation::linear); }

}  // namespace

Status check(const AdaINForward& f) {
  if (Status status = check_op("adain_forward", f.op); status != Status::ok) return status;
  if (f.op.n && f.op.c && f.op.h && f.op.w && !f.y)
    return fail(Status::invalid_argument, "adain_forward: y is null");
  return Status::ok;
}

Status check(const AdaINBackward& f) {
  if (Status status = check_op("adain_backward", f.op); status != Status::ok) return status;
  const bool some = f.op.n && f.op.c && f.op.h && f.op.w;
  if (some && (!f.dy || !f.mean || !f.rstd))
    return fail(Status::invalid_argument, "adain_backward: dy, mean or rstd is null");
  if (some && (f.dnoise || f.dnoise_strength) && !f.op.noise)
    return fail(Status::invalid_argument, "adain_backward: a gradient of the noise is asked for, but there is none");
  if (some && f.dnoise && (!f.dscale || !f.dshift))
    return fail(Status::invalid_argument, "adain_backward: dnoise is computed from dscale and dshift, and one is null");
  if (some && f.op.n > 1 && (f.dbias || f.dnoise_strength) && !f.plane_sums)
    return fail(Status::invalid_argument, "adain_backward: dbias and dnoise_strength need plane_sums, which is null");
  return Status::ok;
}

Status check(const PhiloxNormal& p) {
  const auto wrong = [&](const char* what) {
    return fail(Status::invalid_argument, "philox_normal: %s, for %" PRId64 " samples of %" PRId64 " numbers", what, p.n,
                p.size);
  };
  if (p.n < 0 || p.size < 0) return wrong("a size is negative");
  if (p.n && p.size && (!p.seeds || !p.y)) return wrong(p.seeds ? "y is null" : "seeds is null");
  return Status::ok;
}

Status check(const BiasActForward& f) {
  if (Status status = check_op("bias_act_forward", f.op); status != Status::ok) return status;
  if (f.op.size && !f.x) return null_pointer("bias_act_forward", "x", f.op);
  if (f.op.size && !f.y) return null_pointer("bias_act_forward", "y", f.op);
  return Status::ok;
}

Status check(const BiasActBackward& f) {
  if (Status status = check_op("bias_act_backward", f.op); status != Status::ok) return status;
  if (!f.op.size) return Status::ok;
  if (!f.dy || !f.dx) return null_pointer("bias_act_backward", f.dy ? "dx" : "dy", f.op);
  if (reads_x(f.op) && !f.x) return null_pointer("bias_act_backward", "x", f.op);
  if (reads_y(f.op) && !f.y) return null_pointer("bias_act_backward", "y", f.op);
  return Status::ok;
}

Status check(const BiasActSecond& f) {
  if (Status status = check_op("bias_act_second", f.op); status != Status::ok) return status;
  if (!f.op.size) return Status::ok;
  if (!f.ddx || !f.dy || !f.d2x) return null_pointer("bias_act_second", "ddx, dy or d2x", f.op);
  if (reads_x(f.op) && !f.x) return null_pointer("bias_act_second", "x", f.op);
  if (reads_y(f.op) && !f.y) return null_pointer("bias_act_second", "y", f.op);
  return Status::ok;
}

Status check(const UpFirDn2d& u) {
  const char* op = "upfirdn2d";
  if (!name(u.dtype)) return fail(Status::invalid_argument, "%s: there is no dtype %d", op, static_cast<int>(u.dtype));
  if (!is_layout(u.layout))
    return fail(Status::invalid_argument, "%s: there is no layout %d", op, static_cast<int>(u.layout));
  const auto wrong = [&](const char* what) {
    return fail(Status::invalid_argument,
                "%s: %s, for x [%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 "] of %s, up %d %d, down %d %d, "
                "padding %d %d %d %d, filter [%d, %d], output [%" PRId64 ", %" PRId64 "]",
                op, what, u.n, u.c, u.in_h, u.in_w, name(u.dtype), u.up_x, u.up_y, u.down_x, u.down_y, u.pad_x0,
                u.pad_x1, u.pad_y0, u.pad_y1, u.filter_h, u.filter_w, u.out_h, u.out_w);
  };
  if (u.n < 0 || u.c < 0 || u.in_h < 0 || u.in_w < 0) return wrong("a size is negative");
  if (u.up_x < 1 || u.up_y < 1 || u.down_x < 1 || u.down_y < 1) return wrong("up and down must be at least 1");
  if (u.filter_h < 1 || u.filter_w < 1 || !u.filter) return wrong("a filter of at least one tap is needed");
  const int64_t span_h = u.in_h * u.up_y + u.pad_y0 + u.pad_y1 - u.filter_h;
  const int64_t span_w = u.in_w * u.up_x + u.pad_x0 + u.pad_x1 - u.filter_w;
  if (span_h < 0 || span_w < 0) return wrong("the filter is larger than the padded image");
  if (u.out_h != span_h / u.down_y + 1 || u.out_w != span_w / u.down_x + 1)
    return wrong("the output size does not follow from the others");
  if (u.n && u.c && (!u.y || (!u.x && u.in_h && u.in_w))) return wrong("x or y is null");
  return Status::ok;
}

}  // namespace stylegan_fast
