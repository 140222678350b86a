"""``python -m stylegan_fast.dataset_tool``: a folder or ZIP of any images becomes a ZIP ready for training.

The ZIP is uncompressed and holds square PNGs named ``00000/img00000000.png`` and ``dataset.json`` with
``{"labels": [[name, class], ...]}`` (or null): what the tools of StyleGAN2-ADA and StyleGAN3 write and read. Two more
keys, which those tools do not look at: ``"classes"``, the names of the classes where they are known, and
``"channels": 4`` where the images have an alpha channel.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import click
import numpy as np
from PIL import Image
from tqdm import tqdm

from stylegan_fast.atomic import replacing
from stylegan_fast.command import run
from stylegan_fast.data.build import cores
from stylegan_fast.data.dataset import choose_shape
from stylegan_fast.data.decode import BadImageError, Fit
from stylegan_fast.data.labels import Labels
from stylegan_fast.data.sources import Source, open_source
from stylegan_fast.errors import UserError

_FIXED_DATE = (1980, 1, 1, 0, 0, 0)  # the same images give the same bytes


@click.command()
@click.option("--source", required=True, help="Folder of images (with its sub-folders), ZIP of images, or faces:N.")
@click.option("--dest", required=True, type=click.Path(path_type=Path), help="The ZIP to write.")
@click.option("--resolution", type=int, help="Side of the images: a power of two, 8 to 1024. [default: the largest "
              "not above the median of the shorter sides]")  # fmt: skip
@click.option("--fit", type=click.Choice(get_args(Fit)), default="crop", show_default=True,
              help="How an image becomes square: cut its middle out, pad it with white (transparent with 4 channels), "
              "or stretch it.")  # fmt: skip
@click.option("--channels", type=click.Choice(["1", "3", "4"]), help="1 gray, 3 RGB (transparency on white), 4 RGBA. "
              "[default: 1 if all images are gray, else 3]")  # fmt: skip
@click.option("--strict", is_flag=True, help="Stop at the first bad image instead of skipping it.")
@click.option("--force", is_flag=True, help="Replace DEST if it exists.")
def main(
    source: str, dest: Path, resolution: int | None, fit: Fit, channels: str | None, strict: bool, force: bool
) -> None:
    """Convert any images to the ZIP that training reads fastest.

    Labels come from SOURCE's dataset.json, else from its sub-folders. Bad images are named and skipped.
    """
    if dest.suffix.lower() != ".zip":
        raise UserError(f"--dest {dest} must end in .zip")
    if dest.exists() and not force:
        raise UserError(f"--dest {dest} exists already; give another name, or --force to replace it")
    opened = open_source(source)
    if dest.exists() and Path(source).exists() and dest.samefile(source):
        raise UserError(f"--dest {dest} is the source itself; give another name")
    try:
        size, depth = choose_shape(opened, resolution, int(channels) if channels else None)
        labels = _complete_labels(opened)
        dest.parent.mkdir(parents=True, exist_ok=True)
        try:
            written, skipped = _write(opened, dest, size, depth, fit, strict, labels)
        except KeyboardInterrupt:
            click.echo(f"interrupted: {dest} was not written", err=True)
            raise
    finally:
        opened.close()
    classes = f", {labels.num_classes} classes" if labels else ""
    megabytes = dest.stat().st_size / 1e6
    kind = {1: "grayscale", 3: "RGB", 4: "RGBA"}[depth]
    click.echo(
        f"{dest}: {written} images, {size} x {size} {kind}{classes}, {megabytes:.1f} MB; "
        f"{skipped} bad image{'' if skipped == 1 else 's'} skipped"
    )


def _complete_labels(source: Source) -> Labels | None:
    labels = source.labels()
    if labels is None:
        return None
    missing = [name for name in source.names if name not in labels.by_name]
    if missing:
        click.echo(
            f"{len(missing)} of {len(source.names)} images have no label (the first is {missing[0]!r}): "
            "written without labels",
            err=True,
        )
        return None
    return labels


def _write(
    source: Source, dest: Path, resolution: int, channels: int, fit: Fit, strict: bool,
    labels: Labels | None,
) -> tuple[int, int]:  # fmt: skip
    """``(images written, images skipped)``; ``dest`` is whole or untouched."""
    entries: list[list[Any]] = []
    skipped = 0
    with replacing(dest) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        converted = _converted(source, resolution, channels, fit)
        for name, result in tqdm(converted, total=len(source.names), unit="img", desc=dest.name, disable=None):
            if isinstance(result, BadImageError):
                if strict:
                    raise UserError(f"bad image {name!r} in {source.title}: {result}")
                tqdm.write(f"skipped {name!r}: {result}", file=sys.stderr)
                skipped += 1
                continue
            number = f"{len(entries):08d}"
            target = f"{number[:5]}/img{number}.png"
            archive.writestr(zipfile.ZipInfo(target, _FIXED_DATE), result)
            entries.append([target, labels.by_name[name] if labels else None])
        if not entries:
            raise UserError(f"all {skipped} images in {source.title} are bad; nothing was written")
        description: dict[str, Any] = {"labels": entries if labels else None}
        if labels and labels.class_names:
            description["classes"] = labels.class_names
        if channels == 4:
            description["channels"] = 4
        archive.writestr(zipfile.ZipInfo("dataset.json", _FIXED_DATE), json.dumps(description))
    return len(entries), skipped


def _converted(source: Source, resolution: int, channels: int, fit: Fit) -> Iterator[tuple[str, bytes | BadImageError]]:
    """Name and PNG of each image, in order, made by a few threads that run at most a few images ahead."""

    def convert(place: int) -> bytes | BadImageError:
        try:
            return _png(source.pixels(place, resolution, channels, fit))
        except BadImageError as error:
            return error

    workers = min(8, cores())
    pool = ThreadPoolExecutor(workers)  # Pillow decodes, resizes and encodes without the interpreter's lock
    ahead: deque[Future[bytes | BadImageError]] = deque()
    try:
        for place in range(len(source.names) + 2 * workers):
            if place < len(source.names):
                ahead.append(pool.submit(convert, place))
            if place >= 2 * workers:
                yield source.names[place - 2 * workers], ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _png(pixels: np.ndarray) -> bytes:
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    encoded = io.BytesIO()
    image.save(encoded, "PNG")
    return encoded.getvalue()


if __name__ == "__main__":
    run(main)
