"""`torch.nn.Sequential` that computes an instance norm and the activation after it in one pass."""

from __future__ import annotations

from typing import Any, TypeGuard

from torch import Tensor, nn

from stylegan_fast.layers import InstanceNorm2d
from stylegan_fast.ops import adain


class Sequential(nn.Sequential):
    """As torch's, with the same children; each of them, called by itself, does what it always did.

    Where `InstanceNorm2d` is followed by `ReLU` or `LeakyReLU`, and nobody listens in between, both are one op.
    """

    def forward(self, input: Any) -> Any:
        modules: list[nn.Module] = list(self)
        index = 0
        while index < len(modules):
            after = modules[index + 1] if index + 1 < len(modules) else None
            slope = slope_of(after)
            norm = modules[index]
            if slope is not None and isinstance(input, Tensor) and fuses(norm, input) and not has_hooks(after):
                input = adain(input, norm.weight, norm.bias, eps=norm.eps, output_negative_slope=slope)
                index += 2
            else:
                input = norm(input)
                index += 1
        return input


def slope_of(module: nn.Module | None) -> float | None:
    """The slope for negative values of a ReLU or leaky ReLU; None of anything else."""
    if type(module) is nn.ReLU:
        return 0.0
    return float(module.negative_slope) if type(module) is nn.LeakyReLU else None


def fuses(norm: nn.Module, x: Tensor) -> TypeGuard[InstanceNorm2d]:
    """Whether the module is an instance norm that does nothing but normalise this input, unobserved."""
    return (
        type(norm) is InstanceNorm2d
        and x.ndim == 4
        and x.shape[1] == norm.num_features
        and x.shape[2] * x.shape[3] > 1
        and not norm.track_running_stats
        and not has_hooks(norm)
    )


def has_hooks(module: nn.Module | None) -> bool:
    """Whether anybody is told when the module is called."""
    if module is None:
        return False
    registered = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, name) for name in registered)
