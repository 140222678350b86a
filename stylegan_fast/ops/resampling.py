"""One pass of `upfirdn2d` with a two-dimensional filter: its sizes, its adjoint, reference and autograd function."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan_fast.ops import library
from stylegan_fast.ops.arguments import memory_format
from stylegan_fast.ops.derivatives import launched_or_applied


class Resampling(NamedTuple):
    """One call with a two-dimensional filter, beside its tensors. Padding is in pixels of the zero-inserted image."""

    up_x: int
    up_y: int
    down_x: int
    down_y: int
    pad_x0: int
    pad_x1: int
    pad_y0: int
    pad_y1: int
    flip_filter: bool
    gain: float

    def output_size(self, height: int, width: int, filter_h: int, filter_w: int) -> tuple[int, int]:
        """Raises ValueError where the filter is larger than the padded image."""
        padded_h = height * self.up_y + self.pad_y0 + self.pad_y1
        padded_w = width * self.up_x + self.pad_x0 + self.pad_x1
        if padded_h < filter_h or padded_w < filter_w:
            raise ValueError(
                f"upfirdn2d: f must be no larger than the padded image of {padded_h} x {padded_w} pixels, "
                f"got {filter_h} x {filter_w} taps"
            )
        return (padded_h - filter_h) // self.down_y + 1, (padded_w - filter_w) // self.down_x + 1

    def adjoint(self, height: int, width: int, filter_h: int, filter_w: int) -> Resampling:
        """The call that takes the gradient of the output to that of a height x width input."""
        out_h, out_w = self.output_size(height, width, filter_h, filter_w)
        return Resampling(
            up_x=self.down_x,
            up_y=self.down_y,
            down_x=self.up_x,
            down_y=self.up_y,
            pad_x0=filter_w - 1 - self.pad_x0,
            pad_x1=width * self.up_x - out_w * self.down_x + self.pad_x0 - self.up_x + 1,
            pad_y0=filter_h - 1 - self.pad_y0,
            pad_y1=height * self.up_y - out_h * self.down_y + self.pad_y0 - self.up_y + 1,
            flip_filter=not self.flip_filter,
            gain=self.gain,
        )


def resample_reference(x: Tensor, f: Tensor, call: Resampling) -> Tensor:
    n, c, h, w = x.shape
    out_h, out_w = call.output_size(h, w, *f.shape)
    x = x.reshape(n, c, h, 1, w, 1)
    x = F.pad(x, [0, call.up_x - 1, 0, 0, 0, call.up_y - 1]).reshape(n, c, h * call.up_y, w * call.up_x)
    sides = (call.pad_x0, call.pad_x1, call.pad_y0, call.pad_y1)
    x = F.pad(x, [max(side, 0) for side in sides])
    left, right, top, bottom = (max(-side, 0) for side in sides)
    x = x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right]
    taps = (f if call.flip_filter else f.flip([0, 1])) * call.gain
    rows, columns = (out_h - 1) * call.down_y + 1, (out_w - 1) * call.down_x + 1
    # Not conv2d, which autocast and TF32 would round.
    y = x.new_zeros(n, c, out_h, out_w)
    for i in range(f.shape[0]):
        for j in range(f.shape[1]):
            y = y + x[:, :, i : i + rows : call.down_y, j : j + columns : call.down_x] * taps[i, j]
    return y


def empty_result(x: Tensor, f: Tensor, call: Resampling) -> Tensor:
    """The output, without values yet."""
    size = [*x.shape[:2], *call.output_size(x.shape[2], x.shape[3], *f.shape)]
    return torch.empty(size, dtype=x.dtype, device=x.device, memory_format=memory_format(x))


class UpFirDn2d(torch.autograd.Function):
    """The arguments of `forward` and `launch` are those of the op ``stylegan_fast::upfirdn2d``: x, f, the fields of
    `Resampling`, and a compiled backend. x is dense and f as `upfirdn2d` leaves it."""

    @staticmethod
    def launch(x: Tensor, f: Tensor, *others: Any) -> Tensor:
        call, backend = Resampling(*others[:-1]), others[-1]
        y = empty_result(x, f, call)
        library.launch(
            backend,
            "upfirdn2d",
            x,
            library.DTYPE_CODES[x.dtype],
            library.LAYOUT_CODES[memory_format(x)],
            *x.shape,
            *y.shape[2:],
            *call[:8],
            *f.shape,
            call.flip_filter,
            call.gain,
            x.data_ptr(),
            f.data_ptr(),
            y.data_ptr(),
        )
        return y

    @staticmethod
    def keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor, ops: Any) -> None:
        x, f, *numbers, backend = inputs
        ctx.save_for_backward(f)
        ctx.adjoint = Resampling(*numbers).adjoint(x.shape[2], x.shape[3], *f.shape)
        ctx.memory_format, ctx.backend, ctx.ops = memory_format(x), backend, ops
        ctx.set_materialize_grads(False)

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        y = UpFirDn2d.launch(*inputs)
        UpFirDn2d.keep(ctx, inputs, y, EAGER)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None) -> tuple[Tensor | None, ...]:
        if ctx.needs_input_grad[1]:
            raise RuntimeError("upfirdn2d: only the reference has a gradient of f")
        if dy is None:
            return (None,) * 13
        dy = dy.contiguous(memory_format=ctx.memory_format)
        return ctx.ops.upfirdn2d(dy, *ctx.saved_tensors, *ctx.adjoint, ctx.backend), *(None,) * 12


# Where the gradient is found in eager mode; under the name it has in torch.ops.stylegan_fast.
EAGER = SimpleNamespace(upfirdn2d=launched_or_applied(UpFirDn2d))
