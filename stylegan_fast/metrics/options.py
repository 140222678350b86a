"""What a measurement is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from stylegan_fast.metrics.detector import Detector
from stylegan_fast.metrics.images import Drawing


@dataclass(frozen=True)
class MetricOptions:
    """The settings of ``compute_metrics``.

    ``num``: images (pairs for path length) in place of each metric's own number. ``drawing``: how images are drawn.
    ``batch``: images drawn at a time; changes no number. ``mirror``: real images are seen mirrored too.
    ``detector``: of FID, KID, Inception Score and, without ``pr_detector``, precision and recall. ``lpips``: of path
    length, which with ``crop`` looks at the middle of the face as published for FFHQ. ``classifier``: of separability;
    None for the package's own, of the built-in faces. ``cache_dir``: the package's cache folder, None for the user's.
    """

    num: int | None = None
    drawing: Drawing = field(default_factory=Drawing)
    batch: int = 32
    mirror: bool = False
    detector: Detector | None = None
    pr_detector: Detector | None = None
    lpips: Detector | None = None
    crop: bool = True
    classifier: Detector | None = None
    cache_dir: str | Path | None = None
