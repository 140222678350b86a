"""Adaptive instance normalisation with everything around it: the whole layer epilogue of StyleGAN in one op.

    t = x + noise_strength[c] * noise[n,0,h,w] + bias[c]
    a = t if t >= 0 else negative_slope * t
    z = scale[n,c] * (a - mean_hw(a)) / sqrt(var_hw(a) + eps) + shift[n,c]        (biased variance)
    y = z if z >= 0 else output_negative_slope * z

Karras, Laine, Aila 2018 (arXiv 1812.04948), section 2, equation 1 and figure 1b; Huang, Belongie 2017
(arXiv 1703.06868).
All gradients exist to any order; at t = 0 and z = 0 the slope is 1.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stylegan_fast.ops import library
from stylegan_fast.ops.adain_reference import (
    OptionalTensors,
    Slopes,
    adain_gradients_reference,
    adain_reference,
    check_arguments,
)
from stylegan_fast.ops.arguments import acc_dtype, memory_format


def adain(
    x: Tensor,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    *,
    noise: Tensor | None = None,
    noise_strength: Tensor | None = None,
    bias: Tensor | None = None,
    negative_slope: float = 1.0,
    eps: float = 1e-8,
    output_negative_slope: float = 1.0,
) -> Tensor:
    """Adds noise and bias, activates, normalises every plane, scales and shifts it: see the formula above.

    Statistics and sums are fp32, for fp64 inputs fp64. With everything optional left out this is plain instance norm.

    Args:
        x: ``[N, C, H, W]``, any floating dtype, any strides (contiguous and channels_last without a copy).
        scale: ``[N, C]`` or ``[C]``, default 1. StyleGAN passes ``1 + style``.
        shift: ``[N, C]`` or ``[C]``, default 0.
        noise: ``[N, 1, H, W]`` or ``[1, 1, H, W]``; needs noise_strength.
        noise_strength: ``[C]``; needs noise.
        bias: ``[C]``.
        negative_slope: slope of the activation before the normalisation, for negative values; 1 for none.
        eps: added to the variance.
        output_negative_slope: slope of an activation after shift, for negative values; 1 for none, 0 for ReLU.

    Returns:
        ``[N, C, H, W]`` of x's dtype and memory format.

    Raises:
        TypeError, ValueError: an argument of the wrong type, shape or device.
        RuntimeError: the backend named with `use_backend` cannot run this call.
    """
    check_arguments(x, scale, shift, noise, noise_strength, bias)
    backend = library.choose("adain", x, scale, shift, noise, noise_strength, bias)
    slopes = (float(negative_slope), float(eps), float(output_negative_slope))
    if backend == "reference":
        return adain_reference(
            x,
            scale,
            shift,
            noise=noise,
            noise_strength=noise_strength,
            bias=bias,
            negative_slope=negative_slope,
            eps=eps,
            output_negative_slope=output_negative_slope,
        )
    acc = acc_dtype(x.dtype)
    x = x.contiguous(memory_format=memory_format(x))
    scale = _per_plane(scale, x, acc)
    shift = _per_plane(shift, x, acc)
    if noise is not None and noise_strength is not None:
        # One map for all samples becomes a batch stride of 0: no copy.
        noise = noise.to(acc).contiguous().expand(x.shape[0], -1, -1, -1)
        noise_strength = noise_strength.to(acc).contiguous()
    if bias is not None:
        bias = bias.to(acc).contiguous()
    return _AdaIN.apply(x, scale, shift, noise, noise_strength, bias, slopes, backend)


def _per_plane(parameter: Tensor | None, x: Tensor, acc: torch.dtype) -> Tensor | None:
    """As ``[N, C]`` with any strides: half of an ``[N, 2C]`` tensor is read where it lies."""
    return None if parameter is None else parameter.to(acc).expand(x.shape[0], x.shape[1])


def _kernel_arguments(x: Tensor, parameters: OptionalTensors, slopes: Slopes) -> tuple[Any, ...]:
    """The fields of struct AdaIN in csrc/api.h, in order."""
    scale, shift, noise, noise_strength, bias = parameters
    return (
        library.DTYPE_CODES[x.dtype],
        library.LAYOUT_CODES[memory_format(x)],
        *x.shape,
        x.data_ptr(),
        library.address(scale),
        *(scale.stride() if scale is not None else (0, 0)),
        library.address(shift),
        *(shift.stride() if shift is not None else (0, 0)),
        library.address(noise),
        noise.stride(0) if noise is not None else 0,
        library.address(noise_strength),
        library.address(bias),
        *slopes,
    )


class _AdaIN(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        scale: Tensor | None,
        shift: Tensor | None,
        noise: Tensor | None,
        noise_strength: Tensor | None,
        bias: Tensor | None,
        slopes: Slopes,
        backend: str,
    ) -> Tensor:
        parameters = (scale, shift, noise, noise_strength, bias)
        y = torch.empty_like(x)
        mean = torch.empty(x.shape[:2], dtype=acc_dtype(x.dtype), device=x.device)
        rstd = torch.empty_like(mean)
        library.launch(
            backend,
            "adain_forward",
            x,
            *_kernel_arguments(x, parameters, slopes),
            y.data_ptr(),
            mean.data_ptr(),
            rstd.data_ptr(),
        )
        ctx.save_for_backward(x, *parameters, mean, rstd)
        ctx.slopes, ctx.backend = slopes, backend
        ctx.set_materialize_grads(False)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None) -> tuple[Tensor | None, ...]:
        if dy is None:
            return (None,) * 8
        x = ctx.saved_tensors[0]
        dy = dy.contiguous(memory_format=memory_format(x))
        wanted = tuple(ctx.needs_input_grad[:6])
        gradients = _AdaINBackward.apply(dy, *ctx.saved_tensors, ctx.slopes, ctx.backend, wanted)
        return (*gradients, None, None)


class _AdaINBackward(torch.autograd.Function):
    """The gradients of `_AdaIN` as an op of its own, so that they can be differentiated again."""

    @staticmethod
    def forward(
        ctx: Any,
        dy: Tensor,
        x: Tensor,
        scale: Tensor | None,
        shift: Tensor | None,
        noise: Tensor | None,
        noise_strength: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        rstd: Tensor,
        slopes: Slopes,
        backend: str,
        wanted: tuple[bool, ...],
    ) -> OptionalTensors:
        parameters = (scale, shift, noise, noise_strength, bias)
        ctx.save_for_backward(dy, x, *parameters)
        ctx.slopes, ctx.wanted = slopes, wanted
        ctx.set_materialize_grads(False)
        want_x, want_scale, want_shift, want_noise, want_strength, want_bias = wanted

        def partial(asked_for: bool) -> Tensor | None:
            return torch.empty_like(mean) if asked_for else None

        dx = torch.empty_like(x) if want_x else None
        # The reduction over channels reads the two plane sums of all of them.
        dscale, dshift = partial(want_scale or want_noise), partial(want_shift or want_noise)
        dbias, dnoise_strength = partial(want_bias), partial(want_strength)
        dnoise = noise.new_empty(noise.shape) if want_noise and noise is not None else None
        library.launch(
            backend,
            "adain_backward",
            x,
            *_kernel_arguments(x, parameters, slopes),
            *map(library.address, (dy, mean, rstd, dx, dscale, dshift, dbias, dnoise_strength, dnoise)),
        )
        return (
            dx,
            dscale if want_scale else None,
            dshift if want_shift else None,
            dnoise,
            dnoise_strength.sum(0) if dnoise_strength is not None else None,
            dbias.sum(0) if dbias is not None else None,
        )

    @staticmethod
    def backward(ctx: Any, *output_gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        further = torch.is_grad_enabled()
        with torch.enable_grad():
            # Fresh views, so that one tensor passed as two arguments gets the gradient of each.
            inputs: list[Any] = [
                None if t is None else (t.view_as(t) if further and t.requires_grad else t.detach().requires_grad_())
                for t in ctx.saved_tensors
            ]
            dy, x, *parameters = inputs
            gradients = adain_gradients_reference(dy, x, tuple(parameters), ctx.slopes, ctx.wanted)
            pairs = [
                (g, dg) for g, dg in zip(gradients, output_gradients, strict=True) if g is not None and dg is not None
            ]
            asked_for = [t for t, needed in zip(inputs, ctx.needs_input_grad, strict=False) if needed and t is not None]
            if not pairs or not asked_for:
                return (None,) * 12
            second = iter(
                torch.autograd.grad(
                    [g for g, _ in pairs],
                    asked_for,
                    [dg for _, dg in pairs],
                    create_graph=further,
                    allow_unused=True,
                )
            )
        found = [
            next(second) if needed and t is not None else None
            for t, needed in zip(inputs, ctx.needs_input_grad, strict=False)
        ]
        return (*found, None, None, None, None, None)
