"""Small calls of every op that between them launch every kernel: what is captured, put on streams, repeated and
sanitized."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stylegan_fast.ops import adain, bias_act, setup_filter, upfirdn2d
from tests.ops.cases import laid_out


class Workload(NamedTuple):
    """A differentiable call; `shapes` are those of its arguments, the first is x."""

    call: Callable[..., Tensor]
    shapes: tuple[tuple[int, ...], ...]
    layout: str = "contiguous"


def epilogue(x: Tensor, scale: Tensor, shift: Tensor, noise: Tensor, strength: Tensor, bias: Tensor) -> Tensor:
    parameters = {"noise": noise, "noise_strength": strength, "bias": bias, "output_negative_slope": 0.5}
    return adain(x, scale, shift, **parameters, negative_slope=0.2)


@cache
def _seeds(n: int, device: torch.device) -> Tensor:
    """Made once, as filters are."""
    return torch.arange(n).to(device)


def seeded(x: Tensor, strength: Tensor) -> Tensor:
    return adain(x, noise_seed=_seeds(x.shape[0], x.device), noise_strength=strength, negative_slope=0.2)


def _epilogue_of(n: int, c: int, h: int, w: int, layout: str) -> Workload:
    return Workload(epilogue, ((n, c, h, w), (n, c), (n, c), (n, 1, h, w), (c,), (c,)), layout)


def _reading_of(n: int, c: int, h: int, w: int, layout: str = "contiguous", phases: bool = True) -> Workload:
    """The epilogue of planes that are read through the blur, and through phases where asked."""

    def call(x: Tensor, scale: Tensor, shift: Tensor, noise: Tensor, noise_strength: Tensor, bias: Tensor) -> Tensor:
        parameters = {"noise": noise, "noise_strength": noise_strength, "bias": bias, "negative_slope": 0.2}
        return adain(x, scale, shift, **parameters, phases=phases, blur=True)

    x = (n, 4 * c, h // 2 + 1, w // 2 + 1) if phases else (n, c, h, w)
    return Workload(call, (x, (n, c), (n, c), (n, 1, h, w), (c,), (c,)), layout)


def _activation(
    act: str, shape: tuple[int, ...] = (2, 5, 7, 3), layout: str = "contiguous", **options: float
) -> Workload:
    return Workload(lambda x, b: bias_act(x, b, act=act, **options), (shape, (shape[1],)), layout)


@cache
def _filter(taps: tuple[int, ...], device: torch.device) -> Tensor:
    """Made once: a copy to the device waits for it, and cannot be captured."""
    return setup_filter(taps, device=device)


def _resampling(
    *taps: int, shape: tuple[int, ...] = (2, 3, 9, 6), layout: str = "contiguous", **options: Any
) -> Workload:
    return Workload(lambda x: upfirdn2d(x, _filter(taps, x.device), **options), (shape,), layout)


# Planes of one slice and of several (from 4096 pixels contiguous, 128 channels_last), slabs of 32 channels with and
# without lanes beyond C, vectors of 16 bytes with and without a tail; every tier of channels_last.
TINY = {
    "adain, instance norm": Workload(adain, ((2, 3, 5, 4),)),
    "adain, one slice": _epilogue_of(2, 3, 5, 7, "contiguous"),
    "adain, samples in two rounds": _epilogue_of(9, 2, 16, 16, "contiguous"),
    "adain, more samples than a block adds up": _epilogue_of(33, 1, 9, 16, "contiguous"),
    "adain, several slices": _epilogue_of(1, 2, 64, 65, "contiguous"),
    "adain, one slice, channels_last": _epilogue_of(2, 33, 3, 4, "channels_last"),
    "adain, several slices, channels_last": _epilogue_of(1, 35, 13, 11, "channels_last"),
    "adain, seeds": Workload(seeded, ((3, 4, 16, 16), (4,))),
    "adain, seeds of unaligned maps": Workload(seeded, ((2, 3, 5, 7), (3,))),
    "adain, blurred, warp": _reading_of(2, 3, 6, 8, phases=False),
    "adain, phases and blur, warp": _reading_of(2, 3, 8, 8),
    "adain, blurred, block": _reading_of(1, 2, 12, 40, phases=False),
    "adain, phases and blur, block": _reading_of(1, 2, 12, 40),
    "adain, phases and blur, one band": _reading_of(2, 3, 4, 6),
    "adain, phases and blur, several bands": _reading_of(1, 2, 66, 70),
    "adain, phases and blur, one band, channels_last": _reading_of(2, 33, 4, 6, "channels_last"),
    "adain, blurred, several bands, channels_last": _reading_of(1, 35, 29, 19, "channels_last", phases=False),
    "adain, slab in a block, channels_last": _epilogue_of(2, 36, 5, 4, "channels_last"),
    "adain, slab in several warps, channels_last": _epilogue_of(2, 8, 20, 16, "channels_last"),
    "adain, slab in a cluster, channels_last": _epilogue_of(1, 8, 48, 48, "channels_last"),
    "adain, slab in slices, channels_last": _epilogue_of(1, 8, 130, 128, "channels_last"),
    "adain, vectors in slices": _epilogue_of(1, 1, 257, 256, "contiguous"),
    **{f"bias_act, {act}": _activation(act) for act in ("linear", "relu", "lrelu", "tanh", "sigmoid")},
    **{f"bias_act, {act}": _activation(act) for act in ("elu", "selu", "softplus", "swish")},
    "bias_act, clamped": _activation("swish", gain=2.0, clamp=1.0),
    "bias_act, whole vectors": _activation("tanh", (4, 8, 32)),
    "bias_act, planes of a few lanes": _activation("lrelu", (2, 5, 4, 8)),
    "bias_act, planes of a block": _activation("relu", (1, 2, 64, 129), clamp=1.0),
    "bias_act, planes in slices": _activation("lrelu", (1, 1, 128, 132), gain=2.0),
    "bias_act, rows": _activation("lrelu", (2, 24, 7, 5), "channels_last"),
    "bias_act, a row": _activation("linear", (1, 64), gain=0.5),
    "upfirdn2d, blur": _resampling(1, 2, 1, padding=1),
    "upfirdn2d, up": _resampling(1, 3, 3, 1, up=2, padding=[2, 1, 2, 1], gain=4),
    "upfirdn2d, down": _resampling(1, 3, 3, 1, layout="channels_last", down=2, padding=1),
    "upfirdn2d, strips": _resampling(1, 2, 1, shape=(2, 3, 9, 8), padding=1),
    "upfirdn2d, pixels": _resampling(1, 2, 1, shape=(2, 16, 9, 5), layout="channels_last", padding=1),
    "upfirdn2d, colours": _resampling(1, 2, 1, shape=(2, 3, 6, 5), layout="channels_last", padding=1),
    "upfirdn2d, pixels repeated": _resampling(
        1, 1, shape=(2, 8, 5, 4), layout="channels_last", up=2, padding=[1, 0, 1, 0]
    ),
    "upfirdn2d, pixels up": _resampling(
        1, 3, 3, 1, shape=(2, 8, 5, 4), layout="channels_last", up=2, padding=[2, 1, 2, 1]
    ),
    "upfirdn2d, pixels, 4 taps": _resampling(
        1, 3, 3, 1, shape=(1, 8, 5, 4), layout="channels_last", padding=[2, 1, 2, 1]
    ),
    "upfirdn2d, cropped": _resampling(1, 1, layout="channels_last", up=[2, 1], down=[1, 2], padding=[-1, 2, 2, -1]),
}

# Enough blocks to be scheduled in another order every time.
LARGER = {
    "adain": _epilogue_of(2, 24, 192, 160, "contiguous"),
    "adain, channels_last": _epilogue_of(2, 70, 96, 80, "channels_last"),
    "adain, seeds": Workload(seeded, ((3, 8, 192, 160), (8,))),
    "adain, phases and blur": _reading_of(2, 24, 128, 96),
    "adain, phases and blur, bands": _reading_of(2, 12, 192, 160),
    "adain, phases and blur, channels_last": _reading_of(2, 70, 96, 80, "channels_last"),
    "bias_act": _activation("swish", (4, 64, 96, 80)),
    "bias_act, planes": _activation("lrelu", (4, 64, 96, 80)),
    "bias_act, rows": _activation("lrelu", (4, 64, 96, 80), "channels_last"),
    "upfirdn2d": _resampling(1, 3, 3, 1, shape=(2, 64, 48, 40), up=2, padding=[2, 1, 2, 1]),
    "upfirdn2d, pixels": _resampling(
        1, 3, 3, 1, shape=(2, 64, 48, 40), layout="channels_last", up=2, padding=[2, 1, 2, 1]
    ),
}


def arguments(work: Workload, device: torch.device, dtype: torch.dtype = torch.float32, seed: int = 0) -> list[Tensor]:
    """Random tensors, equal on every device; x is of `dtype`, the parameters are of the accumulation type."""
    g = torch.Generator().manual_seed(seed)
    parameters = torch.float64 if dtype == torch.float64 else torch.float32
    x, *rest = (torch.randn(shape, generator=g) for shape in work.shapes)
    return [laid_out(x.to(dtype), work.layout).to(device), *(t.to(parameters).to(device) for t in rest)]


def results(work: Workload, tensors: Sequence[Tensor], second: bool = True) -> list[Tensor]:
    """y, the gradients of all arguments, and with `second` those once more as something to differentiate, and the
    gradients of those gradients."""
    leaves = [t.detach().requires_grad_() for t in tensors]  # the same memory
    y = work.call(*leaves)
    found = [y.detach(), *torch.autograd.grad(y, leaves, y.detach(), retain_graph=second)]
    if not second:
        return found
    first = torch.autograd.grad(y, leaves, y.detach(), create_graph=True)
    found += [g.detach() for g in first]
    differentiable = [g for g in first if g.requires_grad]
    if differentiable:
        ones = [torch.ones_like(g) for g in differentiable]
        found += [g for g in torch.autograd.grad(differentiable, leaves, ones, allow_unused=True) if g is not None]
    return found
