"""Adaptive instance normalisation with everything around it: the whole layer epilogue of StyleGAN in one op.

    u[n,c,i,j] = x[n,c,i,j], or with `phases` x[n, (2*(i%2) + j%2)*C + c, (i+1)//2, (j+1)//2]
    v = u, or with `blur` u correlated with outer([1,2,1], [1,2,1]) / 16, zeros beyond the border
    t = v + noise_strength[c] * noise[n,0,h,w] + bias[c]
    a = t if t >= 0 else negative_slope * t
    z = scale[n,c] * (a - mean_hw(a)) / sqrt(var_hw(a) + eps) + shift[n,c]        (biased variance)
    y = z if z >= 0 else output_negative_slope * z

Karras, Laine, Aila 2018 (arXiv 1812.04948), section 2, equation 1 and figure 1b; Huang, Belongie 2017
(arXiv 1703.06868).
All gradients exist to any order; at t = 0 and z = 0 the slope is 1.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from stylegan_fast.ops import library
from stylegan_fast.ops.adain_arguments import as_kernels_take_them, drawn, kernel_arguments
from stylegan_fast.ops.adain_reference import (
    Formula,
    check_arguments,
    results_reference,
    wanted_gradients_reference,
)
from stylegan_fast.ops.arguments import acc_dtype, memory_format
from stylegan_fast.ops.derivatives import differentiate, launched_or_applied
from stylegan_fast.ops.subpixel import interleave_phases, plane_shape
from stylegan_fast.ops.upfirdn2d import filter2d


def adain(
    x: Tensor,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    *,
    noise: Tensor | None = None,
    noise_strength: Tensor | None = None,
    bias: Tensor | None = None,
    noise_seed: Tensor | None = None,
    negative_slope: float = 1.0,
    eps: float = 1e-8,
    output_negative_slope: float = 1.0,
    phases: bool = False,
    blur: bool = False,
) -> Tensor:
    """Adds noise and bias, activates, normalises every plane, scales and shifts it: see the formula above.

    Statistics and sums are fp32, for fp64 inputs fp64. With everything optional left out this is plain instance norm.

    Args:
        x: ``[N, C, H, W]``, with `phases` ``[N, 4 * C, H / 2 + 1, W / 2 + 1]``; any floating dtype, any strides
            (contiguous and channels_last without a copy).
        scale: ``[N, C]`` or ``[C]``, default 1. StyleGAN passes ``1 + style``.
        shift: ``[N, C]`` or ``[C]``, default 0.
        noise: ``[N, 1, H, W]`` or ``[1, 1, H, W]``; needs noise_strength.
        noise_strength: ``[C]``; needs noise or noise_seed.
        bias: ``[C]``.
        noise_seed: int64 ``[N]``, or ``[1]`` for one map for all samples: the noise is ``philox_normal(noise_seed, H,
            W)``, drawn here and drawn again in the backward; what is kept for the backward is the seeds.
        negative_slope: slope of the activation before the normalisation, for negative values; 1 for none.
        eps: added to the variance.
        output_negative_slope: slope of an activation after shift, for negative values; 1 for none, 0 for ReLU.
        phases: x holds the phases of an image of twice its size, as a 2x2 convolution with padding 1 makes them
            instead of a 3x3 convolution of an enlarged image; see `subpixel`.
        blur: x is blurred first. Neither this nor `phases` costs a pass over memory, and neither is rounded to x's
            dtype in between.

    Returns:
        ``[N, C, H, W]`` of x's dtype and memory format.

    Raises:
        TypeError, ValueError: an argument of the wrong type, shape or device.
        RuntimeError: the backend named with `use_backend` cannot run this call.
    """
    formula = Formula(float(negative_slope), float(eps), float(output_negative_slope), bool(phases), bool(blur))
    way = ""
    if noise_seed is None and formula.eps >= 0:
        way = library.ready("adain_takes", x, scale, shift, noise, noise_strength, bias, formula.phases)
    if not way:
        check_arguments(x, scale, shift, noise, noise_strength, bias, noise_seed, formula)
        way = library.choose("adain", x, scale, shift, noise, noise_strength, bias, noise_seed)
        if way == "reference":
            return results_reference(x, (scale, shift, noise, noise_strength, bias, noise_seed), formula)[0]
        x = x.contiguous(memory_format=memory_format(x))
        scale, shift, noise, noise_strength, bias = as_kernels_take_them(
            x, scale, shift, noise, noise_strength, bias, formula
        )
    if _is_better_read_first(x, formula):
        x, formula = _read_first(x, formula), formula._replace(phases=False, blur=False)
    if way == "dispatcher":
        op = torch.ops.stylegan_fast.adain
        return op(x, scale, shift, noise, noise_strength, bias, noise_seed, *formula, library.current_backend())[0]
    inputs = (x, scale, shift, noise, noise_strength, bias, noise_seed, *formula, way)
    return AdaIN.apply(*inputs) if torch.is_grad_enabled() else AdaIN.launch_for_y(*inputs)


# Contiguous planes beyond this are held by no block of CUDA's kernels that read through phases and blur.
_READ_ON_THE_WAY = 128 * 128


def _is_better_read_first(x: Tensor, formula: Formula) -> bool:
    """Whether passes of their own for phases and blur cost less than reading through them.

    On an H100 in fp32, 1024 x 1024, reading through a blur ran at 12 % of the speed of a copy, forward and backward,
    the blur alone at 98 %, and the plain epilogue at 58 %. Only in fp32, where v has as many digits outside as inside.
    """
    if not (formula.phases or formula.blur) or not x.is_cuda or x.dtype != torch.float32:
        return False
    if memory_format(x) != torch.contiguous_format:
        return False
    _, _, h, w = plane_shape(x, formula.phases)
    return bool(h * w > _READ_ON_THE_WAY)


def _read_first(x: Tensor, formula: Formula) -> Tensor:
    """v of the formula."""
    u = interleave_phases(x) if formula.phases else x
    if not formula.blur:
        return u
    # [1, 2, 1] / 4, made on the device: a copy to it would wait, and could not be captured.
    taps = (2 - torch.arange(-1, 2, device=x.device).abs()) / 4
    return filter2d(u, torch.outer(taps, taps))


def _empty_image(x: Tensor, phases: bool) -> Tensor:
    if not phases:
        return torch.empty_like(x)
    shape = plane_shape(x, phases)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=memory_format(x))


def empty_results(x: Tensor, phases: bool) -> tuple[Tensor, Tensor]:
    """y and the statistics ``[2, N, C]``, mean (relative to the plane's first activation) and rstd, without values."""
    # One allocation for both statistics: on small planes allocations are most of the time.
    n, c, _, _ = plane_shape(x, phases)
    return _empty_image(x, phases), x.new_empty(2, n, c, dtype=acc_dtype(x.dtype))


class AdaIN(torch.autograd.Function):
    """The arguments of `forward` and `launch` are those of the op ``stylegan_fast::adain``, with a compiled backend.

    x is dense and the others are as `adain` leaves them.
    """

    @staticmethod
    def launch(x: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
        y, statistics = empty_results(x, others[9])
        AdaIN._launch_into(y, statistics, x, *others)
        return y, statistics

    @staticmethod
    def launch_for_y(x: Tensor, *others: Any) -> Tensor:
        """Without the statistics, which only CUDA kernels have to write in any case."""
        if x.is_cuda:
            return AdaIN.launch(x, *others)[0]
        y = _empty_image(x, others[9])
        AdaIN._launch_into(y, None, x, *others)
        return y

    @staticmethod
    def _launch_into(y: Tensor, statistics: Tensor | None, x: Tensor, *others: Any) -> None:
        formula, backend = Formula(*others[6:11]), others[11]
        parameters = drawn(x, others[:6], formula, backend)
        library.launch(backend, "adain_forward", x, *kernel_arguments(x, parameters, formula, y, statistics))

    @staticmethod
    def keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor], ops: Any) -> None:
        ctx.save_for_backward(*inputs[:7], output[1])
        ctx.formula, ctx.backend, ctx.ops = Formula(*inputs[7:12]), inputs[12], ops
        ctx.set_materialize_grads(False)

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        output = AdaIN.launch(*inputs)
        AdaIN.keep(ctx, inputs, output, _EAGER)
        return output[0]

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        if dy is None:
            return (None,) * 13
        saved, wanted = ctx.saved_tensors, ctx.needs_input_grad[:6]  # activation checkpoints hand them out once
        dy = dy.contiguous(memory_format=memory_format(saved[0]))
        found = iter(ctx.ops.adain_backward(dy, *saved, *ctx.formula, wanted, ctx.backend))
        return (*(next(found) if want else None for want in wanted), *(None,) * 7)


