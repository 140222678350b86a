"""``python -m stylegan_fast.style_mixing``: the paper's figure 3 with a network of one's own."""

from __future__ import annotations

import click

from stylegan_fast.command import run
from stylegan_fast.errors import UserError
from stylegan_fast.generate import output_folder
from stylegan_fast.options import outdir_option, trunc_option
from stylegan_fast.seeds import parse_ranges

MOST_PIXELS = 2**28  # of a sheet, which is held in memory


@click.command()
@click.option("--network", required=True, metavar="RUN|FILE", help="A run's folder (its newest network) or a file.")
@click.option("--rows", required=True, metavar="LIST", help="Seeds of the first column's images, like 0,1,2.")
@click.option("--cols", required=True, metavar="LIST", help="Seeds of the first row's images, like 3-5.")
@click.option(
    "--styles",
    default="coarse",
    show_default=True,
    metavar="LAYERS",
    help="What the column's image gives: coarse (4x4 and 8x8), middle (16x16 and 32x32), fine (above), or layers "
    "like 0-3.",
)
@outdir_option(required=True, help="Where the sheet is written.")
@trunc_option
@click.option(
    "--class", "class_index", type=int, metavar="K", help="Class of a conditional network. [default: by seed]"
)
@click.option("--batch", type=click.IntRange(min=1), default=8, show_default=True, help="Images drawn at a time.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True)
def main(
    network: str,
    rows: str,
    cols: str,
    styles: str,
    outdir: str,
    trunc: float,
    class_index: int | None,
    batch: int,
    device: str,
) -> None:
    """Draw a sheet of mixed images: each shows its row's image with some styles taken from its column's image."""
    row_seeds, col_seeds = parse_ranges(rows, "--rows"), parse_ranges(cols, "--cols")
    from stylegan_fast.device import choose_device  # here, so that --help and typing errors are answered at once
    from stylegan_fast.figures.mixing import parse_styles, style_mixing_sheet
    from stylegan_fast.figures.samples import SampleSettings, check_class
    from stylegan_fast.figures.sheet import save_png
    from stylegan_fast.interop.networks import load_generator

    G = load_generator(network, device=choose_device(device))
    check_class(G, class_index)
    layers = parse_styles(styles, G.num_ws)
    cells = (len(row_seeds) + 1) * (len(col_seeds) + 1)
    if cells * G.img_resolution**2 > MOST_PIXELS:
        raise UserError(
            f"--rows, --cols: {cells} images of {G.img_resolution}x{G.img_resolution} make a sheet of more than "
            f"{MOST_PIXELS} pixels; give fewer"
        )
    folder = output_folder(outdir)
    settings = SampleSettings(truncation_psi=trunc, class_index=class_index)
    path = folder / f"style-mixing-{styles.replace(',', '_').replace(' ', '')}.png"
    save_png(style_mixing_sheet(G, row_seeds, col_seeds, layers, settings, batch), path)
    click.echo(f"layers {layers[0]} to {layers[-1]} taken from the columns: {path}")


if __name__ == "__main__":
    run(main)
