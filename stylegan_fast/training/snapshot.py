"""What a run writes at each snapshot: the sheet of samples, the networks, the state. Rank 0 alone does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stylegan_fast.data import Dataset
from stylegan_fast.figures.sheet import cell_size, image_sheet, save_png, sheet_layout, to_uint8
from stylegan_fast.models import save_networks
from stylegan_fast.training.draws import Draws
from stylegan_fast.training.run_folder import RunFolder
from stylegan_fast.training.trainer import Trainer


class SnapshotFiles:
    """The pictures and networks of a run at one moment.

    Args:
        batch: images drawn at a time.
        keep: how many snapshots to keep, the best and the last among them; None keeps all.
    """

    def __init__(
        self, folder: RunFolder, dataset: Dataset, trainer: Trainer, draws: Draws, batch: int, keep: int | None = None
    ) -> None:
        self.folder, self.dataset, self.trainer, self.draws = folder, dataset, trainer, draws
        self.batch, self.keep = batch, keep

    def write_first_sheets(self, lod: float) -> None:
        """``reals.png`` and ``fakes_init.png``."""
        pixels = self.dataset.read(self._real_indices(), self.dataset.resolution)
        self._write_sheet(list(pixels.transpose(0, 2, 3, 1)), self.folder.path / "reals.png")
        self.write_fakes(self.folder.path / "fakes_init.png", lod)

    def write(self, num_images: int, lod: float) -> None:
        """Sheet and networks after ``num_images``."""
        self.write_fakes(self.folder.fakes(num_images), lod)
        self.save_networks(num_images, lod)

    def remove_old(self, num_images: int, best_images: int | None) -> None:
        """What ``--keep`` has no room for; never the last snapshot, of ``num_images``, nor that of ``best_images``."""
        if self.keep is not None:
            self.folder.remove_old_snapshots(
                self.keep, {num_images, num_images if best_images is None else best_images}
            )

    def save_networks(self, num_images: int, lod: float) -> None:
        trainer: Any = self.trainer
        save_networks(
            self.folder.network(num_images),
            G_ema=trainer.G_ema,
            G=trainer.G,
            D=trainer.D,
            lod=lod,
            extra={"kimg": num_images / 1000, "dataset": self.dataset.name},
        )

    @torch.no_grad()
    def write_fakes(self, path: Path, lod: float) -> None:
        """What G_ema draws from the run's fixed latents, without truncation, with its stored noise."""
        columns, rows = sheet_layout(self.dataset.resolution)
        count, device = columns * rows, self.draws.device
        inputs = self.draws.generator_inputs(0, "sheet", count, self.trainer.G.z_dim, None, 0, 0.0)
        c = None
        if self.dataset.label_dim:
            indices = self._real_indices()
            labels = self.dataset.labels([indices[i % len(indices)] for i in range(count)])
            c = torch.from_numpy(labels).to(device)
        images: list[np.ndarray] = []
        for part in torch.arange(count, device=device).split(self.batch):
            labels_here = None if c is None else c[part]
            images.extend(to_uint8(self.trainer.G_ema(inputs.z[part], labels_here, lod=lod, noise_mode="const")))
        self._write_sheet(images, path)

    def _write_sheet(self, images: Sequence[np.ndarray], path: Path) -> None:
        columns, _ = sheet_layout(self.dataset.resolution)
        save_png(image_sheet(images, columns, cell_size(self.dataset.resolution)), path)

    def _real_indices(self) -> list[int]:
        """Images of the data set without repetition, as many as a sheet holds or as there are."""
        columns, rows = sheet_layout(self.dataset.resolution)
        order = torch.randperm(len(self.dataset), generator=self.draws.generator(0, "sheet/reals", "cpu"))
        indices: list[int] = order[: columns * rows].tolist()
        return indices
