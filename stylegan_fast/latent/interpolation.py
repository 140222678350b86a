"""Ways between latents: great circles in Z, straight lines and splines in W."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def normalize(x: Tensor) -> Tensor:
    """x divided by its length along the last dimension."""
    return x / x.norm(dim=-1, keepdim=True)


def slerp(a: Tensor, b: Tensor, t: Tensor | float) -> Tensor:
    """Spherical interpolation, the way between latents z (Shoemake 1985; paper section 4.1).

    ::

        a, b normalised;  angle = t * acos(a . b);  c = normalize(b - (a . b) a)
        normalize(a cos(angle) + c sin(angle))

    The result has length 1, which the mapping network's pixel norm makes no difference to. Where a and b point the same
    way it is a; where they are opposite no great circle is the one, and one of them is taken.

    Args:
        a, b: ``[..., D]``, not 0.
        t: 0 gives a, 1 gives b; a number, or a tensor that broadcasts with a and b (like ``[N, 1]``).
    """
    a, b = normalize(a), normalize(b)
    cosine = (a * b).sum(dim=-1, keepdim=True).clamp(-1, 1)
    angle = t * torch.acos(cosine)
    across = b - cosine * a
    length = across.norm(dim=-1, keepdim=True)
    # Without a plane in common any direction at right angles to a will do: the next coordinate, made orthogonal.
    other = torch.roll(a, 1, dims=-1)
    other = other - (other * a).sum(dim=-1, keepdim=True) * a
    across = torch.where(length > 0, across, other)
    return normalize(a * torch.cos(angle) + normalize(across) * torch.sin(angle))


def lerp(a: Tensor, b: Tensor, t: Tensor | float) -> Tensor:
    """``a + (b - a) t``, the way between latents w."""
    return a + (b - a) * t


def spline(points: Tensor, t: Tensor, closed: bool = False) -> Tensor:
    """A smooth way through points: the Catmull-Rom spline.

    Args:
        points: ``[K, ...]``, K of 2 or more; ``spline(points, i)`` is ``points[i]``.
        t: ``[T]``, from 0 to K - 1; closed: any number, K is 0 again.
        closed: the way goes on from the last point to the first.

    Returns:
        ``[T, ...]``. Between points i and i + 1, with u = t - i::

            p_i + u/2 ((p_(i+1) - p_(i-1)) + u ((2 p_(i-1) - 5 p_i + 4 p_(i+1) - p_(i+2))
                + u (3 p_i - p_(i-1) - 3 p_(i+1) + p_(i+2))))

        Before the first and after the last point of an open way lies the reflection of their neighbour.
    """
    count = points.shape[0]
    if count < 2:
        raise ValueError(f"spline: {count} points, expected 2 or more")
    if closed:
        t = t % count
        segment = t.floor().long().clamp(max=count - 1)
        p = [points[(segment + offset) % count] for offset in (-1, 0, 1, 2)]
    else:
        segment = t.floor().long().clamp(0, count - 2)
        ends = torch.cat([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
        p = [ends[segment + offset] for offset in (0, 1, 2, 3)]
    u = (t - segment).to(points.dtype).reshape(-1, *[1] * (points.ndim - 1))
    bent = 2 * p[0] - 5 * p[1] + 4 * p[2] - p[3]
    turned = 3 * p[1] - p[0] - 3 * p[2] + p[3]
    return p[1] + u / 2 * ((p[2] - p[0]) + u * (bent + u * turned))


def loop_points(count: int) -> list[float]:
    """``count`` angles of a full turn, 0 to below 2 pi: equal steps whose last meets the first."""
    return [2 * math.pi * index / count for index in range(count)]
