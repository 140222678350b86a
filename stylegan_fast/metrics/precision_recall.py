"""Improved precision and recall (Kynkaanniemi et al. 2019, arXiv 1904.06991)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

NEIGHBOUR = 3
_ROWS = 2048  # of a block of the table of distances
_COLUMNS = 8192


def precision_recall(
    fakes: np.ndarray, reals: np.ndarray, neighbour: int = NEIGHBOUR, device: str | torch.device = "cpu"
) -> tuple[float, float]:
    """The share of drawn images that lie among the real ones, and of real ones among the drawn.

    A point lies among a set where it is within the distance of some member of the set to that member's ``neighbour``-th
    nearest other member.

    Args:
        fakes, reals: features ``[N, D]``, ``[M, D]``, N and M more than ``neighbour``. Distances have their dtype.
        neighbour: which neighbour; the paper's 3.
        device: where distances are worked out, a block of the table at a time.
    """
    # Distances come from products of matrices, which lose digits to what all features have in common.
    centre = reals.mean(axis=0, dtype=np.float64).astype(reals.dtype)
    fakes, reals = fakes - centre, reals - centre
    return _share_within(fakes, reals, neighbour, device), _share_within(reals, fakes, neighbour, device)


def _share_within(points: np.ndarray, members: np.ndarray, neighbour: int, device: str | torch.device) -> float:
    radii = _radii(members, neighbour, device)
    inside = 0
    for some in _blocks(points, _ROWS, device):
        found = torch.zeros(len(some), dtype=torch.bool, device=device)
        first = 0
        for others in _blocks(members, _COLUMNS, device):
            found |= (torch.cdist(some, others) <= radii[first : first + len(others)]).any(dim=1)
            first += len(others)
        inside += int(found.sum())
    return inside / len(points)


def _radii(members: np.ndarray, neighbour: int, device: str | torch.device) -> Tensor:
    """Each member's distance to its ``neighbour``-th nearest other one, ``[M]``."""
    radii = []
    for some in _blocks(members, _ROWS, device):
        nearest = some.new_empty(len(some), 0)
        for others in _blocks(members, _COLUMNS, device):
            nearest = torch.cat([nearest, torch.cdist(some, others)], dim=1)
            # Itself counts as one, at distance 0.
            nearest = nearest.topk(min(neighbour + 1, nearest.shape[1]), dim=1, largest=False).values
        radii.append(nearest.max(dim=1).values)
    return torch.cat(radii)


def _blocks(rows: np.ndarray, size: int, device: str | torch.device) -> Iterator[Tensor]:
    for first in range(0, len(rows), size):
        yield torch.from_numpy(np.array(rows[first : first + size])).to(device)
