"""Inception Score (Salimans et al. 2016, arXiv 1606.03498)."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from stylegan_fast.metrics.collector import Collector
from stylegan_fast.metrics.detector import Detector
from stylegan_fast.metrics.images import Block

SPLITS = 10


class ClassProbabilities(Collector):
    """For each of ten parts of the images the sums that the score needs, in memory that does not grow with them.

    ::

        IS of a part = exp(mean over images of KL(p(y | image) || p(y))),  p(y) the part's mean of p(y | image)
                     = exp(mean over images of sum p log p  -  sum over classes of p(y) log p(y))

    Args:
        detector: gives p(y | image).
        count: all images; part k holds those from ``k * count // 10`` up to the next part's first.
    """

    kind = "probabilities"

    def __init__(self, detector: Detector, count: int) -> None:
        self.detector = detector
        self._ends = [(part + 1) * count // SPLITS for part in range(SPLITS)]
        self._seen = 0
        self._classes: list[np.ndarray | float] = [0.0] * SPLITS  # sums of p
        self._logs = [0.0] * SPLITS  # sums of p log p
        self._counts = [0] * SPLITS

    def extract(self, block: Block) -> Tensor:
        return block.features(self.detector, "probabilities")

    def absorb(self, part: np.ndarray) -> None:
        rows = part.astype(np.float64)
        logs = _times_log(rows).sum(axis=1)
        places = np.searchsorted(self._ends, self._seen + np.arange(len(rows)), side="right")
        self._seen += len(rows)
        for place in np.unique(places):
            here = places == place
            self._classes[place] = self._classes[place] + rows[here].sum(axis=0)
            self._logs[place] += float(logs[here].sum())
            self._counts[place] += int(here.sum())

    def scores(self) -> np.ndarray:
        """The score of each of the ten parts."""
        found = np.empty(SPLITS)
        for place, (classes, logs, count) in enumerate(zip(self._classes, self._logs, self._counts, strict=True)):
            found[place] = np.exp(logs / count - _times_log(np.asarray(classes) / count).sum())
        return found


def _times_log(p: np.ndarray) -> np.ndarray:
    """p log p, 0 at 0."""
    product: np.ndarray = p * np.log(np.where(p > 0, p, 1.0))
    return product
