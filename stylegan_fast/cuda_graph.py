"""Functions of tensors as captured CUDA graphs: all their kernels launched by one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Given = dict[str, Tensor | float | int]
Tensors = dict[str, Tensor]

# Calls before the capture: they choose algorithms and allocate what stays.
EAGER_CALLS = 2


class CaptureError(RuntimeError):
    """A function cannot be captured: it waits for the device, or does something else that graphs do not allow."""


class CapturedFunction:
    """A function of tensors by name to tensors by name, captured at the third call.

    Its inputs are copied to places that stay where they are in memory; numbers become 0-d tensors. Its results are
    copies. Whatever else it reads or writes must stay in place, too. On other devices than CUDA nothing is captured.

    Args:
        function: is given the inputs that stay in place.
        given: inputs like those of every call.
        device: where the numbers are to be.
        number_dtype: of numbers that are not whole.
        stream: that it is captured on, and called on before; None for no capture.
        pool: memory to share with other graphs, which must not run at the same time: `torch.cuda.graph_pool_handle()`.
    """

    def __init__(
        self,
        function: Callable[[Tensors], Tensors],
        given: Given,
        device: torch.device,
        number_dtype: torch.dtype = torch.float32,
        stream: torch.cuda.Stream | None = None,
        pool: Any = None,
    ) -> None:
        self.function = function
        self.calls = 0
        self._device, self._stream, self._pool = device, stream, pool
        self._graph: Any = None
        self._results: Tensors = {}
        self.inputs: Tensors = {}
        for name, value in given.items():
            if isinstance(value, Tensor):
                self.inputs[name] = torch.empty_like(value, requires_grad=False)
            else:
                dtype = torch.int64 if isinstance(value, int) else number_dtype
                self.inputs[name] = torch.zeros((), dtype=dtype, device=device)

    @property
    def is_captured(self) -> bool:
        return self._graph is not None

    def __call__(self, given: Given) -> Tensors:
        """Raises `CaptureError` where the capture fails; then `run` does what the call was to do."""
        with torch.no_grad():
            for name, value in given.items():
                if isinstance(value, Tensor):
                    self.inputs[name].copy_(value, non_blocking=True)
                else:
                    self.inputs[name].fill_(value)
        if self._stream is None:
            return self.run()
        self.calls += 1
        if self.calls <= EAGER_CALLS:
            self._stream.wait_stream(torch.cuda.current_stream(self._device))
            with torch.cuda.stream(self._stream):
                results = self.run()
            torch.cuda.current_stream(self._device).wait_stream(self._stream)
            return results
        if self._graph is None:
            self._capture()
        self._graph.replay()
        results = {name: torch.empty_like(result) for name, result in self._results.items()}
        if results:
            torch._foreach_copy_(list(results.values()), list(self._results.values()))
        return results

    def run(self) -> Tensors:
        """The function of the inputs as they are, launched kernel by kernel."""
        return self.function(self.inputs)

    def _capture(self) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
                results = {name: result.detach() for name, result in self.function(self.inputs).items()}
        except RuntimeError as failure:
            raise CaptureError(" ".join(str(failure).split())[:200]) from failure
        self._graph, self._results = graph, results
