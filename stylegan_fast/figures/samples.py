"""Images of seeds: each depends on the network, its seed and the settings, not on the others drawn with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stylegan_fast.errors import UserError
from stylegan_fast.figures.sheet import to_uint8
from stylegan_fast.models import Generator
from stylegan_fast.seeds import class_of_seed, latent_of_seed


@dataclass(frozen=True)
class SampleSettings:
    """How images are drawn.

    ``truncation_psi``: w is pulled towards its mean by this factor; 1 leaves it alone. ``truncation_cutoff``: in the
    first this many layers. ``class_index``: for conditional networks; None takes one by seed. ``noise_mode``: "const"
    is the network's stored noise, "random" noise drawn from the seed, "none" no noise.
    """

    truncation_psi: float = 0.7
    truncation_cutoff: int = 8
    class_index: int | None = None
    noise_mode: str = "const"


def check_class(G: Generator, class_index: int | None) -> None:
    """Raises ``UserError`` unless ``G`` can draw this class."""
    if class_index is None:
        return
    if G.c_dim == 0:
        raise UserError(f"--class {class_index}: this network was trained without classes; leave --class out")
    if not 0 <= class_index < G.c_dim:
        raise UserError(f"--class {class_index}: this network has the classes 0 to {G.c_dim - 1}")


def class_conditions(G: Generator, seeds: Sequence[int], settings: SampleSettings) -> Tensor | None:
    """One-hot classes ``[N, c_dim]`` on the network's device; None for a network without."""
    if G.c_dim == 0:
        return None
    chosen = settings.class_index
    classes = [class_of_seed(seed, G.c_dim) if chosen is None else chosen for seed in seeds]
    return torch.nn.functional.one_hot(torch.tensor(classes), G.c_dim).to(G.mapping.w_avg.device, torch.float32)


@torch.no_grad()
def styles_of_seeds(G: Generator, seeds: Sequence[int], settings: SampleSettings) -> Tensor:
    """ws ``[N, num_ws, w_dim]`` on the network's device."""
    device = G.mapping.w_avg.device
    z = torch.from_numpy(np.stack([latent_of_seed(seed, G.z_dim) for seed in seeds])).to(device)
    c = class_conditions(G, seeds, settings)
    ws: Tensor = G.mapping(z, c, settings.truncation_psi, settings.truncation_cutoff)
    return ws


@torch.no_grad()
def draw_seeds(
    G: Generator, seeds: Sequence[int], settings: SampleSettings, batch: int = 8
) -> Iterator[tuple[int, np.ndarray]]:
    """``(seed, uint8 [H, W, C])`` for each seed in order, ``batch`` at a time.

    The seeds of random noise are drawn on the CPU from a generator seeded with the image's seed, one image at a time.
    """
    if settings.noise_mode == "random":
        batch = 1
    for first in range(0, len(seeds), batch):
        part = seeds[first : first + batch]
        noise = torch.Generator().manual_seed(part[0]) if settings.noise_mode == "random" else None
        ws = styles_of_seeds(G, part, settings)
        images = G.synthesis(ws, noise_mode=settings.noise_mode, noise_generator=noise)
        yield from zip(part, to_uint8(images), strict=True)
