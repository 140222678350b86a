"""What is measured from one progress line to the next."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

import torch
from torch import Tensor

from stylegan_fast.distributed import Ranks


class Tick:
    """Begins now.

    Args:
        device: where the steps run.
        first_image: how many images the run has seen.
        waited_before: seconds the run has waited for data.
    """

    def __init__(self, device: torch.device, first_image: int, waited_before: float) -> None:
        self.first_image, self.waited_before = first_image, waited_before
        self._device = device
        self._sums: dict[str, tuple[Tensor | float, int]] = {}
        self._began = time.perf_counter()

    def add(self, told: Mapping[str, Tensor]) -> None:
        """Take what a pair of steps told, without waiting for the device."""
        for name, value in told.items():
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = total + value, count + 1

    def means(self, ranks: Ranks) -> dict[str, float]:
        """Of what the steps told, over all ranks. R1 is there even where no step had one."""
        sums = {"R1": (torch.tensor(math.nan), 1), **self._sums}
        means = [torch.as_tensor(total, device=self._device).float() / count for total, count in sums.values()]
        ranks.mean_(means)
        return {name: float(mean) for name, mean in zip(sums, means, strict=True)}

    def seconds(self) -> float:
        """Since it began, until the device has done all it was given."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter() - self._began
