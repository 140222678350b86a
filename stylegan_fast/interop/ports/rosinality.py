"""rosinality/style-based-gan-pytorch: its checkpoints in our names and layouts.

Against the original it differs in ::

    every weight scaled by sqrt(2 / fan_in), mapping without 0.01, no 1 + style, noise scaled by sqrt(2 / C), up- and
        downscaling kernels divided by 4                                            taken into the weights
    instance norm with eps 1e-5                                                     norm_eps=1e-5
    up-convolutions with their bias before the blur, none after it                  bias_before_blur=True
    one noise map for both layers of a resolution                                   shared_noise=True
    standard deviation over the whole minibatch                                     mbstd_group_size
    feature maps of the next resolution from the first convolution on               widen_first=True
    (older) no activation after from_rgb                                            from_rgb_linear=True

Its noise is an argument and not in the file: the maps for ``noise_mode="const"`` are drawn, one for each resolution.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from stylegan_fast.interop.ports.checkpoint import Translated, Translators, checked_stages, length, sizes, tensors_under
from stylegan_fast.models import Discriminator, Generator

ORIGIN = "rosinality/style-based-gan-pytorch"
CLASSES = {"G_ema": Generator, "G": Generator, "D": Discriminator}
SQRT2 = math.sqrt(2)
# Layers of the mapping network have a learning rate of their own in ours: 0.01 on weight and bias.
_MAPPING_LR_MULTIPLIER = 0.01
_WHOLE_BATCH = 1 << 20


def translate(content: Mapping[str, Any]) -> Translators | None:
    """For each network of the checkpoint what makes our arguments, tensors and switches of it; None if not its."""
    found: Translators = {}
    for key, name in (("g_running", "G_ema"), ("generator", "G"), ("discriminator", "D"), (None, "G_ema"), (None, "D")):
        tensors = tensors_under(content, key)
        if not tensors or name in found or (key is None and found):
            continue
        if name == "D" and "linear.linear.weight_orig" in tensors:
            found[name] = lambda tensors=tensors: _discriminator(tensors)  # type: ignore[misc]
        elif name != "D" and "generator.progression.0.conv1.input" in tensors:
            found[name] = lambda tensors=tensors: _generator(tensors)  # type: ignore[misc]
    if "G" in found and "G_ema" not in found:
        found["G_ema"] = found["G"]
    return found or None


def _generator(tensors: Mapping[str, Tensor]) -> Translated:
    stages = checked_stages(length(tensors, "generator.progression."))
    widths = [int(tensors[f"generator.progression.{i}.conv2.conv.weight_orig"].shape[0]) for i in range(stages)]
    layers = (1 + length(tensors, "style.")) // 2  # style.0 is the pixel norm, then linear and activation
    w_dim = int(tensors["style.1.linear.weight_orig"].shape[0])
    kwargs: dict[str, Any] = {
        "z_dim": int(tensors["style.1.linear.weight_orig"].shape[1]),
        "w_dim": w_dim,
        "mapping_layers": layers,
        **sizes(widths),
        "norm_eps": 1e-5,
        "bias_before_blur": True,
        "shared_noise": True,
    }
    ours: dict[str, Tensor] = {"mapping.w_avg": torch.zeros(w_dim)}
    for i in range(layers):
        layer = f"style.{2 * i + 1}.linear"
        ours[f"mapping.fc{i}.weight"] = tensors[f"{layer}.weight_orig"] / _MAPPING_LR_MULTIPLIER
        ours[f"mapping.fc{i}.bias"] = tensors[f"{layer}.bias"] / _MAPPING_LR_MULTIPLIER
    ours["synthesis.b4.const"] = tensors["generator.progression.0.conv1.input"]
    draw = torch.Generator().manual_seed(0)
    for i in range(stages):
        theirs, block = f"generator.progression.{i}", f"synthesis.b{4 << i}"
        resolution, width = 4 << i, widths[i]
        if i > 0:
            ours[f"{block}.layer0.conv.weight"], ours[f"{block}.layer0.conv.bias"] = _up(tensors, f"{theirs}.conv1")
        ours[f"{block}.layer1.conv.weight"] = tensors[f"{theirs}.conv2.conv.weight_orig"]
        noise = torch.randn(1, 1, resolution, resolution, generator=draw)
        for j in (0, 1):
            epilogue, style = f"{block}.layer{j}.epilogue", f"{theirs}.adain{j + 1}.style.linear"
            bias = tensors[f"{theirs}.conv2.conv.bias"] if j == 1 else torch.zeros(width)
            ours[f"{epilogue}.bias"] = bias
            strength = tensors[f"{theirs}.noise{j + 1}.weight_orig"].reshape(-1)
            ours[f"{epilogue}.noise_strength"] = strength * math.sqrt(2 / width)
            ours[f"{epilogue}.affine.weight"] = tensors[f"{style}.weight_orig"] * SQRT2
            shift = torch.cat([torch.ones(width), torch.zeros(width)])
            ours[f"{epilogue}.affine.bias"] = tensors[f"{style}.bias"] - shift
            ours[f"{block}.layer{j}.noise_const"] = noise.clone()
        ours[f"{block}.to_rgb.weight"] = tensors[f"generator.to_rgb.{i}.conv.weight_orig"] * SQRT2
        ours[f"{block}.to_rgb.bias"] = tensors[f"generator.to_rgb.{i}.conv.bias"]
    reasons = [
        "norm_eps=1e-5: its instance norm is torch's",
        "bias_before_blur=True: its up-convolutions add their bias before the blur",
        "shared_noise=True: both layers of a resolution get one noise map",
    ]
    return kwargs, ours, reasons


def _up(tensors: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    if f"{name}.0.weight" in tensors:  # upscaling and convolution in one, [in, out, k, k]
        return tensors[f"{name}.0.weight"].transpose(0, 1).flip(2, 3) / 4, tensors[f"{name}.0.bias"]
    return tensors[f"{name}.1.conv.weight_orig"], tensors[f"{name}.1.conv.bias"]


def _discriminator(tensors: Mapping[str, Tensor]) -> Translated:
    stages = checked_stages(length(tensors, "progression."))
    # Theirs count from the finest resolution.
    linear = f"from_rgb.{stages - 1}.conv.weight_orig" in tensors
    rgb = "conv" if linear else "0.conv"
    widths = [int(tensors[f"from_rgb.{stages - 1 - i}.{rgb}.weight_orig"].shape[0]) for i in range(stages)]
    kwargs: dict[str, Any] = {
        **sizes(widths),
        "mbstd_group_size": _WHOLE_BATCH,
        "widen_first": True,
        **({"from_rgb_linear": True} if linear else {}),
    }
    ours: dict[str, Tensor] = {}
    for i in range(stages):
        index, block = stages - 1 - i, f"b{4 << i}"
        ours[f"{block}.from_rgb.weight"] = tensors[f"from_rgb.{index}.{rgb}.weight_orig"]
        ours[f"{block}.from_rgb.bias"] = tensors[f"from_rgb.{index}.{rgb}.bias"]
        first = f"progression.{index}.conv1.0.conv"
        name = f"{block}.conv" if i == 0 else f"{block}.conv0"
        ours[f"{name}.weight"], ours[f"{name}.bias"] = tensors[f"{first}.weight_orig"], tensors[f"{first}.bias"]
        if i > 0:
            fused = f"progression.{index}.conv2.1"
            plain = f"{fused}.conv"
            weight = tensors[f"{fused}.weight" if f"{fused}.weight" in tensors else f"{plain}.weight_orig"]
            bias = tensors[f"{fused}.bias" if f"{fused}.bias" in tensors else f"{plain}.bias"]
            ours[f"{block}.conv1.weight"], ours[f"{block}.conv1.bias"] = weight, bias
    last = f"progression.{stages - 1}.conv2.0.conv"
    ours["b4.fc.weight"] = tensors[f"{last}.weight_orig"].flatten(1)
    ours["b4.fc.bias"] = tensors[f"{last}.bias"]
    ours["b4.out.weight"] = tensors["linear.linear.weight_orig"] * SQRT2
    ours["b4.out.bias"] = tensors["linear.linear.bias"]
    reasons = [
        f"mbstd_group_size={_WHOLE_BATCH}: its standard deviation is over the whole minibatch",
        "widen_first=True: the first convolution of its resolutions changes the number of feature maps",
    ]
    if linear:
        reasons.append("from_rgb_linear=True: no activation after its from_rgb")
    return kwargs, ours, reasons
