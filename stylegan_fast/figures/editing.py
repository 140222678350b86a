"""Sheets of edits: the same images with ever more, and ever less, of one thing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from stylegan_fast.figures.labelled import labelled_grid, print_cell
from stylegan_fast.figures.paper import draw_styles, drawn_size
from stylegan_fast.figures.samples import SampleSettings, styles_of_seeds
from stylegan_fast.latent.directions import edit
from stylegan_fast.latent.named import Direction
from stylegan_fast.models import Generator


@torch.no_grad()
def edit_sheet(
    G: Generator,
    seeds: Sequence[int],
    direction: Direction,
    amounts: Sequence[float],
    settings: SampleSettings,
    layers: Sequence[int] | None = None,
    batch: int = 8,
) -> Image.Image:
    """A row for each seed, a column for each amount, in standard deviations of W along the direction."""
    ws = styles_of_seeds(G, seeds, settings)
    moved = [edit(ws, direction.vector, amount * direction.deviation, layers) for amount in amounts]
    images = draw_styles(G, torch.stack(moved, dim=1).flatten(0, 1), settings.noise_mode, batch)
    rows: list[list[np.ndarray | Image.Image | None]] = [
        list(images[first : first + len(amounts)]) for first in range(0, len(images), len(amounts))
    ]
    labels = [f"{amount:+.2g} sd" if amount else "unchanged" for amount in amounts]
    return labelled_grid(rows, print_cell(drawn_size(G), len(amounts), 1600), labels, [direction.name])
