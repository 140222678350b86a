"""Directions in W: what to add to a latent so that one thing in the picture changes.

All directions have length 1 and shape ``[w_dim]``; ``edit`` adds multiples of one to the layers wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stylegan_fast.layers import AdaIN, LayerEpilogue
from stylegan_fast.models import Generator


@dataclass(frozen=True)
class PrincipalAxes:
    """``axes [K, w_dim]``, each of length 1, the widest first; ``deviations [K]`` of W along them; ``mean [w_dim]``."""

    axes: Tensor
    deviations: Tensor
    mean: Tensor


@torch.no_grad()
def sample_w(G: Generator, count: int, seed: int = 0, c: Tensor | None = None) -> Tensor:
    """w ``[count, w_dim]`` of random latents, not truncated; with classes those of ``c [c_dim]``, or random ones."""
    device = G.mapping.w_avg.device
    generator = torch.Generator().manual_seed(seed)
    found = []
    for part in torch.arange(count).split(1024):
        z = torch.randn(len(part), G.z_dim, generator=generator).to(device)
        labels = None
        if G.c_dim > 0:
            drawn = torch.randint(G.c_dim, (len(part),), generator=generator)
            labels = torch.nn.functional.one_hot(drawn, G.c_dim).float().to(device)
            labels = labels if c is None else c.to(labels).expand_as(labels)
        found.append(G.mapping(z, labels)[:, 0])
    return torch.cat(found)


def principal_axes(w: Tensor, count: int | None = None) -> PrincipalAxes:
    """The axes along which samples ``w [N, w_dim]`` vary most (GANSpace, Harkonen et al. 2020, arXiv 2004.02546).

    Each axis points where its largest coordinate is positive. ``count``: how many; None for all there are.
    """
    if w.ndim != 2 or w.shape[0] < 2:
        raise ValueError(f"principal_axes: w has shape {list(w.shape)}, expected [N, w_dim] with N of 2 or more")
    samples = w.double()
    mean = samples.mean(dim=0)
    _, values, axes = torch.linalg.svd(samples - mean, full_matrices=False)
    axes = _with_settled_signs(axes[:count])
    return PrincipalAxes(axes.to(w), (values[:count] / (w.shape[0] - 1) ** 0.5).to(w), mean.to(w))


def factorised_directions(G: Generator, layers: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
    """The directions to which the style layers respond most, from their weights alone (closed-form factorisation,
    Shen and Zhou 2021, arXiv 2007.06600).

    ::

        A = the style weights of the layers, one below the other     [2 * channels of all, w_dim]
        directions = eigenvectors of A^T A, the largest eigenvalue first

    Args:
        G: the generator.
        layers: whose weights; None for all.

    Returns directions ``[w_dim, w_dim]`` (rows) and eigenvalues ``[w_dim]``. Raises ``ValueError`` for a network
    without styles.
    """
    weights = [
        module.affine.weight.detach()
        for module in G.synthesis.modules()
        if isinstance(module, (AdaIN, LayerEpilogue)) and hasattr(module, "affine")
    ]
    if not weights:
        raise ValueError("factorised_directions: the network has no style layers")
    chosen = range(len(weights)) if layers is None else layers
    stacked = torch.cat([weights[layer] for layer in chosen]).double()
    values, vectors = torch.linalg.eigh(stacked.T @ stacked)
    directions = _with_settled_signs(vectors.T.flip(0))
    return directions.to(weights[0]), values.flip(0).to(weights[0])


def attribute_direction(w: Tensor, labels: Tensor | np.ndarray, ridge: float = 1e-3) -> Tensor:
    """The direction in which an attribute appears, from samples with labels: the normal of the plane that a linear
    discriminant puts between them, ``(S + ridge tr(S)/D I)^-1 (m1 - m0)``, S the covariance within the two.

    Args:
        w: ``[N, w_dim]``.
        labels: ``[N]``, whether each sample's picture has the attribute; at least two of each kind.
        ridge: keeps axes along which W hardly varies from deciding.

    Returns ``[w_dim]`` of length 1, pointing to where the attribute is. Raises ``ValueError``.
    """
    has = torch.as_tensor(np.asarray(labels)).bool().to(w.device)
    if w.ndim != 2 or has.shape != w.shape[:1]:
        raise ValueError(
            f"attribute_direction: w {list(w.shape)} and labels {list(has.shape)}, expected [N, D] and [N]"
        )
    counts = int(has.sum()), int((~has).sum())
    if min(counts) < 2:
        raise ValueError(
            f"attribute_direction: {counts[0]} samples with and {counts[1]} without the attribute; needs 2 of each"
        )
    samples = w.double()
    means = [samples[kind].mean(dim=0) for kind in (has, ~has)]
    centred = torch.cat([samples[kind] - mean for kind, mean in zip((has, ~has), means, strict=True)])
    scatter = centred.T @ centred / len(centred)
    identity = torch.eye(w.shape[1], dtype=scatter.dtype, device=w.device)
    normal = torch.linalg.solve(scatter + ridge * scatter.trace() / w.shape[1] * identity, means[0] - means[1])
    return (normal / normal.norm()).to(w)


def orthogonal_to(direction: Tensor, others: Tensor) -> Tensor:
    """A direction ``[D]`` without what it shares with others ``[K, D]``: an edit that leaves their attributes alone."""
    basis = torch.linalg.qr(others.T.double()).Q
    rest = direction.double() - basis @ (basis.T @ direction.double())
    return (rest / rest.norm()).to(direction)


def edit(ws: Tensor, direction: Tensor, amount: Tensor | float, layers: Sequence[int] | None = None) -> Tensor:
    """ws ``[N, num_ws, w_dim]`` moved by ``amount`` along a direction ``[w_dim]``, in these layers (None: all).

    amount: a number, or ``[N]``.
    """
    moved = ws.clone()
    step = torch.as_tensor(amount, dtype=ws.dtype, device=ws.device).reshape(-1, 1, 1) * direction.to(ws)
    chosen = list(range(ws.shape[1]) if layers is None else layers)
    moved[:, chosen] = ws[:, chosen] + step
    return moved


def _with_settled_signs(directions: Tensor) -> Tensor:
    """Rows turned so that the coordinate largest in magnitude is positive: else the sign would be the solver's whim."""
    largest = directions.abs().argmax(dim=1, keepdim=True)
    return directions * directions.gather(1, largest).sign()
