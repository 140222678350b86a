"""The generator: mapping and synthesis together."""

import copy
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from stylegan_fast.layers import EqualConv2d, EqualLinear
from stylegan_fast.models.captured import CapturedPictures, tf32_set_to
from stylegan_fast.models.growth import Lod, check_image_shape, num_layers_at
from stylegan_fast.models.mapping import MappingNetwork
from stylegan_fast.models.synthesis import SynthesisNetwork

if TYPE_CHECKING:
    from stylegan_fast.models.discriminator import Discriminator


class Generator(nn.Module):
    """StyleGAN's generator (arXiv 1812.04948): ``images = synthesis(mapping(z, c))``.

    At 1024x1024 with the default widths it has 26,219,627 trainable parameters.

    Args:
        img_resolution: power of two, 8 to 1024.
        img_channels: 1, 3 or 4.
        z_dim, w_dim: widths of the latents.
        c_dim: number of classes; 0 for none.
        channel_base, channel_max: feature maps at resolution r: ``min(2 * channel_base / r, channel_max)``.
        mapping_layers: fully connected layers of the mapping network; 0: w is the normalised z (and class embedding).
        mapping_width: their width but for the last; None is `w_dim`.
        w_avg_beta: share of `mapping.w_avg` that each update keeps.
        blur, styles, const_input, noise: what sets the paper's configurations A to F apart, see `SynthesisNetwork` and
            `LADDER`; all True is StyleGAN (F).
        norm_eps: added to the variance in the instance norm. Ports of StyleGAN often have torch's 1e-5.
        bias_before_blur: up-convolutions have a bias before their blur besides that after it, as in some ports: the two
            differ where the blur meets the border.
        shared_noise: both layers of a resolution get the same random noise, as in some ports.

    Attributes:
        z_dim, w_dim, c_dim, num_ws, img_resolution, img_channels: as above; `num_ws` style layers, two per resolution.
        mapping, synthesis: the two networks; `mapping.w_avg` [w_dim] is the mean w.
        lod: the level of detail used where none is given; 0 (full resolution) unless set or saved mid-growth.
        init_kwargs: plain numbers from which ``Generator(**init_kwargs)`` builds the same architecture.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        img_resolution: int,
        img_channels: int = 3,
        z_dim: int = 512,
        w_dim: int = 512,
        c_dim: int = 0,
        channel_base: int = 8192,
        channel_max: int = 512,
        mapping_layers: int = 8,
        mapping_width: int | None = None,
        w_avg_beta: float = 0.995,
        blur: bool = True,
        styles: bool = True,
        const_input: bool = True,
        noise: bool = True,
        norm_eps: float = 1e-8,
        bias_before_blur: bool = False,
        shared_noise: bool = False,
    ) -> None:
        super().__init__()
        check_image_shape("Generator", img_resolution, img_channels)
        mapping_width = w_dim if mapping_width is None else mapping_width
        sizes = {
            "z_dim": z_dim,
            "w_dim": w_dim,
            "channel_base": channel_base,
            "channel_max": channel_max,
            "mapping_layers": mapping_layers,
            "mapping_width": mapping_width,
        }
        for name, size in sizes.items():
            least = 0 if name == "mapping_layers" else 1
            if size < least:
                raise ValueError(f"Generator: {name} is {size}, expected at least {least}")
        if c_dim < 0:
            raise ValueError(f"Generator: c_dim is {c_dim}, expected 0 (no classes) or more")
        if not 0 <= w_avg_beta <= 1:
            raise ValueError(f"Generator: w_avg_beta is {w_avg_beta}, expected 0 to 1")
        if not 0 < norm_eps < 1:
            raise ValueError(f"Generator: norm_eps is {norm_eps}, expected above 0 and below 1")
        ladder = {"blur": blur, "styles": styles, "const_input": const_input, "noise": noise}
        switches: dict[str, Any] = {
            "norm_eps": norm_eps,
            "bias_before_blur": bias_before_blur,
            "shared_noise": shared_noise,
        }
        self.init_kwargs: dict[str, Any] = {
            "img_resolution": img_resolution,
            "img_channels": img_channels,
            "c_dim": c_dim,
            **sizes,
            "w_avg_beta": w_avg_beta,
            **ladder,
            # Where they are as in the paper they are not mentioned, so that files go on reading in older versions.
            **{name: value for name, value in switches.items() if value not in (1e-8, False)},
        }
        self._graphs: CapturedPictures | None = None
        self._allow_tf32: bool | None = None
        self.img_resolution = img_resolution
        self.img_channels = img_channels
        self.z_dim = z_dim
        self.w_dim = w_dim
        self.c_dim = c_dim
        self.num_ws = num_layers_at(img_resolution)
        self.mapping = MappingNetwork(z_dim, c_dim, w_dim, self.num_ws, mapping_layers, mapping_width, w_avg_beta)
        self.synthesis = SynthesisNetwork(
            w_dim, img_resolution, img_channels, channel_base, channel_max, **ladder, **switches
        )

    def optimize_for_inference(
        self, dtype: torch.dtype = torch.float32, *, cuda_graphs: bool = False, allow_tf32: bool | None = None
    ) -> "Generator":
        """A copy that draws the same pictures faster and cannot be trained or saved.

        Every weight is scaled, composed and laid out channels_last once, and features have this dtype: with bfloat16
        the pictures lose some digits (40 dB and more from those of float32), and processors with bfloat16 arithmetic
        need half the time.

        Args:
            dtype: of features and images; styles, statistics and sums stay float32.
            cuda_graphs: on CUDA, launch a picture's kernels as one captured graph, for each batch size and setting at
                its third call; what it computes in stays reserved. Small pictures and batches gain most.
            allow_tf32: on CUDA, whether products and convolutions of float32 may be rounded to TF32's ten bits; None
                is what `torch.backends` says at the time.

        Raises:
            CaptureError: with `cuda_graphs`, at a call: it cannot be captured.
        """
        fast = copy.deepcopy(self).eval().requires_grad_(False)
        for module in fast.modules():
            if isinstance(module, EqualConv2d | EqualLinear):
                module.keep_weights()
        fast.synthesis.dtype = dtype
        fast._graphs = CapturedPictures(fast) if cuda_graphs else None
        fast._allow_tf32 = allow_tf32
        return fast

    @classmethod
    def from_pretrained(
        cls, source: str | os.PathLike[str], *, revision: str | None = None, device: str | torch.device = "cpu"
    ) -> "Generator":
        """A generator somebody saved with `save_pretrained`, ready to draw; see `load_generator`.

        Args:
            source: a folder with ``model.safetensors``, a run directory or a network file; else a repository of the
                Hugging Face Hub, ``"owner/name"``, which is downloaded (extra ``hub``). Files hold numbers only.
            revision: of the repository: branch, tag or commit.
            device: where to put it.

        Raises:
            UserError: there is no such thing, or it is not a network of ours.
        """
        from stylegan_fast.models.pretrained import load_pretrained

        return load_pretrained(source, revision, device)

    def save_pretrained(
        self,
        folder: str | os.PathLike[str],
        *,
        run: str | os.PathLike[str] | None = None,
        D: "Discriminator | None" = None,
    ) -> None:
        """Writes the generator as a folder to give away: ``model.safetensors`` and a model card, ``README.md``.

        Args:
            folder: made where it is not there.
            run: the directory of the run it comes from, for the card: data, settings, images seen, metrics.
            D: a discriminator to keep with it.

        Raises:
            UserError: the folder cannot be made, or there is no such run.
            OSError: a file cannot be written.
        """
        from stylegan_fast.models.pretrained import save_pretrained

        save_pretrained(self, folder, run, D)

    @property
    def lod(self) -> float:
        return self.synthesis.lod

    @lod.setter
    def lod(self, lod: float) -> None:
        self.synthesis.lod = lod

    def forward(
        self,
        z: Tensor,
        c: Tensor | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        lod: Lod | None = None,
        noise_mode: str = "random",
        full_size: bool = False,
        noise_generator: torch.Generator | None = None,
        update_emas: bool = False,
    ) -> Tensor:
        """Images ``[N, img_channels, r, r]`` of latents z ``[N, z_dim]``; the arguments are those of
        `MappingNetwork.forward` and `SynthesisNetwork.forward`."""
        call = (z, c, truncation_psi, truncation_cutoff, lod, noise_mode, full_size, noise_generator, update_emas)
        if self._allow_tf32 is None or not z.is_cuda:
            return self._draw(*call)
        with tf32_set_to(self._allow_tf32):
            return self._draw(*call)

    def _draw(
        self,
        z: Tensor,
        c: Tensor | None,
        truncation_psi: float,
        truncation_cutoff: int | None,
        lod: Lod | None,
        noise_mode: str,
        full_size: bool,
        noise_generator: torch.Generator | None,
        update_emas: bool,
    ) -> Tensor:
        if self._graphs is not None and self._graphs.can_draw(z, c, lod, update_emas):
            return self._graphs.draw(
                z, c, truncation_psi, truncation_cutoff, lod, noise_mode, full_size, noise_generator
            )
        ws = self.mapping(z, c, truncation_psi, truncation_cutoff, update_emas)
        return self.synthesis(ws, lod, noise_mode, full_size, noise_generator)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        if self._graphs is not None:  # they read the weights where those were
            self._graphs = CapturedPictures(self)
        return super()._apply(fn, recurse)
