"""How strong the augmentation of a run is: fixed, or led by how well the discriminator knows the training images."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stylegan_fast.distributed import ALONE, Ranks
from stylegan_fast.training.augment import augment
from stylegan_fast.training.augment_transforms import KINDS
from stylegan_fast.training.observer import Observer

if TYPE_CHECKING:
    from stylegan_fast.training.loop import Loop

TARGET = 0.6
OFFICIAL_KIMG = 500.0  # in which p can go from 0 to 1
INTERVAL = 4  # steps between two adjustments


class AugmentStrength:
    """p of ``augment``, adjusted so that ``r = E[sign(D(real))]`` stays at a target.

    r is 0 while the discriminator cannot tell its training images from generated ones and 1 when it knows them all.
    Every 4 steps p moves by ``sign(r - target) * images / (1000 * kimg)``, images being those of these steps, and stays
    within 0 and 1 (Karras et al. 2020, arXiv 2006.06676, section 3.1).

    Args:
        p: the strength, or with a target the one to begin with.
        target: of r; None keeps p as it is.
        kimg: thousands of images in which p can go from 0 to 1.
    """

    def __init__(self, p: float = 0.0, target: float | None = None, kimg: float = OFFICIAL_KIMG) -> None:
        self.p, self.target, self.kimg = p, target, kimg
        self.r: float | None = None  # at the last adjustment
        self._steps, self._images = 0, 0
        self._signs: Tensor | None = None  # the sum of the steps' mean signs, on their device

    def saw(self, mean_sign: Tensor, images: int, ranks: Ranks = ALONE) -> None:
        """Account for one step on ``images`` images over all ranks.

        ``mean_sign``, 0-d: the mean sign of the scores that D gave this rank's augmented reals.
        """
        if self.target is None:
            return
        self._signs = mean_sign.float() if self._signs is None else self._signs + mean_sign
        self._images += images
        self._steps += 1
        if self._steps == INTERVAL:
            ranks.mean_([self._signs])
            self._adjust(float(self._signs) / INTERVAL, self.target)  # waits for the device, once in INTERVAL steps

    def _adjust(self, r: float, target: float) -> None:
        step = self._images / (1000 * self.kimg)
        if r != target:
            self.p += step if r > target else -step
        self.p = min(max(self.p, 0.0), 1.0)
        self.r = r
        self._steps, self._images, self._signs = 0, 0, None

    def state_dict(self) -> dict[str, Any]:
        """All that later adjustments depend on, as tensors and plain values."""
        return {"p": self.p, "r": self.r, "steps": self._steps, "images": self._images, "signs": self._signs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.p, self.r = state["p"], state["r"]
        self._steps, self._images, self._signs = state["steps"], state["images"], state["signs"]


class Augmentation(Observer):
    """The trainer's ``augment``, and the observer that keys its draws by the step and leads its strength."""

    name = "augmentation"

    def __init__(self, strength: AugmentStrength, kinds: Collection[str] = KINDS) -> None:
        self.strength, self.kinds = strength, kinds
        self._generator: torch.Generator | None = None

    def __call__(self, images: Tensor) -> Tensor:
        assert self._generator is not None  # a step has begun
        return augment(images, self.strength.p, self._generator, self.kinds)

    def step_begins(self, loop: Loop) -> None:
        self._generator = loop.draws.generator(loop.position.step, "augment", "cpu")

    def step_ends(self, loop: Loop, values: dict[str, Tensor]) -> None:
        self.strength.saw(values["sign_real"], loop.phase.batch * loop.config.n_critic, loop.ranks)

    def tick(self, loop: Loop, row: dict[str, Any]) -> None:
        row["augment_p"] = self.strength.p

    def state_dict(self) -> dict[str, Any]:
        return self.strength.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.strength.load_state_dict(state)
