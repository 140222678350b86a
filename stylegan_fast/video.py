"""``python -m stylegan_fast.video``: moving pictures."""

from __future__ import annotations

import re
from pathlib import Path

import click

from stylegan_fast.command import run
from stylegan_fast.errors import UserError
from stylegan_fast.options import Number, trunc_option
from stylegan_fast.seeds import parse_ranges


@click.command()
@click.option("--network", required=True, metavar="RUN|FILE", help="A run's folder (its newest network) or a file.")
@click.option("--out", required=True, metavar="FILE", help="The movie: .mp4 (needs PyAV), .gif or .webp.")
@click.option(
    "--kind",
    type=click.Choice(["loop", "walk", "mixing", "noise", "timelapse"]),
    default="loop",
    show_default=True,
    help="A way through the seeds' images and back, or there only; styles of one group sweeping; noise alone; the "
    "networks of a run.",
)
@click.option(
    "--seeds",
    metavar="LIST",
    help="Images on the way, shared out by cell. [default: 0-5; of noise and timelapse: one a cell]",
)
@click.option("--grid", default="1x1", show_default=True, metavar="WxH", help="Images beside and below each other.")
@click.option("--space", type=click.Choice(["w", "z"]), default="w", show_default=True, help="Spline in w, slerp in z.")
@click.option(
    "--styles", type=click.Choice(["coarse", "middle", "fine"]), default="coarse", show_default=True,
    help="Of mixing: which styles sweep.",
)  # fmt: skip
@click.option("--frames", type=click.IntRange(min=1), default=60, show_default=True, help="From one image to the next.")
@click.option("--fps", type=Number(1, 120), default=30, show_default=True, help="Frames a second.")
@click.option("--width", type=click.IntRange(16, 8192), default=768, show_default=True, help="Of the movie, at most.")
@trunc_option
@click.option(
    "--class", "class_index", type=int, metavar="K", help="Class of a conditional network. [default: by seed]"
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True)
def main(
    network: str,
    out: str,
    kind: str,
    seeds: str | None,
    grid: str,
    space: str,
    styles: str,
    frames: int,
    fps: float,
    width: int,
    trunc: float,
    class_index: int | None,
    device: str,
) -> None:
    """Write a movie, frame by frame: any length in the same memory."""
    match = re.fullmatch(r"(\d{1,2})x(\d{1,2})", grid)
    if match is None or "0" in match.groups():
        raise UserError(f"--grid {grid!r}: write columns x rows, like 3x2")
    columns, rows = int(match[1]), int(match[2])
    one_a_cell = f"0-{columns * rows - 1}" if kind in ("noise", "timelapse") else "0-5"
    shown = parse_ranges(one_a_cell if seeds is None else seeds, "--seeds")
    from tqdm import tqdm  # torch and the rest here, so that --help and typing errors are answered at once

    from stylegan_fast.device import choose_device
    from stylegan_fast.figures import walks
    from stylegan_fast.figures.movie import check_movie, open_movie
    from stylegan_fast.figures.samples import SampleSettings, check_class
    from stylegan_fast.interop.networks import load_generator

    check_movie(out)
    where = choose_device(device)
    G = load_generator(network, device=where)
    check_class(G, class_index)
    cells = walks.Grid(columns, rows, walks.frame_side(G, columns, width))
    settings = SampleSettings(truncation_psi=trunc, class_index=class_index)
    if kind == "mixing":
        moving = walks.mixing_sweep(G, shown, cells, frames, settings, styles)
    elif kind == "noise":
        moving = walks.noise_animation(G, shown, cells, frames, settings)
    elif kind == "timelapse":
        moving = walks.time_lapse(network, shown, cells, frames, settings, where)
    else:
        moving = walks.walk(G, shown, cells, frames, settings, space, closed=kind == "loop")
    with open_movie(out, fps) as movie:
        for frame in tqdm(moving, unit="frame", disable=None):
            movie.write(frame)
    click.echo(f"{movie.frames} frames, {movie.frames / fps:.1f} s: {Path(out)}")


if __name__ == "__main__":
    run(main)
