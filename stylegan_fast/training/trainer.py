"""One step of the discriminator and one of the generator. Knows nothing of files, schedules or data sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.profiler import record_function

from stylegan_fast.distributed import ALONE, Ranks
from stylegan_fast.models.discriminator import Discriminator
from stylegan_fast.models.generator import Generator
from stylegan_fast.models.growth import Lod
from stylegan_fast.models.mapping import mix_styles
from stylegan_fast.training.adam import BETA2, Adam, all_finite
from stylegan_fast.training.discriminator_terms import Values, add_share, game_terms, gradient_penalty, penalty_alone
from stylegan_fast.training.draws import GeneratorInputs
from stylegan_fast.training.ema import MovingAverage
from stylegan_fast.training.losses import NONSATURATING, Objective
from stylegan_fast.training.precision import LossScale

Augment = Callable[[Tensor], Tensor]


class Trainer:
    """The three networks, the two optimizers and the rules by which they move.

    A caller's iteration is ``d_step``, ``update_average``, ``g_step`` (the original's order). Every random draw comes
    in through the arguments; the steps themselves are deterministic (but for what ``augment`` draws) and never wait for
    the device. With several ranks each is given its share of the batch: gradients and the mean w are averaged over all,
    and the networks stay the same everywhere.

    Args:
        G, D: on the device where they will stay. Parameters that require no gradient are frozen and stay as they are.
        G_ema: same architecture as G; starts as its copy.
        r1_gamma, r2_gamma: weights of the penalties on reals and fakes, ``gamma / 2 * mean |dD/dx|^2``; 0: not at all.
        r1_every: R1 and R2 only on every so many steps ("lazy", Karras et al. 2019, appendix B), as a step of their own
            with as many times the weight; learning rate and beta2 of D then are as published: ``lr * k / (k + 1)`` and
            ``beta2 ^ (k / (k + 1))``.
        gp_weight: of WGAN-GP's penalty ``gp_weight * mean (|dD/dx| - 1)^2`` between reals and fakes; 0 leaves it out.
        clip: limit of the absolute value of D's weights as stored (N(0, 1) at the beginning), WGAN's; None for none.
        ema_half_life_kimg: of the running average of G.
        objective: the terms of the game.
        dtype: of the features of G and D, "low precision" where it is 16 bits; parameters, statistics, scores, losses
            and the sum of the penalty stay as the parameters are. None: that of the parameters.
        loss_scaling: keep small gradients above fp16's smallest number, see ``LossScale``.
        batch_gpu: images of one pass through the networks; a step on more adds the gradients of several passes, and the
            minibatch standard deviation sees one pass. None: all at once.
        augment: applied to every image before D sees it, reals and fakes, in D's and in G's step; differentiable twice
            where there are penalties, whose gradients are those at the images before it.
        ranks: the processes of this job.
    """

    def __init__(
        self,
        G: Generator,
        D: Discriminator,
        G_ema: Generator,
        *,
        r1_gamma: float = 10.0,
        r2_gamma: float = 0.0,
        r1_every: int = 1,
        gp_weight: float = 0.0,
        clip: float | None = None,
        ema_half_life_kimg: float = 10.0,
        objective: Objective = NONSATURATING,
        dtype: torch.dtype | None = None,
        loss_scaling: bool = False,
        batch_gpu: int | None = None,
        augment: Augment | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.G, self.D, self.G_ema = G.train(), D.train(), G_ema.eval().requires_grad_(False)
        self.G_ema.load_state_dict(G.state_dict())
        G.synthesis.dtype = D.dtype = dtype
        self.r1_gamma, self.r2_gamma = r1_gamma, r2_gamma
        self.r1_every = r1_every if r1_gamma or r2_gamma else 1
        self.gp_weight, self.clip = gp_weight, clip
        self.objective, self.batch_gpu, self.augment, self.ranks = objective, batch_gpu, augment, ranks
        self._learning: list[Tensor] = [p for p in D.parameters() if p.requires_grad]
        self.average = MovingAverage(self.G_ema, self.G, ema_half_life_kimg)
        self.G_adam, self.D_adam = Adam(G.parameters()), Adam(D.parameters(), beta2=BETA2**self._lazy_share)
        device = next(G.parameters()).device
        self.G_scale, self.D_scale = (LossScale(device) if loss_scaling else None for _ in range(2))

    def d_step(
        self,
        reals: Tensor,
        c: Tensor | None,
        inputs: GeneratorInputs,
        lod: Lod,
        lr: float | Tensor,
        *,
        gp_mixing: Tensor | None = None,
        penalise: bool = True,
    ) -> Values:
        """Move D.

        Args:
            reals: ``[N, C, r, r]`` float of the active size; ``c`` their labels, used for the fakes as well.
            gp_mixing: ``[N, 1, 1, 1]`` uniform in [0, 1), where ``gp_weight`` is not 0.
            penalise: False on the steps that lazy regularisation leaves out.

        Returns the means of what was computed: ``D_loss`` (without penalties), ``R1`` (the penalty before
        ``gamma / 2``; missing on steps without it, and so ``R2``), ``GP``, ``score_real``, ``score_fake``, and
        ``sign_real`` (mean sign of the scores of reals); 0-d tensors on the device, for nobody has to wait for them.
        """
        lazy = self.r1_every > 1
        lr = lr * self._lazy_share
        values: Values = {}
        w_mean = torch.zeros_like(self.G.mapping.w_avg)
        parts = self._parts(inputs, len(reals), lod)
        self.D_adam.zero_grad()
        for rows, part in parts:
            share = _share(rows, reals)
            with torch.no_grad(), record_function("D: generator"):
                fakes, w = self._generate(part, lod)
            w_mean += w.mean(dim=0) * share
            of_part = self._discriminates(None if c is None else c[rows], lod), self._d_backward(share)
            gammas = (self.r1_gamma, self.r2_gamma) if penalise and not lazy else (0.0, 0.0)
            told = game_terms(self.objective, *of_part, reals[rows], fakes, lod, self._inner_scale, *gammas)
            if self.r1_gamma == 0:
                told["R1"] = torch.zeros_like(told["D_loss"])
            if self.gp_weight != 0:
                assert gp_mixing is not None
                with record_function("D: gradient penalty"):
                    mixing, weight = gp_mixing[rows], self.gp_weight
                    told["GP"] = gradient_penalty(*of_part, reals[rows], fakes, mixing, lod, self._inner_scale, weight)
            add_share(values, told, share)
        self._apply(self.D_adam, self.D_scale, lr, [w_mean])
        self.G.mapping.update_average(w_mean)
        if lazy and penalise:
            self.D_adam.zero_grad()
            for rows, part in parts:
                add_share(
                    values, self._lazy_penalties(reals[rows], None if c is None else c[rows], part, lod, len(reals))
                )
            self._apply(self.D_adam, self.D_scale, lr)
        if self.clip is not None:
            with torch.no_grad():
                torch._foreach_clamp_min_(self._learning, -self.clip)
                torch._foreach_clamp_max_(self._learning, self.clip)
        return values

    def g_step(self, inputs: GeneratorInputs, lod: Lod, lr: float | Tensor) -> Values:
        """Move G. Returns the mean ``G_loss``."""
        values: Values = {}
        w_mean = torch.zeros_like(self.G.mapping.w_avg)
        self.G_adam.zero_grad()
        self._let_D_learn(False)  # the gradient passes through D; its weights need none of it
        try:
            for rows, part in self._parts(inputs, len(inputs.z), lod):
                share = _share(rows, inputs.z)
                with record_function("G: forward"):
                    images, w = self._generate(part, lod)
                    loss = self.objective.g(self._scores(images, part.c, lod)).mean()
                with record_function("G: backward"):
                    self._backward(loss * share, self.G_scale)
                w_mean += w.mean(dim=0) * share
                add_share(values, {"G_loss": loss.detach()}, share)
        finally:
            self._let_D_learn(True)
        self._apply(self.G_adam, self.G_scale, lr, [w_mean])
        self.G.mapping.update_average(w_mean)
        return values

    def update_average(self, batch: int) -> None:
        """Let G_ema follow G by one step on ``batch`` images (over all ranks)."""
        with record_function("average of G"):
            self.average.update(batch)

    def reset_optimizers(self) -> None:
        """Forget both optimizers' moments: due whenever the set of layers in use changes."""
        self.G_adam.reset()
        self.D_adam.reset()

    @property
    def skipped_steps(self) -> int:
        """Steps left out so far because a gradient was not finite. Waits for the device."""
        return self.G_adam.skipped + self.D_adam.skipped

    def longest_row_of_skipped_steps(self) -> int:
        """The most steps of one network left out in a row since this was last called. Waits for the device."""
        return max(self.G_adam.longest_row(), self.D_adam.longest_row())

    def is_finite(self) -> bool:
        """Whether every parameter of the three networks, and w_avg, is a finite number. Waits for the device."""
        networks = (self.G, self.D, self.G_ema)
        tensors = [tensor for network in networks for tensor in network.state_dict().values()]
        return bool(all_finite(tensors))

    def state_dict(self) -> dict[str, Any]:
        """Everything the steps depend on, as tensors and plain values."""
        return {name: getattr(self, name).state_dict() for name in self._stateful()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in self._stateful():
            if name in state or not name.endswith("_scale"):  # a run may change to fp16 on its way
                getattr(self, name).load_state_dict(state[name])

    def _stateful(self) -> list[str]:
        scales = [] if self.G_scale is None else ["G_scale", "D_scale"]
        return ["G", "D", "G_ema", "G_adam", "D_adam", *scales]

    @property
    def _lazy_share(self) -> float:
        """Of k steps and one for the penalties, the share of the former."""
        return 1.0 if self.r1_every == 1 else self.r1_every / (self.r1_every + 1)

    def _parts(self, inputs: GeneratorInputs, batch: int, lod: Lod) -> list[tuple[slice, GeneratorInputs]]:
        """The rows of the batch that one pass takes, and their inputs."""
        size = self.batch_gpu or batch
        # Drawn once, for all: a step does not depend on its parts, and lazy R2 meets the images of the game.
        if inputs.noise_generator is not None:
            inputs = inputs.with_noise_seeds(self.G.synthesis.noise_seeds(inputs.z, lod, inputs.noise_generator))
        if size >= batch:
            return [(slice(0, batch), inputs)]
        slices = [slice(first, min(first + size, batch)) for first in range(0, batch, size)]
        return [(rows, inputs.part(rows)) for rows in slices]

    def _generate(self, inputs: GeneratorInputs, lod: Lod) -> tuple[Tensor, Tensor]:
        """Images as G makes them in training, untruncated, mixed; and the w ``[N, w_dim]`` that w_avg follows."""
        if inputs.mixing is None:
            ws = self.G.mapping(inputs.z, inputs.c)
            w = ws[:, 0]
        else:  # both latents of a sample in one pass
            c = None if inputs.c is None else inputs.c.repeat(2, 1)
            unmixed = self.G.mapping(torch.cat([inputs.z, inputs.mixing.z2]), c)
            w = unmixed[: len(inputs.z), 0]
            first, second = unmixed.chunk(2)
            ws = mix_styles(first, second, inputs.mixing.cutoff)
        w = w.detach().to(self.G.mapping.w_avg.dtype)
        images: Tensor = self.G.synthesis(
            ws,
            lod=lod,
            noise_mode="random" if inputs.has_noise else "const",
            noise_generator=inputs.noise_generator,
            noise_seeds=inputs.noise_seeds,
        )
        return images, w

    def _scores(self, images: Tensor, c: Tensor | None, lod: Lod) -> Tensor:
        if self.augment is not None:
            images = self.augment(images.to(self.G.mapping.w_avg.dtype))
        scores: Tensor = self.D(images, c, lod=lod)
        return scores

    def _discriminates(self, c: Tensor | None, lod: Lod) -> Callable[[Tensor], Tensor]:
        return lambda images: self._scores(images, c, lod)

    def _d_backward(self, share: float) -> Callable[[Tensor], None]:
        return lambda loss: self._backward(loss * share, self.D_scale)

    def _lazy_penalties(self, reals: Tensor, c: Tensor | None, inputs: GeneratorInputs, lod: Lod, batch: int) -> Values:
        """R1 and R2 of one pass, weighted for the steps that leave them out too; their share of the step's mean."""
        share = len(reals) / batch
        told: Values = {}
        for name, gamma in (("R1", self.r1_gamma), ("R2", self.r2_gamma)):
            if gamma == 0:
                continue
            with torch.no_grad():
                images = reals if name == "R1" else self._generate(inputs, lod)[0]
            with record_function(f"D: {name}"):
                of_part = self._discriminates(c, lod), self._d_backward(share)
                weight = gamma / 2 * self.r1_every
                told[name] = penalty_alone(*of_part, images, lod, self._inner_scale, weight) * share
        return told

    @property
    def _inner_scale(self) -> Tensor | None:
        return None if self.D_scale is None else self.D_scale.scale

    def _let_D_learn(self, learn: bool) -> None:
        for parameter in self._learning:
            parameter.requires_grad_(learn)

    def _backward(self, loss: Tensor, scale: LossScale | None) -> None:
        (loss if scale is None else loss * scale.scale).backward()

    def _apply(
        self, optimizer: Adam, scale: LossScale | None, lr: float | Tensor, means: Sequence[Tensor] = ()
    ) -> None:
        """Average gradients (and ``means``) over the ranks, then move."""
        gradients = optimizer.gradients()
        with record_function("average over ranks"):
            self.ranks.mean_([*gradients, *means])
        with record_function("Adam"):
            if scale is not None:
                scale.unscale_(gradients)
            applied = optimizer.step(lr)
            if scale is not None:
                scale.update(applied)


def _share(rows: slice, batch: Tensor) -> float:
    """Of the step's mean, what the mean over these rows counts for."""
    return (rows.stop - rows.start) / len(batch)
