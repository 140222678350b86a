"""Modules as public GAN projects have them, written from their formulas, and a model with one of each."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylegan_fast.interop.rosinality import upfirdn2d_native


class StyleNorm(nn.Module):
    """StarGAN v2's AdaIN, or with one=0 style-based-gan-pytorch's."""

    def __init__(self, one: int) -> None:
        super().__init__()
        self.one = one
        self.norm = nn.InstanceNorm2d(6)
        self.fc = nn.Linear(4, 12)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        scale, shift = self.fc(style)[:, :, None, None].chunk(2, dim=1)
        return (self.one + scale) * self.norm(x) + shift


class AdaptiveNorm(nn.Module):
    """MUNIT's AdaIN."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features, self.eps, self.weight, self.bias = num_features, 1e-5, None, None
        self.register_buffer("running_mean", torch.zeros(num_features))

    def forward(self, x: Tensor) -> Tensor:
        assert self.weight is not None, "assign weight and bias first"
        flat = F.batch_norm(x.reshape(1, -1, *x.shape[2:]), None, None, self.weight, self.bias, True, 0.1, self.eps)
        return flat.view_as(x)


class FusedAct(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.randn(6))
        self.negative_slope, self.scale = 0.2, math.sqrt(2)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x + self.bias[:, None, None], self.negative_slope) * self.scale


class ScaledLeakyReLU(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.negative_slope = 0.2

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self.negative_slope) * math.sqrt(2)


class DepthwiseBlur(nn.Module):
    """style-based-gan-pytorch's blur: a repeated kernel."""

    def __init__(self) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 2, 3])  # asymmetric: convolution and correlation differ
        self.register_buffer("weight", torch.outer(taps, taps).repeat(6, 1, 1, 1) / 36)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, padding=1, groups=x.shape[1])


class KernelFilter(nn.Module):
    """stylegan2-pytorch's blur, up- and downsampler."""

    def __init__(self, up: int, down: int) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 3, 3, 2])
        self.register_buffer("kernel", torch.outer(taps, taps) / 81)
        self.up, self.down, self.factor, self.pad = up, down, max(up, down), (2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return upfirdn2d_native(x, self.kernel, self.up, self.up, self.down, self.down, *self.pad, *self.pad)


class Model(nn.Module):
    """One of everything, as the public networks have it."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(3, 6, 3), nn.InstanceNorm2d(6), nn.ReLU(inplace=True)
        )
        self.block = nn.Sequential(
            nn.Conv2d(6, 6, 3, padding=1),
            nn.InstanceNorm2d(6, affine=True),
            nn.LeakyReLU(0.1),
            nn.Conv2d(6, 6, 1),
            nn.InstanceNorm2d(6),
        )
        self.styled = nn.ModuleList([StyleNorm(1), StyleNorm(0)])
        self.assigned = AdaptiveNorm(6)
        self.filters = nn.ModuleList([DepthwiseBlur(), KernelFilter(1, 1), KernelFilter(2, 1), KernelFilter(1, 2)])
        self.act, self.scaled = FusedAct(), ScaledLeakyReLU()

    def forward(self, x: Tensor, style: Tensor) -> dict[str, Tensor | list[Tensor]]:
        x = self.block(self.head(x))
        for norm in self.styled:
            x = norm(x, style)
        assigned = style.repeat(1, 2)[:, :6].flatten()
        self.assigned.weight, self.assigned.bias = assigned, assigned + 1
        x = self.scaled(self.act(self.assigned(x)))
        filtered = [module(x) for module in self.filters]
        return {"features": x, "filtered": filtered}
