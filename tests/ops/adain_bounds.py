"""The sizes adain's roundings go with: what stands behind "ulp of" in the bound of its errors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stylegan_fast.ops import adain_reference


def adain_magnitudes(found: dict[str, Any], dy: Tensor) -> dict[str, Tensor]:
    """For y, and for the gradient of every tensor in the arguments, by name: of its shape or one that broadcasts.

    The mean is known to an ulp of itself, and so every normalised value s to rstd * |mean| of them: y to
    max(|y|, |scale| * rstd * |mean|). In the gradients what is subtracted first counts too, the plane's first
    activation, which may be its largest; `reach` is both. A sum is known to an ulp of the sum of its terms' sizes: of
    terms with a pattern, such as a few numbers repeated, all roundings may go the same way.
    """
    tensors = {name: v.detach().double() for name, v in found.items() if isinstance(v, Tensor)}
    x, dz = tensors["x"], dy.double()
    n, c = x.shape[:2]

    def per_plane(name: str, missing: float) -> Tensor:
        return tensors.get(name, x.new_tensor(missing)).expand(n, c)[..., None, None]

    def per_channel(name: str) -> Tensor:
        return tensors.get(name, x.new_zeros(c))[:, None, None]

    a = x + per_channel("noise_strength") * tensors.get("noise", x.new_zeros(1, 1, 1, 1)) + per_channel("bias")
    a = torch.where(a >= 0, a, a * found.get("negative_slope", 1.0))
    mean = a.mean((2, 3), keepdim=True)
    rstd = ((a - mean).square().mean((2, 3), keepdim=True) + found.get("eps", 1e-8)).rsqrt()
    s, far = (a - mean) * rstd, rstd * mean.abs()
    reach = torch.maximum(far, s.abs().amax((2, 3), keepdim=True)) if s.numel() else far
    gain = per_plane("scale", 1).abs()
    z = per_plane("scale", 1) * s + per_plane("shift", 0)
    output_slope = found.get("output_negative_slope", 1.0)
    y = torch.where(z >= 0, z, z * output_slope)
    dz = torch.where(z >= 0, dz, dz * output_slope)
    typical = dz.square().mean((2, 3), keepdim=True).sqrt()
    dx = gain * rstd * (dz.abs() + typical * s.abs().clamp(min=1) * reach.clamp(min=1))
    # Roundings of s differ from pixel to pixel, but for that of the mean, which all share.
    of_s = reach[..., 0, 0] * (dz.square().sum((2, 3)).sqrt() + dz.sum((2, 3)).abs())
    with_strength, with_noise = per_channel("noise_strength").abs(), tensors.get("noise", x.new_zeros(1, 1, 1, 1)).abs()

    def over_samples(name: str, size: Tensor) -> Tensor:
        return size.sum(0) if name in tensors and tensors[name].ndim == 1 else size

    maps = (dx * with_strength).sum(1, keepdim=True)
    sizes = {
        "y": torch.maximum(y.abs(), gain * far),
        "x": dx,
        "scale": over_samples("scale", (dz * s).abs().sum((2, 3)) + of_s),
        "shift": over_samples("shift", dz.abs().sum((2, 3))),
        "noise": maps if "noise" in tensors and tensors["noise"].shape[0] == n else maps.sum(0, keepdim=True),
        "noise_strength": (dx * with_noise).sum((0, 2, 3)),
        "bias": dx.sum((0, 2, 3)),
    }
    return {name: size for name, size in sizes.items() if name == "y" or name in tensors}


def near_the_output_corner(found: dict[str, Any]) -> Tensor:
    """Where rounding decides on which side of the output activation's corner a value falls, in any dtype."""
    double = {k: v.detach().double() if isinstance(v, Tensor) else v for k, v in found.items()}
    sizes = adain_magnitudes({**double, "output_negative_slope": 1.0}, torch.zeros_like(double["x"]))
    z = adain_reference(**{**double, "output_negative_slope": 1.0})
    return z.abs() <= 64 * torch.finfo(torch.float32).eps * sizes["y"].clamp(min=1)
