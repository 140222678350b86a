"""The metrics that look at images one by one: what each keeps of drawn and of real ones, and its number from that."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from stylegan_fast.errors import UserError
from stylegan_fast.metrics.collector import Collector
from stylegan_fast.metrics.detector import Detector
from stylegan_fast.metrics.features import AllFeatures, Moments, check_same_width
from stylegan_fast.metrics.fid import frechet_distance
from stylegan_fast.metrics.inception_score import SPLITS, ClassProbabilities
from stylegan_fast.metrics.kid import SUBSET_SIZE, SUBSETS, kernel_distance
from stylegan_fast.metrics.ms_ssim import PairSimilarities
from stylegan_fast.metrics.precision_recall import NEIGHBOUR, precision_recall
from stylegan_fast.metrics.swd import Descriptors, pyramid_sizes, sliced_wasserstein

Numbers = dict[str, float]


@dataclass(frozen=True)
class Setting:
    """What is the same for all images of one measurement."""

    resolution: int
    count: int  # images drawn
    seed: int
    device: torch.device
    detector: Detector | None


class ImageMetric(ABC):
    """A metric of two streams of images.

    Class attributes: ``images``: drawn where no number is asked for. ``least``: fewest that give a number.
    ``uses_reals``: "needed", "wanted" (used where there are data) or "no". ``order``: of the real images, "file" or
    "shuffled". ``equal_counts``: as many real images as drawn ones. ``detector_option``: where its detector is given.
    """

    images: ClassVar[int] = 50_000
    least: ClassVar[int] = 2
    uses_reals: ClassVar[str] = "needed"
    order: ClassVar[str] = "file"
    equal_counts: ClassVar[bool] = False
    detector_option: ClassVar[str | None] = "--detector"

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    @property
    def detector(self) -> Detector:
        if self.setting.detector is None:
            raise UserError(f"{type(self).__name__}: needs a detector; give its file with {self.detector_option}")
        return self.setting.detector

    @abstractmethod
    def collector(self) -> Collector:
        """A new one, for either stream."""

    @abstractmethod
    def numbers(self, fakes: Any, reals: Any) -> Numbers:
        """The results, from filled collectors; ``reals`` is None without data."""

    def parameters(self) -> dict[str, Any]:
        """What else changes the numbers, for the record."""
        return {}


class FrechetInceptionDistance(ImageMetric):
    def collector(self) -> Moments:
        return Moments(self.detector)

    def numbers(self, fakes: Moments, reals: Moments) -> Numbers:
        check_same_width(fakes.mean(), reals.mean(), self.detector)
        return {"fid": frechet_distance(fakes.mean(), fakes.covariance(), reals.mean(), reals.covariance())}


class KernelInceptionDistance(ImageMetric):
    def collector(self) -> AllFeatures:
        return AllFeatures(self.detector)

    def numbers(self, fakes: AllFeatures, reals: AllFeatures) -> Numbers:
        check_same_width(fakes.rows(), reals.rows(), self.detector)
        mean, deviation = kernel_distance(fakes.rows(), reals.rows(), seed=self.setting.seed)
        return {"kid": mean, "kid_std": deviation}

    def parameters(self) -> dict[str, Any]:
        return {"subsets": SUBSETS, "subset_size": SUBSET_SIZE}


class InceptionScore(ImageMetric):
    least = SPLITS
    uses_reals = "no"

    def collector(self) -> ClassProbabilities:
        return ClassProbabilities(self.detector, self.setting.count)

    def numbers(self, fakes: ClassProbabilities, reals: None) -> Numbers:
        scores = fakes.scores()
        return {"is": float(scores.mean()), "is_std": float(scores.std())}

    def parameters(self) -> dict[str, Any]:
        return {"splits": SPLITS}


class PrecisionRecall(ImageMetric):
    least = NEIGHBOUR + 1
    detector_option = "--pr-detector or --detector"

    def collector(self) -> AllFeatures:
        return AllFeatures(self.detector)

    def numbers(self, fakes: AllFeatures, reals: AllFeatures) -> Numbers:
        check_same_width(fakes.rows(), reals.rows(), self.detector)
        precision, recall = precision_recall(fakes.rows(), reals.rows(), device=self.setting.device)
        return {"precision": precision, "recall": recall}

    def parameters(self) -> dict[str, Any]:
        return {"neighbour": NEIGHBOUR}


class SlicedWassersteinDistance(ImageMetric):
    images = 16_384
    order = "shuffled"
    equal_counts = True
    detector_option = None

    def collector(self) -> Descriptors:
        return Descriptors()

    def numbers(self, fakes: Descriptors, reals: Descriptors) -> Numbers:
        sizes = pyramid_sizes(self.setting.resolution)
        pairs = zip(fakes.levels(), reals.levels(), strict=True)
        found = [1000 * sliced_wasserstein(a, b, self.setting.seed, self.setting.device) for a, b in pairs]
        levels = {f"swd_{size}": distance for size, distance in zip(sizes, found, strict=True)}
        return {"swd": float(np.mean(found)), **levels}


class MultiScaleSimilarity(ImageMetric):
    images = 10_000
    uses_reals = "wanted"
    order = "shuffled"
    detector_option = None

    def collector(self) -> PairSimilarities:
        return PairSimilarities()

    def numbers(self, fakes: PairSimilarities, reals: PairSimilarities | None) -> Numbers:
        found = {"msssim": fakes.mean()}
        return found if reals is None else {**found, "msssim_reals": reals.mean()}


IMAGE_METRICS: dict[str, type[ImageMetric]] = {
    "fid50k": FrechetInceptionDistance,
    "kid50k": KernelInceptionDistance,
    "is50k": InceptionScore,
    "pr50k": PrecisionRecall,
    "swd": SlicedWassersteinDistance,
    "msssim": MultiScaleSimilarity,
}
