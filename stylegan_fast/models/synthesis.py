"""The synthesis network: from styles w to images."""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stylegan_fast.layers import Blur, EqualLinear, FusedLeakyReLU, LayerEpilogue, PixelNorm, Upsample
from stylegan_fast.models.convolution import Conv3x3, UpConv2d
from stylegan_fast.models.growth import Lod, channels_at, fade, resize_by_halves, split_lod
from stylegan_fast.models.rgb import ToRGB

NOISE_MODES = ("random", "const", "none")


@dataclass(frozen=True)
class Ingredients:
    """What sets the paper's configurations (Table 1) and some ports apart; see `SynthesisNetwork`."""

    blur: bool = True
    styles: bool = True
    const_input: bool = True
    noise: bool = True
    norm_eps: float = 1e-8
    bias_before_blur: bool = False

    def epilogue(self, channels: int, w_dim: int, after_up: bool) -> nn.Module:
        """What follows a convolution."""
        blur = self.blur and after_up
        if self.styles:
            return LayerEpilogue(channels, w_dim, eps=self.norm_eps, use_noise=self.noise, blur=blur)
        return PixelNormEpilogue(channels, blur)


class PixelNormEpilogue(nn.Module):
    """What follows a convolution in the progressive GAN: ``pixel_norm(leaky_relu(blur(x) + bias, 0.2))``.

    "Progressive Growing of GANs" (arXiv 1710.10196), section 4.2. w is not looked at.
    """

    def __init__(self, channels: int, blur: bool) -> None:
        super().__init__()
        self.blur = Blur() if blur else nn.Identity()
        self.activation = FusedLeakyReLU(channels, gain=1)
        self.norm = PixelNorm()

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None = None, noise_seed: Tensor | None = None) -> Tensor:
        normed: Tensor = self.norm(self.activation(self.blur(x)))
        return normed


class SynthesisLayer(nn.Module):
    """One layer: a convolution (none after the input), then the epilogue of noise, bias, activation, normalisation and
    style; after an up-convolution the epilogue blurs first.

    `noise_const` [1, 1, resolution, resolution] is the map used for every sample in noise mode "const"; None in a
    network without noise.
    """

    noise_const: Tensor | None

    def __init__(
        self, conv: nn.Module | None, channels: int, w_dim: int, resolution: int, ingredients: Ingredients
    ) -> None:
        super().__init__()
        self.resolution = resolution
        self.conv = conv
        self.epilogue = ingredients.epilogue(channels, w_dim, isinstance(conv, UpConv2d))
        noise = torch.randn(1, 1, resolution, resolution) if ingredients.noise else None
        self.register_buffer("noise_const", noise)

    def forward(self, x: Tensor, w: Tensor, noise_mode: str, noise_seed: Tensor | None) -> Tensor:
        """noise_seed: ``[N]`` in noise mode "random", otherwise None."""
        epilogue: Callable[..., Tensor] = self.epilogue
        if isinstance(self.conv, UpConv2d) and isinstance(self.epilogue, LayerEpilogue):
            phases = self.conv.is_best_in_phases(x)
            x = self.conv.phases(x) if phases else self.conv(x)
            epilogue = functools.partial(self.epilogue, phases=phases)
        else:
            x = x if self.conv is None else self.conv(x)
        if self.noise_const is None:
            return epilogue(x, w)
        return epilogue(x, w, self.noise_const if noise_mode == "const" else None, noise_seed=noise_seed)


