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

from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stylegan_fast.ops import library
from stylegan_fast.ops.arguments import acc_dtype, memory_format, of_dtype
from stylegan_fast.ops.bias_act_reference import (
    ACTIVATIONS,
    bias_act_reference,
    check_arguments,
    second_reference,
    value_reference,
)
from stylegan_fast.ops.derivatives import differentiate, is_asked_for, launched_or_applied

__all__ = ["ACTIVATIONS", "bias_act", "bias_act_reference"]


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
    numbers = check_arguments(x, b, dim, act, alpha, gain, clamp)
    if impl not in (None, "ref", "cuda"):
        raise ValueError(f"bias_act: impl must be None, 'cuda' or 'ref', got {impl!r}")
    # The compiled gradient takes the sign of x from y.
    unsupported = "lrelu with alpha <= 0 has no kernel" if act == "lrelu" and numbers[2] <= 0 else ""
    way = "" if impl == "ref" or unsupported else library.ready("bias_act_takes", x, b)
    if not way:
        way = "reference" if impl == "ref" else library.choose("bias_act", x, b, unsupported=unsupported)
        if way == "reference":
            return value_reference(x, b, *numbers)
        x = x.contiguous(memory_format=memory_format(x))
        if b is not None:
            taken_as_it_is = way == "cuda" and b.dtype == x.dtype  # elsewhere a kernel of its own makes it so
            b = (b if taken_as_it_is else of_dtype(b, acc_dtype(x.dtype))).contiguous()
    if way == "dispatcher":
        return torch.ops.stylegan_fast.bias_act(x, b, *numbers, library.current_backend())
    return _EAGER.bias_act(x, b, *numbers, way)


class Call(NamedTuple):
    """The arguments of the three ops behind their tensors."""

    dim: int
    act: str
    alpha: float
    gain: float
    clamp: float
    backend: str

    def fields(self, x: Tensor, b: Tensor | None, broadcast: bool) -> list[Any]:
        """struct BiasAct of csrc/api.h for tensors as dense as x, where there are biases to add or to sum to."""
        step, size = 1, 1
        if broadcast:
            # x is dense: along dim the bias changes every stride(dim) elements, in any memory order.
            step, size = max(x.stride(self.dim), 1), max(x.shape[self.dim], 1)
        numbers = [library.DTYPE_CODES[x.dtype], ACTIVATIONS[self.act].code, x.numel(), step, size]
        b_is_acc = b is None or b.dtype == acc_dtype(x.dtype)
        return [*numbers, library.address(b), b_is_acc, self.alpha, self.gain, self.clamp]

    def launch(
        self, kernel: str, x: Tensor, b: Tensor | None, *tensors: Tensor | None, null: tuple[int, ...] = ()
    ) -> Tensor:
        """Runs a kernel on tensors as dense as x; the result too is like x. null: what its struct has after that."""
        result = torch.empty_like(x)
        fields = [*self.fields(x, b, b is not None), *map(library.address, tensors), result.data_ptr()]
        library.launch(self.backend, kernel, x, *fields, *null)
        return result

    def launch_backward_and_sum(
        self, dy: Tensor, x: Tensor | None, b: Tensor | None, y: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """dx and db. The kernel itself sums dx, while it has it; on CUDA that of the activations that networks use."""
        dx = torch.empty_like(dy)
        fields = [*self.fields(dy, b, True), *map(library.address, (dy, x, y)), dx.data_ptr()]
        rows = getattr(library.native(), self.backend).bias_act_backward_partials(*fields, 0)
        biases = dy.shape[self.dim]
        partials = dx.new_empty([rows, biases] if rows > 1 else [biases], dtype=acc_dtype(dx.dtype)) if rows else None
        library.launch(self.backend, "bias_act_backward", dy, *fields, library.address(partials))
        return dx, self.sum_to_bias(dx) if partials is None else partials.sum(0) if rows > 1 else partials

    def sum_to_bias(self, dx: Tensor) -> Tensor:
        others = [i for i in range(dx.ndim) if i != self.dim]
        # An empty list would mean all of them.
        return dx.sum(others, dtype=acc_dtype(dx.dtype)) if others else dx.to(acc_dtype(dx.dtype))

    @property
    def smooth(self) -> bool:
        return ACTIVATIONS[self.act].smooth

    @property
    def only_adds(self) -> bool:
        return self.act == "linear" and self.gain == 1 and self.clamp < 0

    def reads_y(self) -> bool:
        return self.clamp >= 0 or not (self.act == "linear" or ACTIVATIONS[self.act].reads_x)


class BiasAct(torch.autograd.Function):
    """The arguments of `forward` and `launch` are those of the op ``stylegan_fast::bias_act``, with a compiled backend.

    x is dense and b as `bias_act` leaves it; likewise in the classes of the derivatives.
    """

    @staticmethod
    def launch(x: Tensor, b: Tensor | None, *numbers: Any) -> Tensor:
        return Call(*numbers).launch("bias_act_forward", x, b, x)

    @staticmethod
    def keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor, ops: Any) -> None:
        x, b, *numbers = inputs
        call = Call(*numbers)
        # The second derivative flows to x and b, so they are kept where there is one.
        smooth = call.smooth
        ctx.save_for_backward(x if smooth else None, b if smooth else None, output if call.reads_y() else None)
        ctx.call, ctx.memory_format, ctx.ops = call, memory_format(x), ops
        ctx.set_materialize_grads(False)

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        y = BiasAct.launch(*inputs)
        BiasAct.keep(ctx, inputs, y, _EAGER)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None) -> tuple[Tensor | None, ...]:
        if dy is None:
            return (None,) * 8
        dy = dy.contiguous(memory_format=ctx.memory_format)
        need_x, need_b = ctx.needs_input_grad[:2]
        if need_b and ctx.ops is _EAGER:
            need_b = is_asked_for(ctx, 1)
        if need_b and ctx.ops is _EAGER and not ctx.call.only_adds and not torch.is_grad_enabled():
            dx, db = ctx.call.launch_backward_and_sum(dy, *ctx.saved_tensors)
        else:
            dx = dy if ctx.call.only_adds else ctx.ops.bias_act_backward(dy, *ctx.saved_tensors, *ctx.call)
            db = ctx.call.sum_to_bias(dx) if need_b else None
        return dx if need_x else None, db, *(None,) * 6


