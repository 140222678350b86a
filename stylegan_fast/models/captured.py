"""Pictures drawn by captured CUDA graphs."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stylegan_fast.cuda_graph import CapturedFunction, Given, Tensors
from stylegan_fast.models.growth import Lod

if TYPE_CHECKING:
    from stylegan_fast.models.generator import Generator


class CapturedPictures:
    """The calls of a generator whose weights no longer change, a graph for each batch size and setting.

    All of them compute in the same memory, so two threads must not draw with one generator at a time.
    """

    def __init__(self, G: Generator) -> None:
        self._G = G
        self._graphs: dict[tuple[Any, ...], CapturedFunction] = {}
        self._stream: torch.cuda.Stream | None = None
        self._pool: Any = None

    def __deepcopy__(self, memo: dict[int, Any]) -> CapturedPictures:
        return CapturedPictures(copy.deepcopy(self._G, memo))

    def can_draw(self, z: Tensor, c: Tensor | None, lod: Lod | None, update_emas: bool) -> bool:
        """Whether a call is one for a graph: on CUDA, without gradients, and nothing but z, c and noise changes."""
        wanted = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (z, c))
        busy = torch.compiler.is_compiling() or torch.is_autocast_enabled("cuda")
        return z.is_cuda and not (wanted or busy or update_emas) and isinstance(lod, float | int | None)

    def draw(
        self,
        z: Tensor,
        c: Tensor | None,
        truncation_psi: float,
        truncation_cutoff: int | None,
        lod: Lod | None,
        noise_mode: str,
        full_size: bool,
        noise_generator: torch.Generator | None,
    ) -> Tensor:
        """`Generator.forward`."""
        synthesis = self._G.synthesis
        assert isinstance(lod, float | int | None)
        lod = synthesis.lod if lod is None else lod
        tensors: Tensors = {"z": z} if c is None else {"z": z, "c": c}
        if noise_mode == "random":
            tensors["noise_seeds"] = synthesis.noise_seeds(z, lod, noise_generator)
        setting = (truncation_psi, truncation_cutoff, lod, noise_mode, full_size)

        def pictures(inputs: Tensors) -> Tensors:
            with torch.no_grad():
                ws = self._G.mapping(inputs["z"], inputs.get("c"), truncation_psi, truncation_cutoff)
                seeds = inputs.get("noise_seeds")
                return {"pictures": synthesis(ws, lod, noise_mode, full_size, noise_seeds=seeds)}

        key = (z.device, *setting, *((name, tensor.shape, tensor.dtype) for name, tensor in tensors.items()))
        given: Given = {**tensors}
        if key not in self._graphs:
            if self._stream is None or self._stream.device != z.device:
                self._stream, self._pool = torch.cuda.Stream(z.device), torch.cuda.graph_pool_handle()
            self._graphs[key] = CapturedFunction(pictures, given, z.device, stream=self._stream, pool=self._pool)
        return self._graphs[key](given)["pictures"]


@contextlib.contextmanager
def tf32_set_to(allowed: bool) -> Iterator[None]:
    """For a while, lets float32 products and convolutions be rounded to TF32, or forbids it."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
