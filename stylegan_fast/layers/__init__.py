"""Drop-in layers: each is an ordinary ``nn.Module``, usable alone in anybody's network.

    >>> from stylegan_fast.layers import AdaIN
    >>> norm = AdaIN(channels=64, w_dim=512)
    >>> y = norm(x, w)                       # x [N, 64, H, W], w [N, 512]

Parameters are float32. Activations keep their dtype (float32, float64, float16 or bfloat16) and their memory format
(contiguous or channels_last) from input to output. Which kernel computes is the matter of `stylegan_fast.ops.library`.
"""

from stylegan_fast.layers.equalized import EqualConv2d, EqualLinear
from stylegan_fast.layers.fused_leaky_relu import FusedLeakyReLU
from stylegan_fast.layers.instance_norm import InstanceNorm2d
from stylegan_fast.layers.minibatch_stddev import MinibatchStdDev
from stylegan_fast.layers.noise import NoiseInjection
from stylegan_fast.layers.pixel_norm import PixelNorm
from stylegan_fast.layers.resample import Blur, Downsample, Upsample
from stylegan_fast.layers.style import AdaIN, LayerEpilogue

__all__ = [
    "AdaIN",
    "Blur",
    "Downsample",
    "EqualConv2d",
    "EqualLinear",
    "FusedLeakyReLU",
    "InstanceNorm2d",
    "LayerEpilogue",
    "MinibatchStdDev",
    "NoiseInjection",
    "PixelNorm",
    "Upsample",
]
