"""Network files: safetensors with the tensors of G_ema, G and D, and the configuration as JSON metadata.

Tensors are named ``G_ema.<name>``, ``G.<name>``, ``D.<name>``. The metadata of the file is::

    {"format": "stylegan_fast.network", "version": "1", "config": '{"G": {...}, "D": {...}, "lod": 0.0, ...}'}

where "G" and "D" are the networks' `init_kwargs` and "lod" is the level of detail in use when the file was written.
Such a file holds numbers only. Opening one that a stranger made runs no code of theirs and reserves no memory beyond
the size of the file: shapes are compared with the file's before a network is built.
"""

import contextlib
import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from stylegan_fast.errors import UserError
from stylegan_fast.models.build import build_network
from stylegan_fast.models.discriminator import Discriminator
from stylegan_fast.models.generator import Generator

FORMAT = "stylegan_fast.network"
VERSION = "1"
GENERATORS = ("G_ema", "G")
GIVEN_AWAY = "model.safetensors"  # in a folder that `Generator.save_pretrained` writes

_FLOATING = {"F64", "F32", "F16", "BF16"}


def save_networks(
    path: str | os.PathLike[str],
    *,
    G_ema: Generator,
    G: Generator | None = None,
    D: Discriminator | None = None,
    lod: float = 0.0,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Writes a network file, whole or not at all: a temporary file in the same folder, synced, renamed.

    Args:
        path: the file to write; one that is already there is replaced at the very end.
        G_ema: the generator to draw with (moving average of the weights).
        G, D: the networks in training.
        lod: the level of detail in use.
        extra: more entries for the configuration, made of what JSON knows.

    Raises:
        OSError: the file cannot be written (folder missing, no permission, disk full); `path` is as it was.
        ValueError: `extra` takes the name of an entry that is always there.
    """
    path = Path(path)
    config: dict[str, Any] = {"G": G_ema.init_kwargs, "D": None if D is None else D.init_kwargs, "lod": float(lod)}
    if taken := config.keys() & (extra or {}).keys():
        raise ValueError(f"save_networks: extra has {sorted(taken)[0]!r}, which the configuration already has")
    config.update(extra or {})
    tensors = {
        f"{prefix}.{name}": tensor.detach().cpu().contiguous()
        for prefix, network in (("G_ema", G_ema), ("G", G), ("D", D))
        if network is not None
        for name, tensor in network.state_dict().items()
    }
    metadata = {"format": FORMAT, "version": VERSION, "config": json.dumps(config)}
    # Always the same name: what a killed process left behind is overwritten, not collected.
    partial = path.with_name(f".{path.name}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(safetensors.torch.save(tensors, metadata))
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException as failure:
        if isinstance(failure, OSError):
            failure.filename, failure.filename2 = str(path), None
        with contextlib.suppress(OSError):  # the first error is the one to tell
            partial.unlink(missing_ok=True)
        raise
    if os.name == "posix":
        _sync_folder(path.parent)


def load_generator(path: str | os.PathLike[str], which: str = "G_ema", device: str | torch.device = "cpu") -> Generator:
    """Opens the generator of a network file, ready to use.

    Args:
        path: a network file, or a run directory, whose latest ``network-*.safetensors`` is taken.
        which: "G_ema" (moving average of the weights, for drawing) or "G" (as in training).
        device: where to put it.

    Returns:
        The generator in evaluation mode, its parameters frozen (``requires_grad_()`` thaws them), its `lod` set to what
        was in use when the file was written.

    Raises:
        UserError: the file is missing, damaged, of another format, or lacks this network; or the device is not there.
    """
    if which not in GENERATORS:
        raise UserError(f"which is {which!r}, expected one of {', '.join(GENERATORS)}")
    network = _load(path, which, "G", Generator, device)
    assert isinstance(network, Generator)
    return network


def load_discriminator(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> Discriminator:
    """Opens the discriminator of a network file, ready to use; see `load_generator`."""
    network = _load(path, "D", "D", Discriminator, device)
    assert isinstance(network, Discriminator)
    return network


def network_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The configuration in a network file (or in a run directory's latest): "G", "D", "lod" and what was added.

    Raises:
        UserError: the file is missing, damaged or of another format.
    """
    file = network_path(path)
    with _opened(file) as content:
        return _config(file, content)


def network_path(path: str | os.PathLike[str]) -> Path:
    """The network file meant by a path: itself, ``model.safetensors`` of a folder made to give away, or the latest
    ``network-*.safetensors`` of a run directory.

    Raises:
        UserError: there is no such file.
    """
    path = Path(path)
    return path if path.is_file() else network_paths(path)[-1]


def network_paths(run: str | os.PathLike[str]) -> list[Path]:
    """All ``network-*.safetensors`` of a run directory, the oldest first, or the one of a folder made to give away.

    Raises:
        UserError: there are none.
    """
    path = Path(run)
    if not path.is_dir():
        raise UserError(f"{path}: no such network file or run directory")
    if (path / GIVEN_AWAY).is_file():
        return [path / GIVEN_AWAY]
    numbered = [(int(match[1]), file) for file in path.iterdir() if (match := _NUMBERED.fullmatch(file.name))]
    if not numbered:
        raise UserError(f"{path}: the folder holds no network-*.safetensors; expected a run directory of train")
    return [file for _, file in sorted(numbered)]


_NUMBERED = re.compile(r"network-(\d{1,18})\.safetensors")


def _sync_folder(folder: Path) -> None:
    """Puts a renaming on the disk and not only in the system's cache."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _load(
    path: str | os.PathLike[str], prefix: str, kind: str, network_class: type[nn.Module], device: str | torch.device
) -> nn.Module:
    target = checked_device(device)
    file = network_path(path)
    with _opened(file) as content:
        config = _config(file, content)
        network = _matching_network(file, content, prefix, config[kind], network_class)
        tensors = {name: content.get_tensor(f"{prefix}.{name}") for name in network.state_dict()}
    network.load_state_dict(tensors)
    coarsest = int(math.log2(network.img_resolution)) - 2  # type: ignore[arg-type]
    if not config["lod"] <= coarsest:
        raise UserError(f"{file}: lod is {config['lod']:g}, expected 0 to {coarsest}")
    network.lod = config["lod"]
    return network.eval().requires_grad_(False).to(target)


def checked_device(device: str | torch.device) -> torch.device:
    try:
        target = torch.device(device)
        torch.empty(0, device=target)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device {str(device)!r} cannot be used here: {reason}") from None
    return target


@contextlib.contextmanager
def _opened(file: Path) -> Any:
    """The file opened by safetensors, which compares every offset in the header with the size of the file."""
    try:
        with safetensors.safe_open(file, framework="pt", device="cpu") as content:
            yield content
    except safetensors.SafetensorError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{file}: not a whole safetensors network file ({reason})") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror or error}") from None


def _config(file: Path, content: Any) -> dict[str, Any]:
    metadata = content.metadata() or {}
    if metadata.get("format") != FORMAT:
        raise UserError(f"{file}: a safetensors file, but not a {FORMAT}; expected one written by train or convert")
    if metadata.get("version") != VERSION:
        raise UserError(f"{file}: version {metadata.get('version')!r} of the format, expected {VERSION!r}")
    try:
        config = json.loads(metadata.get("config", ""))
    except (ValueError, RecursionError):
        raise UserError(f"{file}: the configuration in it is not valid JSON") from None
    if not isinstance(config, dict) or not isinstance(config.get("G"), dict):
        raise UserError(f"{file}: the configuration in it has no settings for G")
    config.setdefault("D", None)
    if config["D"] is not None and not isinstance(config["D"], dict):
        raise UserError(f"{file}: the configuration in it has no valid settings for D")
    lod = config.setdefault("lod", 0.0)
    if isinstance(lod, bool) or not isinstance(lod, int | float) or not 0 <= lod < 64:
        raise UserError(f"{file}: lod is {lod!r:.40}, expected a number from 0")
    config["lod"] = float(lod)
    return config


def _matching_network(
    file: Path, content: Any, prefix: str, kwargs: dict[str, Any] | None, network_class: type[nn.Module]
) -> nn.Module:
    """Builds the network, once the file is seen to hold exactly the tensors it will have."""
    names = [name for name in content.keys() if name.startswith(f"{prefix}.")]  # noqa: SIM118 (not a dict)
    if kwargs is None or not names:
        raise UserError(f"{file}: the file does not contain {prefix}")
    found = {name.removeprefix(f"{prefix}."): content.get_slice(name) for name in names}
    for name, stored in found.items():
        if stored.get_dtype() not in _FLOATING:
            full = f"{prefix}.{name}"
            raise UserError(f"{file}: tensor {full!r:.80} is {stored.get_dtype()}, expected floating point")
    shapes = {name: stored.get_shape() for name, stored in found.items()}
    return build_network(file, prefix, network_class, kwargs, shapes)