class SynthesisBlock(nn.Module):
    """The two layers of one resolution, and the 1x1 convolution that makes an image of their features."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        w_dim: int,
        resolution: int,
        img_channels: int,
        ingredients: Ingredients,
    ) -> None:
        super().__init__()
        self.resolution = resolution
        starts = resolution == 4
        self.const = nn.Parameter(torch.ones(1, channels, 4, 4)) if starts and ingredients.const_input else None
        self.dense = None
        if starts and not ingredients.const_input:
            # The progressive GAN's gain: a dense layer of 16 pixels is a 4x4 convolution of its one input pixel.
            self.dense = EqualLinear(w_dim, channels * 16, bias=False, gain=math.sqrt(2) / 4)
        up = None if starts else UpConv2d(in_channels, channels, ingredients.bias_before_blur)
        conv = Conv3x3(channels, channels, bias=False)
        self.layer0 = SynthesisLayer(up, channels, w_dim, resolution, ingredients)
        self.layer1 = SynthesisLayer(conv, channels, w_dim, resolution, ingredients)
        self.to_rgb = ToRGB(channels, img_channels)

    def start(self, w: Tensor, dtype: torch.dtype) -> Tensor:
        """The input of the 4x4 block ``[N, channels, 4, 4]``: the learned constant, or drawn from w ``[N, w_dim]``."""
        if self.const is not None:
            return self.const.to(dtype).expand(w.shape[0], -1, -1, -1)
        assert self.dense is not None
        features: Tensor = self.dense(w)
        return features.view(w.shape[0], -1, 4, 4).to(dtype)

    def forward(self, x: Tensor, ws: Tensor, noise_mode: str, noise_seeds: Sequence[Tensor | None]) -> Tensor:
        """Features of this resolution, from those of the one below (at 4x4 from `start`) and two styles
        ``[N, 2, w_dim]``."""
        x = self.layer0(x, ws[:, 0], noise_mode, noise_seeds[0])
        return self.layer1(x, ws[:, 1], noise_mode, noise_seeds[1])


class SynthesisNetwork(nn.Module):
    """Styles to images: a learned 4x4 constant, then two style layers per resolution (arXiv 1812.04948, figure 1b); or
    one of its forerunners in Table 1.

    Features are computed in `dtype`, their statistics in fp32, styles in the dtype of ws. The resolution is
    ``img_resolution / 2^floor(lod)``; blocks beyond it are not run and get no gradient.

    Args:
        w_dim: width of w.
        img_resolution: power of two, 8 to 1024.
        img_channels: 1, 3 or 4.
        channel_base, channel_max: see `channels_at`.
        blur: low-pass filter after each doubling ("bilinear" in the paper).
        styles: instance norm and style after each layer; without, the progressive GAN's pixel norm.
        const_input: begin with a learned constant; without, with a fully connected layer of the first w.
        noise: add noise after each convolution. Only with `styles`.
        norm_eps, bias_before_blur, shared_noise: see `Generator`.

    Attributes:
        dtype: of the features and images; None, as it is at first, is that of ws.

    Raises:
        ValueError: noise without styles, or a constant input without styles, which would draw one picture only.
    """

    def __init__(
        self,
        w_dim: int,
        img_resolution: int,
        img_channels: int,
        channel_base: int = 8192,
        channel_max: int = 512,
        blur: bool = True,
        styles: bool = True,
        const_input: bool = True,
        noise: bool = True,
        norm_eps: float = 1e-8,
        bias_before_blur: bool = False,
        shared_noise: bool = False,
    ) -> None:
        super().__init__()
        if not styles and (const_input or noise):
            raise ValueError("synthesis: styles is False, expected const_input and noise to be False as well")
        ingredients = Ingredients(blur, styles, const_input, noise, norm_eps, bias_before_blur)
        self.w_dim = w_dim
        self.shared_noise = shared_noise
        self.img_resolution = img_resolution
        self.img_channels = img_channels
        self.num_ws = 2 * int(math.log2(img_resolution)) - 2
        self.lod = 0.0
        self.dtype: torch.dtype | None = None
        self.up = Upsample()
        for stage in range(2, int(math.log2(img_resolution)) + 1):
            resolution = 2**stage
            in_channels = channels_at(resolution // 2, channel_base, channel_max)
            channels = channels_at(resolution, channel_base, channel_max)
            block = SynthesisBlock(in_channels, channels, w_dim, resolution, img_channels, ingredients)
            self.add_module(f"b{resolution}", block)

    def block(self, resolution: int) -> SynthesisBlock:
        block = self.get_submodule(f"b{resolution}")
        assert isinstance(block, SynthesisBlock)
        return block

    def noise_seeds(self, latents: Tensor, lod: Lod, generator: torch.Generator | None) -> Tensor:
        """Seeds of the noise of every sample and layer in use, int64 ``[N, layers]``, for and where `latents` are."""
        layers = self.num_ws - 2 * int(lod)
        # A generator belongs to one device: drawing there and copying gives the same pictures on every device.
        device = latents.device if generator is None else generator.device
        seeds = torch.randint(2**63 - 1, (latents.shape[0], layers), generator=generator, device=device)
        return seeds.to(latents.device)

    def forward(
        self,
        ws: Tensor,
        lod: Lod | None = None,
        noise_mode: str = "random",
        full_size: bool = False,
        noise_generator: torch.Generator | None = None,
        noise_seeds: Tensor | None = None,
    ) -> Tensor:
        """Draws images.

        Args:
            ws: ``[N, num_ws, w_dim]``.
            lod: 0 to log2(img_resolution) - 2, a float or 0-d tensor (see `split_lod`); None: the network's `lod`.
            noise_mode: "random": fresh maps for each sample; "const": the stored maps; "none": no noise.
            full_size: enlarge the images to `img_resolution` by repeating pixels.
            noise_generator: source of the seeds of the random maps, one for each sample and layer in use.
            noise_seeds: int64 ``[N, layers in use]``, those seeds themselves; see `noise_seeds`.

        Returns:
            Images ``[N, img_channels, r, r]``, nominally in -1 to 1 but not clamped, ``r = img_resolution /
            2^floor(lod)`` (`img_resolution` with `full_size`), in `dtype`.

        Raises:
            ValueError: ws, lod or noise_mode is not as described.
        """
        if ws.ndim != 3 or ws.shape[1:] != (self.num_ws, self.w_dim):
            raise ValueError(f"synthesis: ws has shape {list(ws.shape)}, expected [N, {self.num_ws}, {self.w_dim}]")
        if noise_mode not in NOISE_MODES:
            raise ValueError(f"synthesis: noise_mode is {noise_mode!r}, expected one of {', '.join(NOISE_MODES)}")
        level, amount = split_lod(self.lod if lod is None else lod, self.img_resolution)
        resolution = self.img_resolution >> level

        x = self.block(4).start(ws[:, 0], ws.dtype if self.dtype is None else self.dtype)
        coarser: Tensor | None = None
        stages = int(math.log2(resolution)) - 1
        layers = 2 * stages
        seeds: Sequence[Tensor | None] = (None,) * layers
        if noise_mode == "random":
            drawn = self.noise_seeds(ws, level, noise_generator) if noise_seeds is None else noise_seeds
            seeds = drawn.t().contiguous().unbind()
        for stage, styles in enumerate(ws[:, :layers].split(2, dim=1)):
            block = self.block(4 << stage)
            if amount is not None and block.resolution == resolution:
                coarser = self.block(resolution // 2).to_rgb(x)
            second = 2 * stage if self.shared_noise else 2 * stage + 1
            x = block(x, styles, noise_mode, (seeds[2 * stage], seeds[second]))
        image = block.to_rgb(x)
        if amount is not None and coarser is not None:
            image = fade(image, self.up(coarser), amount)
        return resize_by_halves(image, self.up, level) if full_size else image
