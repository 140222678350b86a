"""What the discriminator minimises in one pass over some images: the objective's terms and the penalties.

Each function differentiates what it computes at once, through ``backward``, so that the activations of one pass are
gone before those of the next are made. ``discriminate`` gives the scores ``[N, 1]`` of images ``[N, C, r, r]``; ``lod``
is where the networks stand; ``scale`` that of fp16's losses, see ``losses``. All return means as 0-d tensors.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.profiler import record_function

from stylegan_fast.models.growth import Lod
from stylegan_fast.training.losses import (
    Objective,
    mixed_gradient_norm,
    squared_gradient_norm,
    wgan_gradient_penalty,
)

Values = dict[str, Tensor]
Discriminate = Callable[[Tensor], Tensor]
Backward = Callable[[Tensor], None]


def game_terms(
    objective: Objective,
    discriminate: Discriminate,
    backward: Backward,
    reals: Tensor,
    fakes: Tensor,
    lod: Lod,
    scale: Tensor | None,
    r1_gamma: float,
    r2_gamma: float,
) -> Values:
    """The objective's two terms and, with them, R1 and R2 where their gamma is not 0.

    Returns ``D_loss`` (the terms alone), ``R1`` and ``R2`` (before ``gamma / 2``), ``score_real``, ``score_fake`` and
    ``sign_real``.
    """
    told: Values = {}
    with record_function("D: fakes"):
        fakes = fakes.detach().requires_grad_(r2_gamma != 0)
        scores = discriminate(fakes)
        fake_loss = loss = objective.d_fake(scores).mean()
        if r2_gamma != 0:
            told["R2"] = squared_gradient_norm(fakes, scores, lod, scale).mean()
            loss = loss + told["R2"] * (r2_gamma / 2)
        backward(loss)
        told["score_fake"] = scores.mean()
    with record_function("D: reals and R1" if r1_gamma != 0 else "D: reals"):
        reals = reals.detach().requires_grad_(r1_gamma != 0)
        scores = discriminate(reals)
        real_loss = loss = objective.d_real(scores).mean()
        if r1_gamma != 0:
            told["R1"] = squared_gradient_norm(reals, scores, lod, scale).mean()
            loss = loss + told["R1"] * (r1_gamma / 2)
        backward(loss)
    told |= {"D_loss": fake_loss + real_loss, "score_real": scores.mean(), "sign_real": scores.sign().mean()}
    return {name: value.detach() for name, value in told.items()}


def penalty_alone(
    discriminate: Discriminate,
    backward: Backward,
    images: Tensor,
    lod: Lod,
    scale: Tensor | None,
    weight: float,
) -> Tensor:
    """R1 (of reals) or R2 (of fakes) by itself, ``weight`` times; returns it without the weight."""
    images = images.detach().requires_grad_()
    penalty = squared_gradient_norm(images, discriminate(images), lod, scale).mean()
    backward(penalty * weight)
    return penalty.detach()


def gradient_penalty(
    discriminate: Discriminate,
    backward: Backward,
    reals: Tensor,
    fakes: Tensor,
    mixing: Tensor,
    lod: Lod,
    scale: Tensor | None,
    weight: float,
) -> Tensor:
    """WGAN-GP's, its weight included; ``mixing``: ``[N, 1, 1, 1]`` uniform in [0, 1)."""
    norms = mixed_gradient_norm(discriminate, reals, fakes.to(reals.dtype), mixing, lod, scale)
    penalty = wgan_gradient_penalty(norms, weight).mean()
    backward(penalty)
    return penalty.detach()


def add_share(values: Values, told: Values, share: float = 1.0) -> None:
    """Add to a step's values those of one pass, which count for ``share`` of them."""
    for name, value in told.items():
        values[name] = values[name] + value * share if name in values else value * share
