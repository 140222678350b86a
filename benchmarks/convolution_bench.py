"""``python benchmarks/convolution_bench.py``: the forms of each convolution of StyleGAN, from which
`stylegan_fast.models.convolution` and `rgb` choose. Forward, gradient of the input, gradient of the weight."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import click
import torch
from harness.benchmark import DTYPES
from harness.command import output_file
from harness.networks import common_columns, numbers
from harness.report import write_json
from harness.timing import synchronize
from torch import Tensor

from stylegan_fast.command import run
from stylegan_fast.device import choose_device
from stylegan_fast.errors import UserError
from stylegan_fast.models import convolution as forms
from stylegan_fast.models.growth import channels_at
from stylegan_fast.models.rgb import FeaturesOfImage, ImageOfFeatures
from stylegan_fast.ops.convolution import conv2d, conv_transpose2d

CALLS = 6
Form = tuple[str, str, Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]]


def _joined(pixels: int) -> Callable[[Tensor, Tensor], Tensor]:
    def convolve(x: Tensor, weight: Tensor) -> Tensor:
        y = conv2d(forms.join_pixels(x, pixels), weight, padding=1)
        return forms.split_pixels(y, pixels)

    return convolve


# Layer, name, how it is computed from its input and its weight, and that weight from the layer's own.
FORMS: list[Form] = [
    ("3x3", "plain", lambda x, w: conv2d(x, w, padding=1), lambda w: w),
    ("3x3", "pairs", _joined(2), forms.pairs_weight),
    ("3x3", "quads", _joined(4), forms.quads_weight),
    ("up", "transposed", lambda x, w: conv_transpose2d(x, w, stride=2, padding=1), forms.transposed_weight),
    ("up", "phases", lambda x, w: conv2d(x, w, padding=1), forms.phases_weight),
    ("down", "strided", lambda x, w: conv2d(x, w, stride=2, padding=1), forms.strided_weight),
    (
        "down",
        "strided pairs",
        lambda x, w: conv2d(forms.join_pixels(x, 2), w, stride=(2, 1), padding=1),
        forms.strided_weight_of_pairs,
    ),
    ("to RGB", "1x1", conv2d, lambda w: w),
    ("to RGB", "product", ImageOfFeatures.apply, lambda w: w.flatten(1)),
    ("from RGB", "1x1", conv2d, lambda w: w),
    ("from RGB", "product", FeaturesOfImage.apply, lambda w: w.flatten(1).t()),
]

LAYERS = tuple(dict.fromkeys(form[0] for form in FORMS))


def _shapes(layer: str, resolution: int, batch: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of the input and of the weight."""
    c, below = (channels_at(r, 8192, 512) for r in (resolution, resolution // 2))
    if layer == "up":
        return (batch, below, resolution // 2, resolution // 2), (c, below, 3, 3)
    here = (batch, c, resolution, resolution)
    if layer == "to RGB":
        return here, (3, c, 1, 1)
    if layer == "from RGB":
        return (batch, 3, resolution, resolution), (c, 3, 1, 1)
    return here, (below if layer == "down" else c, c, 3, 3)


def _ms(call: Callable[[], Any], device: torch.device) -> float:
    call()
    call()
    found = []
    for _ in range(3):
        synchronize(device)
        start = time.perf_counter()
        for _ in range(CALLS):
            call()
        synchronize(device)
        found.append((time.perf_counter() - start) / CALLS * 1e3)
    return statistics.median(found)


def _row(form: Form, resolution: int, batch: int, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    layer, name, function, compose = form
    x_shape, w_shape = _shapes(layer, resolution, batch)
    x = torch.randn(x_shape, device=device).to(dtype)
    planes = layer == "from RGB" and name == "product"
    x = x.contiguous(memory_format=torch.contiguous_format if planes else torch.channels_last)
    weight = compose(torch.randn(w_shape, device=device)).to(dtype)
    weight = weight.contiguous(memory_format=torch.channels_last) if weight.ndim == 4 else weight.contiguous()
    row: dict[str, Any] = {"layer": layer, "form": name, "resolution": resolution, "shape": list(x_shape)}
    with torch.no_grad():
        row["ms"] = _ms(lambda: function(x, weight), device)
    for column, tensor in (("ms_dx", x), ("ms_dw", weight)):
        tensor.requires_grad_()
        y = function(x, weight)
        dy = torch.randn_like(y)
        row[column] = _ms(
            lambda y=y, tensor=tensor, dy=dy: torch.autograd.grad(y, tensor, dy, retain_graph=True), device
        )
        tensor.requires_grad_(False)
    return row


@click.command(help="Time the forms of every convolution.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--dtype", "dtype_name", type=click.Choice(list(DTYPES)), default="bf16", show_default=True)
@click.option("--resolutions", default="64,128,256,512,1024", show_default=True)
@click.option("--layers", default=",".join(LAYERS), show_default=True)
@click.option("--batch", type=click.IntRange(min=1), default=4, show_default=True)
@click.option("--json", "json_path", metavar="PATH", help="Write the rows here.")
def main(device: str, dtype_name: str, resolutions: str, layers: str, batch: int, json_path: str | None) -> None:
    json_file = None if json_path is None else output_file("--json", json_path)
    chosen = layers.split(",")
    if unknown := [layer for layer in chosen if layer not in LAYERS]:
        raise UserError(f"--layers: {unknown[0]!r} is unknown; choose from {','.join(LAYERS)}")
    sizes = numbers("--resolutions", resolutions, 8, 1024)
    place = choose_device(device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    common = common_columns("convolution", place, "default") | {"dtype": dtype_name}
    click.echo(f"{dtype_name}, batch {batch}, on {common['chip']}, torch {common['torch']}; ms")
    click.echo(f"{'':<10}{'':<12}{'':<16}{'forward':>10}{'d input':>10}{'d weight':>10}")
    rows = []
    for layer in chosen:
        for resolution in sizes:
            for form in (form for form in FORMS if form[0] == layer):
                row = common | _row(form, resolution, batch, DTYPES[dtype_name], place)
                rows.append(row)
                click.echo(
                    f"{resolution:<10}{layer:<12}{row['form']:<16}{row['ms']:>10.4f}{row['ms_dx']:>10.4f}{row['ms_dw']:>10.4f}"
                )
            if json_file is not None:
                write_json(rows, json_file)


if __name__ == "__main__":
    run(main)
