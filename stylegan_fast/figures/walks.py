"""What moves: frames of ways through latent space, of noise, of a run's history. Each is drawn when it is asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stylegan_fast.errors import UserError
from stylegan_fast.figures.labelled import enlarged
from stylegan_fast.figures.mixing import NAMED_LAYERS
from stylegan_fast.figures.paper import drawn_size
from stylegan_fast.figures.samples import SampleSettings, styles_of_seeds
from stylegan_fast.figures.sheet import to_uint8
from stylegan_fast.latent.interpolation import slerp, spline
from stylegan_fast.models import Generator, load_generator
from stylegan_fast.models.network_file import network_paths
from stylegan_fast.seeds import class_of_seed, latent_of_seed

Frames = Iterator[np.ndarray]  # uint8 [H, W, 3]


@dataclass(frozen=True)
class Grid:
    """``columns`` x ``rows`` images in a frame, each ``side`` pixels wide."""

    columns: int
    rows: int
    side: int

    @property
    def cells(self) -> int:
        return self.columns * self.rows


def frame_of(images: Sequence[np.ndarray], grid: Grid) -> np.ndarray:
    """Images ``[H, W, C]`` beside each other, row by row: uint8 ``[rows * side, columns * side, 3]``."""
    pictures = [np.asarray(enlarged(image, grid.side)) for image in images]
    rows = [np.concatenate(pictures[k * grid.columns : (k + 1) * grid.columns], axis=1) for k in range(grid.rows)]
    return np.concatenate(rows)


def shared_out(seeds: Sequence[int], grid: Grid) -> list[list[int]]:
    """Each cell's own seeds: the first so many to the first cell. Raises ``UserError`` where they do not go round."""
    if not seeds or len(seeds) % grid.cells:
        raise UserError(f"--seeds: {len(seeds)} seeds cannot be shared out among {grid.cells} images of --grid")
    each = len(seeds) // grid.cells
    return [list(seeds[first : first + each]) for first in range(0, len(seeds), each)]


@torch.no_grad()
def walk(
    G: Generator, seeds: Sequence[int], grid: Grid, frames: int, settings: SampleSettings, space: str, closed: bool
) -> Frames:
    """A way through the images of each cell's seeds: ``frames`` frames from one to the next.

    space "w": a spline through their w; "z": great circles between their z, then mapped. closed: back to the first.
    """
    cells = shared_out(seeds, grid)
    stops = len(cells[0])
    if stops < 2:
        raise UserError(f"--seeds: a way needs two seeds or more for each image, here are {stops}")
    legs = stops if closed else stops - 1
    points = torch.stack([styles_of_seeds(G, own, settings) for own in cells])  # [cells, stops, num_ws, w_dim]
    for frame in range(legs * frames + (0 if closed else 1)):
        t = frame / frames
        if space == "w":
            ws = torch.cat([spline(own, torch.tensor([t]), closed) for own in points])
        else:
            ws = torch.cat([_between_z(G, own, t, settings) for own in cells])
        yield frame_of(_drawn(G, ws), grid)


def _between_z(G: Generator, seeds: Sequence[int], t: float, settings: SampleSettings) -> Tensor:
    first = min(int(t), len(seeds) - 1)
    pair = [seeds[first], seeds[(first + 1) % len(seeds)]]
    device = G.mapping.w_avg.device
    a, b = (torch.from_numpy(latent_of_seed(seed, G.z_dim))[None].to(device) for seed in pair)
    z = slerp(a, b, t - first)
    c = None
    if G.c_dim > 0:
        # One class for the whole way: there is nothing between two of them in the data.
        chosen = class_of_seed(seeds[0], G.c_dim) if settings.class_index is None else settings.class_index
        c = torch.nn.functional.one_hot(torch.tensor([chosen]), G.c_dim).to(device, torch.float32)
    ws: Tensor = G.mapping(z, c, settings.truncation_psi, settings.truncation_cutoff)
    return ws


@torch.no_grad()
def mixing_sweep(
    G: Generator, seeds: Sequence[int], grid: Grid, frames: int, settings: SampleSettings, styles: str
) -> Frames:
    """The images of the first seeds, one for each cell, while one group of their styles ("coarse", "middle", "fine")
    goes a round through the images of the other seeds, the same for all cells."""
    if len(seeds) < grid.cells + 2:
        raise UserError(
            f"--seeds: {len(seeds)} are too few, expected {grid.cells + 2} or more: {grid.cells} to show and two or "
            "more to take styles from"
        )
    first, end = NAMED_LAYERS[styles]
    if first >= G.num_ws:
        raise UserError(f"--styles {styles}: a network of {G.num_ws} layers has none")
    fixed = styles_of_seeds(G, seeds[: grid.cells], settings)
    points = styles_of_seeds(G, seeds[grid.cells :], settings)
    for frame in range(len(points) * frames):
        moving = spline(points, torch.tensor([frame / frames]), closed=True)
        ws = fixed.clone()
        ws[:, first:end] = moving[:, first:end]
        yield frame_of(_drawn(G, ws), grid)


@torch.no_grad()
def noise_animation(G: Generator, seeds: Sequence[int], grid: Grid, frames: int, settings: SampleSettings) -> Frames:
    """The images of the seeds under noise that turns smoothly and comes back: ``cos(t) n1 + sin(t) n2`` is normal noise
    at every t."""
    if len(seeds) != grid.cells:
        raise UserError(f"--seeds: {len(seeds)} seeds for {grid.cells} images of --grid; give as many")
    ws = styles_of_seeds(G, seeds, settings)
    stored = [noise for name, noise in G.synthesis.named_buffers() if name.endswith("noise_const")]
    kept = [noise.clone() for noise in stored]
    generator = torch.Generator().manual_seed(seeds[0])
    other = [torch.randn(noise.shape, generator=generator).to(noise) for noise in stored]
    try:
        for frame in range(frames):
            angle = 2 * math.pi * frame / frames
            for noise, one, two in zip(stored, kept, other, strict=True):
                noise.copy_(math.cos(angle) * one + math.sin(angle) * two)
            yield frame_of(_drawn(G, ws), grid)
    finally:
        for noise, before in zip(stored, kept, strict=True):
            noise.copy_(before)


@torch.no_grad()
def time_lapse(
    run: str | Path, seeds: Sequence[int], grid: Grid, frames: int, settings: SampleSettings, device: torch.device
) -> Frames:
    """The same seeds through all networks that a run has kept, faded from one to the next."""
    if len(seeds) != grid.cells:
        raise UserError(f"--seeds: {len(seeds)} seeds for {grid.cells} images of --grid; give as many")
    before: np.ndarray | None = None
    for path in network_paths(run):
        G = load_generator(path, device=device)
        now = frame_of(_drawn(G, styles_of_seeds(G, seeds, settings)), grid).astype(np.float32)
        steps = frames if before is not None else 1
        for step in range(1, steps + 1):
            faded = now if before is None else before + (now - before) * (step / steps)
            yield np.rint(faded).astype(np.uint8)
        before = now


def _drawn(G: Generator, ws: Tensor) -> list[np.ndarray]:
    return list(to_uint8(G.synthesis(ws, noise_mode="const")))


def frame_side(G: Generator, columns: int, width: int) -> int:
    """Side of an image in a frame about ``width`` pixels wide: a whole multiple of what the network draws, and even."""
    size = drawn_size(G)
    return size * max(width // columns // size, 1)
