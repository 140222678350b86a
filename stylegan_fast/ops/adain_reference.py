"""The formula of `adain` and of its gradients in plain PyTorch: the reference every compiled kernel is held against.

The compiled kernels' second and higher derivatives are taken from the gradient formula here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from stylegan_fast.ops.arguments import (
    acc_dtype,
    check_image,
    check_parameter,
    check_seed,
    memory_format,
    wrong_value,
)
from stylegan_fast.ops.philox import philox_normal_reference
from stylegan_fast.ops.subpixel import plane_shape, read_through, read_through_adjoint

OptionalTensors = tuple[Tensor | None, ...]


class Formula(NamedTuple):
    """The arguments of `adain` that are no tensors, in the order in which the registered ops have them."""

    negative_slope: float = 1.0
    eps: float = 1e-8
    output_negative_slope: float = 1.0
    phases: bool = False
    blur: bool = False


def adain_reference(
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
    """`adain` in plain PyTorch: arguments, result and errors are the same."""
    formula = Formula(negative_slope, eps, output_negative_slope, phases, blur)
    check_arguments(x, scale, shift, noise, noise_strength, bias, noise_seed, formula)
    return results_reference(x, (scale, shift, noise, noise_strength, bias, noise_seed), formula)[0]


def results_reference(x: Tensor, parameters: OptionalTensors, formula: Formula) -> tuple[Tensor, Tensor]:
    """y, and as the kernels keep it for the backward ``[2, N, C]``: the mean, relative to the plane's first activation,
    and rstd."""
    scale, shift, noise, noise_strength, bias = with_noise(x, parameters, formula, philox_normal_reference)
    acc = acc_dtype(x.dtype)
    a = _activate(_before_activation(x, noise, noise_strength, bias, formula), formula.negative_slope)
    z, mean, rstd = _normalise(a, formula.eps)
    if scale is not None:
        z = z * scale.to(acc)[..., None, None]
    if shift is not None:
        z = z + shift.to(acc)[..., None, None]
    y = _activate(z, formula.output_negative_slope).to(x.dtype)
    return y.contiguous(memory_format=memory_format(x)), torch.stack([mean, rstd]).flatten(2)


def with_noise(
    x: Tensor, parameters: OptionalTensors, formula: Formula, draw: Callable[[Tensor, int, int], Tensor]
) -> OptionalTensors:
    """scale, shift, noise, noise_strength and bias, the noise drawn where its seed came instead; ``draw`` is
    `philox_normal` on one backend."""
    scale, shift, noise, noise_strength, bias, seed = parameters
    if seed is not None:
        n, _, h, w = plane_shape(x, formula.phases)
        noise = draw(seed, h, w).to(acc_dtype(x.dtype)).expand(n, -1, -1, -1)
    return scale, shift, noise, noise_strength, bias


def _before_activation(
    x: Tensor, noise: Tensor | None, noise_strength: Tensor | None, bias: Tensor | None, formula: Formula
) -> Tensor:
    acc = acc_dtype(x.dtype)
    t = read_through(x.to(acc), formula.phases, formula.blur)
    if noise is not None and noise_strength is not None:
        t = t + noise_strength.to(acc)[:, None, None] * noise.to(acc)
    if bias is not None:
        t = t + bias.to(acc)[:, None, None]
    return t


def _activate(t: Tensor, negative_slope: float) -> Tensor:
    # Not leaky_relu, whose slope at 0 is the negative one.
    return t if negative_slope == 1 else torch.where(t >= 0, t, t * negative_slope)


def _normalise(a: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Returns (a - mean) / sqrt(var + eps), the mean less the first activation, and 1 / sqrt(var + eps)."""
    # Relative to one of its own values a constant plane is exactly 0, and so is its mean: with rstd = 1/sqrt(eps) = 1e4
    # the rounding of a plain mean would be the whole output. The pivot cancels, so it needs no gradient.
    pivot = a.detach().flatten(2)[..., :1, None]
    centred = a - pivot
    mean = centred.mean((2, 3), keepdim=True)
    centred = centred - mean
    rstd = (centred.square().mean((2, 3), keepdim=True) + eps).rsqrt()
    return centred * rstd, mean, rstd


