"""``--resume`` with a network file: a new run that begins with the weights of another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors

from stylegan_fast.errors import UserError
from stylegan_fast.models import (
    LADDER,
    Discriminator,
    Generator,
    load_discriminator,
    load_generator,
    network_config,
)
from stylegan_fast.models.network_file import network_path
from stylegan_fast.training.run_folder import RunFolder
from stylegan_fast.training.trainer import Trainer
from stylegan_fast.training.transfer import transfer

# Arguments of the networks that belong to no option: what ports do in other ways than the original.
_G_SWITCHES = ("mapping_width", "w_avg_beta", "norm_eps", "bias_before_blur", "shared_noise")
_D_SWITCHES = ("mbstd_group_size", "from_rgb_linear", "widen_first")


@dataclass(frozen=True)
class Source:
    """The networks of a file. ``G`` is that in training, or the average where the file has no other."""

    path: Path
    G_ema: Generator
    G: Generator
    D: Discriminator | None

    @property
    def resolution(self) -> int:
        """Of the images it draws, which is less than the full one while a network grows."""
        return self.G_ema.img_resolution >> math.floor(self.G_ema.lod)

    def adopted(self) -> dict[str, Any]:
        """Settings of a run whose networks have the shape of these.

        Raises ``UserError`` where ``train`` builds no such networks.
        """
        shape = self.G_ema.init_kwargs
        config = next((n for n in ("f", *LADDER) if _has_settings(shape, LADDER[n].generator_settings())), None)
        if config is None:
            raise UserError(f"--resume {str(self.path)!r}: its generator is none of the configurations a to f")
        widths = {name: shape[name] for name in ("channel_base", "channel_max", "z_dim")}
        switches = {"g_switches": _named(shape, _G_SWITCHES)}
        if shape["mapping_width"] == shape["w_dim"]:  # which follows the option for z
            del switches["g_switches"]["mapping_width"]
        if self.D is not None:
            switches["d_switches"] = _named(self.D.init_kwargs, _D_SWITCHES)
        return {"config": config, "map_depth": shape["mapping_layers"], **widths, **switches}


def names_a_network(resume: str) -> bool:
    """Whether ``--resume`` means a network file, or a folder that has nothing but networks."""
    path = Path(resume)
    if path.is_dir():
        return not RunFolder(path).has_state() and any(path.glob("network-*.safetensors"))
    return path.is_file() and path.suffix != ".pt"


def open_source(resume: str) -> Source:
    """Open the networks. Raises ``UserError`` where there is no generator."""
    path = network_path(resume)
    if path.suffix == ".pkl":
        raise UserError(
            f"--resume {resume!r} is no network file of ours: make one of it with python -m stylegan_fast.convert "
            "--source FILE --dest FILE.safetensors"
        )
    G_ema = load_generator(path)
    G = load_generator(path, "G") if _holds(path, "G.") else G_ema
    D = load_discriminator(path) if network_config(path)["D"] is not None else None
    return Source(path, G_ema, G, D)


def start_from(source: Source, trainer: Trainer) -> list[str]:
    """Put the source's weights into the trainer's networks. Returns what was kept, adapted, fresh and left out."""
    fates = transfer(source.G, trainer.G)
    trainer.G_ema.load_state_dict(trainer.G.state_dict())  # what is fresh is so in both
    transfer(source.G_ema, trainer.G_ema)
    lines = [f"weights  of {source.path} ({_size(source.G_ema)})", *fates.summary("G")]
    if source.D is None:
        return [*lines, "D fresh: all of it, for the file has none"]
    return [*lines, *transfer(source.D, trainer.D).summary("D")]


def _holds(path: Path, prefix: str) -> bool:
    with safetensors.safe_open(path, framework="pt") as content:
        return any(name.startswith(prefix) for name in content.keys())  # noqa: SIM118 (not a dict)


def _named(arguments: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: arguments[name] for name in names if name in arguments}


def _has_settings(shape: dict[str, Any], settings: dict[str, Any]) -> bool:
    return all(shape.get(name) == value for name, value in settings.items())


def _size(G: Generator) -> str:
    classes = f", {G.c_dim} classes" if G.c_dim else ""
    return f"{G.img_resolution}x{G.img_resolution}x{G.img_channels}{classes}"
