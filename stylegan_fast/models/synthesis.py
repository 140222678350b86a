"""The synthesis network: from styles w to images."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stylegan_fast.layers import EqualConv2d, LayerEpilogue, Upsample
from stylegan_fast.models.convolution import UpConv2d
from stylegan_fast.models.growth import channels_at, fade, resize_by_halves, split_lod

NOISE_MODES = ("random", "const", "none")


class SynthesisLayer(nn.Module):
    """One style layer: a convolution (none after the learned constant), then the epilogue of noise, bias, activation,
    normalisation and style; after an up-convolution the epilogue blurs first.

    `noise_const` [1, 1, resolution, resolution] is the map used for every sample in noise mode "const".
    """

    noise_const: Tensor

    def __init__(
        self, conv: nn.Module | None, channels: int, w_dim: int, resolution: int, norm_eps: float = 1e-8
    ) -> None:
        super().__init__()
        self.resolution = resolution
        self.conv = conv
        self.epilogue = LayerEpilogue(channels, w_dim, eps=norm_eps, blur=isinstance(conv, UpConv2d))
        self.register_buffer("noise_const", torch.randn(1, 1, resolution, resolution))

    def forward(self, x: Tensor, w: Tensor, noise_mode: str, noise_seed: Tensor | None) -> Tensor:
        """noise_seed: ``[N]`` in noise mode "random", otherwise None."""
        if self.conv is not None:
            x = self.conv(x)
        noise = self.noise_const if noise_mode == "const" else None
        return self.epilogue(x, w, noise, noise_seed=noise_seed)


class SynthesisBlock(nn.Module):
    """The two style layers of one resolution, and the 1x1 convolution that makes an image of their features."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        w_dim: int,
        resolution: int,
        img_channels: int,
        norm_eps: float = 1e-8,
        bias_before_blur: bool = False,
    ) -> None:
        super().__init__()
        self.resolution = resolution
        starts = resolution == 4
        self.const = nn.Parameter(torch.ones(1, channels, 4, 4)) if starts else None
        up = None if starts else UpConv2d(in_channels, channels, bias=bias_before_blur)
        conv = EqualConv2d(channels, channels, 3, bias=False, gain=math.sqrt(2))
        self.layer0 = SynthesisLayer(up, channels, w_dim, resolution, norm_eps)
        self.layer1 = SynthesisLayer(conv, channels, w_dim, resolution, norm_eps)
        self.to_rgb = EqualConv2d(channels, img_channels, 1)

    def forward(self, x: Tensor, ws: Tensor, noise_mode: str, noise_seeds: Sequence[Tensor | None]) -> Tensor:
        """Features of this resolution, from those of the one below (at 4x4 from `const`) and two styles
        ``[N, 2, w_dim]``."""
        x = self.layer0(x, ws[:, 0], noise_mode, noise_seeds[0])
        return self.layer1(x, ws[:, 1], noise_mode, noise_seeds[1])


class SynthesisNetwork(nn.Module):
    """Styles to images: a learned 4x4 constant, then two style layers per resolution (arXiv 1812.04948, figure 1b).

    Features are computed in `dtype`, their statistics in fp32, styles in the dtype of ws. The resolution is
    ``img_resolution / 2^floor(lod)``; blocks beyond it are not run and get no gradient.

    Args:
        w_dim: width of w.
        img_resolution: power of two, 8 to 1024.
        img_channels: 1, 3 or 4.
        channel_base, channel_max: see `channels_at`.
        norm_eps, bias_before_blur, shared_noise: see `Generator`.

    Attributes:
        dtype: of the features and images; None, as it is at first, is that of ws.
    """

    def __init__(
        self,
        w_dim: int,
        img_resolution: int,
        img_channels: int,
        channel_base: int = 8192,
        channel_max: int = 512,
        norm_eps: float = 1e-8,
        bias_before_blur: bool = False,
        shared_noise: bool = False,
    ) -> None:
        super().__init__()
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
            block = SynthesisBlock(in_channels, channels, w_dim, resolution, img_channels, norm_eps, bias_before_blur)
            self.add_module(f"b{resolution}", block)

    def block(self, resolution: int) -> SynthesisBlock:
        block = self.get_submodule(f"b{resolution}")
        assert isinstance(block, SynthesisBlock)
        return block

    def forward(
        self,
        ws: Tensor,
        lod: float | Tensor | None = None,
        noise_mode: str = "random",
        full_size: bool = False,
        noise_generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws images.

        Args:
            ws: ``[N, num_ws, w_dim]``.
            lod: 0 to log2(img_resolution) - 2, a float or 0-d tensor (see `split_lod`); None: the network's `lod`.
            noise_mode: "random": fresh maps for each sample; "const": the stored maps; "none": no noise.
            full_size: enlarge the images to `img_resolution` by repeating pixels.
            noise_generator: source of the seeds of the random maps, one for each sample and layer in use.

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

        const = self.block(4).const
        assert const is not None
        x = const.to(ws.dtype if self.dtype is None else self.dtype).expand(ws.shape[0], -1, -1, -1)
        coarser: Tensor | None = None
        stages = int(math.log2(resolution)) - 1
        layers = 2 * stages
        seeds = _noise_seeds(ws, layers, noise_generator) if noise_mode == "random" else (None,) * layers
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


def _noise_seeds(ws: Tensor, layers: int, generator: torch.Generator | None) -> tuple[Tensor, ...]:
    """For each layer a seed of every sample, ``[N]`` on the device of ws."""
    # A generator belongs to one device: drawing there and copying gives the same pictures on every device.
    device = ws.device if generator is None else generator.device
    seeds = torch.randint(2**63 - 1, (ws.shape[0], layers), generator=generator, device=device)
    return seeds.to(ws.device).t().contiguous().unbind()
