"""``python -m stylegan_fast.convert``: other projects' StyleGAN 1 networks as a network file of ours."""

from __future__ import annotations

from pathlib import Path

import click

from stylegan_fast.command import run
from stylegan_fast.errors import UserError


@click.command()
@click.option("--source", required=True, metavar="FILE", help="An official .pkl, or a port's checkpoint.")
@click.option("--dest", required=True, metavar="FILE", help="Where to write, like net.safetensors.")
def main(source: str, dest: str) -> None:
    """Convert an official StyleGAN pickle, or a checkpoint of style-based-gan-pytorch or StyleGAN.pytorch.

    Nothing in the file is executed, and neither TensorFlow nor the other project is needed. The file written holds
    numbers only and works wherever a network of ours does.
    """
    target = Path(dest)
    if target.suffix != ".safetensors":
        raise UserError(f"--dest {dest!r}: expected a name that ends in .safetensors")
    from stylegan_fast.interop.networks import is_foreign, read_foreign
    from stylegan_fast.models import Discriminator, Generator, save_networks
    from stylegan_fast.models.network_file import network_path

    file = network_path(source)
    if not is_foreign(file):
        raise UserError(f"--source {source!r}: neither an official pickle nor a checkpoint of a port")
    foreign = read_foreign(file)
    G_ema, G, D = (foreign.networks.get(name) for name in ("G_ema", "G", "D"))
    if not isinstance(G_ema, Generator):
        raise UserError(f"--source {source!r}: holds no generator, only {', '.join(foreign.networks)}")
    assert G is None or isinstance(G, Generator)
    assert D is None or isinstance(D, Discriminator)
    origin = {"converted_from": {"origin": foreign.origin, "switches": foreign.switches}}
    save_networks(target, G_ema=G_ema, G=G, D=D, lod=G_ema.lod, extra=origin)
    size = f"{G_ema.img_resolution}x{G_ema.img_resolution}"
    click.echo(f"{', '.join(foreign.networks)} of {foreign.origin}, {size}, in {target}")
    for switch in foreign.switches:
        click.echo(f"  computed as there: {switch}")


if __name__ == "__main__":
    run(main)
