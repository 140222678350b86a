"""Networks of any kind of file we read: ours, the official pickles, and the checkpoints of two PyTorch ports.

The kind is told by the first bytes of the file, not by its name. Nothing in a file is executed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from stylegan_fast.errors import UserError
from stylegan_fast.interop import official_pickle, ports
from stylegan_fast.models import Discriminator, Generator, network_file
from stylegan_fast.models.network_file import GENERATORS, network_path

# How the formats of torch.save begin: a ZIP archive, and before torch 1.6 a pickle of this number.
_TORCH = (b"PK\x03\x04", b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19")
_PICKLES = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")


class Foreign(NamedTuple):
    """What a file of another project holds."""

    origin: str  # whose file it is
    networks: dict[str, nn.Module]  # under our names: "G_ema", "G", "D"
    switches: list[str]  # what had to be set for its arithmetic, each with its reason


def load_generator(path: str | os.PathLike[str], which: str = "G_ema", device: str | torch.device = "cpu") -> Generator:
    """Opens a generator, ready to use.

    Args:
        path: a network file of ours, a run directory (its latest ``network-*.safetensors``), an official StyleGAN 1
            pickle (``karras2019stylegan-*.pkl``), or a checkpoint of one of the ports named in `interop.ports`.
        which: "G_ema" (moving average of the weights, for drawing; official: Gs) or "G" (as in training).
        device: where to put it.

    Returns:
        The generator in evaluation mode, its parameters frozen (``requires_grad_()`` thaws them), its `lod` set to what
        was in use when the file was written.

    Raises:
        UserError: the file is missing, damaged, of another format, or lacks this network; or the device is not there.
    """
    file = network_path(path)
    if not is_foreign(file):
        return network_file.load_generator(file, which, device)
    if which not in GENERATORS:
        raise UserError(f"which is {which!r}, expected one of {', '.join(GENERATORS)}")
    network = _ready(file, which, device)
    assert isinstance(network, Generator)
    return network


def load_discriminator(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> Discriminator:
    """Opens a discriminator, ready to use; see `load_generator`."""
    file = network_path(path)
    if not is_foreign(file):
        return network_file.load_discriminator(file, device)
    network = _ready(file, "D", device)
    assert isinstance(network, Discriminator)
    return network


def is_foreign(file: Path) -> bool:
    """Whether a file begins like a pickle or a checkpoint. Raises ``UserError`` where it cannot be read."""
    return _beginning(file).startswith((*_TORCH, *_PICKLES, *_COMPRESSED))


def read_foreign(file: Path) -> Foreign:
    """Everything in an official pickle or a port's checkpoint.

    Raises:
        UserError: the file is neither, is damaged, or asks for anything to be executed.
    """
    if _beginning(file).startswith(_TORCH):
        return Foreign(*ports.read_networks(file))
    return Foreign("official StyleGAN (TensorFlow)", official_pickle.read_networks(file), [])


def _beginning(file: Path) -> bytes:
    try:
        with open(file, "rb") as content:
            return content.read(16)
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror or error}") from None


def _ready(file: Path, name: str, device: str | torch.device) -> nn.Module:
    target = network_file.checked_device(device)
    networks = read_foreign(file).networks
    if name not in networks:
        raise UserError(f"{file}: the file does not contain {name}, only {', '.join(networks)}")
    return networks[name].eval().requires_grad_(False).to(target)
