"""Calls that meet the ops in torch's dispatcher, shared by the tests of the ops and of those who call them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from stylegan_fast.ops import adain, bias_act, setup_filter, upfirdn2d
from stylegan_fast.ops.bias_act_reference import ACTIVATIONS

BLUR = setup_filter([1, 3, 3, 1])


def draw(*size: int, seed: int = 0, dtype: torch.dtype = torch.float64, grad: bool = True) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(size, generator=g, dtype=torch.float64).to(dtype).requires_grad_(grad)


class Recorder(TorchDispatchMode):
    """Writes down which of our ops pass by."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "stylegan_fast":
            self.seen.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def seeded_adain(x: Tensor, scale: Tensor, strength: Tensor) -> Tensor:
    seed = torch.arange(x.shape[0], device=x.device)
    return adain(x, scale, noise_seed=seed, noise_strength=strength, negative_slope=0.2, eps=1e-2)


def all_of_adain(x: Tensor, *parameters: Tensor) -> Tensor:
    scale, shift, noise, strength, bias = parameters
    more = {"negative_slope": 0.2, "eps": 1e-2, "output_negative_slope": 0.3}
    return adain(x, scale, shift, noise=noise, noise_strength=strength, bias=bias, **more)


CALLS: dict[str, tuple[Callable[..., Tensor], list[tuple[int, ...]], list[str]]] = {
    "adain": (
        all_of_adain,
        [(2, 2, 3, 3), (2, 2), (2,), (1, 1, 3, 3), (2,), (2,)],
        ["adain", "adain_backward"],
    ),
    "seeded adain": (seeded_adain, [(2, 2, 3, 3), (2,), (2,)], ["adain", "adain_backward"]),
    "instance_norm": (lambda x: adain(x, eps=1e-2), [(2, 2, 3, 3)], ["adain", "adain_backward"]),
    **{
        act: (
            lambda x, b, act=act: bias_act(x, b, act=act, clamp=1.9),
            [(3, 4, 2), (4,)],
            ["bias_act", "bias_act_backward"],
        )
        for act in ACTIVATIONS
    },
    "upfirdn2d": (lambda x: upfirdn2d(x, BLUR, up=2, down=[1, 3], padding=[2, 1]), [(1, 2, 4, 5)], ["upfirdn2d"] * 2),
}


def leaves_of(name: str, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [draw(*size, seed=11 * i, dtype=dtype) for i, size in enumerate(CALLS[name][1])]
