"""What every layer of the official networks passes on, step by step, taken from the modules that compute the images."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from stylegan_fast.layers import Blur, EqualConv2d, FusedLeakyReLU, NoiseInjection, Upsample
from stylegan_fast.models import Generator
from stylegan_fast.models.convolution import DownConv2d
from stylegan_fast.models.synthesis import SynthesisLayer
from stylegan_fast.ops.adain import adain
from tests import golden_data as golden

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
Calls = dict[nn.Module, tuple[tuple[Any, ...], Tensor]]
LAYERS = {"Const": "layer0", "Conv": "layer1", "Conv0_up": "layer0", "Conv1": "layer1"}
BLOCK_LAYERS = {"Conv0": "conv0", "Conv1_down": "conv1", "Conv": "conv", "Dense0": "fc", "Dense1": "out"}


def calls_of(network: nn.Module, run: Callable[[], Any]) -> Calls:
    """The arguments and the result of every module that `run` calls."""
    calls: Calls = {}
    hooks = [
        module.register_forward_hook(lambda module, args, out: calls.__setitem__(module, (args, out)))
        for module in network.modules()
    ]
    with torch.no_grad():
        run()
    for hook in hooks:
        hook.remove()
    return calls


def dense_step(layer: nn.Module, step: str, x: Tensor) -> Tensor:
    """A step of a convolution or dense layer with bias and leaky ReLU."""
    if step in ("dense", "conv2d", "conv2d_downscale2d"):
        return layer.convolve(x) if isinstance(layer, EqualConv2d) else layer.project(x)
    if step == "apply_bias":
        y = dense_step(layer, "conv2d", x)
        return y + layer.scaled_bias().view(-1, *[1] * (y.ndim - 2))
    assert step == "leaky_relu"
    return layer(x)


def epilogue_step(layer: SynthesisLayer, step: str, calls: Calls) -> Tensor:
    """A step of the fused epilogue, done alone on the same input with the same parameters."""
    epilogue = layer.epilogue
    (x, w, noise), out = calls[epilogue]
    if epilogue.blur:
        x = Blur().to(x.dtype)(x)
    inject = NoiseInjection(epilogue.channels)
    inject.strength = epilogue.noise_strength
    noisy = inject(x, noise)
    if step == "apply_noise":
        return noisy
    if step == "apply_bias":
        return noisy + epilogue.bias[:, None, None]
    if step == "leaky_relu":
        activate = FusedLeakyReLU(epilogue.channels, gain=1)
        activate.bias = epilogue.bias
        return activate(noisy)
    if step == "instance_norm":
        return adain(
            x, noise=noise, noise_strength=epilogue.noise_strength, bias=epilogue.bias, negative_slope=0.2, eps=1e-8
        )
    if step == "StyleMod/dense":
        return epilogue.affine.project(w)
    if step == "StyleMod/apply_bias":
        return epilogue.affine(w)
    assert step == "style_mod"
    return out


def three_by_three(layer: EqualConv2d, x: Tensor) -> Tensor:
    """The convolution alone of a layer that computes it together with a change of resolution."""
    return functional.conv2d(x, layer.scaled_weight().to(x.dtype), padding=1)


def synthesis_activation(network: Generator, key: str, calls: Calls) -> Tensor:
    synthesis = network.synthesis
    if match := re.fullmatch(r"ToRGB_lod(\d+)/(\w+)", key):
        block = synthesis.block(network.img_resolution >> int(match[1]))
        features = calls[block][1]
        return block.to_rgb.convolve(features) if match[2] == "conv2d" else block.to_rgb(features)
    if match := re.fullmatch(r"upscale2d(?:#(\d))?", key):  # the images of 4x4, 8x8, ... at double size
        block = synthesis.block(2 << int(match[1] or 1))
        return synthesis.up(block.to_rgb(calls[block][1]))
    match = re.fullmatch(r"(\d+)x\d+/(\w+?)/(.+)", key)
    assert match
    layer = synthesis.block(int(match[1])).get_submodule(LAYERS[match[2]])
    step = match[3]
    if match[2] == "Conv0_up" and step in ("upscale2d", "conv2d", "upscale2d_conv2d", "blur2d"):
        (x,), convolved = calls[layer.conv]
        enlarged = Upsample().to(x.dtype)(x)
        if step == "upscale2d":
            return enlarged
        if step == "blur2d":
            return Blur().to(x.dtype)(convolved)
        return convolved if step == "upscale2d_conv2d" else three_by_three(layer.conv, enlarged)
    if step == "conv2d":
        return calls[layer.conv][1]
    return epilogue_step(layer, step, calls)


def mapping_activation(network: Generator, key: str, calls: Calls) -> Tensor:
    if key == "pixel_norm":
        return calls[network.mapping.norm][1]
    match = re.fullmatch(r"Dense(\d+)/(\w+)", key)
    assert match
    layer = network.mapping.get_submodule(f"fc{match[1]}")
    (x,), out = calls[layer]
    return out if match[2] == "leaky_relu" else dense_step(layer, match[2], x)


@DTYPES
@pytest.mark.parametrize("name", ["generator_r64", "generator_cond_r32", "generator_r256"])
def test_generator_activations_equal_official(name: str, dtype: torch.dtype, backend: str) -> None:
    network = golden.generator(name, dtype)
    z, c = golden.tensor(name, "in/z", dtype), golden.labels(name, dtype)
    calls = calls_of(network.mapping, lambda: network.mapping(z, c))
    ws = golden.tensor(name, "out/dlatents_broadcast", dtype)[:1]
    calls |= calls_of(network.synthesis, lambda: network.synthesis(ws, lod=0.0, noise_mode="const"))
    arrays = golden.under(name, "act/")
    assert arrays
    for key, array in arrays.items():
        part, _, rest = key.partition("/")
        activation = mapping_activation if part == "G_mapping" else synthesis_activation
        golden.assert_matches(activation(network, rest, calls), array, golden.FORWARD[dtype], f"{name} {key}")


@DTYPES
@pytest.mark.parametrize("name", ["discriminator_r64", "discriminator_cond_r32", "discriminator_r256"])
def test_discriminator_activations_equal_official(name: str, dtype: torch.dtype, backend: str) -> None:
    network = golden.discriminator(name, dtype)
    images, c = golden.tensor(name, "in/images", dtype), golden.labels(name, dtype)
    calls = calls_of(network, lambda: network(images, c, 0.0))
    pyramid = [images]
    while pyramid[-1].shape[2] > 4:
        pyramid.append(network.down(pyramid[-1]))

    def activation(key: str) -> Tensor:
        if match := re.fullmatch(r"FromRGB_lod(\d+)/(\w+)", key):
            level = int(match[1])
            from_rgb = network.get_submodule(f"b{network.img_resolution >> level}.from_rgb")
            return dense_step(from_rgb, match[2], pyramid[level])
        if key == "4x4/minibatch_stddev_layer":
            (x,), _ = calls[network.b4.conv]
            return network.b4.conv.mbstd(x)
        match = re.fullmatch(r"(\d+)x\d+/(\w+?)/(\w+)", key)
        assert match
        layer = network.get_submodule(f"b{match[1]}.{BLOCK_LAYERS[match[2]]}")
        (x,), out = calls[layer]
        if isinstance(layer, DownConv2d) and match[3] in ("blur2d", "conv2d"):
            blurred = Blur().to(x.dtype)(x)
            return blurred if match[3] == "blur2d" else three_by_three(layer, blurred)
        return out if match[3] == "leaky_relu" else dense_step(layer, match[3], x)

    arrays = golden.under(name, "act/D/")
    assert arrays
    for key, array in arrays.items():
        golden.assert_matches(activation(key), array, golden.FORWARD[dtype], f"{name} {key}")
