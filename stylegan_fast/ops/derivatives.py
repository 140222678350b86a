"""Derivatives of formulas written in PyTorch: where the compiled kernels' own derivatives end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def launched_or_applied(function: Any) -> Callable[..., Any]:
    """An autograd function to be called with its arguments: without its part of the graph where gradients are off,
    which a backward pass is as a rule. (What `launch` does, `forward` returns.)"""

    def run(*inputs: Any) -> Any:
        return function.apply(*inputs) if torch.is_grad_enabled() else function.launch(*inputs)

    return run


def is_asked_for(ctx: Any, position: int) -> bool:
    """In the backward of an autograd function, whether anybody waits for the gradient of its tensor at this position
    among its tensors.

    ``needs_input_grad`` says only that there could be one: when a gradient penalty asks for the gradient of the images,
    it is still True for every weight on the way.
    """
    if not ctx.needs_input_grad[position]:
        return False
    node = ctx.next_functions[position][0]
    try:
        return bool(torch._C._will_engine_execute_node(node))
    except RuntimeError:  # torch does not say so of a leaf, if and only if this leaf's gradient is what was asked for
        return True


def differentiate(
    formula: Callable[..., Sequence[Tensor | None]],
    inputs: Sequence[Tensor | None],
    needed: Sequence[bool],
    output_gradients: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """The gradients of ``formula(*inputs)`` for the inputs needed, None for the others; the inputs come first in
    `needed`. Differentiable again where gradients are enabled, as they are under ``create_graph=True``."""
    further = torch.is_grad_enabled()
    with torch.enable_grad():
        # Fresh views: differentiation stops at them even where inputs are results of one another, and one tensor given
        # as two arguments gets the gradient of each.
        fresh = [None if t is None else (t.view_as(t) if further and t.requires_grad else _leaf(t)) for t in inputs]
        pairs = [
            (y, dy)
            for y, dy in zip(formula(*fresh), output_gradients, strict=True)
            if y is not None and dy is not None and y.requires_grad
        ]
        asked_for = [t for t, wanted in zip(fresh, needed, strict=False) if wanted and t is not None]
        if not pairs or not asked_for:
            return [None] * len(inputs)
        found = iter(
            torch.autograd.grad(
                [y for y, _ in pairs], asked_for, [dy for _, dy in pairs], create_graph=further, allow_unused=True
            )
        )
    return [next(found) if wanted and t is not None else None for t, wanted in zip(fresh, needed, strict=False)]


def _leaf(t: Tensor) -> Tensor:
    return t.detach().requires_grad_(t.is_floating_point())
