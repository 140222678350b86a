"""Directions by name: ``pca:0``, ``factor:2``, ``attribute:glasses``, or a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stylegan_fast.atomic import replacing
from stylegan_fast.errors import UserError
from stylegan_fast.latent.directions import attribute_direction, factorised_directions, principal_axes, sample_w
from stylegan_fast.models import Generator

SAMPLES = 10_000
_KINDS = "pca:K, factor:K, attribute:NAME or a .npy file"
_LARGEST_FILE = 1 << 24  # bytes; the widest w in use is some kilobytes


@dataclass(frozen=True)
class Direction:
    """``vector [w_dim]`` of length 1; ``deviation``: W's standard deviation along it; ``name``: for people."""

    vector: Tensor
    deviation: float
    name: str


@torch.no_grad()
def named_direction(
    G: Generator,
    text: str,
    *,
    classify: Callable[[Tensor], Tensor] | None = None,
    attributes: list[str] | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Direction:
    """The direction meant by a name.

    Args:
        G: the generator.
        text: ``pca:K``, principal axis K of W, 0 the widest; ``factor:K``, number K of the closed-form factorisation;
            ``attribute:NAME``, in which an attribute appears; or the path of a ``.npy`` file with ``[w_dim]`` numbers.
        classify: logits ``[N, A]`` of images as the network draws them ``[N, C, H, W]``, for attributes.
        attributes: the names of the A; None: they are asked for by number.
        samples: latents looked at.
        seed: of them.

    Raises ``UserError`` for a name that means nothing here.
    """
    w = sample_w(G, samples, seed)
    kind, _, which = text.partition(":")
    if kind == "pca":
        vector = principal_axes(w).axes[_number(text, which, min(G.w_dim, samples))]
    elif kind == "factor":
        try:
            directions, _ = factorised_directions(G)
        except ValueError as failure:
            raise UserError(f"--direction {text!r}: {failure}") from None
        vector = directions[_number(text, which, G.w_dim)]
    elif kind == "attribute":
        if classify is None:
            raise UserError(f"--direction {text!r}: attributes need a classifier")
        logits = torch.cat([classify(_drawn(G, part)) for part in w.split(64)])
        place = _attribute(text, which, attributes, logits.shape[1])
        try:
            vector = attribute_direction(w, (logits[:, place] > 0).cpu())
        except ValueError as failure:
            raise UserError(f"--direction {text!r}: {failure}; the network may never draw it") from None
    else:
        vector = _from_file(text, G.w_dim).to(w)
    return Direction(vector, float((w @ vector).std()), text)


def save_direction(direction: Direction, path: str | Path) -> None:
    """Write the vector as a ``.npy`` file, which ``named_direction`` reads. Raises ``OSError``."""
    with replacing(path) as file:
        np.save(file, direction.vector.cpu().numpy())


def _drawn(G: Generator, w: Tensor) -> Tensor:
    images: Tensor = G.synthesis(w[:, None].expand(-1, G.num_ws, -1), noise_mode="const", full_size=True)
    return images


def _number(text: str, which: str, count: int) -> int:
    if not which.isascii() or not which.isdigit() or int(which) >= count:
        raise UserError(f"--direction {text!r}: {which!r} must be a number from 0 to {count - 1}")
    return int(which)


def _attribute(text: str, which: str, attributes: list[str] | None, count: int) -> int:
    if attributes is not None:
        if which not in attributes:
            raise UserError(f"--direction {text!r}: {which!r} is none of {', '.join(attributes)}")
        return attributes.index(which)
    return _number(text, which, count)


def _from_file(text: str, width: int) -> Tensor:
    path = Path(text)
    if not path.is_file():
        raise UserError(f"--direction {text!r}: no such file, and not {_KINDS}")
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ValueError("too large")
        vector = torch.from_numpy(np.load(path, allow_pickle=False).astype(np.float32).reshape(-1))
    except (OSError, ValueError, EOFError, TypeError) as failure:
        reason = " ".join(str(failure).split())[:120]
        raise UserError(f"--direction {text!r}: not a .npy file of numbers ({reason})") from None
    length = float(vector.norm())
    if len(vector) != width or not np.isfinite(length) or length == 0:
        raise UserError(f"--direction {text!r}: {len(vector)} numbers of length {length:g}, expected {width}, not 0")
    return vector / length
