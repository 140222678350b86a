"""``python -m stylegan_fast.generate``: draw images with a trained network."""

from __future__ import annotations

from pathlib import Path

import click

from stylegan_fast.command import run
from stylegan_fast.errors import UserError
from stylegan_fast.options import outdir_option, trunc_option
from stylegan_fast.seeds import parse_ranges


@click.command()
@click.option("--network", required=True, metavar="RUN|FILE", help="A run's folder (its newest network) or a file.")
@click.option("--seeds", required=True, metavar="LIST", help="Which images, like 0-15 or 0,3,5-9.")
@outdir_option(required=True, help="Where seedNNNN.png are written.")
@trunc_option
@click.option("--trunc-cutoff", type=click.IntRange(min=0), default=8, show_default=True, help="In the first N layers.")
@click.option(
    "--class", "class_index", type=int, metavar="K", help="Class of a conditional network. [default: by seed]"
)
@click.option(
    "--noise-mode",
    type=click.Choice(["const", "random", "none"]),
    default="const",
    show_default=True,
    help="The network's stored noise, noise drawn from the seed, or none.",
)
@click.option("--grid", is_flag=True, help="Also write all of them on one sheet, grid.png.")
@click.option("--batch", type=click.IntRange(min=1), default=8, show_default=True, help="Images drawn at a time.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True)
def main(
    network: str,
    seeds: str,
    outdir: str,
    trunc: float,
    trunc_cutoff: int,
    class_index: int | None,
    noise_mode: str,
    grid: bool,
    batch: int,
    device: str,
) -> None:
    """Draw one PNG per seed. An image depends on the network, its seed and the settings, not on the other seeds.

    Several GPUs share the seeds out: torchrun --nproc_per_node 8 -m stylegan_fast.generate ...
    """
    wanted = parse_ranges(seeds, "--seeds")
    from tqdm import tqdm  # torch and the rest here, so that --help and typing errors are answered at once

    from stylegan_fast.device import choose_device
    from stylegan_fast.distributed import joined_ranks
    from stylegan_fast.figures.samples import SampleSettings, check_class, draw_seeds
    from stylegan_fast.figures.sheet import cell_size, image_sheet, picture, save_png
    from stylegan_fast.interop.networks import load_generator

    with joined_ranks() as ranks:
        G = load_generator(network, device=ranks.device(choose_device(device)))
        check_class(G, class_index)
        folder = output_folder(outdir)
        settings = SampleSettings(trunc, trunc_cutoff, class_index, noise_mode)
        here = wanted[ranks.rank :: ranks.count]
        drawn = draw_seeds(G, here, settings, batch)
        on_grid = []
        for seed, pixels in tqdm(drawn, total=len(here), unit="img", disable=None if ranks.first else True):
            save_png(picture(pixels), folder / f"seed{seed:04d}.png")
            if grid:
                on_grid.append(pixels)
        shares = ranks.gathered(on_grid)
        if shares is None:
            return
        if grid:
            pictures = [shares[place % ranks.count][place // ranks.count] for place in range(len(wanted))]
            columns = min(max(round(len(pictures) ** 0.5 * 1.25), 1), len(pictures))
            save_png(image_sheet(pictures, columns, cell_size(pictures[0].shape[0])), folder / "grid.png")
    click.echo(f"{len(wanted)} images in {folder}" + (f", together in {folder / 'grid.png'}" if grid else ""))


def output_folder(outdir: str) -> Path:
    """The folder, made if it was not there. Raises ``UserError`` where it cannot be made."""
    folder = Path(outdir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        raise UserError(f"--outdir {outdir!r}: cannot make this folder ({failure.strerror})") from None
    return folder


if __name__ == "__main__":
    run(main)
