"""``python -m stylegan_fast.figures``: the paper's figures with a network of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from stylegan_fast.command import run
from stylegan_fast.errors import UserError
from stylegan_fast.generate import output_folder
from stylegan_fast.options import Number
from stylegan_fast.seeds import parse_ranges

if TYPE_CHECKING:
    from PIL import Image

    from stylegan_fast.figures.samples import SampleSettings
    from stylegan_fast.models import Generator

WHICH = {"uncurated": 2, "style_mixing": 3, "noise_detail": 4, "noise_components": 5, "truncation": 8}


@click.command()
@click.option("--network", required=True, metavar="RUN|FILE", help="A run's folder (its newest network) or a file.")
@click.option("--which", default=",".join(WHICH), metavar="LIST", help=f"Of {','.join(WHICH)}. [default: all]")
@click.option("--outdir", required=True, metavar="DIR", help="Where figureNN-NAME.png are written.")
@click.option("--seeds", default="0-5", show_default=True, metavar="LIST", help="Images shown; the first of figure 2.")
@click.option("--col-seeds", default="10-14", show_default=True, metavar="LIST", help="Source A of style_mixing.")
@click.option("--trunc", type=Number(), default=0.7, show_default=True, help="Truncation psi of all but truncation.")
@click.option(
    "--class", "class_index", type=int, metavar="K", help="Class of a conditional network. [default: by seed]"
)
@click.option("--batch", type=click.IntRange(min=1), default=8, show_default=True, help="Images drawn at a time.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True)
def main(
    network: str,
    which: str,
    outdir: str,
    seeds: str,
    col_seeds: str,
    trunc: float,
    class_index: int | None,
    batch: int,
    device: str,
) -> None:
    """Draw figures 2 (uncurated images), 3 (style mixing), 4 (stochastic variation), 5 (noise by layers) and 8
    (truncation) of the paper, labelled, at print quality."""
    names = [name.strip() for name in which.split(",")]
    for name in names:
        if name not in WHICH:
            raise UserError(f"--which {which!r}: {name!r} is none of {','.join(WHICH)}")
    shown, columns = parse_ranges(seeds, "--seeds"), parse_ranges(col_seeds, "--col-seeds")
    from stylegan_fast.device import choose_device  # torch here, so that --help and typing errors are answered at once
    from stylegan_fast.figures.labelled import DPI
    from stylegan_fast.figures.samples import SampleSettings, check_class
    from stylegan_fast.figures.sheet import save_png
    from stylegan_fast.interop.networks import load_generator

    G = load_generator(network, device=choose_device(device))
    check_class(G, class_index)
    folder = output_folder(outdir)
    settings = SampleSettings(truncation_psi=trunc, class_index=class_index)
    for name in names:
        path = folder / f"figure{WHICH[name]:02d}-{name}.png"
        save_png(_figure(G, name, shown, columns, settings, batch), path, DPI)
        click.echo(str(path))


def _figure(
    G: Generator, name: str, seeds: list[int], columns: list[int], settings: SampleSettings, batch: int
) -> Image.Image:
    from stylegan_fast.figures import paper

    if name == "uncurated":
        return paper.uncurated(G, seeds[0], settings, batch)
    if name == "style_mixing":
        return paper.style_mixing(G, seeds, columns, settings, batch)
    if name == "noise_detail":
        return paper.noise_detail(G, seeds[:3], settings, batch)
    if name == "noise_components":
        return paper.noise_components(G, seeds[:4], settings, batch)
    return paper.truncation(G, seeds, settings, batch)


if __name__ == "__main__":
    run(main)
