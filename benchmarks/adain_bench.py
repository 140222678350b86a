"""``python benchmarks/adain_bench.py``: speed of adain, StyleGAN's whole layer epilogue in one op."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
import torch.nn.functional as F
from harness.benchmark import Benchmark, Case, Function, Setting
from harness.command import command
from harness.shapes import Shape, layer_shape
from torch import Tensor

from stylegan_fast.command import run
from stylegan_fast.ops import adain
from stylegan_fast.ops.subpixel import interleave_phases

EPS = 1e-8
SLOPE = 0.2


def _ours(
    x: Tensor, scale: Tensor, shift: Tensor, noise: Tensor, noise_strength: Tensor, bias: Tensor, **how: bool
) -> Tensor:
    parameters = {"noise": noise, "noise_strength": noise_strength, "bias": bias}
    return adain(x, scale, shift, **parameters, negative_slope=SLOPE, eps=EPS, **how)


def _activated(x: Tensor, noise: Tensor, noise_strength: Tensor, bias: Tensor) -> Tensor:
    return F.leaky_relu(x + noise_strength[:, None, None] * noise + bias[:, None, None], SLOPE)


def _instance_norm(
    x: Tensor, scale: Tensor, shift: Tensor, noise: Tensor, noise_strength: Tensor, bias: Tensor
) -> Tensor:
    """As ports of StyleGAN write it."""
    normalised = F.instance_norm(_activated(x, noise, noise_strength, bias), eps=EPS)
    return (normalised * scale[:, :, None, None] + shift[:, :, None, None]).to(x.dtype)


def _instance_norm_laid_out(x: Tensor, *rest: Tensor) -> Tensor:
    """F.instance_norm returns contiguous memory whatever it is given; the next layer wants x's layout."""
    return _instance_norm(x, *rest).contiguous(memory_format=torch.channels_last)


def _variance(x: Tensor, scale: Tensor, shift: Tensor, noise: Tensor, noise_strength: Tensor, bias: Tensor) -> Tensor:
    """The formula in operations that keep the layout; statistics in fp32, as F.instance_norm has them."""
    a = _activated(x, noise, noise_strength, bias).float()
    var, mean = torch.var_mean(a, (2, 3), correction=0, keepdim=True)
    gain = scale[:, :, None, None] * (var + EPS).rsqrt()
    return ((a - mean) * gain + shift[:, :, None, None]).to(x.dtype)


def _two_means(x: Tensor, scale: Tensor, shift: Tensor, noise: Tensor, noise_strength: Tensor, bias: Tensor) -> Tensor:
    """The same with plain means, which eager PyTorch and the compiler sometimes turn into faster loops."""
    a = _activated(x, noise, noise_strength, bias).float()
    centred = a - a.mean((2, 3), keepdim=True)
    gain = scale[:, :, None, None] * (centred.square().mean((2, 3), keepdim=True) + EPS).rsqrt()
    return (centred * gain + shift[:, :, None, None]).to(x.dtype)


def _blurred(x: Tensor) -> Tensor:
    taps = torch.tensor([1.0, 2.0, 1.0], dtype=x.dtype, device=x.device) / 4
    return F.conv2d(x, torch.outer(taps, taps).expand(x.shape[1], 1, 3, 3), padding=1, groups=x.shape[1])


def _read_through(read: Callable[[Tensor], Tensor], **how: bool) -> Callable[[Setting], dict[str, list[Function]]]:
    """The epilogue of an image that is first made by `read`, which ours does where it loads."""

    def ours(x: Tensor, *parameters: Tensor) -> Tensor:
        return _ours(x, *parameters, **how)

    def after(epilogue: Function) -> Function:
        return lambda x, *parameters: epilogue(read(x), *parameters)

    def functions(setting: Setting) -> dict[str, list[Function]]:
        found = {name: [after(way) for way in ways] for name, ways in _functions(setting).items()}
        return found | {"ours": [ours]}

    return functions


def _phases(resolution: int, batch: int) -> Shape:
    n, c, h, w = layer_shape(resolution, batch)
    return n, 4 * c, h // 2 + 1, w // 2 + 1


def _parameters_of_phases(x: Shape) -> list[tuple[tuple[int, ...], bool]]:
    n, c, h, w = x
    return _parameters((n, c // 4, 2 * (h - 1), 2 * (w - 1)))


def _in_low_precision(way: Function) -> Function:
    """With parameters rounded to x's dtype first, or eager PyTorch would go on in fp32, at twice the bytes."""
    return lambda x, *parameters: way(x, *(parameter.to(x.dtype) for parameter in parameters))


def _functions(setting: Setting) -> dict[str, list[Function]]:
    if setting.layout == "channels_last":
        eager, compiled = [_instance_norm_laid_out, _two_means], [_variance, _two_means]
    else:
        eager, compiled = [_instance_norm], [_instance_norm, _variance]
    if setting.dtype != "fp32":
        eager = [_in_low_precision(way) for way in eager]
    return {"ours": [_ours], "eager": eager, "compile": compiled}


def _parameters(x: Shape) -> list[tuple[tuple[int, ...], bool]]:
    n, c, h, w = x
    return [((n, c), True), ((n, c), True), ((n, 1, h, w), False), ((c,), True), ((c,), True)]


EPILOGUE = Case(
    title="noise + bias + leaky ReLU + instance norm + style, gradients of all but the noise",
    x_shape=layer_shape,
    y_shape=layer_shape,
    parameters=_parameters,
    functions=_functions,
    parameter_dtype=torch.float32,  # as a network's styles, noise and biases are, whatever its features
)
BLURRED = dataclasses.replace(
    EPILOGUE, title="the same of x blurred with [1,2,1]", functions=_read_through(_blurred, blur=True)
)
UP = Case(
    title="the same of an up-convolution's phases, interleaved and blurred",
    x_shape=_phases,
    y_shape=layer_shape,
    parameters=_parameters_of_phases,
    functions=_read_through(lambda x: _blurred(interleave_phases(x)), phases=True, blur=True),
    smallest=8,
)
BENCHMARK = Benchmark("adain", {"epilogue": EPILOGUE, "blurred": BLURRED, "up": UP}, default_cases=("epilogue",))
main = command(BENCHMARK)

if __name__ == "__main__":
    run(main, keep_memory=False)  # that is --memory
