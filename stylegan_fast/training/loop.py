"""The loop: which step comes when, and what is written when.

The original's order: every four pairs of steps the schedule is evaluated; when the set of layers in use has changed,
both optimizers start anew; a pair is a discriminator step (or ``n_critic`` of them), each followed by the update of the
average, and a generator step. All state is the trainer's plus the counters in ``Position`` (and what observers keep);
every random number is keyed by the step (see ``draws``). With several ranks all of them run this loop in step with each
other, each on its share of every batch, and rank 0 alone writes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stylegan_fast.data import BatchLoader, Dataset
from stylegan_fast.distributed import ALONE, Ranks
from stylegan_fast.errors import UserError
from stylegan_fast.models import num_layers_at
from stylegan_fast.training.capture import CapturedSteps
from stylegan_fast.training.checkpoint import save_state
from stylegan_fast.training.config import TrainConfig, schedule_of
from stylegan_fast.training.draws import Draws
from stylegan_fast.training.interruption import Interruption
from stylegan_fast.training.observer import Observer
from stylegan_fast.training.position import Position, describe
from stylegan_fast.training.progress import ProgressBar, TimeLeft, bar_text, memory_gb, tick_line
from stylegan_fast.training.reals import fade_reals, mirror, pixels_to_float
from stylegan_fast.training.run_folder import RunFolder
from stylegan_fast.training.snapshot import SnapshotFiles
from stylegan_fast.training.tick import Tick
from stylegan_fast.training.trainer import Trainer

PAIRS_PER_PHASE = 4  # pairs of steps between two evaluations of the schedule
# Pairs between two looks at the count of skipped steps: each waits for the device.
PAIRS_PER_HEALTH_CHECK = 64


class Loop:
    """One sitting of a run: from ``position`` to the end, or to a signal.

    ``folder`` is None on every rank but the first.
    """

    def __init__(
        self,
        config: TrainConfig,
        folder: RunFolder | None,
        dataset: Dataset,
        trainer: Trainer,
        position: Position,
        observers: Sequence[Observer] = (),
        ranks: Ranks = ALONE,
    ) -> None:
        self.config, self.folder, self.dataset = config, folder, dataset
        self.trainer, self.position, self.observers, self.ranks = trainer, position, observers, ranks
        self.device = next(trainer.G.parameters()).device
        self.draws = Draws(config.seed, ranks.rank, device=self.device)
        self.schedule = schedule_of(config, dataset.resolution, ranks.count)
        self.total_images = round(config.kimg * 1000)
        self.phase = self.schedule.at(position.phase_images)
        self.loader = BatchLoader(dataset, config.seed, ranks.rank, ranks.count)
        self.bar = ProgressBar(self.total_images, position.images, hidden=not ranks.first)
        self.time_left = TimeLeft(self.schedule, self.total_images)
        self.snapshots = None
        if folder is not None:
            batch = max(min(self.phase.batch, self.schedule.at(self.total_images).batch) // ranks.count, 1)
            batch = min(batch, config.batch_gpu or batch)
            self.snapshots = SnapshotFiles(folder, dataset, trainer, self.draws, batch, config.keep)
        self.steps: Trainer | CapturedSteps = trainer
        self._begin_tick()

    def run(self) -> int | None:
        """Train to the end and return None, or save at a signal and return its number.

        Raises ``UserError`` where too many steps in a row had to be skipped.
        """
        position = self.position
        notice = "stopping: saving after this step"
        if self.ranks.count == 1:
            notice += " (once more to leave at once, without saving)"
        try:
            with Interruption(notice if self.ranks.first else None, launched=self.ranks.count > 1) as interruption:
                if self.snapshots is not None and position.images == 0:
                    self.snapshots.write_first_sheets(self.phase.lod)
                self._tell("begin")
                self.steps = self._steps()
                if position.images >= self.total_images:
                    self._snapshot()
                self._begin_tick()
                self.ranks.wait()  # for what rank 0 alone has just drawn and written
                while position.images < self.total_images or position.step % PAIRS_PER_PHASE:
                    if position.step % PAIRS_PER_PHASE == 0:
                        self._begin_phase()
                    self._pair()
                    if position.step % PAIRS_PER_HEALTH_CHECK == 0:
                        self._check_health()
                    if position.step % PAIRS_PER_PHASE == 0 and self._tick_is_due():
                        self._tick()
                    signal = self._signal(interruption)
                    if signal is not None and position.images < self.total_images:
                        self._count_seconds()
                        self._check_weights()
                        self._save_state()
                        if self.snapshots is not None:
                            self.snapshots.save_networks(position.images, self.phase.lod)
                        return signal
            return None
        finally:
            self._tell("end")
            self.bar.close()
            self.loader.close()

    def say(self, line: str) -> None:
        """Print a line and keep it in log.txt; on rank 0."""
        if self.folder is not None:
            self.bar.line(line)
            self.folder.log(line)

    def report_quality(self, value: float) -> None:
        """Tell, in an observer's ``snapshot``, how good the present snapshot is (lower is better): ``--keep`` never
        removes the best."""
        best = self.position.best_quality
        if best is None or value < best:
            self.position.best_quality, self.position.best_images = value, self.position.images

    def _begin_phase(self) -> None:
        position = self.position
        position.phase_images = position.images
        self.phase = self.schedule.at(position.images)
        if self.phase.levels != position.levels:
            self.trainer.reset_optimizers()
            position.levels = self.phase.levels

    def _pair(self) -> None:
        """The discriminator's steps, each with an update of the average, and one of the generator."""
        position, phase, draws, config = self.position, self.phase, self.draws, self.config
        step, batch = position.step, phase.batch // self.ranks.count
        layers = num_layers_at(self.dataset.resolution, phase.lod)
        self._tell("step_begins")
        told: dict[str, Tensor] = {}
        for repeat in range(config.n_critic):
            reals, c = self._reals(batch, repeat)
            key = f"D{repeat}" if repeat else "D"
            inputs = draws.generator_inputs(step, key, batch, config.z_dim, c, layers, config.mixing_prob)
            told |= self.steps.d_step(
                reals,
                c,
                inputs,
                phase.lod,
                phase.lr,
                gp_mixing=draws.gp_mixing(step, repeat, batch) if config.gp else None,
                penalise=(step * config.n_critic + repeat) % config.r1_every == 0,
            )
            self.steps.update_average(phase.batch)
            position.images += phase.batch
            self.bar.advance(phase.batch)

        c = None
        if self.dataset.label_dim:
            indices = draws.indices(step, "G/labels", batch, len(self.dataset))
            c = self._to_device(self.dataset.labels(indices))
        inputs = draws.generator_inputs(step, "G", batch, config.z_dim, c, layers, config.mixing_prob)
        told |= self.steps.g_step(inputs, phase.lod, phase.lr if config.g_lr is None else config.g_lr)

        self._measured.add(told)
        self._tell("step_ends", told)
        position.step += 1

    def _reals(self, batch: int, repeat: int) -> tuple[Tensor, Tensor | None]:
        """This rank's share of the next batch, as the discriminator is to see it."""
        pixels, labels = self.loader.batch(self.position.images, batch, self.phase.resolution)
        reals = pixels_to_float(torch.from_numpy(pixels).to(self.device, non_blocking=True))
        if self.config.mirror:
            reals = mirror(reals, self.draws.mirror_coins(self.position.step, batch, repeat))
        reals = fade_reals(reals, self.phase.lod).contiguous(memory_format=torch.channels_last)  # as the networks are
        return reals, self._to_device(labels)

    def _to_device(self, labels: np.ndarray) -> Tensor | None:
        return torch.from_numpy(labels).to(self.device, non_blocking=True) if self.dataset.label_dim else None

    def _steps(self) -> Trainer | CapturedSteps:
        """The trainer's steps, as CUDA graphs where they can be; an observer may have changed what the trainer does."""
        if not self.config.cuda_graphs or self.device.type != "cuda" or any(o.watches_kernels for o in self.observers):
            return self.trainer
        if obstacle := CapturedSteps.obstacle(self.trainer):
            self.say(f"steps run without CUDA graphs, more slowly: {obstacle}")
            return self.trainer
        return CapturedSteps(self.trainer, self.say)

    def _signal(self, interruption: Interruption) -> int | None:
        """The signal to stop at, on which all ranks have to agree; they ask each other between phases only."""
        if self.ranks.count > 1:
            if self.position.step % PAIRS_PER_PHASE:
                return None
            return self.ranks.largest(interruption.requested or 0) or None
        return interruption.requested

    def _check_health(self) -> None:
        row = self.trainer.longest_row_of_skipped_steps()
        if row >= self.config.max_skipped:
            raise UserError(
                f"{row} steps in a row had gradients that are not finite (--max-skipped {self.config.max_skipped}): "
                "the last good state is kept; lower --lr, or use --precision fp32"
            )

    def _check_weights(self) -> None:
        if not self.trainer.is_finite():
            raise UserError("a weight is no finite number any more: the last good state is kept; lower --lr")

    def _tick_is_due(self) -> bool:
        position = self.position
        length = self.phase.tick_kimg if self.config.tick is None else self.config.tick
        return position.images >= min(position.tick_images + length * 1000, self.total_images)

    def _tick(self) -> None:
        position, phase = self.position, self.phase
        self._check_health()
        seconds = self._count_seconds()
        images = position.images - self._measured.first_image
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
            **self._measured.means(self.ranks),
            "images_per_second": images / seconds,
            "seconds_per_kimg": 1000 * seconds / images,
            "memory_gb": memory_gb(self.device),
            "data_wait": (self.loader.wait_seconds - self._measured.waited_before) / seconds,
            "skipped_steps": self.trainer.skipped_steps,
            "seconds": position.seconds,
        }
        self._tell("tick", row)
        self.time_left.saw(phase.resolution, seconds / images)
        seconds_left = self.time_left.seconds(position.images)
        self.say(tick_line(row, self.config.kimg, seconds_left))
        self.bar.describe(bar_text(row, seconds_left))
        if self.folder is not None:
            self.folder.append_stats(row)
        if position.tick % self.config.snap == 0 or position.images >= self.total_images:
            self._snapshot()
        self._begin_tick()  # the time of the pictures and files just written belongs to no tick's speed

    def _begin_tick(self) -> None:
        self._measured = Tick(self.device, self.position.images, self.loader.wait_seconds)

    def _count_seconds(self) -> float:
        """Add the time since the tick began to the run's; the loop must not call it twice for the same time."""
        elapsed = self._measured.seconds()
        self.position.seconds += elapsed
        return elapsed

    def _snapshot(self) -> None:
        """Sheet, networks, state; the state last, so that a run resumed from it lacks none of the files before it."""
        self._check_weights()
        if self.snapshots is not None:
            self.snapshots.write(self.position.images, self.phase.lod)
        self._tell("snapshot")
        self._save_state()
        if self.snapshots is not None:
            self.snapshots.remove_old(self.position.images, self.position.best_images)

    def _save_state(self) -> None:
        if self.folder is None:
            return
        contents = {
            "config": self.config.as_dict(),
            "dataset": describe(self.dataset),
            "position": dataclasses.asdict(self.position),
            "trainer": self.trainer.state_dict(),
            "observers": {o.name: o.state_dict() for o in self.observers if o.name},
            "threads": torch.get_num_threads(),
            "ranks": self.ranks.count,
        }
        save_state(self.folder, contents)

    def _tell(self, moment: str, *arguments: Any) -> None:
        for observer in self.observers:
            getattr(observer, moment)(self, *arguments)
