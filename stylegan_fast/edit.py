"""``python -m stylegan_fast.edit``: more and less of one thing in the same images."""

from __future__ import annotations

import re
from typing import Any

import click

from stylegan_fast.command import run
from stylegan_fast.errors import UserError
from stylegan_fast.generate import output_folder
from stylegan_fast.options import Number, outdir_option, trunc_option
from stylegan_fast.seeds import parse_ranges


@click.command()
@click.option("--network", required=True, metavar="RUN|FILE", help="A run's folder (its newest network) or a file.")
@click.option(
    "--direction",
    required=True,
    metavar="WHAT",
    help="pca:K, factor:K, attribute:NAME (of the built-in faces: glasses, smile, ...) or a .npy file.",
)
@click.option("--seeds", default="0-5", show_default=True, metavar="LIST", help="Images to edit, a row each.")
@click.option("--strength", type=Number(0, min_open=True), default=3.0, show_default=True,
              help="The outermost columns, in standard deviations of W along the direction.")  # fmt: skip
@click.option("--steps", type=click.IntRange(1, 20), default=2, show_default=True, help="Columns on either side.")
@click.option("--layers", metavar="LIST", help="Style layers to edit, like 0-3. [default: all]")
@click.option("--classifier", metavar="FILE", help="TorchScript attribute classifier; attribute:K is its number K.")
@click.option("--trust-detector", is_flag=True, help="Run the classifier: TorchScript is a program.")
@click.option("--samples", type=click.IntRange(min=10), default=10_000, show_default=True, help="Latents looked at.")
@click.option("--save", metavar="FILE", help="Keep the direction as a .npy file.")
@trunc_option
@click.option(
    "--class", "class_index", type=int, metavar="K", help="Class of a conditional network. [default: by seed]"
)
@outdir_option(required=True, help="Where the sheet is written.")
@click.option("--cache-dir", metavar="DIR", help="Where the faces' classifier is kept. [default: your cache folder]")
@click.option("--batch", type=click.IntRange(min=1), default=8, show_default=True, help="Images drawn at a time.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True)
def main(
    network: str,
    direction: str,
    seeds: str,
    strength: float,
    steps: int,
    layers: str | None,
    classifier: str | None,
    trust_detector: bool,
    samples: int,
    save: str | None,
    trunc: float,
    class_index: int | None,
    outdir: str,
    cache_dir: str | None,
    batch: int,
    device: str,
) -> None:
    """Draw a sheet of images moved along a direction of W: the unchanged ones in the middle."""
    shown = parse_ranges(seeds, "--seeds")
    if classifier is not None and not direction.startswith("attribute:"):
        raise UserError(f"--classifier {classifier!r}: without effect with --direction {direction}; give attribute:K")
    from stylegan_fast.device import choose_device  # torch here, so that --help and typing errors are answered at once
    from stylegan_fast.figures.editing import edit_sheet
    from stylegan_fast.figures.labelled import DPI
    from stylegan_fast.figures.mixing import parse_styles
    from stylegan_fast.figures.samples import SampleSettings, check_class
    from stylegan_fast.figures.sheet import quantize, save_png
    from stylegan_fast.interop.networks import load_generator
    from stylegan_fast.latent.face_classifier import ATTRIBUTES, face_classifier
    from stylegan_fast.latent.named import named_direction, save_direction
    from stylegan_fast.metrics.detector import load_detector

    where = choose_device(device)
    G = load_generator(network, device=where)
    check_class(G, class_index)
    chosen = None if layers is None else parse_styles(layers, G.num_ws, "--layers")
    folder = output_folder(outdir)
    model: Any = None
    names = None
    if direction.startswith("attribute:"):
        if classifier is not None:
            model = load_detector(classifier, trusted=trust_detector, device=where, option="--classifier").logits
        else:
            names = list(ATTRIBUTES)
            if direction.partition(":")[2] not in names:  # before minutes are spent on the classifier
                raise UserError(f"--direction {direction!r}: the built-in faces have {', '.join(names)}")
            model = face_classifier(G.img_resolution, G.img_channels, cache_dir=cache_dir, device=where)

    def classify(images: Any) -> Any:
        return model(quantize(images))

    found = named_direction(
        G, direction, classify=None if model is None else classify, attributes=names, samples=samples
    )
    if save is not None:
        save_direction(found, save)
    amounts = [strength * step / steps for step in range(-steps, steps + 1)]
    settings = SampleSettings(truncation_psi=trunc, class_index=class_index)
    path = folder / f"edit-{re.sub('[^A-Za-z0-9]+', '-', direction).strip('-')}.png"
    save_png(edit_sheet(G, shown, found, amounts, settings, chosen, batch), path, DPI)
    click.echo(str(path))


if __name__ == "__main__":
    run(main)
