"""Calls of adain as hypothesis draws them, and what they are held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from stylegan_fast.ops import adain, adain_reference, use_backend
from stylegan_fast.ops.arguments import acc_dtype

from .adain_bounds import adain_magnitudes, near_the_output_corner
from .cases import assert_within_bound, narrower
from .drawn import KINDS, dtypes, grid, in_layout, layouts, planes, seeds, shapes, units


@dataclass(frozen=True)
class Case:
    shape: tuple[int, int, int, int]
    dtype: torch.dtype
    kind: str = "grid"
    layout: tuple[str, tuple[int, ...]] = ("contiguous", ())
    layout_of_dy: tuple[str, tuple[int, ...]] = ("contiguous", ())
    style: str = ""  # "", "NC", "C" or "halves": strided halves of one [N, 2C] tensor
    noise: str = ""  # "", "N" maps or "1" map
    bias: bool = False
    wide_parameters: bool = False  # in float32 where x is of 16 bits, as autocast leaves them
    slopes: tuple[float, float] = (1.0, 1.0)
    eps: float = 1e-8
    seed: int = 0

    def arguments(self, dtype: torch.dtype | None = None) -> dict[str, Any]:
        """In dtype, by default the case's own; the values are the same in all."""
        dtype, (n, c, h, w) = dtype or self.dtype, self.shape
        x = in_layout(planes(self.kind, self.shape, self.dtype, self.seed).to(dtype), self.layout)
        found: dict[str, Any] = {"x": x}
        dtype = acc_dtype(dtype) if self.wide_parameters else dtype
        if self.style:
            size = (c,) if self.style == "C" else (n, c)
            scale, shift = 1 + grid(size, self.seed + 1, dtype) / 8, grid(size, self.seed + 2, dtype)
            if self.style == "halves":
                scale, shift = torch.cat([scale, shift], 1).tensor_split(2, 1)
            found |= {"scale": scale, "shift": shift}
        if self.noise:
            maps = grid((n if self.noise == "N" else 1, 1, h, w), self.seed + 3, dtype)
            found |= {"noise": maps, "noise_strength": grid((c,), self.seed + 4, dtype)}
        if self.bias:
            found["bias"] = grid((c,), self.seed + 5, dtype)
        slope, output_slope = self.slopes
        return found | {"negative_slope": slope, "output_negative_slope": output_slope, "eps": self.eps}

    def output_gradient(self) -> Tensor:
        """In fp64, exact in every dtype, and 0 where the slope is decided by rounding."""
        dy = units(self.shape, self.seed + 6)
        if self.slopes[1] != 1:
            dy = dy.masked_fill(near_the_output_corner(self.arguments(torch.float64)), 0)
        return in_layout(dy, self.layout_of_dy)


@st.composite
def cases(draw: st.DrawFn, **fixed: Any) -> Case:
    def one_of(name: str, strategy: st.SearchStrategy) -> Any:
        value = fixed.get(name, strategy)
        return draw(value) if isinstance(value, st.SearchStrategy) else value

    dtype, kind = one_of("dtype", dtypes), one_of("kind", st.sampled_from(KINDS))
    # 1 / sqrt(1e-8), many times summed, is beyond float16.
    overflows = dtype == torch.float16 and kind in ("constant", "one_differs", "subnormal")
    return Case(
        shape=one_of("shape", shapes()),
        dtype=dtype,
        kind=kind,
        layout=one_of("layout", layouts),
        layout_of_dy=one_of("layout_of_dy", layouts.filter(lambda layout: layout[0] != "expanded")),
        style=one_of("style", st.sampled_from(["", "NC", "C", "halves"])),
        noise=one_of("noise", st.sampled_from(["", "N", "1"])),
        bias=one_of("bias", st.booleans()),
        wide_parameters=one_of("wide_parameters", st.booleans()),
        slopes=one_of("slopes", st.sampled_from([(1.0, 1.0), (0.2, 1.0), (0.2, 0.1), (1.0, 0.0)])),
        eps=one_of("eps", st.sampled_from([1e-4 if overflows else 1e-8, 1e-1])),
        seed=one_of("seed", seeds),
    )


def differentiated(call: Any, found: dict[str, Any], dy: Tensor) -> dict[str, Tensor]:
    """y, and the gradient of every tensor by the name of its argument; strides stay as they are."""
    found = {k: v.detach().requires_grad_() if isinstance(v, Tensor) else v for k, v in found.items()}
    leaves = {k: v for k, v in found.items() if isinstance(v, Tensor)}
    y = call(**found)
    gradients = torch.autograd.grad(y, list(leaves.values()), dy.to(y.dtype))
    return {"y": y.detach(), **dict(zip(leaves, gradients, strict=True))}


def on_cpu(found: dict[str, Any], dy: Tensor) -> dict[str, Tensor]:
    with use_backend("cpu"):
        return differentiated(adain, found, dy)


def assert_as_good_as_the_reference(case: Case, ours: dict[str, Tensor] | None = None) -> None:
    """y and all gradients, each within the bound."""
    dy = case.output_gradient()
    exact = case.arguments(torch.float64)
    truth = differentiated(adain_reference, exact, dy)
    reference = differentiated(adain_reference, case.arguments(narrower(case.dtype)), dy)
    sizes = adain_magnitudes(exact, dy)
    if ours is None:
        ours = on_cpu(case.arguments(), dy)
    assert list(ours) == list(truth)
    for name, mine in ours.items():
        try:
            assert_within_bound(mine, reference[name], truth[name], sizes[name])
        except AssertionError as error:
            raise AssertionError(f"{'y' if name == 'y' else 'gradient of ' + name}: {error}") from None
