"""``python -m stylegan_fast.project``: the latent of a given picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from stylegan_fast.command import run
from stylegan_fast.errors import UserError
from stylegan_fast.generate import output_folder
from stylegan_fast.options import outdir_option

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from stylegan_fast.latent.projection import Distance
    from stylegan_fast.metrics.detector import Detector
    from stylegan_fast.models import Generator

_SHOWN = 6  # pictures of the way on the sheet


@click.command()
@click.option("--network", required=True, metavar="RUN|FILE", help="A run's folder (its newest network) or a file.")
@click.option("--target", required=True, metavar="IMAGE", help="The picture; cut to the square in its middle.")
@outdir_option(required=True, help="Where projection.* and its pictures are written.")
@click.option(
    "--space", type=click.Choice(["w", "w+"]), default="w", show_default=True, help="One w for all layers, or one each."
)
@click.option("--steps", type=click.IntRange(min=1), default=500, show_default=True, help="Of gradient descent.")
@click.option("--noise/--no-noise", default=True, help="Optimise the noise maps too. [default: noise]")
@click.option("--lpips", metavar="FILE", help="TorchScript VGG16-LPIPS, added to the distance of pixels.")
@click.option("--trust-detector", is_flag=True, help="Run it though it is not known here: a program.")
@click.option("--video", metavar="FILE", help="A movie of the way: .mp4, .gif or .webp.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of all that is drawn.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True)
def main(
    network: str,
    target: str,
    outdir: str,
    space: str,
    steps: int,
    noise: bool,
    lpips: str | None,
    trust_detector: bool,
    video: str | None,
    seed: int,
    device: str,
) -> None:
    """Find the latent whose image comes nearest to a picture, and write it with a sheet of the way there.

    projection.safetensors holds ws [1, num_ws, w_dim] and the noise maps; projected.png is its image.
    """
    from contextlib import ExitStack

    import safetensors.torch
    from tqdm import tqdm

    from stylegan_fast.atomic import replacing
    from stylegan_fast.device import choose_device
    from stylegan_fast.figures.labelled import DPI, labelled_grid, print_cell
    from stylegan_fast.figures.movie import check_movie, open_movie
    from stylegan_fast.figures.sheet import picture, save_png, to_uint8
    from stylegan_fast.figures.walks import Grid, frame_of, frame_side
    from stylegan_fast.interop.networks import load_generator
    from stylegan_fast.latent.projection import ProjectionSettings, project
    from stylegan_fast.metrics.detector import load_detector

    if video is not None:
        check_movie(video, "--video")
    where = choose_device(device)
    G = load_generator(network, device=where)
    goal, pixels = _target(target, G)
    perceptual = None
    if lpips is not None:
        perceptual = _distance(load_detector(lpips, trusted=trust_detector, device=where, option="--lpips"))
    folder = output_folder(outdir)
    settings = ProjectionSettings(space, steps, noise_maps=noise, seed=seed, perceptual=perceptual)
    kept = {round(steps * place / (_SHOWN - 1)) for place in range(_SHOWN)}
    shown: list[np.ndarray] = []
    labels: list[str] = []
    with ExitStack() as stack:
        movie = stack.enter_context(open_movie(video, 30)) if video is not None else None
        grid = Grid(2, 1, frame_side(G, 2, 512))
        for now in tqdm(project(G, goal, settings), total=steps + 1, unit="step", disable=None):
            if now.step in kept or movie is not None:
                image = to_uint8(now.image)[0]
            if now.step in kept:
                shown.append(image)
                labels.append(f"step {now.step}: {now.psnr:.1f} dB")
            if movie is not None:
                movie.write(frame_of([pixels, image], grid))
    tensors = {"ws": now.ws.contiguous(), **{f"noise{layer}": noise for layer, noise in enumerate(now.noise)}}
    with replacing(folder / "projection.safetensors") as file:
        file.write(safetensors.torch.save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}))
    save_png(picture(shown[-1]), folder / "projected.png")
    cells = [[pixels, *shown]]
    side = print_cell(G.img_resolution, len(cells[0]), 1800)
    save_png(labelled_grid(cells, side, ["target", *labels]), folder / "progress.png", DPI)
    click.echo(f"PSNR {now.psnr:.1f} dB: {folder / 'projected.png'}, {folder / 'progress.png'}")


def _target(path: str, G: Generator) -> tuple[Tensor, np.ndarray]:
    """The picture as ``[C, R, R]`` in -1 to 1, and as uint8 ``[R, R, C]``."""
    import torch

    from stylegan_fast.data.decode import MAX_FILE_BYTES, BadImageError, decode

    try:
        with open(path, "rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise BadImageError(f"more than the limit of {MAX_FILE_BYTES} bytes")
        pixels = decode(content, G.img_resolution, G.img_channels)
    except OSError as failure:
        raise UserError(f"--target {path!r}: cannot read it ({failure.strerror or failure})") from None
    except BadImageError as failure:
        raise UserError(f"--target {path!r}: {failure}") from None
    return torch.from_numpy(pixels).float() / 127.5 - 1, pixels.transpose(1, 2, 0)


def _distance(lpips: Detector) -> Distance:
    from stylegan_fast.metrics.path_length import lpips_images

    def distance(images: Tensor, target: Tensor) -> Tensor:
        difference = lpips.lpips(lpips_images(images, False)) - lpips.lpips(lpips_images(target, False))
        return difference.square().sum(dim=1)

    return distance


if __name__ == "__main__":
    run(main)
