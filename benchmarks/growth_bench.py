"""``python benchmarks/growth_bench.py``: what pictures cost while a network grows, and how much memory a batch takes.

A network of the final size at a level of detail is measured beside one that has no more resolutions than are in use:
those not in use should cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import click
import torch
from harness.benchmark import DTYPES
from harness.command import output_file, picture_file
from harness.memory import peak_of
from harness.networks import CallClock, Row, common_columns, numbers
from harness.plot import draw_growth
from harness.ports import Z_DIM
from harness.report import write_json
from harness.timing import Effort, measure

from stylegan_fast.command import run
from stylegan_fast.device import choose_device
from stylegan_fast.errors import UserError
from stylegan_fast.memory import keep_freed_memory
from stylegan_fast.models import Generator

EFFORT = Effort(rounds=5, seconds=20.0)


@click.command(help="Measure time per picture from 8x8 to the full resolution, and memory against batch size.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--dtype", "dtype_name", type=click.Choice(list(DTYPES)), default="bf16", show_default=True)
@click.option("--resolution", type=click.Choice([str(8 << s) for s in range(8)]), default="1024", show_default=True)
@click.option("--batch", type=click.IntRange(min=1), default=4, show_default=True, help="Of the times.")
@click.option("--batches", default="1,2,4,8,16", show_default=True, help="Of the memory, at full resolution.")
@click.option("--memory", type=click.Choice(["default", "kept"]), default="kept", show_default=True)
@click.option("--json", "json_path", metavar="PATH", help="Write the rows here.")
@click.option("--plot", "plot_path", metavar="PATH", help="Draw them here, .png, .svg or .pdf (needs matplotlib).")
def main(
    device: str,
    dtype_name: str,
    resolution: str,
    batch: int,
    batches: str,
    memory: str,
    json_path: str | None,
    plot_path: str | None,
) -> None:
    json_file = None if json_path is None else output_file("--json", json_path)
    plot_file = None if plot_path is None else picture_file("--plot", plot_path)
    counts, full = numbers("--batches", batches, 1, 1024), int(resolution)
    if memory == "kept" and not keep_freed_memory():
        raise UserError("--memory kept: only the C library of GNU/Linux can be told to")
    place = choose_device(device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    common = common_columns("growth", place, memory) | {"dtype": dtype_name}
    click.echo(f"growth on {common['chip']}, {common['threads']} threads, torch {common['torch']}, {dtype_name}")
    grown = _generator(full, dtype_name, place)
    rows: list[Row] = []
    click.echo(f"{'':<12}{f'of {full}² in all':>18}{'of this size':>16}{'ratio':>8}   ms a picture, batch {batch}")
    size = 8
    while size <= full:
        own = _generator(size, dtype_name, place)
        z = torch.randn(batch, Z_DIM, device=place)
        lod = (full // size).bit_length() - 1
        calls = {"grown so far": lambda lod=lod, z=z: grown(z, lod=lod), "of this size": lambda own=own, z=z: own(z)}
        timings = measure({name: CallClock(_without_gradients(call), place) for name, call in calls.items()}, EFFORT)
        for name, timing in timings.items():
            rows.append(
                common
                | {"part": "time", "provider": name, "resolution": size, "batch": batch}
                | {"ms": timing.ms / batch, "spread": timing.spread}
            )
        ms = [timing.ms / batch for timing in timings.values()]
        click.echo(f"{f'{size}²':<12}{ms[0]:>18.4g}{ms[1]:>16.4g}{ms[0] / ms[1]:>8.2f}")
        size *= 2
    for count in counts:
        z = torch.randn(count, Z_DIM, device=place)
        peak = peak_of(_without_gradients(lambda z=z: grown(z)), place)
        rows.append(common | {"part": "memory", "resolution": full, "batch": count, "peak_bytes": peak})
        click.echo(f"batch {count:<6}{'' if peak is None else f'{peak / 1e6:.0f}':>18} MB at {full}²")
    if json_file is not None:
        write_json(rows, json_file)
    if plot_file is not None:
        draw_growth(rows, plot_file)


def _generator(resolution: int, dtype_name: str, place: torch.device) -> Generator:
    torch.manual_seed(0)
    return Generator(resolution).eval().to(place).optimize_for_inference(DTYPES[dtype_name])


def _without_gradients(call: Callable[[], object]) -> Callable[[], object]:
    def run_it() -> object:
        with torch.no_grad():
            return call()

    return run_it


if __name__ == "__main__":
    run(main, keep_memory=False)  # that is --memory
