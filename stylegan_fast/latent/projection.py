"""The latent of a given picture: the ws, and the noise maps, whose image comes nearest to it.

Gradient descent after Karras et al. 2020 (arXiv 1912.04958, appendix D): from the best of some random w, Adam with a
rate that rises, stays and falls, noise on w that fades, noise maps optimised along and kept like noise. The distance is
LPIPS where its file is given, and always the pixels at several scales::

    distance = mean over s of mean |x_s - t_s|^2,   x_0 the image, x_(s+1) = x_s averaged over 2 x 2 pixels, to 4 x 4
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from stylegan_fast.latent.directions import sample_w
from stylegan_fast.models import Generator

Distance = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class ProjectionSettings:
    """``space``: "w", one w for all layers, or "w+", one for each. ``steps`` of descent, its ``rate`` in standard
    deviations of W. ``tries``: random w to begin from the best of. ``noise_maps``: optimise them too. ``noise_weight``:
    of what keeps them like noise. ``seed``: of all that is drawn. ``perceptual``: a further distance of images ``[1, C,
    R, R]`` in -1 to 1, added ``perceptual_weight`` times."""

    space: str = "w"
    steps: int = 500
    rate: float = 0.1
    tries: int = 256
    noise_maps: bool = True
    noise_weight: float = 1e-3
    seed: int = 0
    perceptual: Distance | None = None
    perceptual_weight: float = 1.0


@dataclass(frozen=True)
class Projection:
    """Where the descent stands after ``step`` steps: ``ws [1, num_ws, w_dim]``, ``noise`` maps by layer (empty where
    they are the network's own), ``image [1, C, R, R]`` and its ``psnr`` in dB to the target, both cut to -1 to 1."""

    step: int
    ws: Tensor
    noise: list[Tensor]
    image: Tensor
    psnr: float


def pixel_distance(images: Tensor, target: Tensor) -> Tensor:
    """The multi-scale distance of each of ``images [N, C, R, R]`` to ``target [1, C, R, R]``: ``[N]``."""
    difference = images - target
    distances = [difference.square().mean(dim=(1, 2, 3))]
    while difference.shape[-1] > 4:
        difference = functional.avg_pool2d(difference, 2)
        distances.append(difference.square().mean(dim=(1, 2, 3)))
    return torch.stack(distances).mean(dim=0)


def psnr(image: Tensor, target: Tensor) -> float:
    """Peak signal to noise ratio in dB of images in -1 to 1."""
    error = float((image.clamp(-1, 1) - target.clamp(-1, 1)).double().square().mean())
    return math.inf if error == 0 else 10 * math.log10(4 / error)


def project(G: Generator, target: Tensor, settings: ProjectionSettings | None = None) -> Iterator[Projection]:
    """Descend towards a picture.

    Args:
        G: the generator; not changed.
        target: ``[C, R, R]`` in -1 to 1, of the network's resolution and channels.
        settings: see there.

    Yields where it stands before the first step and after each. Raises ``ValueError`` for a target of another shape.
    """
    settings = settings or ProjectionSettings()
    shape = (G.img_channels, G.img_resolution, G.img_resolution)
    if target.shape != shape:
        raise ValueError(f"project: target has shape {list(target.shape)}, expected {list(shape)}")
    if settings.space not in ("w", "w+"):
        raise ValueError(f"project: space is {settings.space!r}, expected 'w' or 'w+'")
    device = G.mapping.w_avg.device
    goal = target[None].to(device, torch.float32)
    G = copy.deepcopy(G).eval().requires_grad_(False)
    maps = _free_noise(G, settings) if settings.noise_maps else []
    w, deviation = _beginning(G, goal, settings)
    ws = w.clone().repeat(1, G.num_ws if settings.space == "w+" else 1, 1).requires_grad_()
    optimizer = torch.optim.Adam([ws, *maps], betas=(0.9, 0.999))
    generator = torch.Generator().manual_seed(settings.seed)

    with torch.enable_grad():
        for step in range(settings.steps + 1):
            yield _standing(G, ws, maps, goal, step)
            if step == settings.steps:
                return
            share = step / settings.steps
            for group in optimizer.param_groups:
                group["lr"] = settings.rate * deviation * _rate(share)
            shake = 0.05 * deviation * max(0.0, 1 - share / 0.75) ** 2
            shaken = ws + shake * torch.randn(ws.shape, generator=generator).to(device)
            image = _image(G, shaken)
            loss = pixel_distance(image, goal).sum()
            if settings.perceptual is not None:
                loss = loss + settings.perceptual_weight * settings.perceptual(image, goal).sum()
            loss = loss + settings.noise_weight * sum(_unlike_noise(noise) for noise in maps)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for noise in maps:  # as drawn noise is: mean 0, variance 1
                    noise.sub_(noise.mean()).div_(noise.square().mean().sqrt().clamp(min=1e-8))


def _free_noise(G: Generator, settings: ProjectionSettings) -> list[Tensor]:
    """The stored noise maps of ``G``, drawn anew and free to be optimised."""
    generator = torch.Generator().manual_seed(settings.seed + 1)
    maps = []
    for module in G.synthesis.modules():
        stored = module._buffers.get("noise_const")
        if stored is not None:
            noise = torch.randn(stored.shape, generator=generator).to(stored).requires_grad_()
            module._buffers["noise_const"] = noise
            maps.append(noise)
    return maps


@torch.no_grad()
def _beginning(G: Generator, goal: Tensor, settings: ProjectionSettings) -> tuple[Tensor, float]:
    """The best of some random w and their mean, ``[1, 1, w_dim]``, and the standard deviation of W per coordinate."""
    w = sample_w(G, max(settings.tries, 64), settings.seed)
    mean = w.mean(dim=0, keepdim=True)
    candidates = torch.cat([mean, w[: settings.tries]])
    distances = torch.cat([pixel_distance(_image(G, part[:, None]), goal) for part in candidates.split(16)])
    return candidates[int(distances.argmin())][None, None], float((w - mean).square().mean().sqrt())


def _image(G: Generator, ws: Tensor) -> Tensor:
    wide: Tensor = G.synthesis(ws.expand(-1, G.num_ws, -1), noise_mode="const", full_size=True)
    return wide


def _rate(share: float) -> float:
    """Rises over the first 5 % of the steps, falls over the last 25 % as a cosine."""
    falling = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - share) / 0.25))
    return falling * min(1.0, share / 0.05 + 0.02)


def _unlike_noise(noise: Tensor) -> Tensor:
    """The squared correlation of neighbours, at every scale down to 8 x 8: noise has none."""
    total = noise.new_zeros(())
    while True:
        total = total + (noise * noise.roll(1, 3)).mean() ** 2 + (noise * noise.roll(1, 2)).mean() ** 2
        if noise.shape[-1] <= 8:
            return total
        noise = functional.avg_pool2d(noise, 2)


@torch.no_grad()
def _standing(G: Generator, ws: Tensor, maps: list[Tensor], goal: Tensor, step: int) -> Projection:
    image = _image(G, ws).clamp(-1, 1)
    wide = ws.detach().clone().expand(-1, G.num_ws, -1)
    return Projection(step, wide, [noise.detach().clone() for noise in maps], image, psnr(image, goal))
