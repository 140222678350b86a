"""Weights of one network put into another: of the same shape, or of another resolution, other channels or classes.

What has the same name and shape is *kept*. Where only the image's channels or the classes differ, a tensor is *adapted*
so that the new network does what the old one did: gray is the mean of the colours, colours of a gray network are equal,
a picture without opacity is opaque, a score or style that knew no classes is that of every class. Everything else, new
resolutions first of all, is *fresh*, as at the start of a training, and what has no place any more is *left out*.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from stylegan_fast.errors import UserError
from stylegan_fast.models import Discriminator, Generator

FATES = ("kept", "adapted", "fresh", "left out")


@dataclass
class Transferred:
    """Which tensors of a network had which fate: names by fate, see the module's docstring."""

    names: dict[str, list[str]] = field(default_factory=lambda: {fate: [] for fate in FATES})

    def summary(self, network: str) -> list[str]:
        """A line for each fate that occurred: blocks that share it as a whole, and single tensors of the others."""
        lines = []
        blocks: dict[str, set[str]] = {}
        for fate, names in self.names.items():
            for name in names:
                blocks.setdefault(_block(name), set()).add(fate)
        for fate, names in self.names.items():
            told = dict.fromkeys(_block(name) if len(blocks[_block(name)]) == 1 else name for name in names)
            if told:
                lines.append(f"{network} {fate}: {', '.join(told)} ({len(names)} tensors)")
        return lines


@torch.no_grad()
def transfer(source: Generator | Discriminator, target: Generator | Discriminator) -> Transferred:
    """Puts the weights of ``source`` into ``target``, both generators or both discriminators, as far as they fit."""
    fates = Transferred()
    old = source.state_dict()
    new = target.state_dict()
    adapted = _adapted(source, target, old)
    for name, tensor in new.items():
        if name in adapted and adapted[name].shape == tensor.shape:
            tensor.copy_(adapted[name])
            fates.names["adapted"].append(name)
        elif name in old and old[name].shape == tensor.shape:
            tensor.copy_(old[name])
            fates.names["kept"].append(name)
        else:
            fates.names["fresh"].append(name)
    fates.names["left out"] = [name for name in old if name not in new]
    return fates


def freeze_mapping(G: Generator) -> None:
    """Lets the mapping network stay as it is; ``w_avg`` still follows."""
    G.mapping.requires_grad_(False)


def freeze_discriminator(D: Discriminator, layers: int, resolution: int) -> None:
    """Lets the first ``layers`` layers stay as they are, counted from the image (Mo, Cho, Shin 2020, arXiv 2002.10964).

    The first is fromRGB, then come two convolutions at each resolution from ``resolution`` down, one at 4x4, and two
    fully connected ones. Finer layers, which no transfer has filled, learn.

    Raises ``UserError`` where that would leave nothing that learns.
    """
    order: list[list[nn.Module]] = [[]]
    size = min(resolution, D.img_resolution)
    while size > 4:
        block = D.get_submodule(f"b{size}")
        order[0].append(block.get_submodule("from_rgb"))
        order += [[block.get_submodule("conv0")], [block.get_submodule("conv1")]]
        size //= 2
    order[0].append(D.b4.from_rgb)
    order += [[D.b4.conv], [D.b4.fc], [D.b4.out]]
    if layers >= len(order):
        raise UserError(f"--freeze-d {layers}: this discriminator has {len(order)} layers; leave one at least to learn")
    for modules in order[:layers]:
        for module in modules:
            module.requires_grad_(False)


def channel_conversion(channels: int, wanted: int) -> tuple[Tensor, Tensor]:
    """Matrix ``[wanted, channels]`` and offset ``[wanted]`` that turn an image of 1, 3 or 4 channels into another."""
    matrix, offset = torch.zeros(wanted, channels), torch.zeros(wanted)
    colours, wanted_colours = min(channels, 3), min(wanted, 3)
    if colours == wanted_colours:
        matrix[:colours, :colours] = torch.eye(colours)
    else:
        matrix[:wanted_colours, :colours] = 1 / colours  # a mean of three, or three times the same
    if wanted == 4:
        if channels == 4:
            matrix[3, 3] = 1.0
        else:
            offset[3] = 1.0
    return matrix, offset


def _block(name: str) -> str:
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "synthesis" else parts[0]


def _adapted(
    source: Generator | Discriminator, target: Generator | Discriminator, old: dict[str, Tensor]
) -> dict[str, Tensor]:
    """By name, the tensors that image channels or classes change. A stored weight is multiplied by 1 / sqrt(inputs)
    when used, so where the inputs become more, it is multiplied by the root of how many times more."""
    adapted: dict[str, Tensor] = {}
    if isinstance(source, Generator) and isinstance(target, Generator):
        if source.img_channels != target.img_channels:
            matrix, offset = channel_conversion(source.img_channels, target.img_channels)
            for name in _ending(old, "to_rgb.weight"):
                adapted[name] = torch.einsum("oi,ichw->ochw", matrix, old[name])
            for name in _ending(old, "to_rgb.bias"):
                adapted[name] = matrix @ old[name] + offset
        if (source.c_dim > 0) != (target.c_dim > 0) and source.z_dim == target.z_dim:
            weight, z_dim = old["mapping.fc0.weight"], source.z_dim
            # With classes the first layer reads z and as many numbers of the class.
            of_z = weight[:, :z_dim]
            known = of_z * 2**0.5 if target.c_dim > 0 else of_z / 2**0.5
            adapted["mapping.fc0.weight"] = torch.cat([known, torch.zeros_like(of_z)], 1) if target.c_dim > 0 else known
    elif isinstance(source, Discriminator) and isinstance(target, Discriminator):
        if source.img_channels != target.img_channels:
            matrix, offset = channel_conversion(target.img_channels, source.img_channels)
            scale = (target.img_channels / source.img_channels) ** 0.5
            for name in _ending(old, "from_rgb.weight"):
                adapted[name] = torch.einsum("ochw,ci->oihw", old[name], matrix) * scale
                if bool(offset.any()):
                    bias = name.removesuffix("weight") + "bias"
                    layer = source.get_submodule(name.removesuffix(".weight"))
                    adapted[bias] = old[bias] + old[name][:, :, 0, 0] @ offset * layer.weight_scale  # type: ignore[operator]
        outputs, wanted = max(source.c_dim, 1), max(target.c_dim, 1)
        if outputs != wanted:
            for name in ("b4.out.weight", "b4.out.bias"):
                mean = old[name].mean(dim=0, keepdim=True)
                adapted[name] = mean.expand(wanted, *mean.shape[1:])
    return adapted


def _ending(names: Iterable[str], suffix: str) -> list[str]:
    return [name for name in names if name.endswith(suffix)]
