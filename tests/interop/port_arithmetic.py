"""What the two ports compute, in plain PyTorch on their state dicts: written from a description of their formulas."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]


def lrelu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


def pixel_norm(z: Tensor) -> Tensor:
    return z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()


def instance_norm(x: Tensor) -> Tensor:
    return (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), correction=0, keepdim=True) + 1e-5).sqrt()


def blur(x: Tensor) -> Tensor:
    taps = torch.tensor([1.0, 2, 1], dtype=x.dtype) / 4
    return F.conv2d(x, torch.outer(taps, taps).expand(x.shape[1], 1, 3, 3), padding=1, groups=x.shape[1])


def nearest(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def four_shifts(weight: Tensor) -> Tensor:
    """The kernel of up- or downscaling and convolution in one: the sum of four shifted copies."""
    w = F.pad(weight, [1, 1, 1, 1])
    return w[..., 1:, 1:] + w[..., :-1, 1:] + w[..., 1:, :-1] + w[..., :-1, :-1]


# ------------------------------------------------------------------------------- rosinality/style-based-gan-pytorch
def he(weight: Tensor) -> Tensor:
    return weight * math.sqrt(2 / math.prod(weight.shape[1:]))


def ros_conv(s: State, name: str, x: Tensor, padding: int) -> Tensor:
    return F.conv2d(x, he(s[f"{name}.weight_orig"]), s[f"{name}.bias"], padding=padding)


def ros_linear(s: State, name: str, x: Tensor) -> Tensor:
    return F.linear(x, he(s[f"{name}.weight_orig"]), s[f"{name}.bias"])


def ros_generator(s: State, z: Tensor, noise: list[Tensor], layers: int) -> Tensor:
    """At full resolution; one noise map for each resolution."""
    w = pixel_norm(z)
    for i in range(layers):
        w = lrelu(ros_linear(s, f"style.{2 * i + 1}.linear", w))
    for i, map_ in enumerate(noise):
        block = f"generator.progression.{i}"
        if i == 0:
            x = s[f"{block}.conv1.input"].expand(len(z), -1, -1, -1)
        elif f"{block}.conv1.0.weight" in s:
            weight = s[f"{block}.conv1.0.weight"]  # [in, out, k, k]
            kernel = four_shifts(weight * math.sqrt(2 / (weight.shape[0] * 9))) / 4
            x = blur(F.conv_transpose2d(x, kernel, s[f"{block}.conv1.0.bias"], stride=2, padding=1))
        else:
            x = blur(ros_conv(s, f"{block}.conv1.1.conv", nearest(x), 1))
        for j in (1, 2):
            if j == 2:
                x = ros_conv(s, f"{block}.conv2.conv", x, 1)
            strength = s[f"{block}.noise{j}.weight_orig"]
            x = instance_norm(lrelu(x + strength * math.sqrt(2 / strength.shape[1]) * map_))
            gamma, beta = ros_linear(s, f"{block}.adain{j}.style.linear", w)[..., None, None].chunk(2, 1)
            x = gamma * x + beta
    return ros_conv(s, f"generator.to_rgb.{len(noise) - 1}.conv", x, 0)


def ros_discriminator(s: State, x: Tensor, stages: int, activated: bool) -> Tensor:
    x = lrelu(ros_conv(s, "from_rgb.0.0.conv", x, 0)) if activated else ros_conv(s, "from_rgb.0.conv", x, 0)
    for i in range(stages):
        block = f"progression.{i}"
        if i == stages - 1:
            deviation = (x.var(0, correction=0) + 1e-8).sqrt().mean()
            x = torch.cat([x, deviation.expand(len(x), 1, 4, 4)], 1)
        x = lrelu(ros_conv(s, f"{block}.conv1.0.conv", x, 1))
        if i == stages - 1:
            x = lrelu(ros_conv(s, f"{block}.conv2.0.conv", x, 0))
        elif f"{block}.conv2.1.weight" in s:
            kernel = four_shifts(he(s[f"{block}.conv2.1.weight"])) / 4
            x = lrelu(F.conv2d(blur(x), kernel, s[f"{block}.conv2.1.bias"], stride=2, padding=1))
        else:
            x = lrelu(F.avg_pool2d(ros_conv(s, f"{block}.conv2.1.conv", blur(x), 1), 2))
    return ros_linear(s, "linear.linear", x.flatten(1))


def ros_states(resolution: int, widths: list[int], w_dim: int, layers: int, activated: bool) -> tuple[State, State]:
    """Random generator and discriminator states; widths at 4, 8, ...; fused where the port fuses, from 128 up."""
    draw = torch.Generator().manual_seed(7)

    def r(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw)

    g: State = {}
    for i in range(layers):
        g |= {f"style.{2 * i + 1}.linear.weight_orig": r(w_dim, w_dim), f"style.{2 * i + 1}.linear.bias": r(w_dim)}
    d: State = {}
    stages = len(widths)
    for i, c in enumerate(widths):
        block, below = f"generator.progression.{i}", widths[max(i - 1, 0)]
        if i == 0:
            g[f"{block}.conv1.input"] = r(1, c, 4, 4)
        elif 4 << i >= 128:
            g |= {f"{block}.conv1.0.weight": r(below, c, 3, 3), f"{block}.conv1.0.bias": r(c)}
        else:
            g |= {f"{block}.conv1.1.conv.weight_orig": r(c, below, 3, 3), f"{block}.conv1.1.conv.bias": r(c)}
        g |= {f"{block}.conv2.conv.weight_orig": r(c, c, 3, 3), f"{block}.conv2.conv.bias": r(c)}
        for j in (1, 2):
            g[f"{block}.noise{j}.weight_orig"] = r(1, c, 1, 1)
            g[f"{block}.adain{j}.style.linear.weight_orig"] = r(2 * c, w_dim)
            g[f"{block}.adain{j}.style.linear.bias"] = r(2 * c)
        g |= {f"generator.to_rgb.{i}.conv.weight_orig": r(3, c, 1, 1), f"generator.to_rgb.{i}.conv.bias": r(3)}
        k = stages - 1 - i
        rgb = f"from_rgb.{k}.0.conv" if activated else f"from_rgb.{k}.conv"
        d |= {f"{rgb}.weight_orig": r(c, 3, 1, 1), f"{rgb}.bias": r(c)}
        first, second = f"progression.{k}.conv1.0.conv", f"progression.{k}.conv2"
        if i == 0:
            d |= {f"{first}.weight_orig": r(c, c + 1, 3, 3), f"{first}.bias": r(c)}
            d |= {f"{second}.0.conv.weight_orig": r(c, c, 4, 4), f"{second}.0.conv.bias": r(c)}
        else:
            d |= {f"{first}.weight_orig": r(below, c, 3, 3), f"{first}.bias": r(below)}
            if 4 << i >= 128:
                d |= {f"{second}.1.weight": r(below, below, 3, 3), f"{second}.1.bias": r(below)}
            else:
                d |= {f"{second}.1.conv.weight_orig": r(below, below, 3, 3), f"{second}.1.conv.bias": r(below)}
    d |= {"linear.linear.weight_orig": r(1, widths[0]), "linear.linear.bias": r(1)}
    return g, d


# ----------------------------------------------------------------------------------------- huangzh13/StyleGAN.pytorch
def scaled(weight: Tensor, gain: float = math.sqrt(2), lrmul: float = 1.0) -> Tensor:
    return weight * gain / math.sqrt(math.prod(weight.shape[1:])) * lrmul


def hua_conv(s: State, name: str, x: Tensor, gain: float = math.sqrt(2)) -> Tensor:
    weight = scaled(s[f"{name}.weight"], gain)
    return F.conv2d(x, weight, s[f"{name}.bias"], padding=weight.shape[2] // 2)


def hua_generator(s: State, z: Tensor, classes: Tensor, noise: list[Tensor], stages: int, layers: int) -> Tensor:
    """At full resolution; a noise map for each layer."""
    w = pixel_norm(torch.cat([z, s["class_embedding.weight"][classes]], 1))
    for i in range(layers):
        dense = f"g_mapping.map.dense{i}"
        w = lrelu(F.linear(w, scaled(s[f"{dense}.weight"], lrmul=0.01), s[f"{dense}.bias"] * 0.01))
    for i in range(stages):
        block = "g_synthesis.init_block" if i == 0 else f"g_synthesis.blocks.{i - 1}"
        for j in (1, 2):
            if i == 0 and j == 1:
                x = s[f"{block}.const"].expand(len(z), -1, -1, -1) + s[f"{block}.bias"][:, None, None]
            elif i > 0 and j == 1:
                weight, bias = scaled(s[f"{block}.conv0_up.weight"]), s[f"{block}.conv0_up.bias"]
                if 4 << i >= 128:
                    x = F.conv_transpose2d(x, four_shifts(weight.transpose(0, 1)), stride=2, padding=1)
                else:
                    x = F.conv2d(nearest(x), weight, padding=1)
                x = blur(x) + bias[:, None, None]
            else:
                x = hua_conv(s, f"{block}.conv" if i == 0 else f"{block}.conv1", x)
            epi = f"{block}.epi{j}"
            strength = s[f"{epi}.top_epi.noise.weight"][:, None, None]
            x = instance_norm(lrelu(x + strength * noise[2 * i + j - 1]))
            style = F.linear(w, scaled(s[f"{epi}.style_mod.lin.weight"], 1), s[f"{epi}.style_mod.lin.bias"])
            scale, shift = style[..., None, None].chunk(2, 1)
            x = x * (1 + scale) + shift
    return hua_conv(s, f"g_synthesis.to_rgb.{stages - 1}", x, 1)


def hua_discriminator(s: State, x: Tensor, stages: int) -> Tensor:
    x = hua_conv(s, "from_rgb.0", x)
    for i in range(stages - 1):
        block = f"blocks.{i}"
        x = blur(lrelu(hua_conv(s, f"{block}.conv0", x)))
        weight = scaled(s[f"{block}.conv1_down.weight"])
        x = lrelu(F.avg_pool2d(F.conv2d(x, weight, padding=1), 2) + s[f"{block}.conv1_down.bias"][:, None, None])
    group = min(4, len(x))
    deviation = (x.unflatten(0, (group, -1)).var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3))
    x = torch.cat([x, deviation.repeat(group)[:, None, None, None].expand(-1, 1, 4, 4)], 1)
    x = lrelu(hua_conv(s, "final_block.conv", x)).flatten(1)
    x = lrelu(F.linear(x, scaled(s["final_block.dense0.weight"]), s["final_block.dense0.bias"]))
    return F.linear(x, scaled(s["final_block.dense1.weight"], 1), s["final_block.dense1.bias"])


def hua_states(widths: list[int], z_dim: int, w_dim: int, classes: int, layers: int) -> tuple[State, State]:
    draw = torch.Generator().manual_seed(8)

    def r(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw)

    def pair(name: str, *shape: int, scale: float = 1.0) -> State:
        return {f"{name}.weight": r(*shape) * scale, f"{name}.bias": r(shape[0]) * scale}

    taps = torch.tensor([1.0, 2, 1]) / 4
    kernel = torch.outer(taps, taps)[None, None]
    g: State = {"class_embedding.weight": r(classes, z_dim), "truncation.avg_latent": r(w_dim)}
    for i in range(layers):
        g |= pair(f"g_mapping.map.dense{i}", w_dim, 2 * z_dim if i == 0 else w_dim, scale=100)
    d: State = {}
    stages = len(widths)
    for i, c in enumerate(widths):
        block, below = ("g_synthesis.init_block" if i == 0 else f"g_synthesis.blocks.{i - 1}"), widths[max(i - 1, 0)]
        if i == 0:
            g |= {f"{block}.const": r(1, c, 4, 4), f"{block}.bias": r(c), **pair(f"{block}.conv", c, c, 3, 3)}
        else:
            g |= pair(f"{block}.conv0_up", c, below, 3, 3) | pair(f"{block}.conv1", c, c, 3, 3)
            g[f"{block}.conv0_up.intermediate.kernel"] = kernel
        for j in (1, 2):
            g[f"{block}.epi{j}.top_epi.noise.weight"] = r(c)
            g |= pair(f"{block}.epi{j}.style_mod.lin", 2 * c, w_dim)
        g |= pair(f"g_synthesis.to_rgb.{i}", 3, c, 1, 1)
        k = stages - 1 - i
        d |= pair(f"from_rgb.{k}", c, 3, 1, 1)
        if i > 0:
            d |= pair(f"blocks.{k}.conv0", c, c, 3, 3) | pair(f"blocks.{k}.conv1_down", below, c, 3, 3)
            d[f"blocks.{k}.blur.kernel"] = kernel
    d |= pair("final_block.conv", widths[0], widths[0] + 1, 3, 3)
    d |= pair("final_block.dense0", widths[0], 16 * widths[0]) | pair("final_block.dense1", 1, widths[0])
    return g, d
