"""What metrics keep of a detector's outputs: all of them, or their mean and covariance."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from stylegan_fast.errors import UserError
from stylegan_fast.metrics.collector import Collector, RowStore
from stylegan_fast.metrics.detector import Detector
from stylegan_fast.metrics.images import Block


class FeatureCollector(Collector):
    """Features ``[n, D]`` of a block."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector

    def extract(self, block: Block) -> Tensor:
        return block.features(self.detector)


class Moments(FeatureCollector):
    """Mean and covariance of features, in memory that does not grow with the number of images.

    Sums of x - p and of its products are kept in float64, p being the mean of the first block: the covariance loses no
    digits to a large mean.
    """

    kind = "moments"

    def __init__(self, detector: Detector) -> None:
        super().__init__(detector)
        self.count = 0
        self._pivot = self._sum = self._products = np.zeros(0)

    def absorb(self, part: np.ndarray) -> None:
        rows = part.astype(np.float64)
        if self.count == 0:
            width = rows.shape[1]
            self._pivot, self._sum, self._products = rows.mean(axis=0), np.zeros(width), np.zeros((width, width))
        rows -= self._pivot
        self.count += len(rows)
        self._sum += rows.sum(axis=0)
        self._products += rows.T @ rows

    def mean(self) -> np.ndarray:
        """``[D]``."""
        return self._pivot + self._sum / self.count

    def covariance(self) -> np.ndarray:
        """``[D, D]``, divided by N - 1 as ``numpy.cov`` does."""
        return (self._products - np.outer(self._sum, self._sum) / self.count) / (self.count - 1)

    def arrays(self) -> dict[str, np.ndarray]:
        names = ("pivot", "sum", "products")
        return {"count": np.array(self.count), **{name: getattr(self, f"_{name}") for name in names}}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        self.count = int(arrays["count"])
        self._pivot, self._sum, self._products = arrays["pivot"], arrays["sum"], arrays["products"]


class AllFeatures(FeatureCollector):
    """Every feature, in a temporary file."""

    kind = "features"

    def __init__(self, detector: Detector) -> None:
        super().__init__(detector)
        self._store = RowStore()

    def absorb(self, part: np.ndarray) -> None:
        self._store.append(part)

    def rows(self) -> np.ndarray:
        """``[N, D]``."""
        return self._store.rows()

    def arrays(self) -> dict[str, np.ndarray]:
        return {"rows": self.rows()}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        self._store.append(arrays["rows"])


def check_same_width(fakes: np.ndarray, reals: np.ndarray, detector: Detector) -> None:
    """Raises ``UserError`` where a detector gave vectors of different lengths (it depends on the images' size)."""
    if fakes.shape[-1] != reals.shape[-1]:
        raise UserError(
            f"detector {detector.name}: {fakes.shape[-1]} features of drawn images, {reals.shape[-1]} of real ones"
        )
