"""Measuring a network: one pass over real images and one over drawn ones, for all metrics that look at images."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from stylegan_fast.data import Dataset
from stylegan_fast.distributed import ALONE, Ranks
from stylegan_fast.errors import UserError
from stylegan_fast.metrics.collector import Collector
from stylegan_fast.metrics.image_metrics import IMAGE_METRICS, ImageMetric, Setting
from stylegan_fast.metrics.images import BLOCK, Block, drawn_blocks, read_blocks
from stylegan_fast.metrics.latent_metrics import LATENT_METRICS
from stylegan_fast.metrics.options import MetricOptions
from stylegan_fast.metrics.real_cache import RealCache
from stylegan_fast.models import Generator
from stylegan_fast.seeds import keyed_seed
from stylegan_fast.version import __version__

METRICS = (*IMAGE_METRICS, *LATENT_METRICS)
Row = dict[str, Any]


def parse_metrics(text: str) -> list[str]:
    """Names of metrics separated by commas. Raises ``UserError`` for one that is not known."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in METRICS]
    if unknown or not names:
        raise UserError(f"--metrics {text!r}: {(unknown or ['nothing'])[0]!r} is none of {','.join(METRICS)}")
    return list(dict.fromkeys(names))


def uses_data(name: str) -> bool:
    """Whether a metric does anything with real images."""
    return name == "ls" or (name in IMAGE_METRICS and IMAGE_METRICS[name].uses_reals != "no")


def compute_metrics(
    G: Generator,
    names: Sequence[str],
    dataset: Dataset | None = None,
    options: MetricOptions | None = None,
    ranks: Ranks = ALONE,
) -> list[Row]:
    """Measure a generator.

    Args:
        G: the generator, on the device where it is to draw. It is not changed.
        names: of ``METRICS``.
        dataset: the real images, of the network's size and channels; also gives a conditional network its classes.
        options: see there.
        ranks: the processes that share the work; all must call.

    Returns:
        One row a metric: ``metric``, ``results`` (numbers by name) and everything that changes them; on rank 0, none
        on the others.

    Raises ``UserError`` where something a metric needs is missing or does not fit.
    """
    options = options or MetricOptions()
    check_metrics(G, names, dataset, options)
    # The same pictures but for rounding, drawn faster.
    G = G.optimize_for_inference()
    with torch.no_grad():
        measured = _measure_images(G, names, dataset, options, ranks)
        for name in names:
            if name in LATENT_METRICS:
                measured[name] = LATENT_METRICS[name].measure(G, dataset, options, ranks)
    if not ranks.first:
        return []
    common = _circumstances(G, dataset, options)
    return [{"metric": name, **common, **measured[name]} for name in names]


def check_metrics(G: Generator, names: Sequence[str], dataset: Dataset | None, options: MetricOptions) -> None:
    """Raises the ``UserError`` of ``compute_metrics`` without the work."""
    check_data(G, dataset, options)
    available = None if dataset is None else _RealImages(dataset, options, ALONE, G.mapping.w_avg.device).count
    for name in names:
        if name in LATENT_METRICS:
            LATENT_METRICS[name].check(G, dataset, options)
        else:
            _Task(name, G, available, options)


def check_data(G: Generator, dataset: Dataset | None, options: MetricOptions) -> None:
    """Raises ``UserError`` unless images of the data set can be compared with the network's."""
    chosen = options.drawing.class_index
    if chosen is not None and G.c_dim == 0:
        raise UserError(f"--class {chosen}: the network was trained without classes; leave --class out")
    if chosen is not None and not 0 <= chosen < G.c_dim:
        raise UserError(f"--class {chosen}: the network has the classes 0 to {G.c_dim - 1}")
    if dataset is None:
        return
    if dataset.resolution != G.img_resolution:
        ours, theirs = (f"{size}x{size}" for size in (G.img_resolution, dataset.resolution))
        raise UserError(f"--data: {dataset.name} has images of {theirs}, but the network draws {ours}; see --resize")
    if dataset.channels != G.img_channels:
        raise UserError(
            f"--data: {dataset.name} has images of {dataset.channels} channels, but the network draws {G.img_channels}"
        )
    if G.c_dim > 0 and dataset.label_dim != G.c_dim:
        raise UserError(f"--data: {dataset.name} has {dataset.label_dim} classes, but the network has {G.c_dim}")


def _measure_images(
    G: Generator, names: Sequence[str], dataset: Dataset | None, options: MetricOptions, ranks: Ranks
) -> dict[str, Row]:
    reals = None if dataset is None else _RealImages(dataset, options, ranks, G.mapping.w_avg.device)
    available = None if reals is None else reals.count
    tasks = {name: _Task(name, G, available, options) for name in names if name in IMAGE_METRICS}
    if not tasks:
        return {}
    if reals is not None:
        for task in tasks.values():
            task.fill_reals(reals)
    began = time.perf_counter()
    count = max(task.count for task in tasks.values())
    blocks = drawn_blocks(G, count, options.drawing, options.batch, ranks, dataset)
    fill([(task.fakes, task.count) for task in tasks.values()], blocks, count, ranks, "drawn images")
    speed = count / (time.perf_counter() - began)
    if not ranks.first:
        return {}
    return {name: {**task.row(), "images_per_second": speed} for name, task in tasks.items()}


