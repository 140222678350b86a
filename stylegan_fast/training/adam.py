"""Adam as the original ran it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

BETA2 = 0.99
# Where torch's kernel divides by 1 - beta^t for its own correction, this t makes that 1.
_NO_CORRECTION = 1e9


def all_finite(tensors: Sequence[Tensor]) -> Tensor:
    """Whether every number of these tensors is finite: boolean, 0-d, on their device, which nobody waits for."""
    if all(tensor.is_cpu for tensor in tensors):
        # torch has vector instructions for it, and none for the largest number.
        finite = torch.isfinite(torch.nn.utils.get_total_norm(tensors))
        if finite:
            return finite
    # The largest absolute value: unlike a 2-norm it does not overflow, and NaN passes through it.
    return torch.isfinite(torch.nn.utils.get_total_norm(tensors, norm_type=float("inf")))


class Adam:
    """Adam with beta1 = 0, beta2 = 0.99, epsilon 1e-8 in TensorFlow's form, which skips steps that are not finite.

    ``p -= lr * sqrt(1 - beta2^t) * g / (sqrt(v) + epsilon)``: epsilon is added to the *uncorrected* root, while
    `torch.optim.Adam` adds it to ``sqrt(v / (1 - beta2^t))``. With beta1 = 0 the first moment is the gradient, so only
    v is kept.

    All of it happens on the device: whether a step is skipped is found out and counted there, nobody waits for it, and
    the state stays where it is in memory, so that a step can be captured in a CUDA graph.

    Attributes:
        applied: 0-d, t of the formula: steps applied since the last `reset`.
        skips: int64 ``[3]``: steps skipped so far, those in a row at this moment, the longest row since ``longest_row``
            was last asked for.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], epsilon: float = 1e-8, beta2: float = BETA2) -> None:
        self.parameters: list[Tensor] = list(parameters)
        self.epsilon, self.beta2 = epsilon, beta2
        device = self.parameters[0].device
        # One call of torch's fused kernel: on the CPU the alternative loops over the tensors in Python.
        self._fused = device.type in ("cpu", "cuda")
        self._exact = torch.float32 if device.type == "mps" else torch.float64
        self._no_correction = torch.full((), _NO_CORRECTION, device=device)
        self._squares: list[Tensor | None] = [None] * len(self.parameters)  # v, of parameters that had a gradient
        self.applied = torch.zeros((), dtype=torch.int64, device=device)
        self.skips = torch.zeros(3, dtype=torch.int64, device=device)

    def zero_grad(self) -> None:
        """Forget all gradients. A layer not in use then has none and is left alone, its state included."""
        for parameter in self.parameters:
            parameter.grad = None

    def gradients(self) -> list[Tensor]:
        """Those there are, in the order of the parameters."""
        return [p.grad for p in self.parameters if p.grad is not None]

    @torch.no_grad()
    def step(self, lr: float | Tensor) -> Tensor:
        """Apply the gradients, or leave all as it was if one of them is not finite.

        Args:
            lr: a number or a 0-d tensor on the device.

        Returns: boolean 0-d tensor on the device, whether they were applied.
        """
        gradients = self.gradients()
        finite = all_finite(gradients)
        self._count(finite)
        self.applied += finite
        corrected = -torch.expm1(self.applied.to(self._exact) * math.log(self.beta2))
        rate = corrected.sqrt() * lr
        used = [index for index, p in enumerate(self.parameters) if p.grad is not None]
        parameters = [self.parameters[index] for index in used]
        squares = [self._square(index) for index in used]
        if self._fused:
            self._step_fused(parameters, gradients, squares, rate, finite)
        elif bool(finite):
            torch._foreach_mul_(squares, self.beta2)
            torch._foreach_addcmul_(squares, gradients, gradients, 1.0 - self.beta2)
            roots = torch._foreach_sqrt(squares)
            torch._foreach_add_(roots, self.epsilon)
            torch._foreach_addcdiv_(parameters, gradients, roots, -float(rate))
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
        self.applied.zero_()
        for square in self._squares:
            if square is not None:
                square.zero_()

    def state_dict(self) -> dict[str, Any]:
        return {"applied": self.applied, "squares": list(self._squares), "skips": self.skips}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.applied.copy_(state["applied"])
        self.skips.copy_(state["skips"])
        for index, square in enumerate(state["squares"]):
            if square is not None:
                self._square(index).copy_(square)
            elif (kept := self._squares[index]) is not None:
                kept.zero_()  # what no step has touched yet

    def _square(self, index: int) -> Tensor:
        square = self._squares[index]
        if square is None:
            square = self._squares[index] = torch.zeros_like(self.parameters[index])
        return square

    def _step_fused(
        self, parameters: list[Tensor], gradients: list[Tensor], squares: list[Tensor], rate: Tensor, finite: Tensor
    ) -> None:
        torch._fused_adam_(
            parameters,
            gradients,
            gradients,  # as the first moment: beta1 = 0 makes it the gradient, which is written back as it was
            squares,
            [],
            [self._no_correction] * len(parameters),
            # The CUDA kernel reads a float from the device; the CPU has the number at hand.
            lr=rate.float() if rate.is_cuda else float(rate),
            beta1=0.0,
            beta2=self.beta2,
            weight_decay=0.0,
            eps=self.epsilon,
            amsgrad=False,
            maximize=False,
            found_inf=(~finite).float(),  # not 0: the kernel leaves everything as it is
        )

    def _count(self, finite: Tensor) -> None:
        skipped = (~finite).long()
        in_a_row = (self.skips[1] + 1) * skipped
        self.skips.copy_(torch.stack([self.skips[0] + skipped, in_a_row, torch.maximum(self.skips[2], in_a_row)]))
