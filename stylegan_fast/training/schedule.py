"""The official progressive-growing schedule: what holds after a given number of training images.

Growth (paper section 2 and the original's training configuration, see Karras et al. 2017, section 2): training starts
at 8x8; each resolution is trained for 600 kimg, then the next one is faded in over 600 kimg, while ``lod`` (the number
of halvings between the full and the current resolution) falls from one integer to the next. Batch and learning rate of
a new resolution hold from the *start* of its fade. A run that is shorter or longer than
the official 25,000 kimg keeps this shape: every phase is scaled by ``total_kimg / official_kimg``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

OFFICIAL_KIMG = 25000.0

# Images per step by resolution, for each number of GPUs the original was tuned on (0: every resolution not named).
BATCH_BY_RANKS: Mapping[int, Mapping[int, int]] = {
    1: {4: 128, 8: 128, 16: 128, 32: 64, 64: 32, 128: 16, 256: 8, 0: 4},
    2: {4: 256, 8: 256, 16: 128, 32: 64, 64: 32, 128: 16, 256: 8, 0: 8},
    4: {4: 512, 8: 256, 16: 128, 32: 64, 64: 32, 0: 16},
    8: {4: 512, 8: 256, 16: 128, 32: 64, 64: 32, 0: 32},
}
LEARNING_RATE: Mapping[int, float] = {128: 0.0015, 256: 0.002, 512: 0.003, 1024: 0.003, 0: 0.001}
TICK_KIMG: Mapping[int, float] = {4: 160, 8: 140, 16: 120, 32: 100, 64: 80, 128: 60, 256: 40, 512: 30, 1024: 20}
MIN_TICKS_OF_FULL_RUN = 100  # a short run reports at most about this often, however short its scaled phases are


def official_batch_table(num_ranks: int) -> Mapping[int, int]:
    """The table for the largest tuned number of GPUs that does not exceed ``num_ranks``."""
    return BATCH_BY_RANKS[max(n for n in BATCH_BY_RANKS if n <= max(num_ranks, 1))]


@dataclass(frozen=True)
class Phase:
    """What holds from one evaluation of the schedule to the next."""

    lod: float  # 0.0 = full resolution; the fraction is the progress of a fade, counting down
    resolution: int  # of the images exchanged by the networks: full resolution / 2^floor(lod)
    batch: int  # images per step, over all ranks
    lr: float
    tick_kimg: float

    @property
    def levels(self) -> tuple[int, int]:
        """(floor, ceil) of lod: the set of layers in use; the optimizers start anew whenever it changes."""
        return math.floor(self.lod), math.ceil(self.lod)


@dataclass(frozen=True)
class Schedule:
    """``Schedule(resolution)`` is the official one for a single GPU.

    Args:
        resolution: final image size, a power of two.
        total_kimg: thousands of images of the whole run; scales every length below (given for 25,000 kimg).
        num_ranks: processes sharing a batch; the batch is rounded down to a multiple of it.
        batch: images per step at every resolution, instead of ``batch_table``.
        lr: learning rate at every resolution, instead of ``lr_table``.
        initial_resolution: where growth starts; ``resolution`` itself means no growth.
        train_kimg, fade_kimg: length of each resolution's stable phase and of each fade.
        lr_rampup_kimg: the learning rate rises linearly from 0 over the first this many kimg.
        batch_table, lr_table, tick_table: by resolution; key 0 holds for every resolution not named.
        max_batch_per_rank: upper limit by resolution, per rank.
        official_kimg: the length of the whole run for which the lengths here are given.
    """

    resolution: int
    total_kimg: float = OFFICIAL_KIMG
    num_ranks: int = 1
    batch: int | None = None
    lr: float | None = None
    initial_resolution: int = 8
    train_kimg: float = 600.0
    fade_kimg: float = 600.0
    lr_rampup_kimg: float = 0.0
    batch_table: Mapping[int, int] | None = None
    lr_table: Mapping[int, float] = field(default_factory=lambda: LEARNING_RATE)
    tick_table: Mapping[int, float] = field(default_factory=lambda: TICK_KIMG)
    max_batch_per_rank: Mapping[int, int] = field(default_factory=dict)
    official_kimg: float = OFFICIAL_KIMG

    def __post_init__(self) -> None:
        for name in ("resolution", "initial_resolution"):
            value = getattr(self, name)
            if value < 4 or value & (value - 1):
                raise ValueError(f"Schedule: {name} must be a power of two of at least 4, got {value}")
        if self.total_kimg <= 0:
            raise ValueError(f"Schedule: total_kimg must be positive, got {self.total_kimg}")

    @property
    def scale(self) -> float:
        return self.total_kimg / self.official_kimg

    @property
    def max_lod(self) -> int:
        return max(int(math.log2(self.resolution)) - int(math.log2(self.initial_resolution)), 0)

    def at(self, num_images: int) -> Phase:
        """The phase after ``num_images`` training images."""
        kimg = num_images / 1000.0
        lod = self._lod(kimg)
        resolution = self.resolution >> math.floor(lod)
        return Phase(lod, resolution, self._batch(resolution), self._lr(resolution, kimg), self._tick(resolution))

    def growth_kimg(self) -> float:
        """Thousands of images after which the full resolution is reached and no fade is left."""
        return self.max_lod * (self.train_kimg + self.fade_kimg) * self.scale

    def _lod(self, kimg: float) -> float:
        train_kimg, fade_kimg = self.train_kimg * self.scale, self.fade_kimg * self.scale
        length = train_kimg + fade_kimg
        index = math.floor(kimg / length) if length > 0 else self.max_lod
        lod = float(self.max_lod - index)
        if fade_kimg > 0:
            lod -= max(kimg - index * length - train_kimg, 0.0) / fade_kimg
        return max(lod, 0.0)

    def _batch(self, resolution: int) -> int:
        if self.batch is not None:
            batch = self.batch
        else:
            table = self.batch_table or official_batch_table(self.num_ranks)
            batch = table.get(resolution) or table[0]
        batch -= batch % self.num_ranks
        limit = self.max_batch_per_rank.get(resolution)
        return batch if limit is None else min(batch, limit * self.num_ranks)

    def _lr(self, resolution: int, kimg: float) -> float:
        lr = self.lr if self.lr is not None else self.lr_table.get(resolution, self.lr_table[0])
        rampup = self.lr_rampup_kimg * self.scale
        return lr * min(kimg / rampup, 1.0) if rampup > 0 else lr

    def _tick(self, resolution: int) -> float:
        official = self.tick_table.get(resolution, min(self.tick_table.values()))
        if self.scale >= 1:
            return official
        return max(official * self.scale, self.total_kimg / MIN_TICKS_OF_FULL_RUN)
