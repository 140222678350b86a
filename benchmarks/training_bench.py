"""``python benchmarks/training_bench.py``: seconds per thousand images of the training step, beside its floor.

A step is what the official schedule repeats: the discriminator with R1, the running average, the generator.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import click
import torch
from harness.command import output_file
from harness.floor import discriminator_work, generator_work, measured_speeds
from harness.networks import HEAD, Provider, Row, common_columns, measured_rows, numbers, show
from harness.ports import Z_DIM, Networks, official_step, open_port
from harness.report import write_json
from torch import Tensor

from stylegan_fast.command import run
from stylegan_fast.device import choose_device
from stylegan_fast.errors import UserError
from stylegan_fast.memory import keep_freed_memory
from stylegan_fast.models import Discriminator, Generator
from stylegan_fast.ops.library import use_backend
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


def _ours(networks: tuple[Generator, Discriminator], reals: Tensor, z: Tensor, lod: float, dtype: str) -> Callable:
    G, D = copy.deepcopy(networks)
    G.to(memory_format=torch.channels_last)
    D.to(memory_format=torch.channels_last)
    trainer = Trainer(G, D, copy.deepcopy(G), r1_gamma=GAMMA, dtype=None if dtype == "fp32" else DTYPES[dtype])
    inputs = GeneratorInputs(z, noise_generator=torch.Generator(z.device).manual_seed(0))
    reals = reals.contiguous(memory_format=torch.channels_last)

    def step(backend: str = z.device.type) -> None:
        with use_backend(backend):
            trainer.d_step(reals, None, inputs, lod, LR)
            trainer.update_average(len(z))
            trainer.g_step(inputs, lod, LR)

    return step


def _theirs(networks: Networks, reals: Tensor, z: Tensor) -> Callable[[], None]:
    adams = tuple(torch.optim.Adam(net.parameters(), lr=LR, betas=(0.0, 0.99)) for net in (networks.G, networks.D))
    return lambda: official_step(networks, reals, z, (adams[0], adams[1]), GAMMA)


@click.command(help="Measure the training step against PyTorch ports of StyleGAN and against its floor.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--resolutions", default="32,64", show_default=True)
@click.option("--batch", type=click.IntRange(min=1), help="Images per step. [default: the official schedule's]")
@click.option("--peer", multiple=True, metavar="PATH", help="A checkout of a port; may be given several times.")
@click.option("--providers", metavar="NAMES", help="Only these, separated by semicolons. [default: all]")
@click.option("--fades/--no-fades", default=False, help="Measure each resolution half faded in, too.")
@click.option("--memory", type=click.Choice(["default", "kept"]), default="kept", show_default=True)
@click.option("--quick", is_flag=True, help="Three rounds: a look, not a result.")
@click.option("--json", "json_path", metavar="PATH", help="Write the rows here.")
def main(
    device: str,
    resolutions: str,
    batch: int | None,
    peer: tuple[str, ...],
    providers: str | None,
    fades: bool,
    memory: str,
    quick: bool,
    json_path: str | None,
) -> None:
    json_file = None if json_path is None else output_file("--json", json_path)
    sizes = numbers("--resolutions", resolutions, 8, 1024)
    if memory == "kept" and not keep_freed_memory():
        raise UserError("--memory kept: only the C library of GNU/Linux can be told to")
    place = choose_device(device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
    ports = [open_port(path) for path in peer]
    names = None if providers is None else set(providers.split(";"))
    common = common_columns("training", place, memory) | {"direction": "fwdbwd"}
    click.echo(f"training on {common['chip']}, {common['threads']} threads, torch {common['torch']}\n{HEAD}")
    rows: list[Row] = []
    for resolution in sizes:
        images = batch or Schedule(resolution).at(10**9).batch
        for lod in (0.0, FADE) if fades else (0.0,):
            found, floors = _prepared(resolution, images, lod, place, ports if lod == 0 else [])
            chosen = [provider for provider in found if names is None or provider.name in names]
            columns = common | {"shape": [images, 3, resolution, resolution], "lod": lod}
            here = measured_rows(columns, chosen, images, floors, place, quick)
            for row in here:
                row["s_per_kimg"] = row["ms"] / images
            show(f"{images}x{resolution}²" + ("+fade" if lod else ""), here)
            rows += here
            if json_file is not None:
                write_json(rows, json_file)
    for line in projections(rows):
        click.echo(line)


def _prepared(
    resolution: int, images: int, lod: float, place: torch.device, ports: list
) -> tuple[list[Provider], dict[str, float]]:
    """The providers of a row and the seconds of their floors, by dtype."""
    torch.manual_seed(0)
    networks = Generator(resolution).to(place), Discriminator(resolution).to(place)
    reals = torch.rand(images, 3, resolution, resolution, device=place) * 2 - 1
    z = torch.randn(images, Z_DIM, device=place)
    floors = {}
    for name, dtype in DTYPES.items():
        work = generator_work(networks[0]), discriminator_work(networks[1])
        speeds = measured_speeds(work[0], images, dtype, place)
        floors[name] = sum(
            passes * speeds.seconds(part, images, dtype.itemsize)
            for passes, part in zip((PASSES_OF_G, PASSES_OF_D), work, strict=True)
        )
    steps = {name: _ours(networks, reals, z, lod, name) for name in DTYPES}
    found = [Provider(f"ours {name}", name, step) for name, step in steps.items()]
    found.append(Provider("ours fp32, reference backend", "fp32", lambda: steps["fp32"]("reference")))
    for port in ports:
        theirs = port.build(resolution)
        theirs.G.train().to(place)
        theirs.D.train().to(place)
        found.append(Provider(port.name, "fp32", _theirs(theirs, reals, z), port=True))
    return found, floors


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
