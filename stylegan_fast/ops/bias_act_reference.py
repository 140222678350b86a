"""The formulas of `bias_act` and of its derivatives in plain PyTorch: the reference for every compiled kernel.

The compiled kernels' third and higher derivatives are taken from the second one here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan_fast.ops.arguments import acc_dtype, check_floating, check_parameter, memory_format, wrong_value

# Klambauer et al. 2017 (arXiv 1706.02515).
SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


@dataclass(frozen=True)
class Activation:
    """act, its slope and its second derivative as functions of u = x + b and alpha.

    Without a second derivative the slope is a function of the sign of u, and act(u) may stand for u.
    """

    code: int  # enum Activation in csrc/api.h
    value: Callable[[Tensor, float], Tensor]
    slope: Callable[[Tensor, float], Tensor]
    second: Callable[[Tensor], Tensor] | None = None
    alpha: float = 0.0
    gain: float = 1.0
    reads_x: bool = False  # the slope is not a function of y

    @property
    def smooth(self) -> bool:
        return self.second is not None


def _exp_of_negative(u: Tensor) -> Tensor:
    return u.clamp(max=0).exp()


def _bell(s: Tensor) -> Tensor:
    """The slope of sigmoid at its value s."""
    return s * (1 - s)


ACTIVATIONS = {
    "linear": Activation(0, lambda u, _: u, lambda u, _: torch.ones_like(u)),
    "relu": Activation(1, lambda u, _: u.relu(), lambda u, _: (u > 0).to(u.dtype), gain=math.sqrt(2)),
    "lrelu": Activation(
        2,
        lambda u, alpha: torch.where(u >= 0, u, u * alpha),
        lambda u, alpha: torch.where(u >= 0, 1.0, alpha).to(u.dtype),
        alpha=0.2,
        gain=math.sqrt(2),
    ),
    "tanh": Activation(
        3,
        lambda u, _: u.tanh(),
        lambda u, _: 1 - u.tanh().square(),
        lambda u: -2 * u.tanh() * (1 - u.tanh().square()),
    ),
    "sigmoid": Activation(
        4,
        lambda u, _: u.sigmoid(),
        lambda u, _: _bell(u.sigmoid()),
        lambda u: _bell(u.sigmoid()) * (1 - 2 * u.sigmoid()),
    ),
    "elu": Activation(
        5,
        lambda u, _: F.elu(u),
        lambda u, _: torch.where(u > 0, 1.0, _exp_of_negative(u)),
        lambda u: torch.where(u > 0, 0.0, _exp_of_negative(u)),
    ),
    "selu": Activation(
        6,
        lambda u, _: F.selu(u),
        lambda u, _: SELU_SCALE * torch.where(u > 0, 1.0, SELU_ALPHA * _exp_of_negative(u)),
        lambda u: SELU_SCALE * torch.where(u > 0, 0.0, SELU_ALPHA * _exp_of_negative(u)),
    ),
    "softplus": Activation(
        7, lambda u, _: F.softplus(u, threshold=36), lambda u, _: u.sigmoid(), lambda u: _bell(u.sigmoid())
    ),
    "swish": Activation(
        8,
        lambda u, _: u.sigmoid() * u,
        lambda u, _: u.sigmoid() + u * _bell(u.sigmoid()),
        lambda u: _bell(u.sigmoid()) * (2 + u * (1 - 2 * u.sigmoid())),
        gain=math.sqrt(2),
        reads_x=True,
    ),
}


def bias_act_reference(
    x: Tensor,
    b: Tensor | None = None,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """`bias_act` in plain PyTorch: arguments, result and errors are the same."""
    return value_reference(x, b, *check_arguments(x, b, dim, act, alpha, gain, clamp))


def value_reference(x: Tensor, b: Tensor | None, dim: int, act: str, alpha: float, gain: float, clamp: float) -> Tensor:
    """`bias_act` with nothing left to its default; clamp is -1 for none."""
    y = ACTIVATIONS[act].value(_biased(x, b, dim), alpha)
    if gain != 1:
        y = y * gain
    if clamp >= 0:
        # Not Tensor.clamp, whose slope at the clamp itself is 1: the compiled kernels see only the clamped y.
        y = torch.where(y.abs() < clamp, y, y.detach().clamp(-clamp, clamp))
    return y.to(x.dtype).contiguous(memory_format=memory_format(x))


def gradient_reference(
    dy: Tensor,
    x: Tensor | None,
    b: Tensor | None,
    y: Tensor | None,
    dim: int,
    act: str,
    alpha: float,
    gain: float,
    clamp: float,
) -> Tensor:
    """dx = dy * gain * act'(x + b), and 0 where y is clamped. x is None where act has no second derivative."""
    dx = dy.to(acc_dtype(dy.dtype)) * gain
    if x is not None:
        dx = dx * ACTIVATIONS[act].slope(_biased(x, b, dim), alpha)
    elif y is not None and gain != 0:
        dx = dx * ACTIVATIONS[act].slope(y.to(dx.dtype) / gain, alpha)
    return _zero_where_clamped(dx, y, clamp).to(dy.dtype)


def second_reference(
    ddx: Tensor,
    dy: Tensor,
    x: Tensor,
    b: Tensor | None,
    y: Tensor | None,
    dim: int,
    act: str,
    alpha: float,
    gain: float,
    clamp: float,
) -> Tensor:
    """d2x = ddx * dy * gain * act''(x + b), and 0 where y is clamped; differentiable in ddx, dy, x and b."""
    second = ACTIVATIONS[act].second
    assert second is not None
    u = _biased(x, b, dim)
    d2x = ddx.to(u.dtype) * dy.to(u.dtype) * gain * second(u)
    return _zero_where_clamped(d2x, y, clamp).to(x.dtype)


def _biased(x: Tensor, b: Tensor | None, dim: int) -> Tensor:
    u = x.to(acc_dtype(x.dtype))
    return u if b is None else u + b.to(u.dtype).reshape([-1 if i == dim else 1 for i in range(x.ndim)])


def _zero_where_clamped(dx: Tensor, y: Tensor | None, clamp: float) -> Tensor:
    if y is None or clamp < 0:
        return dx
    # Rounded as y stores it, so that a clamped y is recognised whatever its dtype.
    return torch.where(y.detach().abs() < torch.full_like(y, clamp), dx, 0.0)


def check_arguments(
    x: Tensor,
    b: Tensor | None,
    dim: int,
    act: str,
    alpha: float | None,
    gain: float | None,
    clamp: float | None,
) -> tuple[int, str, float, float, float]:
    """Raises on wrong arguments; returns dim, act, alpha, gain and clamp (-1: none) with defaults."""
    check_floating("bias_act", "x", x)
    if act not in ACTIVATIONS:
        raise ValueError(f"bias_act: act must be one of {', '.join(ACTIVATIONS)}, got {act!r}")
    spec = ACTIVATIONS[act]
    if b is not None:
        check_parameter("bias_act", "b", b, x)
        if not -x.ndim <= dim < x.ndim:
            raise ValueError(f"bias_act: dim must be a dimension of x, which has {x.ndim}, got {dim}")
        dim %= x.ndim
        if b.shape != (x.shape[dim],):
            raise wrong_value("bias_act", "b", b, f"[x.shape[{dim}]] = [{x.shape[dim]}]")
    if clamp is not None and not clamp >= 0:
        raise ValueError(f"bias_act: clamp must be at least 0 or None, got {clamp}")
    return (
        dim,
        act,
        float(spec.alpha if alpha is None else alpha),
        float(spec.gain if gain is None else gain),
        -1.0 if clamp is None else float(clamp),
    )
