"""One image at a time from many knobs: what the studio draws, without its page."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from stylegan_fast.errors import UserError
from stylegan_fast.figures.samples import SampleSettings, check_class, class_conditions
from stylegan_fast.figures.sheet import to_uint8
from stylegan_fast.models import Generator
from stylegan_fast.models.synthesis import SynthesisLayer
from stylegan_fast.seeds import MAX_SEED, latent_of_seed

_LARGEST_ARRAY = 1 << 24  # bytes; the widest styles in use are some kilobytes
NOISES = ("fixed", "fresh", "off")


@dataclass(frozen=True)
class Look:
    """All that an image depends on beside the network.

    Attributes:
        seed: of z; ``towards_next`` 0 to 1 walks on the sphere from it to the z of the next seed.
        settings: truncation and class; its noise mode is not looked at.
        mix_seed: the image whose styles are taken in the layers ``mix_layers``, first and last; None mixes nothing.
        noise: "fixed" (the network's stored noise), "fresh" (drawn from ``noise_seed``) or "off", by resolution;
            "fixed" where nothing is said.
        strengths: by name of a direction, how many times it is added to w.
    """

    seed: int = 0
    towards_next: float = 0.0
    settings: SampleSettings = field(default_factory=lambda: SampleSettings())
    mix_seed: int | None = None
    mix_layers: tuple[int, int] = (0, 3)
    noise: Mapping[int, str] = field(default_factory=dict)
    noise_seed: int = 0
    strengths: Mapping[str, float] = field(default_factory=dict)


class Explorer:
    """Draws looks with a copy of a network made for inference. May be called from several threads.

    Args:
        G: with its `lod` set to what is to be drawn.
        directions: by name, ``[w_dim]`` or ``[num_ws, w_dim]``; see `load_directions`.
    """

    def __init__(self, G: Generator, directions: Mapping[str, Tensor] | None = None) -> None:
        self.G = G.optimize_for_inference()
        self.directions = {name: d.to(G.mapping.w_avg) for name, d in (directions or {}).items()}
        layers = [module for module in self.G.synthesis.modules() if isinstance(module, SynthesisLayer)]
        # The maps that noise mode "const" reads, and what they are in the network's file.
        self._maps = [(m, m.clone()) for layer in layers if (m := layer.noise_const) is not None]
        self._lock = threading.Lock()

    @property
    def resolutions(self) -> list[int]:
        """4, 8, ... up to the one that is drawn."""
        largest = self.G.img_resolution >> math.floor(self.G.lod)
        return [4 << stage for stage in range(int(math.log2(largest)) - 1)]

    @torch.no_grad()
    def ws(self, look: Look) -> Tensor:
        """The styles ``[1, num_ws, w_dim]`` of a look: truncated, mixed, moved along directions, in this order."""
        check_class(self.G, look.settings.class_index)
        ws = self._styles(look.seed, look.towards_next, look.settings)
        if look.mix_seed is not None:
            first, last = look.mix_layers
            ws[:, first : last + 1] = self._styles(look.mix_seed, 0.0, look.settings)[:, first : last + 1]
        for name, strength in look.strengths.items():
            ws = ws + strength * self.directions[name]
        return ws

    @torch.no_grad()
    def draw(self, look: Look) -> np.ndarray:
        """uint8 ``[H, W, C]``."""
        ws = self.ws(look)
        with self._lock:
            self._set_noise(look)
            return to_uint8(self.G.synthesis(ws, noise_mode="const"))[0]

    def _styles(self, seed: int, towards_next: float, settings: SampleSettings) -> Tensor:
        following = seed + 1 if seed < MAX_SEED else 0
        first, second = (torch.from_numpy(latent_of_seed(each, self.G.z_dim)) for each in (seed, following))
        z = on_the_way(first, second, towards_next)[None].to(self.G.mapping.w_avg)
        c = class_conditions(self.G, [seed], settings)
        ws: Tensor = self.G.mapping(z, c, settings.truncation_psi, settings.truncation_cutoff)
        return ws

    def _set_noise(self, look: Look) -> None:
        generator = torch.Generator().manual_seed(look.noise_seed)
        for used, stored in self._maps:
            fresh = torch.randn(stored.shape, generator=generator)  # drawn always: one switch moves no other noise
            kind = look.noise.get(stored.shape[-1], "fixed")
            used.copy_({"fixed": stored, "fresh": fresh, "off": torch.zeros_like(fresh)}[kind])


def on_the_way(first: Tensor, second: Tensor, share: float) -> Tensor:
    """The vector ``share`` of the angle from ``first`` to ``second``, both ``[D]``; lengths go over linearly."""
    if share == 0:
        return first
    length = torch.lerp(first.norm(), second.norm(), share)
    first, second = first / first.norm(), second / second.norm()
    angle = torch.arccos((first @ second).clamp(-1, 1))
    if float(angle.sin()) < 1e-6:
        return first * length
    return length * (((1 - share) * angle).sin() * first + (share * angle).sin() * second) / angle.sin()


def load_directions(path: str | Path, G: Generator) -> dict[str, Tensor]:
    """Directions in W by name: the tensors ``[w_dim]`` or ``[num_ws, w_dim]`` of a safetensors file, or the array of an
    ``.npy`` file under the file's name.

    Raises ``UserError`` for a file that is not one, or of another network.
    """
    path = Path(path)
    try:
        if path.suffix == ".npy":
            tensors = {path.stem: _array(path)}
        else:
            tensors = safetensors.torch.load_file(path)
    except (OSError, ValueError, EOFError, TypeError, safetensors.SafetensorError) as failure:
        reason = (str(failure).splitlines() or [type(failure).__name__])[0]
        raise UserError(f"--directions {str(path)!r}: not a safetensors or .npy file ({reason})") from None
    w_dim = G.mapping.w_avg.numel()
    for name, tensor in tensors.items():
        if list(tensor.shape) not in ([w_dim], [G.num_ws, w_dim]) or not tensor.is_floating_point():
            raise UserError(
                f"--directions {str(path)!r}: {name!r} is {tensor.dtype} {list(tensor.shape)}, expected floating point "
                f"[{w_dim}] or [{G.num_ws}, {w_dim}] for this network"
            )
    return {name: tensor.float() for name, tensor in sorted(tensors.items())}


def _array(path: Path) -> Tensor:
    if path.stat().st_size > _LARGEST_ARRAY:
        raise ValueError("too large")
    return torch.from_numpy(np.load(path, allow_pickle=False))
