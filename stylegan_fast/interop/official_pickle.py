"""The official StyleGAN 1 pickles: (G, D, Gs) as TensorFlow networks, read without TensorFlow and without executing.

Each network of such a file is an object of `NETWORK` with the state ::

    {"version": 2 or 3, "name": str, "static_kwargs": dict, "components": {"synthesis": network, "mapping": network},
     "build_module_src": str, "build_func_name": str, "variables": [(name, array), ...]}

`build_module_src` is Python source, which the official loader executes. Here it is skipped like any other text.
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
from torch import nn

from stylegan_fast.errors import UserError
from stylegan_fast.interop import official
from stylegan_fast.interop.pickled import Instance, read_pickle
from stylegan_fast.models import Discriminator, Generator
from stylegan_fast.models.build import build_network

NETWORK = "dnnlib.tflib.network Network"
VERSIONS = (2, 3)
# The functions that build the networks of the paper; those of its relatives have other names.
_BUILDERS = {"G_style": "generator", "D_basic": "discriminator"}
_COMPONENTS = {"synthesis": "G_synthesis", "mapping": "G_mapping"}
_LONGEST_LIST = 16


def read_networks(path: str | os.PathLike[str]) -> dict[str, nn.Module]:
    """The networks of an official pickle under our names: "G_ema" (there: Gs), "G" and "D", as far as it has them.

    Raises:
        UserError: the file is damaged, asks for anything to be executed, or holds other networks.
    """
    try:
        content = read_pickle(path, {NETWORK})
    except UserError as error:
        if "torch_utils.persistence" not in str(error):
            raise
        raise UserError(
            f"{path}: a StyleGAN2-ADA or StyleGAN3 pickle, whose classes are source code to be executed; only "
            "StyleGAN 1 networks are read"
        ) from None
    networks = list(content) if type(content) in (tuple, list) else [content]
    if not 1 <= len(networks) <= 3 or not all(isinstance(network, Instance) for network in networks):
        raise UserError(f"{path}: a pickle, but not of networks; expected the official (G, D, Gs)")
    names = {3: ("G", "D", "G_ema"), 2: ("G", "D"), 1: ("G_ema",)}[len(networks)]
    size = os.path.getsize(path)
    found: dict[str, nn.Module] = {}
    for name, network in zip(names, networks, strict=True):
        kind = _kind(path, network)
        if (kind == "discriminator") != (name == "D"):
            if len(networks) > 1:
                raise UserError(f"{path}: a {kind} where {name} should be; expected the official order (G, D, Gs)")
            name = "D"
        _check_sizes(path, network.state, size)
        build = _discriminator if kind == "discriminator" else _generator
        try:
            found[name] = build(path, name, network.state)
        except UserError as error:
            text = str(error)
            raise UserError(text if text.startswith(str(path)) else f"{path}: {text}") from None
    return found


def _check_sizes(path: str | os.PathLike[str], state: dict[str, Any], size: int) -> None:
    """Each variable becomes an array of its own, and a file could name one array a thousand times."""
    components = state.get("components")
    parts = components.values() if type(components) is dict else ()
    states = [state, *(part.state for part in parts if isinstance(part, Instance) and type(part.state) is dict)]
    total = sum(array.nbytes for part in states for array in _variables(part).values())
    if total > size:
        raise UserError(f"{path}: variables of {total} bytes in a file of {size}")


def _kind(path: str | os.PathLike[str], network: Instance) -> str:
    state = network.state
    if type(state) is not dict:
        raise UserError(f"{path}: a network without a state")
    version = state.get("version")
    if type(version) is not int or version not in VERSIONS:
        shown = version if type(version) is int else type(version).__name__
        raise UserError(f"{path}: a network of state version {shown}, expected 2 or 3")
    builder = state.get("build_func_name")
    if type(builder) is not str or builder not in _BUILDERS:
        shown = f"{builder!r:.60}" if type(builder) is str else type(builder).__name__
        raise UserError(
            f"{path}: a network built by {shown}, which is not StyleGAN 1; expected one of {', '.join(_BUILDERS)}"
        )
    return _BUILDERS[builder]


def _generator(path: str | os.PathLike[str], name: str, state: dict[str, Any]) -> Generator:
    settings = _settings(state)
    variables = _variables(state)
    components = state.get("components") or {}
    if type(components) is not dict:
        raise UserError("components that are not a dict")
    for role, prefix in _COMPONENTS.items():
        component = components.get(role)
        if isinstance(component, Instance) and type(component.state) is dict:
            variables.update((f"{prefix}/{key}", value) for key, value in _variables(component.state).items())
    kwargs = official.generator_init_kwargs(settings)
    fused_scale = settings.get("fused_scale", "auto")
    if fused_scale not in (True, False, "auto"):
        raise UserError(
            f"official generator: fused_scale is {fused_scale!r}; only True, False and 'auto' are supported"
        )
    resolution = kwargs["img_resolution"]
    tensors = official.generator_state_dict(variables, img_resolution=_checked(resolution), fused_scale=fused_scale)
    network = build_network(path, name, Generator, kwargs, {key: tensor.shape for key, tensor in tensors.items()})
    assert isinstance(network, Generator)
    network.load_state_dict(tensors)
    network.lod = _lod(variables, network.img_resolution)
    return network


def _discriminator(path: str | os.PathLike[str], name: str, state: dict[str, Any]) -> Discriminator:
    variables = _variables(state)
    kwargs = official.discriminator_init_kwargs(_settings(state))
    resolution = kwargs["img_resolution"]
    tensors = official.discriminator_state_dict(variables, img_resolution=_checked(resolution))
    network = build_network(path, name, Discriminator, kwargs, {key: tensor.shape for key, tensor in tensors.items()})
    assert isinstance(network, Discriminator)
    network.load_state_dict(tensors)
    network.lod = _lod(variables, network.img_resolution)
    return network


def _settings(state: dict[str, Any]) -> dict[str, Any]:
    """static_kwargs with nothing in it that would be slow to compare or to print."""
    settings = state.get("static_kwargs")
    if type(settings) is not dict:
        raise UserError("a network without static_kwargs")
    return {name: _setting(name, value) for name, value in settings.items()}


def _setting(name: str, value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in (bool, int, float):
        return value
    if type(value) is str:
        return value[:200]
    if (
        type(value) in (list, tuple)
        and len(value) <= _LONGEST_LIST
        and not any(type(v) in (list, tuple) for v in value)
    ):
        return [_setting(name, item) for item in value]
    raise UserError(f"official network: setting {name!r:.60} is a {type(value).__name__}, expected numbers and texts")


def _variables(state: dict[str, Any]) -> dict[str, np.ndarray]:
    entries = state.get("variables")
    if type(entries) is not list:
        raise UserError("a network without variables")
    variables = {}
    for entry in entries:
        if type(entry) is not tuple or len(entry) != 2 or type(entry[0]) is not str:
            raise UserError("a variable that is not a name with an array")
        name, value = entry
        if not isinstance(value, np.ndarray | np.generic) or value.dtype.kind != "f":
            raise UserError(f"the variable {name!r:.80} is not an array of floating point numbers")
        variables[name] = np.asarray(value)
    return variables


def _checked(resolution: Any) -> int:
    # Other values are told by the network itself; this one is needed before it is built.
    if type(resolution) is not int or not 4 <= resolution <= 1 << 20:
        raise UserError(f"official network: resolution is {resolution!r:.40}, expected 8 to 1024")
    return resolution


def _lod(variables: dict[str, np.ndarray], resolution: int) -> float:
    lod = float(np.ravel(variables.get("lod", 0.0))[0])
    return min(max(lod, 0.0), math.log2(resolution) - 2) if math.isfinite(lod) else 0.0
