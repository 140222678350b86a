"""Calls of one provider over inputs that rotate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from harness.benchmark import Case, Function, Setting
from harness.shapes import bytes_of

SETS = (2, 2048)


@dataclass(frozen=True)
class Inputs:
    """The arguments of `count` calls, each with memory of its own, together more than twice the last-level cache.

    differentiated: positions in the arguments. dy: the output gradients, empty for the forward direction.
    """

    arguments: list[tuple[Tensor, ...]]
    differentiated: list[int]
    dy: list[Tensor]

    @property
    def count(self) -> int:
        return len(self.arguments)


def draw_inputs(case: Case, resolution: int, setting: Setting, cache: int) -> Inputs:
    """Normal random numbers: zeros move faster on some chips, and a plane of zeros has no deviation."""
    x_shape, y_shape = case.x_shape(resolution, setting.batch), case.y_shape(resolution, setting.batch)
    generator = torch.Generator(setting.device).manual_seed(0)
    backward = setting.direction != "fwd"

    def draw(shape: tuple[int, ...]) -> Tensor:
        drawn = torch.randn(shape, generator=generator, dtype=setting.torch_dtype, device=setting.device)
        return drawn.contiguous(memory_format=setting.memory_format) if len(shape) == 4 else drawn

    described = [(tuple(x_shape), True), *case.parameters(x_shape)]
    differentiated = [position for position, (_, wanted) in enumerate(described) if wanted]
    count = sets_beyond(cache, min(bytes_of(shape, setting.torch_dtype.itemsize) for shape in (x_shape, y_shape)))
    arguments = []
    for _ in range(count):
        tensors = [draw(shape) for shape, _ in described]
        for position in differentiated if backward else ():
            tensors[position].requires_grad_()
        arguments.append(tuple(tensors))
    return Inputs(arguments, differentiated, [draw(y_shape) for _ in range(count)] if backward else [])


def sets_beyond(cache: int, size: int) -> int:
    return max(SETS[0], min(SETS[1], math.ceil(2 * cache / max(size, 1))))


class Work:
    """A function to be called again and again on rotating inputs.

    Every provider allocates its results itself, and a result lives until the same inputs come round again: what is
    written is then as far from the cache as what is read, and allocators find themselves in one and the same state.

    fwd: without gradients. bwd: the backward pass alone, of graphs made by `prepare`. fwdbwd: both, as in training.

    Args:
        keep_graphs: `prepare` once, then call any number of times (a captured CUDA graph needs that). Otherwise each
            call needs a graph prepared for it, and frees it as training does.
    """

    def __init__(self, function: Function, inputs: Inputs, direction: str, keep_graphs: bool = False) -> None:
        self.function, self.inputs, self.direction, self.keep_graphs = function, inputs, direction, keep_graphs
        self.results: list[Any] = [None] * inputs.count
        self._graphs: dict[int, Tensor] = {}

    def prepare(self, first: int, count: int) -> None:
        """Makes what calls `first` to `first + count - 1` need and is not measured."""
        if self.direction == "bwd":
            for index in (i % self.inputs.count for i in range(first, first + count)):
                if index not in self._graphs:
                    self._graphs[index] = self.function(*self.inputs.arguments[index])

    def start_over(self) -> None:
        """Forgets all results and prepared graphs."""
        self.results = [None] * self.inputs.count
        self._graphs.clear()

    def call(self, index: int) -> None:
        index %= self.inputs.count
        arguments = self.inputs.arguments[index]
        if self.direction == "fwd":
            with torch.no_grad():
                self.results[index] = self.function(*arguments)
            return
        if self.direction == "fwdbwd":
            y = self.function(*arguments)
        else:
            y = self._graphs[index] if self.keep_graphs else self._graphs.pop(index)
        wanted = [arguments[position] for position in self.inputs.differentiated]
        self.results[index] = torch.autograd.grad(
            y, wanted, self.inputs.dy[index], retain_graph=self.keep_graphs and self.direction == "bwd"
        )

    def result(self, index: int) -> list[Tensor]:
        """What the last call on these inputs returned: y, or the gradients."""
        found = self.results[index % self.inputs.count]
        return [found] if isinstance(found, Tensor) else list(found)


class CopyWork(Work):
    """Copies of a tensor as large as the larger of x and y: the speed of memory, in the same rounds as the providers.

    Args:
        fresh: allocate each copy as an op does its result; otherwise copy into memory written before.
    """

    def __init__(self, sources: Sequence[Tensor], fresh: bool) -> None:
        super().__init__(_copied, Inputs([(source,) for source in sources], [0], []), "fwd")
        self.fresh = fresh
        if not fresh:
            self.results = [torch.zeros_like(source) for source in sources]

    def start_over(self) -> None:
        if self.fresh:
            super().start_over()

    def call(self, index: int) -> None:
        if self.fresh:
            super().call(index)
        else:
            index %= self.inputs.count
            self.results[index].copy_(self.inputs.arguments[index][0])


def _copied(x: Tensor) -> Tensor:
    return torch.empty_like(x).copy_(x)


def copy_works(inputs: Inputs, y_shape: tuple[int, ...], setting: Setting) -> dict[str, Work]:
    """ "copy" and "fresh copy", reading x where it is the larger."""
    sources = [arguments[0].detach() for arguments in inputs.arguments]
    if math.prod(y_shape) > sources[0].numel():
        sources = [
            torch.randn(y_shape, dtype=x.dtype, device=x.device).contiguous(memory_format=setting.memory_format)
            for x in sources
        ]
    return {"copy": CopyWork(sources, fresh=False), "fresh copy": CopyWork(sources, fresh=True)}


def disagreements(found: Sequence[Tensor], expected: Sequence[Tensor]) -> list[float]:
    """The relative L2 distances of corresponding tensors; NaN is infinitely far."""
    distances = []
    for ours, theirs in zip(found, expected, strict=True):
        a, b = ours.detach().double(), theirs.detach().double()
        distance = float((a - b).norm() / b.norm().clamp_min(1e-30))
        distances.append(math.inf if math.isnan(distance) else distance)
    return distances
