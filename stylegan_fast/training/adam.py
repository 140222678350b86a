"""Adam as the original ran it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

BETA2 = 0.99


class Adam:
    """Adam with beta1 = 0, beta2 = 0.99, epsilon 1e-8 in TensorFlow's form, which skips steps that are not finite.

    ``p -= lr * sqrt(1 - beta2^t) * g / (sqrt(v) + epsilon)``: epsilon is added to the *uncorrected* root, while torch
    adds it to ``sqrt(v / (1 - beta2^t))``; so torch's is set to ``epsilon / sqrt(1 - beta2^t)`` for each step t.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], epsilon: float = 1e-8) -> None:
        self.parameters = list(parameters)
        self.epsilon = epsilon
        self.steps = 0  # applied since the last reset
        device_type = self.parameters[0].device.type
        # One fused call: on the CPU the alternative loops over the tensors in Python.
        self._adam = torch.optim.Adam(self.parameters, lr=0.0, betas=(0.0, BETA2), fused=device_type in ("cpu", "cuda"))

    def zero_grad(self) -> None:
        """Forget all gradients. A layer not in use then has none and is left alone, its state included."""
        self._adam.zero_grad(set_to_none=True)

    def step(self, lr: float) -> bool:
        """Apply the gradients and return True, or leave all as it was and return False if one of them is not finite."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        # The largest absolute value: unlike a 2-norm it does not overflow, and NaN passes through it.
        largest = torch.nn.utils.get_total_norm(gradients, norm_type=float("inf"))
        if not bool(torch.isfinite(largest)):
            return False
        self.steps += 1
        for group in self._adam.param_groups:
            group["lr"] = lr
            group["eps"] = self.epsilon / (1.0 - BETA2**self.steps) ** 0.5
        self._adam.step()
        return True

    def reset(self) -> None:
        """Forget the moments and the step count, as at the start of training."""
        self._adam.state.clear()
        self.steps = 0

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "adam": self._adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._adam.load_state_dict(state["adam"])
        self.steps = state["steps"]
