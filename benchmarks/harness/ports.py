"""The public PyTorch ports of StyleGAN 1, from checkouts of theirs: what is needed to time them beside ours."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from stylegan_fast.errors import UserError

Z_DIM = 512


@dataclass(frozen=True)
class Networks:
    """Both networks of a port at one resolution, in fp32, with the widths of arXiv 1812.04948.

    draw: images ``[N, 3, r, r]`` of z ``[N, 512]``. score: numbers ``[N, 1]`` of images.
    """

    G: nn.Module
    D: nn.Module
    draw: Callable[[Tensor], Tensor]
    score: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Port:
    """A checkout and how to build its networks for a resolution; which of its functions to call is known here."""

    name: str
    build: Callable[[int], Networks]


def open_port(path: str) -> Port:
    """The port in this folder. Raises UserError where it is none that is known, or cannot be imported."""
    folder = Path(path).resolve()
    for name, mark, build in _KNOWN:
        if all((folder / file).is_file() for file in mark):
            try:
                with _importing_from(folder):
                    return Port(name, build())
            except ImportError as failure:
                raise UserError(f"--peer {path!r}: it cannot be imported ({failure})") from None
    names = " or ".join(name for name, _, _ in _KNOWN)
    raise UserError(f"--peer {path!r}: this is no checkout of {names}")


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """Lets imports find the checkout's modules first, and leaves no trace of their general names."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            module = sys.modules[name]
            places = [
                getattr(module, "__file__", None),
                *getattr(module, "__path__", []),
            ]  # a folder has but the latter
            if any(str(place or "").startswith(str(folder)) for place in places):
                del sys.modules[name]


def _huangzh13() -> Callable[[int], Networks]:
    # Its networks stand in a file that also imports the data loading, which needs torchvision.
    data: Any = ModuleType("data")
    data.get_data_loader = None
    sys.modules["data"] = data
    try:
        gan = importlib.import_module("models.GAN")
    finally:
        del sys.modules["data"]

    def build(resolution: int) -> Networks:
        depth = int(math.log2(resolution)) - 2
        # Its default blur filter is none; the paper's is the one asked for. Truncation and mixing are not measured.
        G = gan.Generator(
            resolution,
            structure="linear",
            truncation_psi=-1.0,
            style_mixing_prob=None,
            blur_filter=[1, 2, 1],
            num_channels=3,
        )
        D = gan.Discriminator(resolution, structure="linear", blur_filter=[1, 2, 1])
        return Networks(G, D, lambda z: G(z, depth, 1.0), lambda images: D(images, depth, 1.0))

    return build


def _rosinality() -> Callable[[int], Networks]:
    model = importlib.import_module("model")

    def build(resolution: int) -> Networks:
        step = int(math.log2(resolution)) - 2
        G, D = model.StyledGenerator(Z_DIM), model.Discriminator(from_rgb_activate=True)
        return Networks(G, D, lambda z: G(z, step=step, alpha=1), lambda images: D(images, step=step, alpha=1))

    return build


_KNOWN: tuple[tuple[str, tuple[str, ...], Callable[[], Callable[[int], Networks]]], ...] = (
    ("huangzh13/StyleGAN.pytorch", ("models/GAN.py", "models/CustomLayers.py"), _huangzh13),
    ("rosinality/style-based-gan-pytorch", ("model.py", "train.py"), _rosinality),
)


def official_step(networks: Networks, reals: Tensor, z: Tensor, optimizers: tuple[Any, Any], gamma: float) -> None:
    """One discriminator step with R1 and one generator step, as ports write them in eager PyTorch."""
    G_adam, D_adam = optimizers
    softplus = nn.functional.softplus
    D_adam.zero_grad()
    with torch.no_grad():
        fakes = networks.draw(z)
    reals = reals.detach().requires_grad_()
    real_scores, fake_scores = networks.score(reals), networks.score(fakes)
    (gradient,) = torch.autograd.grad(real_scores.sum(), reals, create_graph=True)
    penalty = gradient.square().sum((1, 2, 3)).mean()
    (softplus(fake_scores).mean() + softplus(-real_scores).mean() + penalty * (gamma / 2)).backward()
    D_adam.step()

    G_adam.zero_grad()
    networks.D.requires_grad_(False)
    softplus(-networks.score(networks.draw(z))).mean().backward()
    networks.D.requires_grad_(True)
    G_adam.step()
