"""``python benchmarks/training_bench.py``: seconds per thousand images of the training step, beside its floor.

A step is what the official schedule repeats: the discriminator with R1, the running average, the generator.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import click
import torch
from harness.command import output_file
from harness.floor import discriminator_work, generator_work, measured_speeds
from harness.networks import HEAD, Provider, Row, common_columns, measured_rows, numbers, show
from harness.ports import Z_DIM, Networks, Port, official_step, open_port
from harness.report import write_json
from torch import Tensor

from stylegan_fast.command import run
from stylegan_fast.device import choose_device
from stylegan_fast.errors import UserError
from stylegan_fast.memory import keep_freed_memory
from stylegan_fast.models import Discriminator, Generator
from stylegan_fast.ops.library import use_backend
from stylegan_fast.training.capture import CapturedSteps
from stylegan_fast.training.draws import GeneratorInputs
from stylegan_fast.training.schedule import Schedule
from stylegan_fast.training.trainer import Trainer

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
GAMMA, LR = 10.0, 1e-3
# Passes over each network in one step, a backward pass to activations or weights counted as one. G: fakes for D;
# forward, activations, weights. D: fakes forward, activations, weights; reals likewise, the gradient of the images,
# and its derivative towards activations and weights; forward and activations for G.
PASSES_OF_G, PASSES_OF_D = 4, 11
FADE = 0.5


class Ours:
    """Our trainer, at one dtype and all resolutions up to the largest."""

    def __init__(self, resolution: int, dtype: str, place: torch.device) -> None:
        torch.manual_seed(0)
        G, D = Generator(resolution).to(place), Discriminator(resolution).to(place)
        G.to(memory_format=torch.channels_last)
        D.to(memory_format=torch.channels_last)
        features = None if dtype == "fp32" else DTYPES[dtype]
        self.trainer = Trainer(G, D, copy.deepcopy(G), r1_gamma=GAMMA, dtype=features)
        self.captured = CapturedSteps(self.trainer, click.echo)
        self.noise = torch.Generator(place).manual_seed(0)

    def step(self, reals: Tensor, z: Tensor, lod: float, captured: bool, backend: str) -> Callable[[], None]:
        """A step at the resolution of reals, the next coarser one faded in by ``lod``."""
        level = int(math.log2(self.trainer.G.img_resolution // reals.shape[2]))
        inputs = GeneratorInputs(z, noise_generator=self.noise)
        reals = reals.contiguous(memory_format=torch.channels_last)
        steps = self.captured if captured else self.trainer

        def step() -> None:
            with use_backend(backend):
                steps.d_step(reals, None, inputs, level + lod, LR)
                steps.update_average(len(z))
                steps.g_step(inputs, level + lod, LR)

        return step


def _theirs(networks: Networks, reals: Tensor, z: Tensor) -> Callable[[], None]:
    adams = tuple(torch.optim.Adam(net.parameters(), lr=LR, betas=(0.0, 0.99)) for net in (networks.G, networks.D))
    return lambda: official_step(networks, reals, z, (adams[0], adams[1]), GAMMA)


@click.command(help="Measure the training step against PyTorch ports of StyleGAN and against its floor.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--resolutions", default="32,64", show_default=True)
@click.option("--schedule", is_flag=True, help="All phases of the official schedule at 1024x1024, and its length.")
@click.option("--batch", type=click.IntRange(min=1), help="Images per step. [default: the official schedule's]")
@click.option("--peer", multiple=True, metavar="PATH", help="A checkout of a port; may be given several times.")
@click.option("--providers", metavar="NAMES", help="Only these, separated by semicolons. [default: all]")
@click.option("--fades/--no-fades", default=False, help="Measure each resolution half faded in, too.")
@click.option("--floor/--no-floor", default=True, help="Measure the floor.")
@click.option("--tf32/--no-tf32", default=False, help="Let fp32 products and convolutions be rounded to TF32.")
@click.option("--memory", type=click.Choice(["default", "kept"]), default="kept", show_default=True)
@click.option("--quick", is_flag=True, help="Three rounds: a look, not a result.")
@click.option("--json", "json_path", metavar="PATH", help="Write the rows here.")
def main(
    device: str,
    resolutions: str,
    schedule: bool,
    batch: int | None,
    peer: tuple[str, ...],
    providers: str | None,
    fades: bool,
    floor: bool,
    tf32: bool,
    memory: str,
    quick: bool,
    json_path: str | None,
) -> None:
    json_file = None if json_path is None else output_file("--json", json_path)
    sizes = numbers("--resolutions", resolutions, 8, 1024)
    if schedule:
        sizes, fades = [8 << stage for stage in range(8)], True
    if memory == "kept" and not keep_freed_memory():
        raise UserError("--memory kept: only the C library of GNU/Linux can be told to")
    place = choose_device(device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True  # as train does
    ports = [open_port(path) for path in peer]
    names = None if providers is None else set(providers.split(";"))
    common = common_columns("training", place, memory) | {"direction": "fwdbwd", "tf32": tf32}
    click.echo(f"training on {common['chip']}, {common['threads']} threads, torch {common['torch']}\n{HEAD}")
    ours: dict[str, Ours] = {}
    rows: list[Row] = []
    for resolution in sizes:
        images = batch or Schedule(resolution).at(10**9).batch
        for lod in (0.0, FADE) if fades and resolution > 8 else (0.0,):
            torch.manual_seed(0)
            reals = torch.rand(images, 3, resolution, resolution, device=place) * 2 - 1
            z = torch.randn(images, Z_DIM, device=place)
            found = _providers(ours, max(sizes), reals, z, lod, ports if lod == 0 else [], names)
            floors = {}
            for dtype in dict.fromkeys(provider.dtype for provider in found) if floor else ():
                floors[dtype] = _floor(resolution, images, DTYPES[dtype], place)
            columns = common | {"shape": [images, 3, resolution, resolution], "lod": lod}
            here = measured_rows(columns, found, images, floors, place, quick)
            for row in here:
                row["s_per_kimg"] = row["ms"] / images
            show(f"{images}x{resolution}²" + ("+fade" if lod else ""), here)
            rows += here
            if json_file is not None:
                write_json(rows, json_file)
    for line in projections(rows):
        click.echo(line)


def _providers(
    ours: dict[str, Ours],
    largest: int,
    reals: Tensor,
    z: Tensor,
    lod: float,
    ports: list[Port],
    names: set[str] | None,
) -> list[Provider]:
    """Those of these names. ours: by dtype, built here when first needed."""
    place, backend = reals.device, reals.device.type
    found: list[Provider] = []

    def wanted(name: str) -> bool:
        return names is None or name in names

    for dtype in DTYPES:
        listed = [(f"ours {dtype}", True, backend)]
        if place.type == "cuda":
            listed.append((f"ours {dtype}, launched one by one", False, backend))
        if dtype == "fp32":
            listed.append((f"ours {dtype}, reference backend", False, "reference"))
        for name, captured, chosen in listed:
            if not wanted(name):
                continue
            if dtype not in ours:
                ours[dtype] = Ours(largest, dtype, place)
            captured = captured and place.type == "cuda"
            step, launched = (ours[dtype].step(reals, z, lod, way, chosen) for way in (captured, False))
            found.append(Provider(name, dtype, step, launched=launched))
    for port in ports:
        if wanted(port.name):
            theirs = port.build(reals.shape[2])
            theirs.G.train().to(place)
            theirs.D.train().to(place)
            found.append(Provider(port.name, "fp32", _theirs(theirs, reals, z), port=True))
    return found


def _floor(resolution: int, images: int, dtype: torch.dtype, place: torch.device) -> float:
    """Seconds."""
    with torch.device("meta"):
        work = generator_work(Generator(resolution)), discriminator_work(Discriminator(resolution))
    speeds = measured_speeds(work[0], images, dtype, place)
    passes = zip((PASSES_OF_G, PASSES_OF_D), work, strict=True)
    return sum(count * speeds.seconds(part, images, dtype.itemsize) for count, part in passes)


def projections(rows: list[Row]) -> list[str]:
    """Hours of the official 25,000-kimg schedule at 1024x1024, for providers measured in all its phases."""
    lines = []
    schedule = Schedule(1024)
    for name in dict.fromkeys(row["provider"] for row in rows):
        cost = {(row["shape"][2], row["lod"]): row["s_per_kimg"] for row in rows if row["provider"] == name}
        stable, fading = schedule.train_kimg, schedule.fade_kimg
        last = schedule.total_kimg - schedule.growth_kimg()
        phases = [(8, 0.0, stable)]
        for resolution in (16, 32, 64, 128, 256, 512, 1024):
            phases += [(resolution, FADE, fading), (resolution, 0.0, stable if resolution < 1024 else last)]
        if all((resolution, lod) in cost for resolution, lod, _ in phases):
            hours = sum(cost[resolution, lod] * kimg for resolution, lod, kimg in phases) / 3600
            lines.append(f"{name}: the official schedule at 1024², projected from these rows, takes {hours:.0f} hours")
    return lines


if __name__ == "__main__":
    run(main, keep_memory=False)  # that is --memory
