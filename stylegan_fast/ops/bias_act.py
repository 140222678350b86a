"""Bias, activation, gain and clamp in one pass.

    y = clamp(gain * act(x + b), -clamp, clamp),  b broadcast along one dimension

The calling convention is that of the op of the same name in the StyleGAN2 and StyleGAN3 projects, default gains
included; StyleGAN 1 is ``act="lrelu", gain=1``.

    linear    u                           relu      max(u, 0)               lrelu   u if u >= 0 else alpha * u
    tanh      tanh(u)                     sigmoid   1 / (1 + exp(-u))       swish   u * sigmoid(u)
    elu       u if u > 0 else exp(u) - 1  softplus  log(1 + exp(u))
    selu      1.0507... * (u if u > 0 else 1.6733... * (exp(u) - 1))

All gradients exist to any order. The slope at 0 of lrelu is 1, of relu 0, of selu the left one; where |y| reaches clamp
it is 0. All compiled gradients but swish's are computed from y, rounded to its dtype: fp16 and bf16 lose up to an ulp
of 1 there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan_fast.ops import library
from stylegan_fast.ops.arguments import acc_dtype, check_floating, check_parameter, memory_format, wrong_value


@dataclass(frozen=True)
class Activation:
    code: int  # enum Activation in csrc/api.h
    formula: Callable[[Tensor, float], Tensor]
    alpha: float = 0.0
    gain: float = 1.0
    smooth: bool = True  # has a second derivative
    reads_x: bool = False  # the slope is not a function of y


ACTIVATIONS = {
    "linear": Activation(0, lambda u, _: u, smooth=False),
    "relu": Activation(1, lambda u, _: u.relu(), gain=math.sqrt(2), smooth=False),
    "lrelu": Activation(
        2, lambda u, alpha: torch.where(u >= 0, u, u * alpha), alpha=0.2, gain=math.sqrt(2), smooth=False
    ),
    "tanh": Activation(3, lambda u, _: u.tanh()),
    "sigmoid": Activation(4, lambda u, _: u.sigmoid()),
    "elu": Activation(5, lambda u, _: F.elu(u)),
    "selu": Activation(6, lambda u, _: F.selu(u)),
    "softplus": Activation(7, lambda u, _: F.softplus(u, threshold=36)),
    "swish": Activation(8, lambda u, _: u.sigmoid() * u, gain=math.sqrt(2), reads_x=True),
}


def bias_act(
    x: Tensor,
    b: Tensor | None = None,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
    impl: str | None = None,
) -> Tensor:
    """Adds a bias, applies an activation, multiplies by gain and clamps: see the formulas above.

    Args:
        x: any shape, any floating dtype, any strides (dense memory orders without a copy).
        b: ``[x.shape[dim]]``, default none.
        dim: the dimension of x that b belongs to.
        act: "linear", "relu", "lrelu", "tanh", "sigmoid", "elu", "selu", "softplus" or "swish".
        alpha: slope of lrelu for negative values, default 0.2; other activations have none.
        gain: factor after the activation, default sqrt(2) for relu, lrelu and swish, else 1.
        clamp: largest absolute value of the output, default none.
        impl: "ref" for pure PyTorch; None or "cuda" for the backend chosen with `use_backend`.

    Returns:
        A tensor of x's shape, dtype and memory format.

    Raises:
        TypeError, ValueError: an argument of the wrong type, shape, name or device.
        RuntimeError: the backend named with `use_backend` cannot run this call.
    """
    spec, dim, alpha, gain, clamp = _checked(x, b, dim, act, alpha, gain, clamp)
    if impl not in (None, "ref", "cuda"):
        raise ValueError(f"bias_act: impl must be None, 'cuda' or 'ref', got {impl!r}")
    # The compiled gradient takes the sign of x from y.
    unsupported = "lrelu with alpha <= 0 has no kernel" if act == "lrelu" and alpha <= 0 else ""
    if impl == "ref" or (backend := library.choose("bias_act", x, b, unsupported=unsupported)) == "reference":
        return _formula(x, b, dim, spec, alpha, gain, clamp)
    x = x.contiguous(memory_format=memory_format(x))
    if b is not None:
        b = b.to(acc_dtype(x.dtype)).contiguous()
    return _BiasAct.apply(x, b, _Call(spec, dim, alpha, gain, clamp, backend))


def bias_act_reference(
    x: Tensor,
    b: Tensor | None = None,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """`bias_act` in plain PyTorch: arguments, result and errors are the same."""
    spec, dim, alpha, gain, clamp = _checked(x, b, dim, act, alpha, gain, clamp)
    return _formula(x, b, dim, spec, alpha, gain, clamp)


def _formula(
    x: Tensor, b: Tensor | None, dim: int, spec: Activation, alpha: float, gain: float, clamp: float
) -> Tensor:
    acc = acc_dtype(x.dtype)
    u = x.to(acc)
    if b is not None:
        u = u + b.to(acc).reshape([-1 if i == dim else 1 for i in range(x.ndim)])
    y = spec.formula(u, alpha)
    if gain != 1:
        y = y * gain
    if clamp >= 0:
        # Not Tensor.clamp, whose slope at the clamp itself is 1: the compiled kernels see only the clamped y.
        y = torch.where(y.abs() < clamp, y, y.detach().clamp(-clamp, clamp))
    return y.to(x.dtype).contiguous(memory_format=memory_format(x))


def _checked(
    x: Tensor,
    b: Tensor | None,
    dim: int,
    act: str,
    alpha: float | None,
    gain: float | None,
    clamp: float | None,
) -> tuple[Activation, int, float, float, float]:
    """Raises on wrong arguments; returns the activation and dim, alpha, gain and clamp (-1: none) with defaults."""
    check_floating("bias_act", "x", x)
    if act not in ACTIVATIONS:
        raise ValueError(f"bias_act: act must be one of {', '.join(ACTIVATIONS)}, got {act!r}")
    spec = ACTIVATIONS[act]
    if b is not None:
        check_parameter("bias_act", "b", b, x)
        if not -x.ndim <= dim < x.ndim:
            raise ValueError(f"bias_act: dim must be a dimension of x, which has {x.ndim}, got {dim}")
        dim %= x.ndim
        if b.shape != (x.shape[dim],):
            raise wrong_value("bias_act", "b", b, f"[x.shape[{dim}]] = [{x.shape[dim]}]")
    if clamp is not None and not clamp >= 0:
        raise ValueError(f"bias_act: clamp must be at least 0 or None, got {clamp}")
    return (
        spec,
        dim,
        float(spec.alpha if alpha is None else alpha),
        float(spec.gain if gain is None else gain),
        -1.0 if clamp is None else float(clamp),
    )


@dataclass(frozen=True)
class _Call:
    """What a call is, beside its tensors."""

    spec: Activation
    dim: int
    alpha: float
    gain: float
    clamp: float
    backend: str

    def kernel_arguments(self, x: Tensor, b: Tensor | None) -> tuple[Any, ...]:
        """The fields of struct BiasAct in csrc/api.h, in order."""
        step, size = 1, 1
        if b is not None:
            # x is dense: along dim the bias changes every stride(dim) elements, in any memory order.
            step, size = max(x.stride(self.dim), 1), max(b.shape[0], 1)
        code = library.DTYPE_CODES[x.dtype]
        numbers = (self.alpha, self.gain, self.clamp)
        return (code, self.spec.code, x.numel(), step, size, library.address(b), *numbers)

    def sum_to_bias(self, dx: Tensor) -> Tensor:
        others = [i for i in range(dx.ndim) if i != self.dim]
        # An empty list would mean all of them.
        return dx.sum(others, dtype=acc_dtype(dx.dtype)) if others else dx.to(acc_dtype(dx.dtype))

    def reads_y(self) -> bool:
        return self.clamp >= 0 or not (self.spec.reads_x or self.spec.code == ACTIVATIONS["linear"].code)


class _BiasAct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, b: Tensor | None, call: _Call) -> Tensor:
        y = torch.empty_like(x)
        library.launch(call.backend, "bias_act_forward", x, *call.kernel_arguments(x, b), x.data_ptr(), y.data_ptr())
        # The second derivative flows to x and b, so they are kept where there is one.
        keeps_x = call.spec.smooth
        ctx.save_for_backward(x if keeps_x else None, b if keeps_x else None, y if call.reads_y() else None)
        ctx.call, ctx.memory_format = call, memory_format(x)
        ctx.bias_shape = None if b is None else b.shape
        ctx.set_materialize_grads(False)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None) -> tuple[Tensor | None, ...]:
        if dy is None:
            return None, None, None
        dx = _BiasActBackward.apply(
            dy.contiguous(memory_format=ctx.memory_format), *ctx.saved_tensors, ctx.bias_shape, ctx.call
        )
        db = ctx.call.sum_to_bias(dx) if ctx.needs_input_grad[1] else None
        return dx if ctx.needs_input_grad[0] else None, db, None


class _BiasActBackward(torch.autograd.Function):
    """dx = dy * slope, differentiable in dy and, through the second derivative, in x and b."""

    @staticmethod
    def forward(
        ctx: Any,
        dy: Tensor,
        x: Tensor | None,
        b: Tensor | None,
        y: Tensor | None,
        bias_shape: torch.Size | None,
        call: _Call,
    ) -> Tensor:
        dx = torch.empty_like(dy)
        library.launch(
            call.backend,
            "bias_act_backward",
            dy,
            *call.kernel_arguments(dy, b),
            *map(library.address, (dy, x, y, dx)),
        )
        ctx.save_for_backward(dy if call.spec.smooth else None, x, b, y)
        ctx.call, ctx.memory_format, ctx.bias_shape = call, memory_format(dy), bias_shape
        ctx.set_materialize_grads(False)
        return dx

    @staticmethod
    def backward(ctx: Any, ddx: Tensor | None) -> tuple[Tensor | None, ...]:
        if ddx is None:
            return (None,) * 6
        dy, x, b, y = ctx.saved_tensors
        call: _Call = ctx.call
        ddx = ddx.contiguous(memory_format=ctx.memory_format)
        need_dy, need_x, need_b = ctx.needs_input_grad[:3]
        d_dy = _BiasActBackward.apply(ddx, x, b, y, ctx.bias_shape, call) if need_dy else None
        if not call.spec.smooth or not (need_x or need_b):
            return d_dy, None, None, None, None, None
        if torch.is_grad_enabled():
            return d_dy, *_second_order_formula(ddx, dy, x, b, call, need_x, need_b), None, None, None
        d2x = torch.empty_like(x)
        library.launch(
            call.backend,
            "bias_act_second",
            x,
            *call.kernel_arguments(x, b),
            *map(library.address, (ddx, dy, x, y, d2x)),
        )
        return d_dy, d2x if need_x else None, call.sum_to_bias(d2x) if need_b else None, None, None, None


def _second_order_formula(
    ddx: Tensor, dy: Tensor, x: Tensor, b: Tensor | None, call: _Call, need_x: bool, need_b: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Differentiates the reference twice; for third and higher orders, which no kernel has."""
    # Fresh views, so that differentiation stops at them even where x or b are results of others.
    x = x.view_as(x) if x.requires_grad else x.detach().requires_grad_()
    b = None if b is None else (b.view_as(b) if b.requires_grad else b.detach().requires_grad_())
    y = _formula(x, b, call.dim, call.spec, call.alpha, call.gain, call.clamp)
    (dx,) = torch.autograd.grad(y, x, dy, create_graph=True)
    asked_for = [t for t, needed in ((x, need_x), (b, need_b)) if needed and t is not None]
    second = iter(torch.autograd.grad(dx, asked_for, ddx, create_graph=True))
    return next(second) if need_x else None, next(second) if need_b else None
