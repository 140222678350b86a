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

    Called with ``phases=True``, x is an up-convolution in phases, ``[N, 4 * channels, H / 2 + 1, W / 2 + 1]`` (see
    `adain`), which are interleaved where x is loaded.

    Shapes: x ``[N, channels, H, W]``, w ``[N, w_dim]``, noise ``[N or 1, 1, H, W]`` or None for no noise -> y of the
    shape, dtype and memory format of x. Instead of noise, noise_seed int64 ``[N or 1]``: the noise is
    ``philox_normal(noise_seed, H, W)``, and the seeds are all that is kept of it for the backward.

    Raises:
        ValueError: noise or noise_seed is given to an epilogue with ``use_noise=False``, or both.

        >>> epilogue = LayerEpilogue(channels=64, w_dim=512)
        >>> y = epilogue(conv(x), w, noise=torch.randn(4, 1, 32, 32))   # conv without a bias of its own
        >>> y = epilogue(conv(x), w, noise_seed=torch.arange(4))        # or noise from a seed per sample
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

    def forward(
        self,
        x: Tensor,
        w: Tensor,
        noise: Tensor | None = None,
        noise_seed: Tensor | None = None,
        phases: bool = False,
    ) -> Tensor:
        noisy = noise is not None or noise_seed is not None
        if noisy and self.noise_strength is None:
            given = "noise_seed" if noise is None else "noise"
            raise ValueError(f"LayerEpilogue: {given} was given, expected None because use_noise=False")
        scale, shift = self.affine(w).chunk(2, dim=1)
        return adain(
            x,
            1 + scale,
            shift,
            noise=noise,
            noise_strength=self.noise_strength if noisy else None,
            bias=self.bias,
            noise_seed=noise_seed,
            negative_slope=self.negative_slope,
            eps=self.eps,
            phases=phases,
            blur=self.blur,
        )

    def extra_repr(self) -> str:
        return (
            f"{self.channels}, use_noise={self.noise_strength is not None}, "
            f"negative_slope={self.negative_slope:g}, eps={self.eps:g}, blur={self.blur}"
        )
