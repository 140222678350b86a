"""The running average of the generator, which is the network people use."""

from __future__ import annotations

import torch
from torch import nn


class MovingAverage:
    """Keeps ``average`` at the exponential moving average of ``network``'s parameters.

    One update: ``p_avg = p + (p_avg - p) * beta`` with ``beta = 0.5 ** (batch / (half_life_kimg * 1000))``; everything
    that is not a parameter (w_avg, noise maps) is copied. The original's half-life is 10 kimg.
    """

    def __init__(self, average: nn.Module, network: nn.Module, half_life_kimg: float = 10.0) -> None:
        self.half_life_kimg = half_life_kimg
        self._pairs = _matching(dict(average.named_parameters()), dict(network.named_parameters()))
        self._copied = _matching(dict(average.named_buffers()), dict(network.named_buffers()))

    def beta(self, batch: int) -> float:
        return 0.5 ** (batch / (self.half_life_kimg * 1000.0)) if self.half_life_kimg > 0 else 0.0

    @torch.no_grad()
    def update(self, batch: int) -> None:
        """Account for one step on ``batch`` images."""
        averages, values = self._pairs
        torch._foreach_lerp_(averages, values, 1.0 - self.beta(batch))
        if self._copied[0]:
            torch._foreach_copy_(*self._copied)


def _matching(
    first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    if first.keys() != second.keys():
        raise ValueError(f"MovingAverage: the networks differ in {sorted(first.keys() ^ second.keys())[:4]}")
    return list(first.values()), [second[name] for name in first]
