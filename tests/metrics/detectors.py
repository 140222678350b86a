"""Small TorchScript detectors with the interface of the Inception and VGG16 files that the field uses."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional


class SmallDetector(nn.Module):
    """Random convolutions: features [N, 12], 5 class probabilities, LPIPS-like rows."""

    def __init__(self, features: int = 12) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.kernel = nn.Parameter(torch.randn(features, 3, 3, 3, generator=generator) / 5)
        self.classes = nn.Parameter(torch.randn(5, features, generator=generator))

    def forward(
        self,
        images: Tensor,
        return_features: bool = False,
        no_output_bias: bool = False,
        resize_images: bool = True,
        return_lpips: bool = False,
    ) -> Tensor:
        x = images.to(torch.float32) / 127.5 - 1
        x = functional.conv2d(x, self.kernel, padding=1).relu()
        if return_lpips:
            return x.flatten(1) / x.shape[2]
        features = x.mean(dim=[2, 3])
        if return_features:
            return features
        return torch.softmax(features @ self.classes.t(), dim=1)


class PixelsAsLpips(nn.Module):
    """LPIPS(a, b) is the squared distance of the pixels."""

    def forward(self, images: Tensor, resize_images: bool = True, return_lpips: bool = False) -> Tensor:
        return images.flatten(1)


class NaNDetector(nn.Module):
    def forward(self, images: Tensor, return_features: bool = False) -> Tensor:
        return images.float().mean(dim=[2, 3]) / 0.0 * 0.0


class FeatureMaps(nn.Module):
    """Not [N, D]."""

    def forward(self, images: Tensor, return_features: bool = False) -> Tensor:
        return images.float()


class BrightnessClassifier(nn.Module):
    """One attribute: brighter than the middle."""

    def forward(self, images: Tensor) -> Tensor:
        return images.float().mean(dim=[1, 2, 3]).unsqueeze(1) - 128


def script(module: nn.Module, path: Path) -> Path:
    torch.jit.save(torch.jit.script(module), str(path))
    return path
