"""One of each layer, with inputs."""

import torch
from torch import Tensor, nn

from stylegan_fast import layers

LAYERS = {
    "AdaIN": (lambda: layers.AdaIN(6, 5), True),
    "LayerEpilogue": (lambda: layers.LayerEpilogue(6, 5), True),
    "LayerEpilogue with blur": (lambda: layers.LayerEpilogue(6, 5, blur=True), True),
    "NoiseInjection": (lambda: layers.NoiseInjection(6), False),
    "InstanceNorm2d": (lambda: layers.InstanceNorm2d(6, affine=True), False),
    "FusedLeakyReLU": (lambda: layers.FusedLeakyReLU(6), False),
    "EqualConv2d": (lambda: layers.EqualConv2d(6, 4, 3, activation="lrelu"), False),
    "Blur": (lambda: layers.Blur(), False),
    "Upsample": (lambda: layers.Upsample(), False),
    "Downsample": (lambda: layers.Downsample(), False),
    "PixelNorm": (lambda: layers.PixelNorm(), False),
    "MinibatchStdDev": (lambda: layers.MinibatchStdDev(), False),
}


def example(name: str) -> tuple[nn.Module, list[Tensor]]:
    """A layer with no parameter at its neutral start value, and inputs for it, in float64."""
    torch.manual_seed(len(name))
    make, takes_w = LAYERS[name]
    layer = make().double()
    for parameter in layer.parameters():
        parameter.data.normal_()
    inputs = [torch.randn(4, 6, 8, 8, dtype=torch.float64)]
    if takes_w:
        inputs.append(torch.randn(4, 5, dtype=torch.float64))
    return layer, inputs


def run(layer: nn.Module, inputs: list[Tensor]) -> Tensor:
    torch.manual_seed(0)  # the noise
    if isinstance(layer, layers.LayerEpilogue):
        return layer(*inputs, noise=torch.ones(4, 1, 8, 8, dtype=inputs[0].dtype).tril())
    if isinstance(layer, layers.NoiseInjection):
        return layer(*inputs, noise=torch.ones(4, 1, 8, 8, dtype=inputs[0].dtype).tril())
    return layer(*inputs)