class _RealImages:
    """The real images of one measurement: which, in which order, and what of them is cached."""

    def __init__(self, dataset: Dataset, options: MetricOptions, ranks: Ranks, device: torch.device) -> None:
        self.dataset, self.ranks, self.device = dataset, ranks, device
        self.mirror, self.seed = options.mirror, options.drawing.seed
        self.class_index = options.drawing.class_index
        self.rows = np.arange(len(dataset))
        if self.class_index is not None:
            self.rows = self.rows[dataset.labels(self.rows)[:, self.class_index] == 1]
        self.count = len(self.rows) * (2 if self.mirror else 1)
        self._cache = RealCache(options.cache_dir)

    def fill(self, collector: Collector, order: str, count: int, detector: str | None) -> None:
        key = {
            "data": self.dataset.identity(),
            "images": count,
            "order": order,
            "seed": self.seed if order == "shuffled" or collector.kind == "swd" else None,
            "mirror": self.mirror,
            "class": self.class_index,
            "detector": detector,
            "collector": collector.kind,
        }
        # Rank 0's disk decides, so that all ranks read the images or none does.
        if self.ranks.shared(self.ranks.first and self._cache.load(collector, key)):
            return
        rows = self.rows
        if order == "shuffled":
            rows = np.random.RandomState(keyed_seed(self.seed, "reals") % 2**32).permutation(rows)
        blocks = read_blocks(self.dataset, rows.tolist(), count, self.device, self.ranks, self.seed)
        fill([(collector, count)], blocks, count, self.ranks, "real images")
        if self.ranks.first:
            self._cache.save(collector, key)


class _Task:
    """One metric with its two collectors; ``available`` real images, None without data."""

    def __init__(self, name: str, G: Generator, available: int | None, options: MetricOptions) -> None:
        kind = IMAGE_METRICS[name]
        if available is None and kind.uses_reals == "needed":
            raise UserError(f"{name} compares with real images: give them with --data")
        self.count = kind.images if options.num is None else options.num
        if available is not None and kind.equal_counts and self.count > available:
            if options.num is not None:
                raise UserError(
                    f"--num {options.num}: {name} needs as many real images, and the data have {available}; "
                    f"give --num {available} or less"
                )
            self.count = available
        fewest = self.count if available is None or kind.uses_reals == "no" else min(self.count, available)
        if fewest < kind.least:
            raise UserError(f"{name}: {fewest} images are too few; it needs at least {kind.least}")
        detector = options.detector
        if kind.detector_option is None:
            detector = None
        elif name == "pr50k" and options.pr_detector is not None:
            detector = options.pr_detector
        if kind.detector_option is not None and detector is None:
            raise UserError(f"{name} needs a feature detector: give its file with {kind.detector_option}")
        device = G.mapping.w_avg.device
        setting = Setting(G.img_resolution, self.count, options.drawing.seed, device, detector)
        self.metric: ImageMetric = kind(setting)
        self.fakes = self.metric.collector()
        self.reals: Collector | None = None
        self.real_count = 0

    def fill_reals(self, reals: _RealImages) -> None:
        if self.metric.uses_reals == "no":
            return
        self.real_count = min(self.count, reals.count)
        self.reals = self.metric.collector()
        detector = self.metric.setting.detector
        reals.fill(self.reals, self.metric.order, self.real_count, None if detector is None else detector.sha256)

    def row(self) -> Row:
        detector = self.metric.setting.detector
        return {
            "results": self.metric.numbers(self.fakes, self.reals),
            "images": self.count,
            "real_images": self.real_count,
            "order": self.metric.order if self.real_count else None,
            "detector": None if detector is None else {"name": detector.name, "sha256": detector.sha256},
            **self.metric.parameters(),
        }


def fill(
    collectors: Sequence[tuple[Collector, int]], blocks: Iterable[Block], count: int, ranks: Ranks, what: str
) -> None:
    """Let each collector take in its first so many images of this rank's share of the blocks of ``count`` images."""
    numbers = -(-count // BLOCK)
    share = iter(blocks)
    with tqdm(total=count, unit="img", desc=what, leave=False, disable=None if ranks.first else True) as bar:
        for first in range(0, numbers, ranks.count):
            block = next(share) if first + ranks.rank < numbers else None
            for collector, wanted in collectors:
                part = None
                if block is not None and block.number * BLOCK < wanted:
                    part = collector.extract(block.first(wanted - block.number * BLOCK)).cpu().numpy()
                for extract in ranks.gathered(part) or []:
                    if extract is not None:
                        collector.absorb(extract)
            bar.update(min(BLOCK * ranks.count, count - first * BLOCK))


def _circumstances(G: Generator, dataset: Dataset | None, options: MetricOptions) -> Row:
    drawing = options.drawing
    return {
        "seed": drawing.seed,
        "truncation_psi": drawing.truncation_psi,
        "truncation_cutoff": drawing.truncation_cutoff,
        "noise": drawing.noise_mode,
        "class": drawing.class_index,
        "data": None if dataset is None else dataset.name,
        "mirror": options.mirror,
        "resize": "Lanczos, by the data set; detectors resize by themselves",
        "resolution": G.img_resolution,
        "channels": G.img_channels,
        "lod": G.lod,
        "device": str(G.mapping.w_avg.device),
        "versions": {
            "stylegan_fast": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }
