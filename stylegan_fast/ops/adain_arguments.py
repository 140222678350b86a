"""What `adain`'s compiled kernels are called with."""

from __future__ import annotations

import functools
from typing import Any

from torch import Tensor

from stylegan_fast.ops import library
from stylegan_fast.ops.adain_reference import Formula, OptionalTensors, with_noise
from stylegan_fast.ops.arguments import acc_dtype, memory_format, of_dtype
from stylegan_fast.ops.philox import PhiloxNormal
from stylegan_fast.ops.subpixel import plane_shape


def as_kernels_take_them(
    x: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    noise: Tensor | None,
    noise_strength: Tensor | None,
    bias: Tensor | None,
    formula: Formula,
) -> OptionalTensors:
    """All but x in the accumulation dtype; scale and shift as ``[N, C]`` with any strides, as half of an ``[N, 2C]``
    tensor is read where it lies; the others dense, one noise map for all samples with a batch stride of 0."""
    acc = acc_dtype(x.dtype)
    n, c, _, _ = plane_shape(x, formula.phases)
    if scale is not None:
        scale = of_dtype(scale, acc)
        scale = scale if scale.ndim == 2 else scale.expand(n, c)
    if shift is not None:
        shift = of_dtype(shift, acc)
        shift = shift if shift.ndim == 2 else shift.expand(n, c)
    if noise is not None:
        noise = of_dtype(noise, acc).contiguous()
        if noise.shape[0] != n:
            noise = noise.expand(n, -1, -1, -1)
    if noise_strength is not None:
        noise_strength = of_dtype(noise_strength, acc).contiguous()
    if bias is not None:
        bias = of_dtype(bias, acc).contiguous()
    return scale, shift, noise, noise_strength, bias


def drawn(x: Tensor, parameters: OptionalTensors, formula: Formula, backend: str) -> OptionalTensors:
    """The parameters with noise for its seed. The map is held by whoever launches a kernel with its address."""
    if parameters[5] is None:
        return parameters[:5]
    return with_noise(x, parameters, formula, functools.partial(PhiloxNormal.launch, backend=backend))


def kernel_arguments(
    x: Tensor, parameters: OptionalTensors, formula: Formula, *others: Tensor | None
) -> tuple[Any, ...]:
    """The fields of struct AdaIN in csrc/api.h, in order, and the other tensors."""
    if library.reads_tensors:
        return (x, *parameters, *formula, *others)
    scale, shift, noise, noise_strength, bias = parameters
    return (
        library.DTYPE_CODES[x.dtype],
        library.LAYOUT_CODES[memory_format(x)],
        *plane_shape(x, formula.phases),
        formula.phases,
        formula.blur,
        x.data_ptr(),
        library.address(scale),
        *(scale.stride() if scale is not None else (0, 0)),
        library.address(shift),
        *(shift.stride() if shift is not None else (0, 0)),
        library.address(noise),
        noise.stride(0) if noise is not None else 0,
        library.address(noise_strength),
        library.address(bias),
        *formula[:3],
        *map(library.address, others),
    )
