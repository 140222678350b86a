"""The generators of the paper's Table 1, from the progressive GAN (A) to StyleGAN (F), each a small difference."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

CONFIGS = ("a", "b", "c", "d", "e", "f")


@dataclass(frozen=True)
class Rung:
    """What sets one configuration apart (arXiv 1812.04948, Table 1 and appendix C).

    ``styles``, ``const_input``, ``noise`` are settings of the generator, ``blur`` of both networks; ``mapping`` says
    whether there is a mapping network (without one w is the normalised z); ``mixing`` whether styles are mixed in
    training; ``objective``, ``start_resolution`` and ``kimg`` (the official length in thousands of images) are of the
    training.
    """

    title: str
    blur: bool = False
    mapping: bool = False
    styles: bool = False
    const_input: bool = False
    noise: bool = False
    mixing: bool = False
    objective: str = "wgan-gp"
    start_resolution: int = 4
    kimg: float = 12000.0

    def generator_settings(self) -> dict[str, Any]:
        """Keyword arguments of ``Generator``."""
        return {name: getattr(self, name) for name in ("blur", "styles", "const_input", "noise")}


_A = Rung("progressive GAN")
_B = dataclasses.replace(
    _A,
    title="tuning, bilinear up- and downsampling",
    blur=True,
    objective="nonsaturating",
    start_resolution=8,
    kimg=25000.0,
)
_C = dataclasses.replace(_B, title="mapping network and styles", mapping=True, styles=True)
_D = dataclasses.replace(_C, title="constant input", const_input=True)
_E = dataclasses.replace(_D, title="noise inputs", noise=True)
_F = dataclasses.replace(_E, title="StyleGAN: mixing regularisation", mixing=True)

LADDER: dict[str, Rung] = dict(zip(CONFIGS, (_A, _B, _C, _D, _E, _F), strict=True))
