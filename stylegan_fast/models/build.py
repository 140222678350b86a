"""Networks built for tensors that are at hand, from settings that may be a stranger's."""

import inspect
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stylegan_fast.errors import UserError

# Larger than any network in use; keeps a made-up configuration from looping for hours over layers that hold nothing.
_LARGEST_SIZE = 1 << 20
_MOST_MAPPING_LAYERS = 256


def build_network(
    source: str | os.PathLike[str],
    label: str,
    network_class: type[nn.Module],
    kwargs: Mapping[str, Any],
    shapes: Mapping[str, Sequence[int]],
) -> nn.Module:
    """Builds a network for tensors that are there: nothing is reserved before the shapes are seen to be exactly its.

    Args:
        source: the file, for messages.
        label: which network of the file, for messages.
        network_class: `Generator` or `Discriminator`.
        kwargs: its arguments, from a stranger.
        shapes: of the tensors at hand, by name in the state dict.

    Raises:
        UserError: an argument is unknown or out of range, or the network has other tensors.
    """
    _check_kwargs(source, label, kwargs, network_class)
    try:
        with torch.device("meta"):
            expected: dict[str, Tensor] = network_class(**kwargs).state_dict()
    except ValueError as error:
        raise UserError(f"{source}: {error}") from None
    if different := sorted(shapes.keys() ^ expected.keys()):
        kind = "lacks" if different[0] in expected else "has the unknown"
        raise UserError(f"{source}: {kind} tensor {f'{label}.{different[0]}'!r:.80} ({len(different)} names differ)")
    for name, tensor in expected.items():
        if list(shapes[name]) != list(tensor.shape):
            raise UserError(
                f"{source}: tensor {f'{label}.{name}'!r} has shape {list(shapes[name])}, expected {list(tensor.shape)}"
            )
    # Random numbers for the initial weights, replaced at once, must not disturb the caller's.
    with torch.random.fork_rng(devices=[]):
        return network_class(**kwargs)


def _check_kwargs(
    file: str | os.PathLike[str], prefix: str, kwargs: Mapping[str, Any], network_class: type[nn.Module]
) -> None:
    parameters = inspect.signature(network_class.__init__).parameters
    for name, value in kwargs.items():
        if name not in parameters or name == "self":
            raise UserError(f"{file}: unknown setting {name!r:.60} for {prefix}; a newer version may have written it")
        if isinstance(parameters[name].default, bool):
            valid = isinstance(value, bool)
        elif isinstance(parameters[name].default, float):
            valid = isinstance(value, int | float) and not isinstance(value, bool)
        else:
            largest = _MOST_MAPPING_LAYERS if name == "mapping_layers" else _LARGEST_SIZE
            valid = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= largest
        if not valid:
            raise UserError(f"{file}: setting {name} for {prefix} is {value!r:.60}, which is out of range")
    if "img_resolution" not in kwargs:
        raise UserError(f"{file}: setting img_resolution for {prefix} is missing")
