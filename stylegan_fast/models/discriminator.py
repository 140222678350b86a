"""The discriminator: from images to realness scores."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from stylegan_fast.layers import Downsample, EqualLinear
from stylegan_fast.models.convolution import Conv3x3, DownConv2d
from stylegan_fast.models.deviation import DeviationConv2d
from stylegan_fast.models.growth import Lod, channels_at, check_image_shape, fade, resize_by_halves, split_lod
from stylegan_fast.models.rgb import FromRGB

SQRT2 = math.sqrt(2)


class DiscriminatorBlock(nn.Module):
    """One resolution: a 3x3 convolution, then one that halves the resolution; `from_rgb` lets images in here."""

    def __init__(
        self,
        channels: int,
        out_channels: int,
        img_channels: int,
        blur: bool,
        from_rgb_activation: str,
        widen_first: bool,
    ) -> None:
        super().__init__()
        between = out_channels if widen_first else channels
        self.from_rgb = FromRGB(img_channels, channels, from_rgb_activation)
        self.conv0 = Conv3x3(channels, between, activation="lrelu")
        self.conv1 = DownConv2d(between, out_channels, blur)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv1(self.conv0(x))


class DiscriminatorEpilogue(nn.Module):
    """The 4x4 block: minibatch standard deviation, a 3x3 convolution, two fully connected layers."""

    def __init__(
        self,
        channels: int,
        hidden: int,
        outputs: int,
        img_channels: int,
        mbstd_group_size: int,
        from_rgb_activation: str,
    ) -> None:
        super().__init__()
        self.from_rgb = FromRGB(img_channels, channels, from_rgb_activation)
        self.conv = DeviationConv2d(channels, mbstd_group_size)
        self.fc = EqualLinear(channels * 16, hidden, gain=SQRT2, activation="lrelu")
        self.out = EqualLinear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.out(self.fc(x.flatten(1).to(self.fc.weight.dtype)))


class Discriminator(nn.Module):
    """StyleGAN's discriminator (arXiv 1812.04948, appendix C; 1710.10196, table 2).

    At 1024x1024 with the default widths it has 23,087,249 trainable parameters. With classes there is one score per
    class and the result is that of the image's own class, ``sum(scores * c)``. Features are computed in `dtype`, the
    last two layers and so the scores in that of the parameters; blocks of resolutions not in use are not run and get no
    gradient.

    Args:
        img_resolution: power of two, 8 to 1024.
        img_channels: 1, 3 or 4.
        c_dim: number of classes; 0 for none.
        channel_base, channel_max: as in `Generator`.
        mbstd_group_size: see `MinibatchStdDev`.
        blur: low-pass filter before each halving ("bilinear"); without, as in the progressive GAN.
        from_rgb_linear: no leaky ReLU after the layers that let images in, as in some ports.
        widen_first: the first convolution of a resolution, not the second, has the feature maps of the next, as in some
            ports.

    Attributes:
        lod: the level of detail used where none is given; 0 (full resolution) unless set or saved mid-growth.
        dtype: of the features; None, as it is at first, is that of the images.
        init_kwargs: plain numbers from which ``Discriminator(**init_kwargs)`` builds the same architecture.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        img_resolution: int,
        img_channels: int = 3,
        c_dim: int = 0,
        channel_base: int = 8192,
        channel_max: int = 512,
        mbstd_group_size: int = 4,
        blur: bool = True,
        from_rgb_linear: bool = False,
        widen_first: bool = False,
    ) -> None:
        super().__init__()
        check_image_shape("Discriminator", img_resolution, img_channels)
        sizes = {"channel_base": channel_base, "channel_max": channel_max, "mbstd_group_size": mbstd_group_size}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"Discriminator: {name} is {size}, expected at least 1")
        if c_dim < 0:
            raise ValueError(f"Discriminator: c_dim is {c_dim}, expected 0 (no classes) or more")
        self.init_kwargs: dict[str, Any] = {
            "img_resolution": img_resolution,
            "img_channels": img_channels,
            "c_dim": c_dim,
            **sizes,
            "blur": blur,
            **({"from_rgb_linear": True} if from_rgb_linear else {}),
            **({"widen_first": True} if widen_first else {}),
        }
        from_rgb_activation = "linear" if from_rgb_linear else "lrelu"
        self.img_resolution = img_resolution
        self.img_channels = img_channels
        self.c_dim = c_dim
        self.lod = 0.0
        self.dtype: torch.dtype | None = None
        self.down = Downsample()
        for stage in range(int(math.log2(img_resolution)), 2, -1):
            resolution = 2**stage
            channels = channels_at(resolution, channel_base, channel_max)
            out_channels = channels_at(resolution // 2, channel_base, channel_max)
            block = DiscriminatorBlock(channels, out_channels, img_channels, blur, from_rgb_activation, widen_first)
            self.add_module(f"b{resolution}", block)
        self.b4 = DiscriminatorEpilogue(
            channels_at(4, channel_base, channel_max),
            channels_at(2, channel_base, channel_max),
            max(c_dim, 1),
            img_channels,
            mbstd_group_size,
            from_rgb_activation,
        )

    def forward(self, img: Tensor, c: Tensor | None = None, lod: Lod | None = None) -> Tensor:
        """Scores images.

        Args:
            img: ``[N, img_channels, r, r]``, -1 to 1, ``r = img_resolution / 2^floor(lod)`` or `img_resolution`
                itself; the latter is averaged down to the former.
            c: ``[N, c_dim]`` one-hot, or None for a network without classes.
            lod: 0 to log2(img_resolution) - 2, a float or 0-d tensor (see `split_lod`); None: the network's `lod`.

        Returns:
            Scores ``[N, 1]``: above 0 for real, below for generated.

        Raises:
            ValueError: img, c or lod is not as described.
        """
        level, amount = split_lod(self.lod if lod is None else lod, self.img_resolution)
        resolution = self.img_resolution >> level
        self._check(img, c, resolution)
        if img.shape[2] != resolution:
            img = resize_by_halves(img, self.down, level)
        img = img if self.dtype is None else img.to(self.dtype)

        x = self.get_submodule(f"b{resolution}.from_rgb")(img)
        if amount is not None:
            x = self.get_submodule(f"b{resolution}")(x)
            resolution //= 2
            coarser = self.get_submodule(f"b{resolution}.from_rgb")(self.down(img))
            x = fade(x, coarser, amount)
        while resolution > 4:
            x = self.get_submodule(f"b{resolution}")(x)
            resolution //= 2
        scores = self.b4(x)
        return scores if c is None or self.c_dim == 0 else (scores * c.to(scores.dtype)).sum(dim=1, keepdim=True)

    def _check(self, img: Tensor, c: Tensor | None, resolution: int) -> None:
        shapes = [(self.img_channels, size, size) for size in (resolution, self.img_resolution)]
        if img.ndim != 4 or img.shape[1:] not in shapes:
            expected = " or ".join(f"[N, {ch}, {h}, {w}]" for ch, h, w in dict.fromkeys(shapes))
            raise ValueError(f"discriminator: img has shape {list(img.shape)}, expected {expected}")
        if self.c_dim == 0:
            if c is not None and c.numel() > 0:
                raise ValueError(
                    f"discriminator: c has shape {list(c.shape)}, expected None because this network has no classes"
                )
        elif c is None or c.shape != (img.shape[0], self.c_dim):
            got = "None" if c is None else list(c.shape)
            raise ValueError(
                f"discriminator: c is {got}, expected one-hot classes of shape {[img.shape[0], self.c_dim]}"
            )
