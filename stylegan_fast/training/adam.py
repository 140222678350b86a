"""Adam as the original ran it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

BETA2 = 0.99


class Adam:
    """Adam with beta1 = 0, beta2 = 0.99, epsilon 1e-8 in TensorFlow's form, which skips steps that are not finite.

    ``p -= lr * sqrt(1 - beta2^t) * g / (sqrt(v) + epsilon)``: epsilon is added to the *uncorrected* root, while torch
    adds it to ``sqrt(v / (1 - beta2^t))``; so torch's is set to ``epsilon / sqrt(1 - beta2^t)`` for each step t.

    Whether a step is skipped is found out and counted on the device, and nobody waits for it.

    Attributes:
        skips: int64 ``[3]`` on the device: steps skipped since the last reset of the count, those in a row at this
            moment, the longest row since ``longest_row`` was last asked for.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], epsilon: float = 1e-8, beta2: float = BETA2) -> None:
        self.parameters: list[Tensor] = list(parameters)
        self.epsilon, self.beta2 = epsilon, beta2
        # Since the last reset, the skipped ones included: as t in epsilon's correction that is near enough.
        self.steps = 0
        device = self.parameters[0].device
        # One fused call: on the CPU the alternative loops over the tensors in Python.
        self._fused = device.type in ("cpu", "cuda")
        self._adam = torch.optim.Adam(self.parameters, lr=0.0, betas=(0.0, beta2), fused=self._fused)
        self.skips = torch.zeros(3, dtype=torch.int64, device=device)

    def zero_grad(self) -> None:
        """Forget all gradients. A layer not in use then has none and is left alone, its state included."""
        self._adam.zero_grad(set_to_none=True)

    def gradients(self) -> list[Tensor]:
        """Those there are, in the order of the parameters."""
        return [p.grad for p in self.parameters if p.grad is not None]

    def step(self, lr: float) -> Tensor:
        """Apply the gradients, or leave all as it was if one of them is not finite.

        Returns: boolean 0-d tensor on the device, whether they were applied.
        """
        # The largest absolute value: unlike a 2-norm it does not overflow, and NaN passes through it.
        finite = torch.isfinite(torch.nn.utils.get_total_norm(self.gradients(), norm_type=float("inf")))
        self._count(finite)
        self.steps += 1
        for group in self._adam.param_groups:
            group["lr"] = lr
            group["eps"] = self.epsilon / (1.0 - self.beta2**self.steps) ** 0.5
        if self._fused:
            # The way GradScaler tells the fused kernel to do nothing; the step counts of its state stay, too.
            self._adam.found_inf = (~finite).float()  # type: ignore[attr-defined]
            self._adam.step()
        elif bool(finite):
            self._adam.step()
        return finite

    @property
    def skipped(self) -> int:
        """Steps skipped so far. Waits for the device."""
        return int(self.skips[0])

    def longest_row(self) -> int:
        """The most steps skipped in a row since this was last called. Waits for the device."""
        longest = int(self.skips[2])
        self.skips[2] = self.skips[1]
        return longest

    def reset(self) -> None:
        """Forget the moments and the step count, as at the start of training."""
        self._adam.state.clear()
        self.steps = 0

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "adam": self._adam.state_dict(), "skips": self.skips.cpu()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._adam.load_state_dict(state["adam"])
        self.steps = state["steps"]
        if "skips" in state:  # not there in states written before they were counted here
            self.skips.copy_(state["skips"])

    def _count(self, finite: Tensor) -> None:
        skipped = (~finite).long()
        in_a_row = (self.skips[1] + 1) * skipped
        self.skips.copy_(torch.stack([self.skips[0] + skipped, in_a_row, torch.maximum(self.skips[2], in_a_row)]))
