"""What a benchmark file tells the harness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor

from harness.shapes import Shape

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
DIRECTIONS = ("fwd", "bwd", "fwdbwd")

Function = Callable[..., Tensor]


@dataclass(frozen=True)
class Setting:
    """What all rows of a run have in common."""

    device: torch.device
    dtype: str
    layout: str
    direction: str
    batch: int

    @property
    def torch_dtype(self) -> torch.dtype:
        return DTYPES[self.dtype]

    @property
    def memory_format(self) -> torch.memory_format:
        return LAYOUTS[self.layout]


@dataclass(frozen=True)
class Case:
    """One way to call an op.

    title: what it computes, for people.
    x_shape, y_shape: of a resolution and a batch size.
    parameters: the shapes of the arguments after x, for the shape of x, and whether each is differentiated.
    functions: for each provider ("ours", "eager", "compile": what is given to torch.compile) the ways to write the op,
        of which the fastest at a shape is measured there; each is called with x and the parameters.
    peer: makes the function from the module of the same name as the op in the StyleGAN3 project and the value of
        ``impl`` that is to run.
    smallest: the lowest resolution with such a layer.
    parameter_dtype: of the arguments after x; None: x's own.
    """

    title: str
    x_shape: Callable[[int, int], Shape]
    y_shape: Callable[[int, int], Shape]
    parameters: Callable[[Shape], list[tuple[tuple[int, ...], bool]]]
    functions: Callable[[Setting], dict[str, list[Function]]]
    peer: Callable[[ModuleType, str, Setting], Function] | None = None
    smallest: int = 4
    parameter_dtype: torch.dtype | None = None


@dataclass(frozen=True)
class Benchmark:
    """An op, its cases, and those measured by default."""

    op: str
    cases: dict[str, Case]
    default_cases: tuple[str, ...]
