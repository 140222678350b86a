"""``python -m stylegan_fast.export``: a generator as a program for other runtimes."""

from __future__ import annotations

from pathlib import Path

import click

from stylegan_fast.command import run
from stylegan_fast.errors import UserError
from stylegan_fast.options import trunc_option


@click.command()
@click.option("--network", required=True, metavar="RUN|FILE", help="A run's folder, a network file, or a .pkl.")
@click.option("--format", type=click.Choice(["onnx", "pt2"]), default="onnx", show_default=True)
@click.option("--dest", required=True, metavar="FILE", help="Where to write, like faces.onnx or faces.pt2.")
@trunc_option
@click.option("--trunc-cutoff", type=click.IntRange(min=0), default=8, show_default=True, help="In the first N layers.")
@click.option(
    "--noise",
    type=click.Choice(["const", "given", "none"]),
    default="const",
    show_default=True,
    help="The network's stored noise, noise as further inputs, or none.",
)
def main(network: str, format: str, dest: str, trunc: float, trunc_cutoff: int, noise: str) -> None:
    """Write a generator as ONNX or as a PyTorch exported program, and compare what it draws with the network.

    Inputs are z [N, z_dim], for networks with classes c [N, c_dim], and with --noise given noise0, noise1, ... The
    output is images [N, channels, r, r], about -1 to 1.
    """
    target = Path(dest)
    if target.suffix != f".{format}":
        raise UserError(f"--dest {dest!r}: expected a name that ends in .{format}")
    if not target.parent.is_dir():
        raise UserError(f"--dest {dest!r}: the folder {str(target.parent)!r} does not exist")
    from stylegan_fast.interop.exported import Drawing, export
    from stylegan_fast.interop.networks import load_generator

    drawing = Drawing(load_generator(network), trunc, trunc_cutoff, noise)
    difference = export(drawing, target, format)
    inputs = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in drawing.inputs(1).items())
    click.echo(f"{target}: inputs {inputs} (any number of images instead of 1)")
    click.echo(f"its images differ from the network's by at most {difference:.2g}")


if __name__ == "__main__":
    run(main)
