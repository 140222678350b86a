"""The loop: which step comes when, and what is written when.

The original's order: every four pairs of steps the schedule is evaluated; when the set of layers in use has changed,
both optimizers start anew; a pair is a discriminator step, the update of the average, a generator step. All state is
the trainer's plus the counters in ``Position``; every random number is keyed by the step (see ``draws``).
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stylegan_fast.data import BatchLoader, Dataset
from stylegan_fast.figures.sheet import cell_size, image_sheet, save_png, sheet_layout, to_uint8
from stylegan_fast.models import num_layers_at, save_networks
from stylegan_fast.training.checkpoint import save_state
from stylegan_fast.training.config import TrainConfig
from stylegan_fast.training.draws import Draws
from stylegan_fast.training.interruption import Interruption
from stylegan_fast.training.progress import ProgressBar, TimeLeft, bar_text, memory_gb, tick_line
from stylegan_fast.training.reals import fade_reals, mirror, pixels_to_float
from stylegan_fast.training.run_folder import RunFolder
from stylegan_fast.training.schedule import Schedule
from stylegan_fast.training.trainer import Trainer

PAIRS_PER_PHASE = 4  # pairs of steps between two evaluations of the schedule


@dataclass
class Position:
    """Where a run stands; with the trainer's state, all there is to know."""

    step: int = 0  # pairs of steps taken
    images: int = 0  # shown to the discriminator
    phase_images: int = 0  # `images` at the last evaluation of the schedule
    levels: tuple[int, int] | None = None  # floor and ceil of lod then
    tick: int = 0  # ticks completed
    tick_images: int = 0  # `images` at the last of them
    seconds: float = 0.0  # of training, over all sittings


