"""Normalisation of feature vectors to unit length."""

import torch
from torch import Tensor, nn


class PixelNorm(nn.Module):
    """Scales every feature vector to unit root mean square.

    ::

        y = x / sqrt(mean_c(x^2) + eps)

    No gain, no parameters. "Progressive Growing of GANs" (arXiv 1710.10196), section 4.2; in StyleGAN it is applied to
    the latents z (and the label embedding beside them) only.

    Args:
        dim: the dimension the mean is taken over.
        eps: added to the mean square.

    Shapes: any x -> y of the same shape and dtype; statistics in float32 for 16-bit x.

        >>> norm = PixelNorm()
        >>> y = norm(torch.randn(4, 512))
        >>> y.square().mean(dim=1)                                      # tensor([1., 1., 1., 1.])
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        exact = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        return (exact * (exact.square().mean(self.dim, keepdim=True) + self.eps).rsqrt()).to(x.dtype)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, eps={self.eps:g}"
