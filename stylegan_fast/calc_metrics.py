"""``python -m stylegan_fast.calc_metrics``: how good a trained network is."""

from __future__ import annotations

import json
from typing import Any

import click

from stylegan_fast.command import run
from stylegan_fast.options import Number


@click.command()
@click.option("--network", required=True, metavar="RUN|FILE", help="A run's folder (its newest network) or a file.")
@click.option(
    "--metrics",
    required=True,
    metavar="LIST",
    help="fid50k,kid50k,is50k,pr50k,swd,msssim,ppl_zfull,ppl_zend,ppl_wfull,ppl_wend,ls, or some of them.",
)
@click.option("--data", metavar="PATH", help="The real images: folder, ZIP, faces or faces:N. [default: the run's]")
@click.option(
    "--num",
    "--images",  # torchrun takes --num for an abbreviation of an option of its own
    "num",
    type=click.IntRange(min=1),
    help="Images (pairs) to draw; under torchrun write --images. [default: as published, by metric]",
)
@click.option("--detector", metavar="FILE", help="TorchScript feature detector of fid50k, kid50k, is50k and pr50k.")
@click.option("--pr-detector", metavar="FILE", help="Another one for pr50k, as published VGG16. [default: --detector]")
@click.option("--lpips", metavar="FILE", help="TorchScript VGG16-LPIPS of ppl_*.")
@click.option("--classifier", metavar="FILE", help="TorchScript attribute classifier of ls. [default: the faces' own]")
@click.option("--trust-detector", is_flag=True, help="Run such files though they are not known here: programs.")
@click.option("--mirror/--no-mirror", default=None, help="Real images are seen mirrored too. [default: as trained]")
@click.option("--resize", is_flag=True, help="Resize data of another size to the network's.")
@click.option(
    "--crop/--no-crop", default=True, help="ppl_*: only the middle of the face, as published. [default: crop]"
)
@click.option("--class", "class_index", type=int, metavar="K", help="Measure one class of a conditional network.")
@click.option(
    "--trunc", type=Number(), default=1.0, show_default=True, help="Truncation psi; 1, none, is what is reported."
)
@click.option(
    "--noise-mode", type=click.Choice(["random", "const", "none"]), default="random", show_default=True, help="Noise."
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of all that is drawn.")
@click.option("--batch", type=click.IntRange(min=1), default=32, show_default=True, help="Images drawn at a time.")
@click.option("--json", "json_path", metavar="FILE", help="Append the rows there. [default: metrics.jsonl of the run]")
@click.option(
    "--cache-dir", metavar="DIR", help="Where data and their statistics are kept. [default: your cache folder]"
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True)
def main(network: str, metrics: str, **options: Any) -> None:
    """Measure a network: distances to the real images, variety, smoothness of latent space.

    swd and msssim need no further file. The others' detectors are never fetched: give the files the field uses. Under
    torchrun the images are shared out over the processes.
    """
    from stylegan_fast.metrics.command import measure_network  # torch here, so that --help is answered at once
    from stylegan_fast.metrics.record import append_rows, summary

    rows, json_path = measure_network(network, metrics, options)
    for row in rows:  # before they are kept: a disk may be full by now
        click.echo(json.dumps(row) if options["json_path"] == "-" else summary(row))
    if rows and json_path is not None:
        append_rows(json_path, rows)


if __name__ == "__main__":
    run(main)
