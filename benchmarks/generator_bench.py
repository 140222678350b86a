"""``python benchmarks/generator_bench.py``: images per second of the whole generator, beside its floor."""

from __future__ import annotations

import functools

import click
import torch
from harness.command import output_file
from harness.floor import generator_work, measured_speeds
from harness.networks import HEAD, Provider, Row, common_columns, measured_rows, numbers, show
from harness.ports import Z_DIM, open_port
from harness.report import write_json

from stylegan_fast.command import run
from stylegan_fast.device import choose_device
from stylegan_fast.errors import UserError
from stylegan_fast.memory import keep_freed_memory
from stylegan_fast.models import Generator
from stylegan_fast.ops.library import use_backend

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def _providers(
    G: Generator, ports: dict[str, object], z: torch.Tensor, with_compile: bool, names: set[str] | None
) -> list[Provider]:
    backend = z.device.type
    fast = {name: G.optimize_for_inference(dtype) for name, dtype in DTYPES.items()}

    def ours(network: object, chosen: str = backend) -> object:
        with use_backend(chosen), torch.no_grad():
            return network(z)  # type: ignore[operator]

    def theirs(draw: object) -> object:
        with torch.no_grad():
            return draw(z)  # type: ignore[operator]

    found = []
    for name, network in fast.items():
        launched = functools.partial(ours, network)
        if z.is_cuda:
            captured = functools.partial(ours, G.optimize_for_inference(DTYPES[name], cuda_graphs=True))
            found.append(Provider(f"ours {name}", name, captured, launched=launched))
        found.append(Provider(f"ours {name}, launched one by one" if z.is_cuda else f"ours {name}", name, launched))
    found.append(Provider("ours fp32, as trained", "fp32", lambda: ours(G)))
    found.append(Provider("ours fp32, reference backend", "fp32", lambda: ours(G, "reference")))
    if with_compile:
        compiled = torch.compile(fast["fp32"], dynamic=False)
        found.append(Provider("torch.compile of the reference", "fp32", lambda: ours(compiled, "reference")))
    found += [Provider(name, "fp32", lambda draw=draw: theirs(draw), port=True) for name, draw in ports.items()]
    return [p for p in found if names is None or p.name in names]


@click.command(
    help="Measure images per second of the generator against PyTorch ports of StyleGAN and against its floor."
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--resolutions", default="64,256,1024", show_default=True)
@click.option("--batches", default="1,4,16", show_default=True)
@click.option("--peer", multiple=True, metavar="PATH", help="A checkout of a port; may be given several times.")
@click.option("--providers", metavar="NAMES", help="Only these, separated by semicolons. [default: all]")
@click.option("--floor/--no-floor", "with_floor", default=True, help="Measure the floor.")
@click.option("--tf32/--no-tf32", default=False, help="Let fp32 products and convolutions be rounded to TF32.")
@click.option("--compile/--no-compile", "with_compile", default=True, help="Measure torch.compile too.")
@click.option("--memory", type=click.Choice(["default", "kept"]), default="kept", show_default=True)
@click.option("--quick", is_flag=True, help="Three rounds: a look, not a result.")
@click.option("--json", "json_path", metavar="PATH", help="Write the rows here.")
def main(
    device: str,
    resolutions: str,
    batches: str,
    peer: tuple[str, ...],
    providers: str | None,
    with_floor: bool,
    tf32: bool,
    with_compile: bool,
    memory: str,
    quick: bool,
    json_path: str | None,
) -> None:
    json_file = None if json_path is None else output_file("--json", json_path)
    sizes, counts = numbers("--resolutions", resolutions, 8, 1024), numbers("--batches", batches, 1, 1024)
    if memory == "kept" and not keep_freed_memory():
        raise UserError("--memory kept: only the C library of GNU/Linux can be told to")
    place = choose_device(device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    ports = [open_port(path) for path in peer]
    names = None if providers is None else set(providers.split(";"))
    common = common_columns("generator", place, memory) | {"direction": "fwd", "tf32": tf32}
    click.echo(f"generator on {common['chip']}, {common['threads']} threads, torch {common['torch']}\n{HEAD}")
    rows: list[Row] = []
    for resolution in sizes:
        torch.manual_seed(0)
        G = Generator(resolution).eval().to(place)
        built = {port.name: port.build(resolution) for port in ports}
        for networks in built.values():
            networks.G.eval().to(place)
        work = generator_work(G)
        for batch in counts:
            z = torch.randn(batch, Z_DIM, device=place)
            floors = {}
            for name, dtype in DTYPES.items() if with_floor else ():
                speeds = measured_speeds(work, batch, dtype, place)
                floors[name] = speeds.seconds(work, batch, dtype.itemsize)
            draws = {name: networks.draw for name, networks in built.items()}
            found = _providers(G, draws, z, with_compile, names)
            shape = {"shape": [batch, 3, resolution, resolution]}
            rows += (here := measured_rows(common | shape, found, batch, floors, place, quick))
            show(f"{batch}x{resolution}²", here)
            if json_file is not None:
                write_json(rows, json_file)


if __name__ == "__main__":
    run(main, keep_memory=False)  # that is --memory
