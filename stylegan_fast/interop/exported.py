"""A generator as a program for other runtimes: ONNX, or PyTorch's own exported program."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from stylegan_fast.atomic import replacing
from stylegan_fast.errors import UserError
from stylegan_fast.models import Generator
from stylegan_fast.ops import use_backend

FORMATS = ("onnx", "pt2")
NOISES = ("const", "given", "none")
# Images are about -1 to 1: less than a fiftieth of a grey level.
LARGEST_DIFFERENCE = 1e-4


class Drawing(nn.Module):
    """What is exported: ``images = forward(z[, c][, noise...])``, with truncation and the kind of noise fixed.

    Args:
        G: the generator.
        truncation_psi, truncation_cutoff: as in `MappingNetwork`.
        noise: "const" for the stored maps, "none", or "given": a map ``[1, 1, r, r]`` for each layer is an input.
    """

    def __init__(self, G: Generator, truncation_psi: float, truncation_cutoff: int | None, noise: str) -> None:
        super().__init__()
        self.G = G
        self.truncation = (truncation_psi, truncation_cutoff)
        self.noise = noise

    def forward(self, z: Tensor, *others: Tensor) -> Tensor:
        c, maps = (others[0], others[1:]) if self.G.c_dim else (None, others)
        ws = self.G.mapping(z, c, *self.truncation)
        if self.noise != "given":
            return self.G.synthesis(ws, noise_mode=self.noise)
        named = dict(zip(self.noise_names(), maps, strict=True))
        return torch.func.functional_call(self.G.synthesis, named, (ws,), {"noise_mode": "const"})

    def noise_names(self) -> list[str]:
        """Of the synthesis network's maps in use, coarse to fine."""
        finest = self.G.img_resolution >> int(self.G.lod)
        names = [name for name, _ in self.G.synthesis.named_buffers() if name.endswith("noise_const")]
        return [name for name in names if int(name.split(".")[0].removeprefix("b")) <= finest]

    def inputs(self, batch: int) -> dict[str, Tensor]:
        """Random inputs by the names they have in the exported program: z, c, noise0, noise1, ..."""
        found = {"z": torch.randn(batch, self.G.z_dim)}
        if self.G.c_dim:
            found["c"] = torch.eye(self.G.c_dim)[torch.arange(batch) % self.G.c_dim]
        if self.noise == "given":
            maps = (self.G.synthesis.get_buffer(name) for name in self.noise_names())
            found |= {f"noise{i}": torch.randn_like(map_) for i, map_ in enumerate(maps)}
        return found


def export(drawing: Drawing, dest: str | os.PathLike[str], format: str) -> float:
    """Makes the program, runs it, and writes it where it draws what the network draws, whole or not at all.

    Args:
        drawing: what to export; the batch size stays free.
        dest: the file.
        format: "onnx" (needs the extra ``export``) or "pt2".

    Returns:
        The largest difference of images drawn by the program, in its runtime, from those of the network: of a grey
        value, or where these go beyond -1 to 1, as a share of the largest.

    Raises:
        UserError: the packages for the format are missing, or the images differ by more than LARGEST_DIFFERENCE.
        OSError: the file cannot be written.
    """
    if format == "onnx":
        _require("onnx", "onnxscript", "onnxruntime")
    drawing.eval().requires_grad_(False)
    inputs = drawing.inputs(batch=2)
    batch = torch.export.Dim("batch")
    free = tuple({0: batch} if name in ("z", "c") else None for name in inputs)
    shapes: dict[str, Any] = {"z": free[0], **({"others": free[1:]} if len(free) > 1 else {})}
    # The reference is made of operations every runtime has.
    with use_backend("reference"), _quiet():
        program = torch.export.export(drawing, tuple(inputs.values()), dynamic_shapes=shapes)
        if format == "onnx":
            onnx_program = torch.onnx.export(
                program, input_names=list(inputs), output_names=["images"], dynamo=True, verbose=False
            )
            assert onnx_program is not None
            content = onnx_program.model_proto.SerializeToString()
        else:
            written = io.BytesIO()  # torch's own writer ends the process where a disk is full
            torch.export.save(program, written)
            content = written.getvalue()
    fresh = drawing.inputs(batch=3)
    images = _run_onnx(content, fresh) if format == "onnx" else _run_pt2(content, fresh)
    expected = drawing(*fresh.values())
    difference = float((images - expected).abs().max() / expected.abs().max().clamp(min=1))
    if not difference <= LARGEST_DIFFERENCE:
        raise UserError(f"the program's images differ from the network's by {difference:.2g}: {dest} is not written")
    with replacing(dest) as file:
        file.write(content)
    return difference


def _run_onnx(program: bytes, inputs: dict[str, Tensor]) -> Tensor:
    import onnxruntime

    session = onnxruntime.InferenceSession(program, providers=["CPUExecutionProvider"])
    (images,) = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    return torch.from_numpy(images)


def _run_pt2(program: bytes, inputs: dict[str, Tensor]) -> Tensor:
    images: Tensor = torch.export.load(io.BytesIO(program)).module()(*inputs.values())
    return images


def _require(*packages: str) -> None:
    for package in packages:
        try:
            __import__(package)
        except ImportError:
            raise UserError(f"--format onnx needs {package}: pip install 'stylegan_fast[export]'") from None


@contextlib.contextmanager
def _quiet() -> Iterator[Any]:
    """Without the exporter's remarks about its own deprecated parts and about packages that are not needed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