class BiasActBackward(torch.autograd.Function):
    """dx = dy * slope, differentiable in dy and, through the second derivative, in x and b."""

    @staticmethod
    def launch(dy: Tensor, x: Tensor | None, b: Tensor | None, y: Tensor | None, *numbers: Any) -> Tensor:
        return Call(*numbers).launch("bias_act_backward", dy, b, dy, x, y, null=(0,))

    @staticmethod
    def keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor, ops: Any) -> None:
        dy, x, b, y, *numbers = inputs
        ctx.call, ctx.memory_format, ctx.ops = Call(*numbers), memory_format(dy), ops
        ctx.save_for_backward(dy if ctx.call.smooth else None, x, b, y)
        ctx.set_materialize_grads(False)

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        dx = BiasActBackward.launch(*inputs)
        BiasActBackward.keep(ctx, inputs, dx, _EAGER)
        return dx

    @staticmethod
    def backward(ctx: Any, ddx: Tensor | None) -> tuple[Tensor | None, ...]:
        if ddx is None:
            return (None,) * 10
        dy, *kept = ctx.saved_tensors
        ddx = ddx.contiguous(memory_format=ctx.memory_format)
        need_dy, need_x, need_b = ctx.needs_input_grad[:3]
        d_dy = ctx.ops.bias_act_backward(ddx, *kept, *ctx.call) if need_dy else None
        d2x = d2b = None
        if ctx.call.smooth and (need_x or need_b):
            d2x = ctx.ops.bias_act_second(ddx, dy, *kept, *ctx.call)
            d2b = ctx.call.sum_to_bias(d2x) if need_b else None
        return d_dy, d2x if need_x else None, d2b, *(None,) * 7


class BiasActSecond(torch.autograd.Function):
    """d2x = ddx * dy * act''(x + b); its own derivatives are those of the formula in PyTorch."""

    @staticmethod
    def launch(ddx: Tensor, dy: Tensor, x: Tensor, b: Tensor | None, y: Tensor | None, *numbers: Any) -> Tensor:
        return Call(*numbers).launch("bias_act_second", x, b, ddx, dy, x, y)

    @staticmethod
    def keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor, ops: Any) -> None:
        ctx.save_for_backward(*inputs[:5])
        ctx.call = Call(*inputs[5:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        d2x = BiasActSecond.launch(*inputs)
        BiasActSecond.keep(ctx, inputs, d2x, _EAGER)
        return d2x

    @staticmethod
    def backward(ctx: Any, d3: Tensor | None) -> tuple[Tensor | None, ...]:
        *inputs, y = ctx.saved_tensors

        def formula(ddx: Tensor, dy: Tensor, x: Tensor, b: Tensor | None) -> list[Tensor]:
            return [second_reference(ddx, dy, x, b, y, *ctx.call[:5])]

        return (*differentiate(formula, inputs, ctx.needs_input_grad, [d3]), *(None,) * 7)


# Where each order of derivatives is found in eager mode; under the names it has in torch.ops.stylegan_fast.
_EAGER = SimpleNamespace(
    bias_act=launched_or_applied(BiasAct),
    bias_act_backward=launched_or_applied(BiasActBackward),
    bias_act_second=launched_or_applied(BiasActSecond),
)
