"""One step of the discriminator and one of the generator. Knows nothing of files, schedules or data sets."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stylegan_fast.models.discriminator import Discriminator
from stylegan_fast.models.generator import Generator
from stylegan_fast.models.mapping import mix_styles
from stylegan_fast.training.adam import Adam
from stylegan_fast.training.draws import GeneratorInputs
from stylegan_fast.training.ema import MovingAverage
from stylegan_fast.training.losses import NONSATURATING, Objective, squared_gradient_norm


class Trainer:
    """The three networks, the two optimizers and the rules by which they move.

    A caller's iteration is ``d_step``, ``update_average``, ``g_step`` (the original's order). Every random draw comes
    in through ``GeneratorInputs``; the steps themselves are deterministic.

    Args:
        G, D: on the device where they will stay.
        G_ema: same architecture as G; starts as its copy.
        r1_gamma: weight of the penalty on the reals, ``gamma / 2 * mean |dD/dx|^2``; 0 leaves it out.
        ema_half_life_kimg: of the running average of G.
        objective: the terms of the game.
        dtype: of the features of G and D, "low precision" where it is bfloat16; parameters, statistics, scores, losses
            and the sum of the penalty stay as the parameters are. None: that of the parameters.
    """

    def __init__(
        self,
        G: Generator,
        D: Discriminator,
        G_ema: Generator,
        *,
        r1_gamma: float = 10.0,
        ema_half_life_kimg: float = 10.0,
        objective: Objective = NONSATURATING,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.G, self.D, self.G_ema = G.train(), D.train(), G_ema.eval().requires_grad_(False)
        self.G_ema.load_state_dict(G.state_dict())
        G.synthesis.dtype = D.dtype = dtype
        self.r1_gamma = r1_gamma
        self.objective = objective
        self.average = MovingAverage(self.G_ema, self.G, ema_half_life_kimg)
        self.G_adam, self.D_adam = Adam(G.parameters()), Adam(D.parameters())
        self.skipped_steps = 0  # steps left out because a gradient was not finite

    def d_step(
        self, reals: Tensor, c: Tensor | None, inputs: GeneratorInputs, lod: float, lr: float
    ) -> dict[str, Tensor]:
        """Move D. ``reals`` ``[N, C, r, r]`` float of the active size, ``c`` their labels, used for the fakes as well.

        Returns the means of what was computed: ``D_loss`` (without the penalty), ``R1`` (the penalty before
        ``gamma / 2``), ``score_real``, ``score_fake``; 0-d tensors on the device, for nobody has to wait for them.
        """
        self.D_adam.zero_grad()
        with torch.no_grad():
            fakes = self._generate(inputs, lod)
        fake_scores = self.D(fakes, c, lod=lod)
        fake_loss = self.objective.d_fake(fake_scores).mean()
        fake_loss.backward()  # now, not with the rest: its activations are gone before those of the reals are made

        reals = reals.detach().requires_grad_(self.r1_gamma != 0)
        real_scores = self.D(reals, c, lod=lod)
        real_loss = self.objective.d_real(real_scores).mean()
        penalty = torch.zeros_like(real_loss)
        if self.r1_gamma != 0:
            penalty = squared_gradient_norm(reals, real_scores, lod).mean()
        (real_loss + penalty * (self.r1_gamma / 2)).backward()
        self._apply(self.D_adam, lr)
        return {
            "D_loss": (fake_loss + real_loss).detach(),
            "R1": penalty.detach(),
            "score_real": real_scores.detach().mean(),
            "score_fake": fake_scores.detach().mean(),
        }

    def g_step(self, inputs: GeneratorInputs, lod: float, lr: float) -> dict[str, Tensor]:
        """Move G. Returns the mean ``G_loss``."""
        self.G_adam.zero_grad()
        self.D.requires_grad_(False)  # the gradient passes through D; its weights need none of it
        try:
            scores = self.D(self._generate(inputs, lod), inputs.c, lod=lod)
            loss = self.objective.g(scores).mean()
            loss.backward()
        finally:
            self.D.requires_grad_(True)
        self._apply(self.G_adam, lr)
        return {"G_loss": loss.detach()}

    def update_average(self, batch: int) -> None:
        """Let G_ema follow G by one step on ``batch`` images (over all ranks)."""
        self.average.update(batch)

    def reset_optimizers(self) -> None:
        """Forget both optimizers' moments: due whenever the set of layers in use changes."""
        self.G_adam.reset()
        self.D_adam.reset()

    def state_dict(self) -> dict[str, Any]:
        """Everything the steps depend on, as tensors and plain values."""
        return {
            "G": self.G.state_dict(),
            "D": self.D.state_dict(),
            "G_ema": self.G_ema.state_dict(),
            "G_adam": self.G_adam.state_dict(),
            "D_adam": self.D_adam.state_dict(),
            "skipped_steps": self.skipped_steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in ("G", "D", "G_ema", "G_adam", "D_adam"):
            getattr(self, name).load_state_dict(state[name])
        self.skipped_steps = state["skipped_steps"]

    def _generate(self, inputs: GeneratorInputs, lod: float) -> Tensor:
        """Images as G makes them in training: no truncation, styles mixed, w_avg following the unmixed w."""
        ws = self.G.mapping(inputs.z, inputs.c, update_emas=True)
        if inputs.mixing is not None:
            ws = mix_styles(ws, self.G.mapping(inputs.mixing.z2, inputs.c), inputs.mixing.cutoff)
        noise_mode = "const" if inputs.noise_generator is None else "random"
        images: Tensor = self.G.synthesis(ws, lod=lod, noise_mode=noise_mode, noise_generator=inputs.noise_generator)
        return images

    def _apply(self, optimizer: Adam, lr: float) -> None:
        if not optimizer.step(lr):
            self.skipped_steps += 1
