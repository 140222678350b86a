"""`bias_act` with the surface it has in ``torch_utils.ops.bias_act``; see `stylegan_fast.ops.bias_act`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from stylegan_fast.ops import bias_act as _op
from stylegan_fast.ops.bias_act import ACTIVATIONS


@dataclass(frozen=True)
class ActivationFunction:
    """One entry of `activation_funcs`: the function of (x, alpha), its default alpha and gain, and how it is coded."""

    func: Callable[..., Tensor]
    def_alpha: float
    def_gain: float
    cuda_idx: int
    ref: str
    has_2nd_grad: bool


def _function(value: Callable[[Tensor, float], Tensor]) -> Callable[..., Tensor]:
    return lambda x, alpha=0.0, **_: value(x, alpha)


activation_funcs = {
    name: ActivationFunction(
        func=_function(act.value),
        def_alpha=act.alpha,
        def_gain=act.gain,
        cuda_idx=act.code + 1,
        ref="" if name == "linear" else "x" if act.reads_x else "y",
        has_2nd_grad=act.smooth,
    )
    for name, act in ACTIVATIONS.items()
}


def bias_act(
    x: Tensor,
    b: Tensor | None = None,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
    impl: str = "cuda",
) -> Tensor:
    """``clamp(gain * act(x + b))``; `stylegan_fast.bias_act` under this module's name."""
    return _op(x, b, dim, act, alpha, gain, clamp, impl)


def _init() -> bool:
    """Whether the op can run: there is nothing to compile."""
    return True
