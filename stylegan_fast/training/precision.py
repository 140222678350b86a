"""In what numbers a run computes: convolutions may be low, statistics, norms, scores, losses and weights are fp32."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stylegan_fast.errors import UserError

PRECISIONS = ("auto", "fp32", "tf32", "bf16", "fp16")


@dataclass(frozen=True)
class Precision:
    """``dtype`` of the features (None: that of the parameters); whether losses are scaled; whether fp32 matrix products
    may be rounded to TF32's ten bits."""

    name: str
    dtype: torch.dtype | None = None
    loss_scaling: bool = False
    tf32: bool = False

    def apply(self) -> None:
        """Tell torch, for the whole process, whether TF32 may be used."""
        torch.backends.cuda.matmul.allow_tf32 = self.tf32
        torch.backends.cudnn.allow_tf32 = self.tf32


_BY_NAME = {
    "fp32": Precision("fp32"),
    "tf32": Precision("tf32", tf32=True),
    # What is left in fp32 (the mapping, styles, scores) is a small part of the work; TF32 has more bits than bf16.
    "bf16": Precision("bf16", torch.bfloat16, tf32=True),
    "fp16": Precision("fp16", torch.float16, loss_scaling=True, tf32=True),
}


def choose_precision(name: str, device: torch.device) -> Precision:
    """The precision of that name; "auto" is what the device does well.

    auto: bf16 on GPUs with bf16 units (compute capability 8.0 and up), fp16 on those with fp16 ones only (7.0 and 7.5),
    else fp32. bf16 on CPUs with bf16 arithmetic: a step at 32x32 on a core of an AMD EPYC is 0.94, 1.35, 1.65
    and 1.9 times as fast as in fp32 at up to 8, 32, 64 and 128 channels. fp32 on others.

    Raises ``UserError`` where a precision asked for by name cannot be had.
    """
    if name == "auto":
        if device.type == "cuda":
            capability = torch.cuda.get_device_capability(device)
            return _BY_NAME["bf16" if capability >= (8, 0) else "fp16" if capability >= (7, 0) else "fp32"]
        return _BY_NAME["bf16" if device.type == "cpu" and _cpu_has_bf16() else "fp32"]
    if name not in _BY_NAME:
        raise UserError(f"--precision {name!r} is not known; choose one of {', '.join(PRECISIONS)}")
    if name == "tf32" and (device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 0)):
        raise UserError(
            f"--precision tf32: {device.type} here has no TF32 (Nvidia's from compute capability 8.0); use fp32"
        )
    if name == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise UserError("--precision bf16: this GPU has no bf16 arithmetic; use fp16 or fp32")
    return _BY_NAME[name]


def _cpu_has_bf16() -> bool:
    """Whether this processor multiplies bf16 by itself, by AVX-512 or AMX."""
    asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(ask is not None and ask() for ask in asked)


class LossScale:
    """Keeps small gradients above fp16's smallest number: losses are multiplied by ``scale``, gradients divided.

    Halved after a step that was not finite, doubled after ``interval`` steps that were; all on the device.
    """

    def __init__(self, device: torch.device, initial: float = 2.0**15, interval: int = 1000) -> None:
        self.interval = interval
        self.scale = torch.full((), initial, device=device)
        self.good_steps = torch.zeros((), dtype=torch.int64, device=device)

    def unscale_(self, gradients: list[Tensor]) -> None:
        if gradients:
            torch._foreach_mul_(gradients, self.scale.reciprocal())

    def update(self, applied: Tensor) -> None:
        """After a step; ``applied``: boolean 0-d."""
        good = (self.good_steps + 1) * applied
        full = good >= self.interval
        grown = torch.where(full, self.scale * 2, self.scale)
        # Beyond these neither end of fp16 is helped.
        self.scale.copy_(torch.where(applied, grown, self.scale / 2).clamp(2.0**-10, 2.0**24))
        self.good_steps.copy_(torch.where(full, torch.zeros_like(good), good))

    def state_dict(self) -> dict[str, Tensor]:
        return {"scale": self.scale.cpu(), "good_steps": self.good_steps.cpu()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.scale.copy_(state["scale"])
        self.good_steps.copy_(state["good_steps"])
