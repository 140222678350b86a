"""Checkpoints of the two common PyTorch ports of StyleGAN 1, told apart by the names of their tensors.

===================================  ==============================================================================
rosinality/style-based-gan-pytorch   ``g_running`` (or ``generator``) and ``discriminator``, or a bare state dict of one
huangzh13/StyleGAN.pytorch           bare state dicts: ``GAN_GEN_SHADOW_*.pth``, ``GAN_GEN_*.pth``, ``GAN_DIS_*.pth``
===================================  ==============================================================================

Where a port computes something else than the original, the loaded network computes what the port does, so that it draws
the port's pictures. Factors go into the weights; for the rest there are switches (`Generator`, `Discriminator`), which
are named with the networks.
"""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stylegan_fast.errors import UserError
from stylegan_fast.interop.ports import huangzh13, rosinality
from stylegan_fast.models import Generator
from stylegan_fast.models.build import build_network

_MOST_SHARING = 4
_LATENTS = 4096
_PORTS = (rosinality, huangzh13)


def read_networks(path: str | os.PathLike[str]) -> tuple[str, dict[str, nn.Module], list[str]]:
    """The port's name, its networks under our names ("G_ema", "G", "D"), and what was set to compute as it does.

    Raises:
        UserError: the file is damaged, would execute something, or is not a checkpoint of one of these ports.
    """
    file = Path(path)
    content = _loaded(file)
    for port in _PORTS:
        translated = port.translate(content)
        if translated is None:
            continue
        networks = {}
        switches: list[str] = []
        for name, part in translated.items():
            try:
                kwargs, tensors, reasons = part()
            except (KeyError, ValueError, IndexError, RuntimeError) as error:
                reason = (
                    error if isinstance(error, UserError) else f"the tensor {error} is missing or has another shape"
                )
                raise UserError(f"{file}: {name} of {port.ORIGIN}: {reason}") from None
            shapes = {key: tensor.shape for key, tensor in tensors.items()}
            network = networks[name] = build_network(file, name, port.CLASSES[name], kwargs, shapes)
            network.load_state_dict(tensors)
            if isinstance(network, Generator) and not bool(network.mapping.w_avg.any()):
                _set_mean(network)
                reasons = [*reasons, f"w_avg: the mean w of {_LATENTS} latents; the port takes it anew when it draws"]
            switches += [reason for reason in reasons if reason not in switches]
        return port.ORIGIN, networks, switches
    raise UserError(
        f"{file}: a PyTorch checkpoint, but its tensors have none of the names that "
        f"{' or '.join(port.ORIGIN for port in _PORTS)} give them"
    )


def _set_mean(G: Generator) -> None:
    z = torch.randn(_LATENTS, G.z_dim, generator=torch.Generator().manual_seed(0))
    c = torch.eye(G.c_dim)[torch.arange(_LATENTS) % G.c_dim] if G.c_dim else None
    with torch.no_grad():
        G.mapping.w_avg.copy_(G.mapping.map(z, c).mean(dim=0))


def _loaded(file: Path) -> Mapping[str, Any]:
    try:
        if zipfile.is_zipfile(file):
            _check_archive(file)
        content = torch.load(file, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except pickle.UnpicklingError as error:
        # The message names what was asked for somewhere in a page of advice.
        named = re.search(r"GLOBAL ([\w.]{1,80})", str(error))
        asked_for = f"asks for {named[1]!r}" if named else "asks for something"
        raise UserError(f"{file}: a PyTorch checkpoint that {asked_for} beyond tensors; not executed") from None
    except (RuntimeError, EOFError, zipfile.BadZipFile, ValueError, KeyError, MemoryError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{file}: not a whole PyTorch checkpoint ({reason})") from None
    if not isinstance(content, Mapping):
        raise UserError(f"{file}: a PyTorch checkpoint of a {type(content).__name__}, expected a dict of tensors")
    _check_sizes(file, content)
    return content


def _check_sizes(file: Path, content: Mapping[str, Any]) -> None:
    """Tensors may repeat one number, or one another, a thousand times; a whole network may be there twice."""
    states = [content, *(state for state in content.values() if isinstance(state, Mapping))]
    tensors = [value for state in states for value in state.values() if isinstance(value, Tensor)]
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if total > _MOST_SHARING * file.stat().st_size:
        raise UserError(f"{file}: tensors of {total} bytes in a file of {file.stat().st_size}")


def _check_archive(file: Path) -> None:
    """torch.save stores; an archive that unpacks to more than its own size is somebody's joke."""
    with zipfile.ZipFile(file) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > file.stat().st_size:
        raise UserError(f"{file}: a PyTorch checkpoint that would unpack to {size} bytes, more than the file has")
