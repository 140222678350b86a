"""How strong the augmentation is: fixed, or led by how well the discriminator knows the training images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

TARGET = 0.6
OFFICIAL_KIMG = 500.0  # in which p can go from 0 to 1
INTERVAL = 4  # steps of the discriminator between two adjustments


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
        self._signs: Tensor | None = None  # their sum, on the scores' device

    def saw(self, real_scores: Tensor) -> None:
        """Account for one discriminator step, which gave these scores ``[N, 1]`` to augmented reals."""
        if self.target is None:
            return
        signs = real_scores.detach().sign().sum()
        self._signs = signs if self._signs is None else self._signs + signs
        self._images += len(real_scores)
        self._steps += 1
        if self._steps == INTERVAL:
            self._adjust(self.target, self._signs)

    def _adjust(self, target: float, signs: Tensor) -> None:
        self.r = float(signs) / self._images  # waits for the device, once in INTERVAL steps
        step = self._images / (1000 * self.kimg)
        if self.r != target:
            self.p += step if self.r > target else -step
        self.p = min(max(self.p, 0.0), 1.0)
        self._steps, self._images, self._signs = 0, 0, None

    def state_dict(self) -> dict[str, Any]:
        """All that later adjustments depend on, as tensors and plain values."""
        return {"p": self.p, "r": self.r, "steps": self._steps, "images": self._images, "signs": self._signs}

    def load_state_dict(self, state: dict[str, Any], device: torch.device | str = "cpu") -> None:
        self.p, self.r = state["p"], state["r"]
        self._steps, self._images = state["steps"], state["images"]
        self._signs = None if state["signs"] is None else state["signs"].to(device)
