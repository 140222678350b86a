"""The metrics of latent space: path length and separability."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from stylegan_fast.data import Dataset, FaceDataset
from stylegan_fast.distributed import Ranks
from stylegan_fast.errors import UserError
from stylegan_fast.figures.sheet import quantize
from stylegan_fast.latent.face_classifier import ATTRIBUTES, face_classifier, fingerprint
from stylegan_fast.metrics.collector import RowStore
from stylegan_fast.metrics.images import BLOCK, block_latents
from stylegan_fast.metrics.options import MetricOptions
from stylegan_fast.metrics.path_length import EPSILON, PAIRS, PAIRS_PER_BLOCK, path_distances, path_length
from stylegan_fast.metrics.separability import IMAGES, KEPT, require_scikit_learn, separability
from stylegan_fast.models import Generator
from stylegan_fast.seeds import keyed_seed

Row = dict[str, Any]


class PerceptualPathLength:
    """``ppl_zfull``, ``ppl_zend``, ``ppl_wfull``, ``ppl_wend``."""

    def __init__(self, space: str, ends_only: bool) -> None:
        self.space, self.ends_only = space, ends_only
        self.name = f"ppl_{space}{'end' if ends_only else 'full'}"

    def check(self, G: Generator, dataset: Dataset | None, options: MetricOptions) -> None:
        """Raises ``UserError`` where something is missing."""
        if options.lpips is None:
            raise UserError(f"{self.name} needs VGG16-LPIPS: give its TorchScript file with --lpips")
        if options.num is not None and options.num < 2:
            raise UserError(f"{self.name}: {options.num} pairs are too few; it needs at least 2")

    def measure(self, G: Generator, dataset: Dataset | None, options: MetricOptions, ranks: Ranks) -> Row:
        lpips = options.lpips
        assert lpips is not None
        pairs = PAIRS if options.num is None else options.num
        numbers = -(-pairs // PAIRS_PER_BLOCK)
        share = range(ranks.rank, numbers, ranks.count)
        found = path_distances(G, lpips, self.space, self.ends_only, options, share, pairs, dataset)
        distances = list(_gathered(found, numbers, ranks, self.name))
        if not ranks.first:
            return {}
        return {
            "results": {self.name: path_length(np.concatenate(distances))},
            "pairs": pairs,
            "epsilon": EPSILON,
            "crop": options.crop,
            "detector": {"name": lpips.name, "sha256": lpips.sha256},
            "noise": "stored, redrawn for every 32 pairs",
            "truncation_psi": 1.0,
        }


class LinearSeparability:
    """``ls``: in Z and in W."""

    name = "ls"

    def check(self, G: Generator, dataset: Dataset | None, options: MetricOptions) -> None:
        """Raises ``UserError`` where something is missing."""
        require_scikit_learn("ls")
        if options.num is not None and options.num < 4:
            raise UserError(f"ls: {options.num} images are too few; it needs at least 4")
        if options.classifier is None and not isinstance(dataset, FaceDataset):
            raise UserError(
                "ls: the package's own classifier knows only the built-in faces; give --data faces for a network "
                "trained on them, or a TorchScript classifier with --classifier"
            )

    def measure(self, G: Generator, dataset: Dataset | None, options: MetricOptions, ranks: Ranks) -> Row:
        count = IMAGES if options.num is None else options.num
        classify, about = _classifier(G, options)
        stores = {what: RowStore() for what in ("z", "w", "logits")}
        numbers = -(-count // BLOCK)
        share = range(ranks.rank, numbers, ranks.count)
        found = _labelled_latents(G, classify, share, count, options, dataset)
        for part in _gathered(found, numbers, ranks, self.name):
            for what, rows in part.items():
                stores[what].append(rows)
        if not ranks.first:
            return {}
        logits = np.array(stores["logits"].rows())
        results: dict[str, Any] = {}
        names = about.get("attributes", [f"attribute {k}" for k in range(logits.shape[1])])
        entropies = {}
        for space in ("z", "w"):
            score, each = separability(stores[space].rows(), logits, options.drawing.seed)
            results[f"ls_{space}"] = score
            entropies[space] = dict(zip(names, each, strict=True))
        return {
            "results": results,
            "entropies": entropies,
            "images": count,
            "kept": KEPT,
            "truncation_psi": 1.0,
            **about,
        }


def _classifier(G: Generator, options: MetricOptions) -> tuple[Callable[[Tensor], Tensor], Row]:
    """What gives logits ``[N, A]`` of uint8 images, and its description."""
    if options.classifier is not None:
        given = options.classifier
        return given.logits, {"classifier": {"name": given.name, "sha256": given.sha256}}
    own = face_classifier(G.img_resolution, G.img_channels, cache_dir=options.cache_dir, device=G.mapping.w_avg.device)
    accuracy = dict(zip(ATTRIBUTES, own.accuracy.tolist(), strict=True))
    about = {"name": "built-in faces", "sha256": fingerprint(own), "accuracy": accuracy}
    return own, {"classifier": about, "attributes": list(ATTRIBUTES)}


@torch.no_grad()
def _labelled_latents(
    G: Generator,
    classify: Callable[[Tensor], Tensor],
    blocks: range,
    count: int,
    options: MetricOptions,
    classes: Dataset | None,
) -> Iterator[dict[str, np.ndarray]]:
    """z, w and the logits of their pictures, drawn without truncation, block by block."""
    for number in blocks:
        size = min(BLOCK, count - number * BLOCK)
        z, c = block_latents(G, number, size, options.drawing, classes, "ls")
        noise = torch.Generator().manual_seed(keyed_seed(options.drawing.seed, "ls", "noise", number))
        ws = G.mapping(z, c)
        logits = []
        for part in ws.split(options.batch):
            images = G.synthesis(part, noise_mode=options.drawing.noise_mode, full_size=True, noise_generator=noise)
            logits.append(classify(quantize(images)))
        yield {"z": z.cpu().numpy(), "w": ws[:, 0].cpu().numpy(), "logits": torch.cat(logits).float().cpu().numpy()}


def _gathered(share: Iterator[Any], numbers: int, ranks: Ranks, what: str) -> Iterator[Any]:
    """On rank 0 every rank's parts in the order of blocks; nothing on the others, which must be run through too."""
    steps = range(0, numbers, ranks.count)
    for first in tqdm(steps, desc=what, leave=False, disable=None if ranks.first else True):
        part = next(share) if first + ranks.rank < numbers else None
        yield from (one for one in ranks.gathered(part) or [] if one is not None)


LatentMetric = PerceptualPathLength | LinearSeparability
_ALL: list[LatentMetric] = [PerceptualPathLength(space, ends) for space in ("z", "w") for ends in (False, True)]
LATENT_METRICS = {metric.name: metric for metric in [*_ALL, LinearSeparability()]}
