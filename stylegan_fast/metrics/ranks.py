"""Several processes, each with a share of the images; process 0 puts the parts together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Ranks:
    """This process's number among those that work on the same metrics, and how many they are."""

    rank: int = 0
    count: int = 1

    @staticmethod
    def current() -> Ranks:
        """Those of ``torch.distributed`` where it was initialised, else one alone."""
        distributed = torch.distributed
        if distributed.is_available() and distributed.is_initialized():
            return Ranks(distributed.get_rank(), distributed.get_world_size())
        return Ranks()

    def gathered(self, part: Any) -> list[Any]:
        """Every rank's ``part``, in the order of ranks, on rank 0; an empty list on the others. All must call it."""
        if self.count == 1:
            return [part]
        parts: list[Any] | None = [None] * self.count if self.rank == 0 else None
        torch.distributed.gather_object(part, parts, dst=0)
        return parts or []

    def agreed(self, value: bool) -> bool:
        """Rank 0's value, on every rank. All must call it."""
        if self.count == 1:
            return value
        values = [value]
        torch.distributed.broadcast_object_list(values, src=0)
        return values[0]
