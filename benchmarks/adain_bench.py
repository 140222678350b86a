"""``python benchmarks/adain_bench.py``: speed of adain, StyleGAN's whole layer epilogue in one op."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from harness.benchmark import Benchmark, Case, Function, Setting
from harness.command import command
from harness.shapes import Shape, layer_shape
from torch import Tensor

from stylegan_fast.command import run
from stylegan_fast.ops import adain

EPS = 1e-8
SLOPE = 0.2


def _ours(x: Tensor, scale: Tensor, shift: Tensor, noise: Tensor, noise_strength: Tensor, bias: Tensor) -> Tensor:
    return adain(x, scale, shift, noise=noise, noise_strength=noise_strength, bias=bias, negative_slope=SLOPE, eps=EPS)


def _activated(x: Tensor, noise: Tensor, noise_strength: Tensor, bias: Tensor) -> Tensor:
    return F.leaky_relu(x + noise_strength[:, None, None] * noise + bias[:, None, None], SLOPE)


def _instance_norm(
    x: Tensor, scale: Tensor, shift: Tensor, noise: Tensor, noise_strength: Tensor, bias: Tensor
) -> Tensor:
    """As ports of StyleGAN write it."""
    normalised = F.instance_norm(_activated(x, noise, noise_strength, bias), eps=EPS)
    return normalised * scale[:, :, None, None] + shift[:, :, None, None]


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


def _functions(setting: Setting) -> dict[str, list[Function]]:
    if setting.layout == "channels_last":
        return {
            "ours": [_ours],
            "eager": [_instance_norm_laid_out, _two_means],
            "compile": [_variance, _two_means],
        }
    return {"ours": [_ours], "eager": [_instance_norm], "compile": [_instance_norm, _variance]}


def _parameters(x: Shape) -> list[tuple[tuple[int, ...], bool]]:
    n, c, h, w = x
    return [((n, c), True), ((n, c), True), ((n, 1, h, w), False), ((c,), True), ((c,), True)]


EPILOGUE = Case(
    title="noise + bias + leaky ReLU + instance norm + style, gradients of all but the noise",
    x_shape=layer_shape,
    y_shape=layer_shape,
    parameters=_parameters,
    functions=_functions,
)
BENCHMARK = Benchmark("adain", {"epilogue": EPILOGUE}, default_cases=("epilogue",))
main = command(BENCHMARK)

if __name__ == "__main__":
    run(main, keep_memory=False)  # that is --memory
