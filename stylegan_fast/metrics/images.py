"""The images a metric sees, in numbered blocks: drawn by a network, or read from a data set.

Which image is number i depends on the network (or the data), the seed and i, and not on the batch size or on how many
processes share the work: all random numbers are keyed by the block, and a block has the same size everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from stylegan_fast.data import Dataset
from stylegan_fast.distributed import Ranks
from stylegan_fast.errors import UserError
from stylegan_fast.figures.sheet import quantize
from stylegan_fast.metrics.detector import Detector
from stylegan_fast.models import Generator
from stylegan_fast.seeds import keyed_seed

BLOCK = 64  # images; even, so that pairs of neighbours lie in one block


@dataclass
class Block:
    """Images ``number * BLOCK``, ... of a stream.

    ``images``: uint8 ``[n, C, H, W]``. ``side``: "fakes" or "reals", which with ``number`` keys what is drawn about
    """

    images: Tensor
    number: int
    side: str
    seed: int
    _kept: dict[tuple[str, str], Tensor] = field(default_factory=dict)

    def first(self, count: int) -> Block:
        """The block with no more than its first ``count`` images."""
        return self if count >= len(self.images) else Block(self.images[:count], self.number, self.side, self.seed)

    def generator(self, purpose: str) -> torch.Generator:
        """A generator on the CPU for random numbers about this block, the same wherever it is worked on."""
        return torch.Generator().manual_seed(keyed_seed(self.seed, self.side, purpose, self.number))

    def features(self, detector: Detector, kind: str = "features") -> Tensor:
        """What the detector finds in the images, worked out once however many metrics ask."""
        place = (detector.sha256, kind)
        if place not in self._kept:
            run = detector.probabilities if kind == "probabilities" else detector.features
            self._kept[place] = run(self.images)
        return self._kept[place]


@dataclass(frozen=True)
class Drawing:
    """How a metric lets a network draw; each field changes the number. See ``SampleSettings`` for their meaning."""

    seed: int = 0
    truncation_psi: float = 1.0
    truncation_cutoff: int | None = None
    noise_mode: str = "random"
    class_index: int | None = None


def block_latents(
    G: Generator, number: int, count: int, drawing: Drawing, classes: Dataset | None, purpose: str = "fakes"
) -> tuple[Tensor, Tensor | None]:
    """z ``[count, z_dim]`` and one-hot c of a block, on the network's device.

    The classes of a conditional network are those of images of the data set taken at random, so that both have the same
    distribution of classes, or all ``drawing.class_index``.
    """
    device = G.mapping.w_avg.device
    generator = torch.Generator().manual_seed(keyed_seed(drawing.seed, purpose, "z", number))
    z = torch.randn(count, G.z_dim, generator=generator)
    if G.c_dim == 0:
        return z.to(device), None
    if drawing.class_index is not None:
        chosen = torch.full((count,), drawing.class_index)
        c = torch.nn.functional.one_hot(chosen, G.c_dim).float()
    else:
        if classes is None or classes.label_dim != G.c_dim:
            have = "no data were given" if classes is None else f"{classes.name} has {classes.label_dim}"
            raise UserError(f"the network has {G.c_dim} classes, but {have}; give its data with --data, or --class")
        picked = torch.randint(len(classes), (count,), generator=generator)
        c = torch.from_numpy(classes.labels(picked.numpy()))
    return z.to(device), c.to(device)


@torch.no_grad()
def drawn_blocks(
    G: Generator, count: int, drawing: Drawing, batch: int, ranks: Ranks, classes: Dataset | None = None
) -> Iterator[Block]:
    """This rank's share of the first ``count`` images: blocks rank, rank + ranks, ...

    The network draws ``batch`` at a time, at full size (a network still growing enlarges its images).
    """
    device = G.mapping.w_avg.device
    for number in range(ranks.rank, -(-count // BLOCK), ranks.count):
        size = min(BLOCK, count - number * BLOCK)
        z, c = block_latents(G, number, size, drawing, classes)
        noise = torch.Generator().manual_seed(keyed_seed(drawing.seed, "fakes", "noise", number))
        images = []
        for part in torch.arange(size, device=device).split(batch):
            drawn = G(
                z[part],
                None if c is None else c[part],
                truncation_psi=drawing.truncation_psi,
                truncation_cutoff=drawing.truncation_cutoff,
                noise_mode=drawing.noise_mode,
                noise_generator=noise,
                full_size=True,
            )
            images.append(quantize(drawn))
        yield Block(torch.cat(images), number, "fakes", drawing.seed)


def read_blocks(
    dataset: Dataset, indices: Sequence[int], count: int, device: torch.device, ranks: Ranks, seed: int = 0
) -> Iterator[Block]:
    """This rank's share of ``count`` images: those at ``indices`` in this order, then their mirror images."""
    for number in range(ranks.rank, -(-count // BLOCK), ranks.count):
        places = range(number * BLOCK, min((number + 1) * BLOCK, count))
        rows = [indices[place % len(indices)] for place in places]
        images = torch.from_numpy(dataset.read(rows, dataset.resolution)).to(device)
        flipped = torch.tensor([place >= len(indices) for place in places], device=device)
        images = torch.where(flipped[:, None, None, None], images.flip(3), images)
        yield Block(images, number, "reals", seed)
