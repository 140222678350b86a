"""The 1x1 convolutions between features and images of a few channels.

On CUDA in 16 bits they are matrix products between features in channels_last memory and images whose channels lie apart
(contiguous): as convolutions cuDNN would first copy everything to a number of channels that its kernels take.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from stylegan_fast.layers import EqualConv2d
from stylegan_fast.ops.derivatives import is_asked_for

# Pixels of one product of the weight's gradient: enough products to occupy a GPU, few enough to add up.
_PIXELS_OF_A_SUM = 4096


def _is_product(x: Tensor) -> bool:
    return (
        x.is_cuda
        and x.dtype in (torch.float16, torch.bfloat16)
        and not torch.is_autocast_enabled(x.device.type)
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()  # which cannot see into an autograd function
    )


class ToRGB(EqualConv2d):
    """Features ``[N, channels, H, W]`` to images ``[N, img_channels, H, W]``, see `EqualConv2d`; gain 1."""

    def __init__(self, channels: int, img_channels: int) -> None:
        super().__init__(channels, img_channels, 1)

    def convolve(self, x: Tensor) -> Tensor:
        if not (_is_product(x) and x.is_contiguous(memory_format=torch.channels_last)):
            return super().convolve(x)
        image: Tensor = ImageOfFeatures.apply(x, self.used_weight(x.dtype).flatten(1))
        return image


class FromRGB(EqualConv2d):
    """Images ``[N, img_channels, H, W]`` to features ``[N, channels, H, W]``, see `EqualConv2d`; gain sqrt(2)."""

    def __init__(self, img_channels: int, channels: int, activation: str = "lrelu") -> None:
        super().__init__(img_channels, channels, 1, gain=math.sqrt(2), activation=activation)

    def convolve(self, x: Tensor) -> Tensor:
        if not _is_product(x):
            return super().convolve(x)
        # Rows of 3 numbers are none that matrix products are made for: planes, and a matrix with rows of channels.
        matrix = self.used_weight(x.dtype).flatten(1).t().contiguous()
        features: Tensor = FeaturesOfImage.apply(x.contiguous(), matrix)
        return features


class ImageOfFeatures(torch.autograd.Function):
    """``image[n, k] = sum_c matrix[k, c] * features[n, c]``: features ``[N, C, H, W]`` channels_last, image
    ``[N, K, H, W]`` contiguous."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, matrix: Tensor) -> Tensor:
        ctx.save_for_backward(features, matrix)
        n, _, h, w = features.shape
        image = torch.bmm(matrix.expand(n, -1, -1), _pixels(features).transpose(1, 2))
        return image.view(n, -1, h, w)

    @staticmethod
    def backward(ctx: Any, dimage: Tensor) -> tuple[Tensor | None, Tensor | None]:
        features, matrix = ctx.saved_tensors
        dfeatures = FeaturesOfImage.apply(dimage, matrix) if is_asked_for(ctx, 0) else None
        return dfeatures, _sum_of_products(dimage, features) if is_asked_for(ctx, 1) else None


class FeaturesOfImage(torch.autograd.Function):
    """The adjoint of `ImageOfFeatures`: ``features[n, c] = sum_k image[n, k] * matrix[k, c]``, in the same layouts."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, matrix: Tensor) -> Tensor:
        ctx.save_for_backward(image, matrix)
        n, _, h, w = image.shape
        pixels = torch.bmm(image.contiguous().flatten(2).transpose(1, 2), matrix.expand(n, -1, -1))
        return pixels.view(n, h, w, -1).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, dfeatures: Tensor) -> tuple[Tensor | None, Tensor | None]:
        image, matrix = ctx.saved_tensors
        dimage = ImageOfFeatures.apply(dfeatures, matrix) if is_asked_for(ctx, 0) else None
        return dimage, _sum_of_products(image, dfeatures) if is_asked_for(ctx, 1) else None


def _pixels(features: Tensor) -> Tensor:
    """``[N, H * W, C]``, what lies in channels_last memory."""
    return features.permute(0, 2, 3, 1).flatten(1, 2)


def _sum_of_products(image: Tensor, features: Tensor) -> Tensor:
    """The gradient of matrix, ``[K, C]``: the sum of image times features over samples and pixels."""
    k, c, count = image.shape[1], features.shape[1], image.shape[2] * image.shape[3]
    length = math.gcd(count, _PIXELS_OF_A_SUM)
    parts = image.reshape(-1, k, count // length, length).transpose(1, 2).reshape(-1, k, length)
    products = torch.bmm(parts, _pixels(features).reshape(-1, length, c))
    return products.sum(0, dtype=torch.float64 if image.dtype == torch.float64 else torch.float32).to(image.dtype)
