"""Every random number of a run, keyed by (seed, rank, step, purpose).

Nothing is drawn from a generator that lives across steps: each step seeds its own. So the random state of a run is its
step counter, a resumed run draws what the uninterrupted one would have drawn, and adding a draw for one purpose moves
no other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stylegan_fast.seeds import keyed_seed


@dataclass(frozen=True)
class StyleMixing:
    """One coin and one cutoff for a whole batch: layers below ``cutoff`` take their styles from z, the rest from z2."""

    z2: Tensor  # [N, z_dim]
    cutoff: int | Tensor  # a 0-d tensor stays on its device


@dataclass(frozen=True)
class GeneratorInputs:
    """All that one forward pass of the generator is given.

    Noise is seeded by ``noise_seeds`` or, where that is None, by ``noise_generator``; with neither the network's stored
    noise maps are used.
    """

    z: Tensor  # [N, z_dim]
    c: Tensor | None = None  # [N, c_dim] one-hot
    mixing: StyleMixing | None = None
    noise_generator: torch.Generator | None = None
    noise_seeds: Tensor | None = None  # int64 [N, layers in use]

    @property
    def has_noise(self) -> bool:
        """Whether noise is drawn, not the stored one."""
        return self.noise_generator is not None or self.noise_seeds is not None

    def with_noise_seeds(self, seeds: Tensor) -> GeneratorInputs:
        """The same with these seeds in place of the generator."""
        return replace(self, noise_generator=None, noise_seeds=seeds)

    def part(self, rows: slice) -> GeneratorInputs:
        """Those of some rows of the batch. A generator of noise has none: give it ``noise_seeds`` first."""
        if self.noise_generator is not None:
            raise ValueError("GeneratorInputs.part: the noise is drawn for the whole batch; use with_noise_seeds")
        return GeneratorInputs(
            self.z[rows],
            None if self.c is None else self.c[rows],
            None if self.mixing is None else StyleMixing(self.mixing.z2[rows], self.mixing.cutoff),
            noise_seeds=None if self.noise_seeds is None else self.noise_seeds[rows],
        )


class Draws:
    """The draws of one rank.

    Args:
        seed: of the run.
        rank: of this process; other ranks draw other numbers.
        device: where z, labels and noise are drawn (the numbers of one device type differ from another's).
    """

    def __init__(self, seed: int, rank: int = 0, device: torch.device | str = "cpu") -> None:
        self.seed, self.rank, self.device = seed, rank, torch.device(device)
        self._generators: dict[tuple[str, str], torch.Generator] = {}

    def generator(self, step: int, purpose: str, device: torch.device | str | None = None) -> torch.Generator:
        """The generator of this step and purpose, freshly seeded; the next call for the same purpose reseeds it."""
        device = self.device if device is None else torch.device(device)
        place = (purpose, str(device))
        if place not in self._generators:
            self._generators[place] = torch.Generator(device=device)
        return self._generators[place].manual_seed(keyed_seed(self.seed, self.rank, step, purpose))

    def generator_inputs(
        self,
        step: int,
        network: str,
        batch: int,
        z_dim: int,
        c: Tensor | None,
        num_layers: int,
        mixing_prob: float,
    ) -> GeneratorInputs:
        """The inputs of the pass for the step of ``network`` ("D" or "G").

        Style mixing (paper section 3.1) happens with probability ``mixing_prob``, its cutoff uniform in
        [1, num_layers), num_layers counting the layers in use at the present lod.
        """
        on_device = self.generator(step, network + "/z")
        z = torch.randn(batch, z_dim, generator=on_device, device=self.device)
        # The coin decides in Python what is computed, so it is drawn on the host: no device is waited for.
        on_host = self.generator(step, network + "/mixing", "cpu")
        coin = float(torch.rand((), generator=on_host))
        mixing = None
        if coin < mixing_prob and num_layers > 1:
            cutoff = int(torch.randint(1, num_layers, (), generator=on_host))
            mixing = StyleMixing(torch.randn(batch, z_dim, generator=on_device, device=self.device), cutoff)
        return GeneratorInputs(z, c, mixing, self.generator(step, network + "/noise"))

    def indices(self, step: int, purpose: str, batch: int, count: int) -> list[int]:
        """``batch`` integers uniform in [0, count): which images' labels the generator's step is asked for."""
        generator = self.generator(step, purpose, "cpu")
        indices: list[int] = torch.randint(count, (batch,), generator=generator).tolist()
        return indices

    def gp_mixing(self, step: int, repeat: int, batch: int) -> Tensor:
        """``[batch, 1, 1, 1]`` uniform in [0, 1): where between a real and a fake WGAN-GP's gradient is taken."""
        generator = self.generator(step, f"D/gp/{repeat}")
        return torch.rand(batch, 1, 1, 1, generator=generator, device=self.device)

    def mirror_coins(self, step: int, batch: int, repeat: int = 0) -> Tensor:
        """Boolean ``[batch]``: which images are flipped left to right."""
        purpose = f"mirror/{repeat}" if repeat else "mirror"
        return torch.rand(batch, generator=self.generator(step, purpose), device=self.device) >= 0.5
