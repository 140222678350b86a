"""huangzh13/StyleGAN.pytorch: its checkpoints in our names and layouts.

Against the original it differs in ::

    instance norm with eps 1e-5                                                     norm_eps=1e-5
    no activation after from_rgb                                                    from_rgb_linear=True
    truncation in training and not in drawing                                       truncation_psi, as ever

Its conditional discriminator gets classes as extra image channels, which ours has not: that one is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from stylegan_fast.errors import UserError
from stylegan_fast.interop.official import FUSED_UP_RESOLUTION
from stylegan_fast.interop.ports.checkpoint import Translated, Translators, checked_stages, length, sizes, tensors_under
from stylegan_fast.models import Discriminator, Generator

ORIGIN = "huangzh13/StyleGAN.pytorch"
CLASSES = {"G_ema": Generator, "D": Discriminator}


def translate(content: Mapping[str, Any]) -> Translators | None:
    """What makes our arguments, tensors and switches of the network in the checkpoint; None if it is not the port's."""
    tensors = tensors_under(content, None)
    if "g_synthesis.init_block.const" in tensors:
        return {"G_ema": lambda: _generator(tensors)}
    if "final_block.conv.weight" in tensors:
        return {"D": lambda: _discriminator(tensors)}
    return None


def _generator(tensors: Mapping[str, Tensor]) -> Translated:
    stages = checked_stages(1 + length(tensors, "g_synthesis.blocks."))
    layers = 0
    while f"g_mapping.map.dense{layers}.weight" in tensors:
        layers += 1
    widths = [int(tensors[f"g_synthesis.to_rgb.{i}.weight"].shape[1]) for i in range(stages)]
    classes = tensors.get("class_embedding.weight")
    z_dim = int(tensors["g_mapping.map.dense0.weight"].shape[1]) // (1 if classes is None else 2)
    kwargs: dict[str, Any] = {
        "img_channels": int(tensors["g_synthesis.to_rgb.0.weight"].shape[0]),
        "z_dim": z_dim,
        "w_dim": int(tensors[f"g_mapping.map.dense{layers - 1}.weight"].shape[0]),
        "c_dim": 0 if classes is None else int(classes.shape[0]),
        "mapping_layers": layers,
        "mapping_width": int(tensors["g_mapping.map.dense0.weight"].shape[0]),
        **sizes(widths),
        "norm_eps": 1e-5,
    }
    ours: dict[str, Tensor] = {"mapping.w_avg": tensors.get("truncation.avg_latent", torch.zeros(kwargs["w_dim"]))}
    if classes is not None:
        ours["mapping.embedding"] = classes
    for i in range(layers):
        for part in ("weight", "bias"):
            ours[f"mapping.fc{i}.{part}"] = tensors[f"g_mapping.map.dense{i}.{part}"]
    ours["synthesis.b4.const"] = tensors["g_synthesis.init_block.const"]
    draw = torch.Generator().manual_seed(0)
    for i in range(stages):
        theirs = "g_synthesis.init_block" if i == 0 else f"g_synthesis.blocks.{i - 1}"
        block, resolution = f"synthesis.b{4 << i}", 4 << i
        convolutions = ("", "conv") if i == 0 else ("conv0_up", "conv1")
        if i > 0:
            _check_blur(tensors.get(f"{theirs}.conv0_up.intermediate.kernel"))
            weight = tensors[f"{theirs}.conv0_up.weight"]
            ours[f"{block}.layer0.conv.weight"] = weight.flip(2, 3) if resolution >= FUSED_UP_RESOLUTION else weight
        ours[f"{block}.layer1.conv.weight"] = tensors[f"{theirs}.{convolutions[1]}.weight"]
        for j in (0, 1):
            epilogue, epi = f"{block}.layer{j}.epilogue", f"{theirs}.epi{j + 1}"
            bias = f"{theirs}.{convolutions[j]}.bias" if convolutions[j] else f"{theirs}.bias"
            ours[f"{epilogue}.bias"] = tensors[bias]
            ours[f"{epilogue}.noise_strength"] = tensors[f"{epi}.top_epi.noise.weight"]
            ours[f"{epilogue}.affine.weight"] = tensors[f"{epi}.style_mod.lin.weight"]
            ours[f"{epilogue}.affine.bias"] = tensors[f"{epi}.style_mod.lin.bias"]
            ours[f"{block}.layer{j}.noise_const"] = torch.randn(1, 1, resolution, resolution, generator=draw)
        for part in ("weight", "bias"):
            ours[f"{block}.to_rgb.{part}"] = tensors[f"g_synthesis.to_rgb.{i}.{part}"]
    return kwargs, ours, ["norm_eps=1e-5: its instance norm is torch's"]


def _discriminator(tensors: Mapping[str, Tensor]) -> Translated:
    if any(name.startswith("embeddings.") for name in tensors):
        raise UserError("a discriminator that gets classes as image channels, which ours does not compute")
    stages = checked_stages(1 + length(tensors, "blocks."))
    widths = [int(tensors[f"from_rgb.{stages - 1 - i}.weight"].shape[0]) for i in range(stages)]
    kwargs: dict[str, Any] = {
        "img_channels": int(tensors["from_rgb.0.weight"].shape[1]),
        **sizes(widths),
        "from_rgb_linear": True,
    }
    pairs = {"final_block.conv": "b4.conv", "final_block.dense0": "b4.fc", "final_block.dense1": "b4.out"}
    for i in range(stages):
        index, block = stages - 1 - i, f"b{4 << i}"
        pairs[f"from_rgb.{index}"] = f"{block}.from_rgb"
        if i > 0:
            _check_blur(tensors.get(f"blocks.{index}.blur.kernel"))
            pairs[f"blocks.{index}.conv0"] = f"{block}.conv0"
            pairs[f"blocks.{index}.conv1_down"] = f"{block}.conv1"
    ours = {f"{new}.{part}": tensors[f"{old}.{part}"] for old, new in pairs.items() for part in ("weight", "bias")}
    return kwargs, ours, ["from_rgb_linear=True: no activation after its from_rgb"]


def _check_blur(kernel: Tensor | None) -> None:
    taps = torch.tensor([1.0, 2, 1])
    if kernel is None or kernel.shape[2:] != (3, 3) or not torch.allclose(kernel, torch.outer(taps, taps) / 16):
        raise UserError("it has another blur or none; only blur_filter [1, 2, 1] is supported")
