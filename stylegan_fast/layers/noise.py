"""Per-pixel noise with a learned strength per channel."""

import torch
from torch import Tensor, nn


class NoiseInjection(nn.Module):
    """Adds one single-channel noise map to every channel, scaled by a learned strength per channel.

    ::

        y = x + strength[c] * noise[n, 0, h, w]

    Gain convention: noise has unit variance, `strength` [channels] starts at 0 (arXiv 1812.04948, section 2 and
    appendix C). Where bias, activation, normalisation and style follow, `LayerEpilogue` does all of it in one pass.

    Args:
        channels: channels of x.

    Shapes: x ``[N, channels, H, W]``, noise ``[N or 1, 1, H, W]`` or None for fresh Gaussian noise per sample -> y of
    the shape and dtype of x.

        >>> inject = NoiseInjection(64)
        >>> y = inject(x)                                               # a new map for each sample
        >>> y = inject(x, noise=torch.randn(1, 1, 32, 32))              # one given map for all of them
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.strength = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        if noise is None:
            noise = torch.randn(x.shape[0], 1, *x.shape[2:], dtype=x.dtype, device=x.device)
        return x + (self.strength[:, None, None] * noise).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.channels}"
