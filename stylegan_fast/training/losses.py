"""The objectives and the gradient penalties.

An objective has three terms, each scores ``[N, 1]`` in, losses ``[N, 1]`` out: ``g`` of the fake scores, which the
generator minimises, and ``d_fake`` and ``d_real``, whose sum the discriminator minimises (kept apart so that the graph
of the fakes can be freed before that of the reals is built). Penalties are ``[N]``. What is minimised is the mean of
each: the original adds a ``[N]`` penalty to a ``[N, 1]`` loss and averages the broadcast ``[N, N]``, the same number.

Penalties differentiate the *sum* of the scores: with the minibatch standard deviation a score depends on every image
of its group. The networks here exchange images of the active size, while the original differentiates with respect to
full-size images, of which each active pixel is the mean of 4^k, k = floor(lod). The full-size gradient is the active
one spread over those 4^k pixels and divided by 4^k, so squared norms carry a factor 4^-k and norms 2^-k.

Sources: Goodfellow et al. 2014 (saturating and non-saturating logistic), Mao et al. 2016 (least squares, targets 0 and
1), Arjovsky et al. 2017 (WGAN, weight clipping), Gulrajani et al. 2017 (gradient penalty), Lim and Ye 2017 (hinge),
Mescheder et al. 2018 (R1, R2), Karras et al. 2017 (drift term).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

WGAN_DRIFT = 0.001  # weight of D(real)^2, which keeps the scores from wandering off

Term = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Objective:
    """The three terms of a game; see the module's docstring."""

    g: Term
    d_fake: Term
    d_real: Term


def _softplus_of_negative(scores: Tensor) -> Tensor:
    return F.softplus(-scores)


NONSATURATING = Objective(g=_softplus_of_negative, d_fake=F.softplus, d_real=_softplus_of_negative)
SATURATING = Objective(g=lambda f: -F.softplus(f), d_fake=F.softplus, d_real=_softplus_of_negative)
HINGE = Objective(g=torch.neg, d_fake=lambda f: F.relu(1 + f), d_real=lambda r: F.relu(1 - r))
LEAST_SQUARES = Objective(g=lambda f: (f - 1).square(), d_fake=torch.square, d_real=lambda r: (r - 1).square())
WGAN = Objective(g=torch.neg, d_fake=lambda f: f, d_real=lambda r: WGAN_DRIFT * r.square() - r)

# By the name `--objective` has; "wgan" comes with weight clipping, "wgan-gp" with the gradient penalty.
OBJECTIVES: dict[str, Objective] = {
    "nonsaturating": NONSATURATING,
    "saturating": SATURATING,
    "hinge": HINGE,
    "least-squares": LEAST_SQUARES,
    "wgan": WGAN,
    "wgan-gp": WGAN,
}


def squared_gradient_norm(
    images: Tensor, scores: Tensor, lod: float | Tensor = 0.0, scale: Tensor | None = None
) -> Tensor:
    """Per-sample squared norm of d sum(scores) / d images, as for full-size images: the R1 or R2 penalty.

    Args:
        images: ``[N, C, r, r]`` of the active size, requiring grad.
        scores: ``[N, 1]`` computed from them.
        lod: where the networks stand; the result is scaled by 4^-floor(lod).
        scale: of the scores while they are differentiated, taken back before the square: see `_image_gradient`.

    Returns: ``[N]``, differentiable with respect to the discriminator's parameters. Multiply by gamma / 2.
    """
    gradient = _image_gradient(images, scores, scale)
    return gradient.square().sum(dim=(1, 2, 3)) * 4.0 ** -math.floor(lod)


def mixed_gradient_norm(
    discriminate: Callable[[Tensor], Tensor],
    reals: Tensor,
    fakes: Tensor,
    mixing: Tensor,
    lod: float | Tensor = 0.0,
    scale: Tensor | None = None,
) -> Tensor:
    """Per-sample gradient norm at ``reals + (fakes - reals) * mixing``, as for full-size images: WGAN-GP's norm.

    Args:
        discriminate: images ``[N, C, r, r]`` to scores ``[N, 1]``.
        mixing: ``[N, 1, 1, 1]``, uniform in [0, 1).
        lod: where the networks stand; the result is scaled by 2^-floor(lod).
        scale: as in `squared_gradient_norm`.

    Returns: ``[N]``. The penalty is ``wgan_gradient_penalty`` of it.
    """
    images = torch.lerp(reals, fakes, mixing).detach().requires_grad_(True)
    gradient = _image_gradient(images, discriminate(images), scale)
    return gradient.square().sum(dim=(1, 2, 3)).sqrt() * 2.0 ** -math.floor(lod)


def _image_gradient(images: Tensor, scores: Tensor, scale: Tensor | None) -> Tensor:
    """d sum(scores) / d images with its graph. In fp16 it passes through the network ``scale`` times as large, as
    everything does that would fall below fp16's smallest number."""
    total = scores.sum() if scale is None else (scores * scale).sum()
    (gradient,) = torch.autograd.grad(total, images, create_graph=True)
    # Summed and squared in the scores' own precision.
    return gradient.to(scores.dtype) if scale is None else gradient.to(scores.dtype) / scale


def wgan_gradient_penalty(norms: Tensor, weight: float = 10.0, target: float = 1.0) -> Tensor:
    """``weight / target^2 * (norm - target)^2``, ``[N]`` in and out."""
    return (norms - target).square() * (weight / target**2)
