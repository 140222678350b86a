"""Calls of one provider over inputs that rotate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from harness.benchmark import Case, Function, Setting
from harness.shapes import bytes_of

SETS = (2, 2048)


@dataclass(frozen=True)
class Inputs:
    """The arguments of `count` calls, each with memory of its own: until a call comes round again, those between have
    read and written more than twice the last-level cache.

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

    def draw(shape: tuple[int, ...], dtype: torch.dtype = setting.torch_dtype) -> Tensor:
        drawn = torch.randn(shape, generator=generator, dtype=dtype, device=setting.device)
        return drawn.contiguous(memory_format=setting.memory_format) if len(shape) == 4 else drawn

    described = [(tuple(x_shape), True), *case.parameters(x_shape)]
    of_parameters = case.parameter_dtype or setting.torch_dtype
    dtypes = [setting.torch_dtype] + [of_parameters] * (len(described) - 1)
    differentiated = [position for position, (_, wanted) in enumerate(described) if wanted]
    count = sets_beyond(cache, sum(bytes_of(shape, setting.torch_dtype.itemsize) for shape in (x_shape, y_shape)))
    arguments = []
    for _ in range(count):
        tensors = [draw(shape, dtype) for (shape, _), dtype in zip(described, dtypes, strict=True)]
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
        self.start_over()

    def prepare(self, first: int, count: int) -> None:
        """Makes what calls `first` to `first + count - 1` need and is not measured."""
        if self.direction == "bwd":
            for index in (i % self.inputs.count for i in range(first, first + count)):
                if index not in self._graphs:
                    self._graphs[index] = self.function(*self.arguments[index])

    def start_over(self) -> None:
        """Forgets all results and prepared graphs, and takes the inputs as leaves of its own, in the same memory.

        A leaf's gradient belongs to the stream on which it was first used, as long as any graph of it lives: one of
        another provider, say. The backward pass would wait for that stream, and could not be captured on another.
        """
        self.results: list[Any] = [None] * self.inputs.count
        self._graphs: dict[int, Tensor] = {}
        self.arguments = [
            tuple(tensor.detach().requires_grad_(tensor.requires_grad) for tensor in tensors)
            for tensors in self.inputs.arguments
        ]

    def call(self, index: int) -> None:
        index %= self.inputs.count
        arguments = self.arguments[index]
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


class FreshCopyWork(Work):
    """Copies of tensors, each allocated as an op does its result: the speed of memory, in the same rounds as the
    providers."""

    def __init__(self, sources: Sequence[Tensor]) -> None:
        super().__init__(lambda x: torch.empty_like(x).copy_(x), Inputs([(x,) for x in sources], [0], []), "fwd")


class CopyWork(Work):
    """The same into memory written before.

    Args:
        targets: that memory.
        move: a function of target and source that reads one and writes the other.
    """

    def __init__(self, sources: Sequence[Tensor], targets: list[Tensor], move: Callable[[Tensor, Tensor], Any]) -> None:
        self.targets, self.move = targets, move
        super().__init__(lambda x: x, Inputs([(x,) for x in sources], [0], []), "fwd")

    def start_over(self) -> None:
        super().start_over()
        self.results = list(self.targets)

    def call(self, index: int) -> None:
        index %= self.inputs.count
        self.move(self.targets[index], self.arguments[index][0])


def _negate(target: Tensor, source: Tensor) -> None:
    torch.neg(source, out=target)


def copies_of(inputs: Inputs, y_shape: tuple[int, ...], setting: Setting) -> tuple[list[Work], Work]:
    """Ways to copy into memory written before, and one to copy into fresh memory, of x or, where it is larger, a tensor
    like y. On CUDA one of the ways is to negate, which moves the same bytes: the copies of 512 MB and more that torch
    asks for ran at 2.7 TB/s on an H200, where kernels run at 4.2."""
    sources = [arguments[0].detach() for arguments in inputs.arguments]
    if math.prod(y_shape) > sources[0].numel():
        sources = [
            torch.randn(y_shape, dtype=x.dtype, device=x.device).contiguous(memory_format=setting.memory_format)
            for x in sources
        ]
    targets = [torch.zeros_like(source) for source in sources]
    moves: list[Callable[[Tensor, Tensor], Any]] = [Tensor.copy_]
    if setting.device.type == "cuda":
        moves.append(_negate)
    return [CopyWork(sources, targets, move) for move in moves], FreshCopyWork(sources)


def disagreements(found: Sequence[Tensor], expected: Sequence[Tensor]) -> list[float]:
    """The relative L2 distances of corresponding tensors; NaN is infinitely far."""
    distances = []
    for ours, theirs in zip(found, expected, strict=True):
        a, b = ours.detach().double(), theirs.detach().double()
        distance = float((a - b).norm() / b.norm().clamp_min(1e-30))
        distances.append(math.inf if math.isnan(distance) else distance)
    return distances
