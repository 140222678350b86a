"""Style: per-sample scale and shift of normalised activations, learned from w."""

import torch
from torch import Tensor, nn

from stylegan_fast.layers.equalized import LEAKY_SLOPE, EqualLinear
from stylegan_fast.ops.adain import adain


class AdaIN(nn.Module):
    """Adaptive instance normalisation: normalise each channel of each sample, then scale and shift it by a style of w.

    ::

        s = affine(w)                                   [N, 2C]: first C scale, last C shift
        y = (1 + s[:, :C]) * (x - mean_hw(x)) / sqrt(var_hw(x) + eps) + s[:, C:]        (biased variance)

    Gain convention: the affine map has gain 1 and starts with bias 0, so a zero style is plain instance norm. Equation
    1 of arXiv 1812.04948, with the 1 + of its implementation.

    Args:
        channels: channels of x, C.
        w_dim: width of w.
        eps: added to the variance.

    Shapes: x ``[N, channels, H, W]``, w ``[N, w_dim]`` -> y of the shape, dtype and memory format of x.

        >>> norm = AdaIN(channels=64, w_dim=512)
        >>> y = norm(torch.randn(4, 64, 32, 32), torch.randn(4, 512))
        >>> y.shape                                                     # torch.Size([4, 64, 32, 32])
    """

    def __init__(self, channels: int, w_dim: int, eps: float = 1e-8) -> None:
        super().__init__()
        self.channels = channels
        self.eps = eps
        self.affine = EqualLinear(w_dim, 2 * channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        scale, shift = self.affine(w).chunk(2, dim=1)
        return adain(x, 1 + scale, shift, eps=self.eps)

    def extra_repr(self) -> str:
        return f"{self.channels}, eps={self.eps:g}"


class LayerEpilogue(nn.Module):
    """All that follows a convolution in StyleGAN's synthesis network, in one op.

    ::

        v = x, or with `blur` x correlated with outer([1, 2, 1], [1, 2, 1]) / 16, zeros beyond the border
        t = v + noise_strength[c] * noise[n, 0, h, w] + bias[c]
        a = t if t >= 0 else negative_slope * t
        s = affine(w)                                   [N, 2C]: first C scale, last C shift
        y = (1 + s[:, :C]) * (a - mean_hw(a)) / sqrt(var_hw(a) + eps) + s[:, C:]        (biased variance)

    Gain convention: no gain after the activation (the normalisation would undo it); the affine map has gain 1. `bias`,
    `noise_strength` [channels] and the affine map's bias start at 0. arXiv 1812.04948, figure 1b and appendix C.

    Args:
        channels: channels of x, C.
        w_dim: width of w.
        use_noise: have noise inputs.
        negative_slope: slope of the activation below zero.
        eps: added to the variance.
        blur: blur x first, as after an up-convolution; costs no pass over memory of its own.

    Shapes: x ``[N, channels, H, W]``, w ``[N, w_dim]``, noise ``[N or 1, 1, H, W]`` or None for no noise -> y of the
    shape, dtype and memory format of x.

    Raises:
        ValueError: noise is given to an epilogue with ``use_noise=False``.

        >>> epilogue = LayerEpilogue(channels=64, w_dim=512)
        >>> y = epilogue(conv(x), w, noise=torch.randn(4, 1, 32, 32))   # conv without a bias of its own
        >>> y.shape                                                     # torch.Size([4, 64, 32, 32])
    """

    def __init__(
        self,
        channels: int,
        w_dim: int,
        use_noise: bool = True,
        negative_slope: float = LEAKY_SLOPE,
        eps: float = 1e-8,
        blur: bool = False,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.blur = blur
        self.negative_slope = negative_slope
        self.eps = eps
        self.bias = nn.Parameter(torch.zeros(channels))
        self.noise_strength = nn.Parameter(torch.zeros(channels)) if use_noise else None
        self.affine = EqualLinear(w_dim, 2 * channels)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None = None) -> Tensor:
        if noise is not None and self.noise_strength is None:
            raise ValueError("LayerEpilogue: noise was given, expected None because use_noise=False")
        scale, shift = self.affine(w).chunk(2, dim=1)
        return adain(
            x,
            1 + scale,
            shift,
            noise=noise,
            noise_strength=None if noise is None else self.noise_strength,
            bias=self.bias,
            negative_slope=self.negative_slope,
            eps=self.eps,
            blur=self.blur,
        )

    def extra_repr(self) -> str:
        return (
            f"{self.channels}, use_noise={self.noise_strength is not None}, "
            f"negative_slope={self.negative_slope:g}, eps={self.eps:g}, blur={self.blur}"
        )