class Loop:
    """One sitting of a run: from ``position`` to the end, or to a signal."""

    def __init__(
        self, config: TrainConfig, folder: RunFolder, dataset: Dataset, trainer: Trainer, position: Position
    ) -> None:
        self.config, self.folder, self.dataset = config, folder, dataset
        self.trainer, self.position = trainer, position
        self.device = next(trainer.G.parameters()).device
        self.draws = Draws(config.seed, device=self.device)
        self.schedule = Schedule(
            dataset.resolution, config.growth_kimg or config.kimg, batch=config.batch, lr=config.lr
        )
        self.total_images = round(config.kimg * 1000)
        self.phase = self.schedule.at(position.phase_images)
        self.loader = BatchLoader(dataset, config.seed)
        self.bar = ProgressBar(self.total_images, position.images)
        self.time_left = TimeLeft(self.schedule, self.total_images)
        self._begin_tick()

    def run(self) -> int | None:
        """Train to the end and return None, or save at a signal and return its number."""
        position = self.position
        notice = "stopping: saving after this step (once more to leave at once, without saving)"
        try:
            with Interruption(notice) as interruption:
                if position.images == 0:
                    self._write_first_sheets()
                if position.images >= self.total_images:
                    self._snapshot()
                self._begin_tick()
                while position.images < self.total_images or position.step % PAIRS_PER_PHASE:
                    if position.step % PAIRS_PER_PHASE == 0:
                        self._begin_phase()
                    self._pair()
                    if position.step % PAIRS_PER_PHASE == 0 and self._tick_is_due():
                        self._tick()
                    if interruption.requested is not None and position.images < self.total_images:
                        self._count_seconds()
                        self._save_state()
                        self._save_networks()
                        return interruption.requested
            return None
        finally:
            self.bar.close()
            self.loader.close()

    def say(self, line: str) -> None:
        """Print a line and keep it in log.txt."""
        self.bar.line(line)
        self.folder.log(line)

    def _begin_phase(self) -> None:
        position = self.position
        position.phase_images = position.images
        self.phase = self.schedule.at(position.images)
        if self.phase.levels != position.levels:
            self.trainer.reset_optimizers()
            position.levels = self.phase.levels

    def _pair(self) -> None:
        """One discriminator step, one update of the average, one generator step."""
        position, phase, draws, config = self.position, self.phase, self.draws, self.config
        step, batch = position.step, phase.batch
        pixels, labels = self.loader.batch(position.images, batch, phase.resolution)
        reals = pixels_to_float(torch.from_numpy(pixels).to(self.device, non_blocking=True))
        if config.mirror:
            reals = mirror(reals, draws.mirror_coins(step, batch))
        reals = fade_reals(reals, phase.lod).contiguous(memory_format=torch.channels_last)  # as the networks are

        layers = num_layers_at(self.dataset.resolution, phase.lod)
        c = self._to_device(labels)
        inputs = draws.generator_inputs(step, "D", batch, config.z_dim, c, layers, config.mixing_prob)
        losses = self.trainer.d_step(reals, c, inputs, phase.lod, phase.lr)
        self.trainer.update_average(batch)

        if c is not None:
            c = self._to_device(self.dataset.labels(draws.indices(step, "G/labels", batch, len(self.dataset))))
        inputs = draws.generator_inputs(step, "G", batch, config.z_dim, c, layers, config.mixing_prob)
        losses |= self.trainer.g_step(inputs, phase.lod, phase.lr)

        for name, value in losses.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        position.step += 1
        position.images += batch
        self.bar.advance(batch)

    def _to_device(self, labels: np.ndarray) -> Tensor | None:
        return torch.from_numpy(labels).to(self.device, non_blocking=True) if self.dataset.label_dim else None

    def _tick_is_due(self) -> bool:
        position = self.position
        length = self.phase.tick_kimg if self.config.tick is None else self.config.tick
        return position.images >= min(position.tick_images + length * 1000, self.total_images)

    def _tick(self) -> None:
        position, phase = self.position, self.phase
        seconds = self._count_seconds()
        images, steps = position.images - self._began_at.images, position.step - self._began_at.step
        position.tick += 1
        position.tick_images = position.images
        row: dict[str, Any] = {
            "tick": position.tick,
            "kimg": position.images / 1000,
            "images": position.images,
            "lod": phase.lod,
            "resolution": phase.resolution,
            "batch": phase.batch,
            "lr": phase.lr,
            **{name: float(total) / steps for name, total in self._sums.items()},
            "images_per_second": images / seconds,
            "seconds_per_kimg": 1000 * seconds / images,
            "memory_gb": memory_gb(self.device),
            "data_wait": (self.loader.wait_seconds - self._waited_before) / seconds,
            "skipped_steps": self.trainer.skipped_steps,
            "seconds": position.seconds,
        }
        self.time_left.saw(phase.resolution, seconds / images)
        seconds_left = self.time_left.seconds(position.images)
        self.say(tick_line(row, self.config.kimg, seconds_left))
        self.bar.describe(bar_text(row, seconds_left))
        self.folder.append_stats(row)
        if position.tick % self.config.snap == 0 or position.images >= self.total_images:
            self._snapshot()
        self._begin_tick()  # the time of the pictures and files just written belongs to no tick's speed

    def _begin_tick(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._began = time.perf_counter()
        self._began_at = dataclasses.replace(self.position)
        self._waited_before = self.loader.wait_seconds

    def _count_seconds(self) -> float:
        """Add the time since the tick began to the run's; the loop must not call it twice for the same time."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elapsed = time.perf_counter() - self._began
        self.position.seconds += elapsed
        return elapsed

    def _snapshot(self) -> None:
        """Sheet, networks, state; the state last, so that a run resumed from it lacks none of the files before it."""
        self._write_fakes(self.folder.fakes(self.position.images))
        self._save_networks()
        self._save_state()

    def _save_state(self) -> None:
        contents = {
            "config": self.config.as_dict(),
            "dataset": describe(self.dataset),
            "position": dataclasses.asdict(self.position),
            "trainer": self.trainer.state_dict(),
            "threads": torch.get_num_threads(),
        }
        save_state(self.folder, contents)

    def _save_networks(self) -> None:
        trainer: Any = self.trainer
        save_networks(
            self.folder.network(self.position.images),
            G_ema=trainer.G_ema,
            G=trainer.G,
            D=trainer.D,
            lod=self.phase.lod,
            extra={"kimg": self.position.images / 1000, "dataset": self.dataset.name},
        )

    def _write_first_sheets(self) -> None:
        pixels = self.dataset.read(self._sheet_indices(), self.dataset.resolution)
        self._write_sheet(list(pixels.transpose(0, 2, 3, 1)), self.folder.path / "reals.png")
        self._write_fakes(self.folder.path / "fakes_init.png")

    @torch.no_grad()
    def _write_fakes(self, path: Any) -> None:
        """What G_ema draws from the run's fixed latents, without truncation, with its stored noise."""
        columns, rows = sheet_layout(self.dataset.resolution)
        count = columns * rows
        inputs = self.draws.generator_inputs(0, "sheet", count, self.config.z_dim, None, 0, 0.0)
        indices = self._sheet_indices()
        c = self._to_device(self.dataset.labels([indices[i % len(indices)] for i in range(count)]))
        images: list[np.ndarray] = []
        for part in torch.arange(count, device=self.device).split(self._sheet_batch()):
            labels = None if c is None else c[part]
            drawn = self.trainer.G_ema(inputs.z[part], labels, lod=self.phase.lod, noise_mode="const")
            images.extend(to_uint8(drawn))
        self._write_sheet(images, path)

    def _write_sheet(self, images: Sequence[np.ndarray], path: Any) -> None:
        columns, _ = sheet_layout(self.dataset.resolution)
        save_png(image_sheet(images, columns, cell_size(self.dataset.resolution)), path)

    def _sheet_indices(self) -> list[int]:
        """Images of the data set without repetition, as many as a sheet holds or as there are."""
        columns, rows = sheet_layout(self.dataset.resolution)
        order = torch.randperm(len(self.dataset), generator=self.draws.generator(0, "sheet/reals", "cpu"))
        indices: list[int] = order[: columns * rows].tolist()
        return indices

    def _sheet_batch(self) -> int:
        return max(min(self.phase.batch, self.schedule.at(self.total_images).batch), 1)


def describe(dataset: Dataset) -> dict[str, Any]:
    """What must be the same in the data for a run to go on."""
    return {"images": len(dataset), "channels": dataset.channels, "label_dim": dataset.label_dim}
