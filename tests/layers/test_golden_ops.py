"""Every building block of the official implementation, in and out and gradient, against the layer that does it here."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stylegan_fast.layers import (
    AdaIN,
    Blur,
    Downsample,
    EqualConv2d,
    EqualLinear,
    FusedLeakyReLU,
    InstanceNorm2d,
    MinibatchStdDev,
    NoiseInjection,
    PixelNorm,
    Upsample,
)
from stylegan_fast.models.convolution import DownConv2d, UpConv2d
from stylegan_fast.models.growth import fade
from stylegan_fast.ops.bias_act import bias_act
from stylegan_fast.ops.upfirdn2d import setup_filter, upfirdn2d
from tests import golden_data as golden

SQRT2 = math.sqrt(2)

# The lerps of the fade: parameters outside 0..1 are clipped by the caller there.
LERPS = {f"lerp{clip}_t{t}": float(t) for clip in ("", "_clip") for t in ("-0.5", "0", "0.25", "1", "1.5")}


def hwio(weight: np.ndarray) -> Tensor:
    return torch.from_numpy(weight).permute(3, 2, 0, 1)


def down_conv_without_blur_and_activation() -> nn.Module:
    layer = DownConv2d(5, 7)
    layer.blur = nn.Identity()
    layer.bias = None
    layer.activation = "linear"
    return layer


def with_weight(layer: nn.Module, weight: Tensor) -> nn.Module:
    layer.weight.data = weight.clone()
    return layer


def up_conv(v: dict[str, np.ndarray], rotated: bool) -> nn.Module:
    weight = hwio(v["weight"])
    return with_weight(UpConv2d(5, 7), weight.flip(2, 3) if rotated else weight)


def conv(v: dict[str, np.ndarray], kernel: int, out: int, gain: float) -> nn.Module:
    return with_weight(EqualConv2d(5, out, kernel, bias=False, gain=gain), hwio(v["weight"]))


def dense(v: dict[str, np.ndarray], lr_multiplier: float = 1.0) -> nn.Module:
    weight = torch.from_numpy(v["weight"]).t()
    return with_weight(EqualLinear(*weight.shape[::-1], False, SQRT2, lr_multiplier), weight)


def only_bias(v: dict[str, np.ndarray], lr_multiplier: float) -> nn.Module:
    layer = EqualLinear(5, 5, gain=SQRT2, lr_multiplier=lr_multiplier)
    layer.weight.data = torch.eye(5) / layer.weight_scale
    layer.weight.requires_grad_(False)
    layer.bias.data = torch.from_numpy(v["bias"])
    return layer


class ChannelBias(nn.Module):
    def __init__(self, bias: np.ndarray) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.from_numpy(bias))

    def forward(self, x: Tensor) -> Tensor:
        return bias_act(x, self.bias, act="linear")


def leaky_relu() -> nn.Module:
    layer = FusedLeakyReLU(1, gain=1)
    layer.requires_grad_(False)
    return nn.Sequential(nn.Unflatten(0, (-1, 1)), layer, nn.Flatten(0))


def noise_injection(v: dict[str, np.ndarray]) -> nn.Module:
    layer = NoiseInjection(5)
    layer.strength.data = torch.from_numpy(v["Noise/weight"])
    return layer


class StyleMod(nn.Module):
    """A style without the normalisation before it: what `AdaIN` and `LayerEpilogue` hand to the op."""

    def __init__(self, v: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.affine = AdaIN(5, 11).affine
        self.affine.weight.data = torch.from_numpy(v["StyleMod/weight"]).t().clone()
        self.affine.bias.data = torch.from_numpy(v["StyleMod/bias"])

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        scale, shift = self.affine(w)[:, :, None, None].chunk(2, dim=1)
        return x * (1 + scale) + shift


LAYERS: dict[str, Callable[[dict[str, np.ndarray]], nn.Module]] = {
    "blur2d_121": lambda v: Blur(),
    "upscale2d_2": lambda v: Upsample(),
    "upscale2d_4": lambda v: Upsample(4),
    "downscale2d_2": lambda v: Downsample(),
    "downscale2d_4": lambda v: Downsample(4),
    "conv2d_k3": lambda v: conv(v, 3, 7, SQRT2),
    "conv2d_k1_gain1": lambda v: conv(v, 1, 3, 1.0),
    "conv2d_k3_nowscale": lambda v: conv(v, 3, 7, math.sqrt(9 * 5)),
    "upscale2d_conv2d_fused0": lambda v: up_conv(v, rotated=False),
    "upscale2d_conv2d_fused1": lambda v: up_conv(v, rotated=True),
    "conv2d_downscale2d_fused0": lambda v: with_weight(down_conv_without_blur_and_activation(), hwio(v["weight"])),
    "conv2d_downscale2d_fused1": lambda v: with_weight(down_conv_without_blur_and_activation(), hwio(v["weight"])),
    "dense_lrmul1": lambda v: dense(v),
    "dense_lrmul0.01": lambda v: dense(v, 0.01),
    "dense_4d_input": lambda v: nn.Sequential(nn.Flatten(1), dense(v)),
    "bias_lrmul0.01": lambda v: only_bias(v, 0.01),
    "bias_4d": lambda v: ChannelBias(v["bias"]),
    "leaky_relu": lambda v: leaky_relu(),
    "pixel_norm_2d": lambda v: PixelNorm(),
    "pixel_norm_4d": lambda v: PixelNorm(),
    "instance_norm": lambda v: InstanceNorm2d(5, eps=1e-8),
    "instance_norm_tiny": lambda v: InstanceNorm2d(5, eps=1e-8),
    "instance_norm_constant_input": lambda v: InstanceNorm2d(2, eps=1e-8),
    "style_mod": StyleMod,
    "apply_noise": noise_injection,
    "mbstd_b8_g4_f1": lambda v: MinibatchStdDev(4),
    "mbstd_b8_g4_f2": lambda v: MinibatchStdDev(4, num_channels=2),
    "mbstd_b3_g4_f1": lambda v: MinibatchStdDev(4),
    "mbstd_b1_g4_f1": lambda v: MinibatchStdDev(4),
}


def our_name(name: str) -> str:
    return {
        "Noise/weight": "strength",
        "StyleMod/weight": "affine.weight",
        "StyleMod/bias": "affine.bias",
    }.get(name, name)


def in_golden_layout(gradient: Tensor, case: str, name: str) -> Tensor:
    """A gradient of ours the way the official variable lies."""
    if gradient.ndim == 4 and name == "weight":
        return (gradient.flip(2, 3) if case == "upscale2d_conv2d_fused1" else gradient).permute(2, 3, 1, 0)
    return gradient.t() if gradient.ndim == 2 and name.endswith("weight") else gradient


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("case", LAYERS)
def test_layer_equals_official_block_and_its_gradients(case: str, dtype: torch.dtype, backend: str) -> None:
    arrays = golden.under("ops_small", f"{case}/")
    layer = LAYERS[case](golden.under("ops_small", f"{case}/var/")).to(dtype)
    inputs = [torch.from_numpy(arrays[key]).to(dtype).requires_grad_() for key in ("in0", "in1") if key in arrays]
    out = layer(*inputs)
    golden.assert_matches(out, arrays["out"], golden.FORWARD[dtype], f"{case}/out")

    parameters = {name.rpartition("1.")[2]: p for name, p in layer.named_parameters() if p.requires_grad}
    wanted = {f"in{i}": x for i, x in enumerate(inputs)} | parameters
    gradients = torch.autograd.grad((out * torch.from_numpy(arrays["cotangent"])).sum(), list(wanted.values()))
    found = dict(zip(wanted, gradients, strict=True))
    expected = golden.under("ops_small", f"{case}/grad/")
    assert {our_name(name) for name in expected} == set(found)
    for name, array in expected.items():
        ours = in_golden_layout(found[our_name(name)], case, name)
        golden.assert_matches(ours, array, golden.GRADIENT[dtype], f"{case}/grad/{name}")


@pytest.mark.parametrize("case", LERPS)
def test_fade_equals_official_lerp_and_its_gradients(case: str) -> None:
    arrays = golden.under("ops_small", f"{case}/")
    a, b = (torch.from_numpy(arrays[key]).double().requires_grad_() for key in ("in0", "in1"))
    amount = min(max(LERPS[case], 0.0), 1.0) if "clip" in case else LERPS[case]
    for form in (amount, torch.tensor(amount)):
        out = fade(a, b, form)
        golden.assert_matches(out, arrays["out"], 5e-7, f"{case}/out")
        gradients = torch.autograd.grad((out * torch.from_numpy(arrays["cotangent"])).sum(), (a, b))
        for name, gradient in zip(("in0", "in1"), gradients, strict=True):
            golden.assert_matches(gradient, arrays[f"grad/{name}"], 5e-7, f"{case}/grad/{name}")


def test_even_asymmetric_blur_equals_official_forward(backend: str) -> None:
    # Its official gradient is not the adjoint, and no network uses it: forward only.
    arrays = golden.under("ops_small", "blur2d_asym_1234/")
    x = torch.from_numpy(arrays["in0"]).double()
    out = upfirdn2d(x, setup_filter([1, 2, 3, 4]), padding=[1, 2, 1, 2], flip_filter=True)
    golden.assert_matches(out, arrays["out"], 5e-5, "blur2d_asym_1234/out")


def test_every_official_block_is_compared() -> None:
    images = {"process_reals", "to_uint8", "from_uint8", "adjust_dynamic_range"}  # with the images, not the layers
    cases = {key.partition("/")[0] for key in golden.load("ops_small")}
    assert cases == {*LAYERS, *LERPS, "blur2d_asym_1234"} | images