class AdaINBackward(torch.autograd.Function):
    """The gradients of `AdaIN` as an op of its own, so that they can be differentiated again."""

    @staticmethod
    def launch(dy: Tensor, x: Tensor, *others: Any) -> list[Tensor]:
        """The gradients of those of x, scale, shift, noise, noise_strength and bias that are wanted."""
        statistics, formula = others[6], Formula(*others[7:12])
        wanted, backend = others[12:]
        parameters = drawn(x, others[:6], formula, backend)
        want_x, want_scale, want_shift, want_noise, want_strength, want_bias = wanted

        n, c = statistics.shape[1:]

        def room(asked_for: bool, *shape: int) -> Tensor | None:
            # Numbers are unpacked in two thirds of the time that a tuple of them takes.
            return statistics.new_empty(*shape) if asked_for else None

        dx = torch.empty_like(x) if want_x else None
        # The reduction over channels reads the two plane sums of all of them.
        dscale, dshift = room(want_scale or want_noise, n, c), room(want_shift or want_noise, n, c)
        dbias, dnoise_strength = room(want_bias, c), room(want_strength, c)
        plane_sums = room(want_bias or want_strength, 2, n, c)
        dnoise = room(want_noise, n, 1, *dy.shape[2:])
        buffers = (dx, dscale, dshift, dbias, dnoise_strength, dnoise, plane_sums)
        arguments = kernel_arguments(x, parameters, formula, dy, statistics, *buffers)
        library.launch(backend, "adain_backward", x, *arguments)
        gradients = (dx, dscale, dshift, dnoise, dnoise_strength, dbias)
        return [g for g, want in zip(gradients, wanted, strict=True) if g is not None and want]

    @staticmethod
    def keep(ctx: Any, inputs: tuple[Any, ...], output: Any, ops: Any) -> None:
        ctx.save_for_backward(*inputs[:8])
        ctx.formula, ctx.wanted = Formula(*inputs[9:14]), inputs[14]
        ctx.set_materialize_grads(False)

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, ...]:
        output = AdaINBackward.launch(*inputs)
        AdaINBackward.keep(ctx, inputs, output, _EAGER)
        return tuple(output)

    @staticmethod
    def backward(ctx: Any, *output_gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        def formula(dy: Tensor, x: Tensor, *parameters: Tensor | None) -> list[Tensor]:
            return wanted_gradients_reference(dy, x, parameters, ctx.formula, ctx.wanted)

        found = differentiate(formula, ctx.saved_tensors, ctx.needs_input_grad, output_gradients)
        return (*found, *(None,) * 8)


# Where the next order of derivatives is found in eager mode; under the name it has in torch.ops.stylegan_fast.
_EAGER = SimpleNamespace(adain_backward=launched_or_applied(AdaINBackward))