def wanted_gradients_reference(
    dy: Tensor, x: Tensor, parameters: OptionalTensors, formula: Formula, wanted: Sequence[bool]
) -> list[Tensor]:
    """Those wanted of the gradients of x, scale, shift, noise, noise_strength and bias, in plain PyTorch,
    differentiable in all arguments.

    dz = dy * (1 if z >= 0 else output_negative_slope),  s = normalised plane
    da = rstd * scale * (dz - mean_hw(dz) - s * mean_hw(dz * s)),  dt = da * (1 if t >= 0 else negative_slope)
    dx = dt taken back through blur and phases,  dscale = sum_hw(dz * s),  dshift = sum_hw(dz),
    dnoise = sum_c(dt * noise_strength),  dnoise_strength = sum_nhw(dt * noise),  dbias = sum_nhw(dt)
    """
    scale, shift, noise, noise_strength, bias = with_noise(x, parameters, formula, philox_normal_reference)
    negative_slope, eps, output_negative_slope, phases, blur = formula
    want_x, want_scale, want_shift, want_noise, want_strength, want_bias = wanted
    t = _before_activation(x, noise, noise_strength, bias, formula)
    normalised, _, rstd = _normalise(_activate(t, negative_slope), eps)
    dz = dy.to(t.dtype)
    if output_negative_slope != 1:
        z = normalised if scale is None else normalised * scale[..., None, None]
        z = z if shift is None else z + shift[..., None, None]
        dz = torch.where(z >= 0, dz, dz * output_negative_slope)
    projection = dz * normalised
    da = (dz - dz.mean((2, 3), keepdim=True) - normalised * projection.mean((2, 3), keepdim=True)) * rstd
    if scale is not None:
        da = da * scale[..., None, None]
    dt = da if negative_slope == 1 else torch.where(t >= 0, da, da * negative_slope)
    gradients = (
        read_through_adjoint(dt, phases, blur).to(x.dtype) if want_x else None,
        projection.sum((2, 3)) if want_scale else None,
        dz.sum((2, 3)) if want_shift else None,
        (dt * noise_strength[:, None, None]).sum(1, keepdim=True)
        if want_noise and noise_strength is not None
        else None,
        (dt * noise).sum((0, 2, 3)) if want_strength and noise is not None else None,
        dt.sum((0, 2, 3)) if want_bias else None,
    )
    return [g for g in gradients if g is not None]


def check_arguments(
    x: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    noise: Tensor | None,
    noise_strength: Tensor | None,
    bias: Tensor | None,
    noise_seed: Tensor | None,
    formula: Formula,
) -> None:
    check_image("adain", x)
    if formula.phases and (x.shape[1] % 4 or x.shape[2] < 1 or x.shape[3] < 1):
        raise wrong_value("adain", "x", x, "with phases [N, 4 * C, H / 2 + 1, W / 2 + 1]")
    n, c, h, w = plane_shape(x, formula.phases)
    for name, parameter in (("scale", scale), ("shift", shift)):
        check_parameter("adain", name, parameter, x)
        # Not compared with a shape of another length: in an exported program that would keep N from being C.
        if parameter is not None and parameter.shape != ((n, c) if parameter.ndim == 2 else (c,)):
            raise wrong_value("adain", name, parameter, f"[N, C] = [{n}, {c}] or [C] = [{c}]")
    for name, parameter in (("noise_strength", noise_strength), ("bias", bias)):
        check_parameter("adain", name, parameter, x)
        if parameter is not None and parameter.shape != (c,):
            raise wrong_value("adain", name, parameter, f"[C] = [{c}]")
    check_parameter("adain", "noise", noise, x)
    if noise is not None and noise.shape != (1, 1, h, w) and noise.shape != (n, 1, h, w):
        raise wrong_value("adain", "noise", noise, f"[N, 1, H, W] = [{n}, 1, {h}, {w}] or [1, 1, {h}, {w}]")
    if noise_seed is not None:
        check_seed("adain", "noise_seed", noise_seed)
        if noise_seed.device != x.device:
            raise wrong_value("adain", "noise_seed", noise_seed.device, f"on {x.device}, where x is")
        if noise_seed.shape != (1,) and noise_seed.shape != (n,):
            raise wrong_value("adain", "noise_seed", noise_seed, f"[N] = [{n}] or [1]")
        if noise is not None:
            raise ValueError("adain: noise and noise_seed were both given, expected at most one of them")
    source = "noise" if noise_seed is None else "noise_seed"
    if (noise is None and noise_seed is None) != (noise_strength is None):
        given, missing = (source, "noise_strength") if noise_strength is None else ("noise_strength", "noise")
        raise ValueError(f"adain: {missing} must be given together with {given}, got None")
    if not formula.eps >= 0:
        raise wrong_value("adain", "eps", formula.eps, "at least 0")
