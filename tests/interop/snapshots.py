"""Pickles in the layout of the official snapshots, and pickles that only look like it."""

import io
import pickle
import struct
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tests import golden_data as golden

# A file of the official implementation, (G, D, Gs) at 64x64.
OFFICIAL = golden.FOLDER / "official_format_r64.pkl"


@contextmanager
def official_class() -> Iterator[type]:
    """The class whose objects the snapshots hold, importable for as long as something is pickled."""
    modules = {name: types.ModuleType(name) for name in ("dnnlib", "dnnlib.tflib", "dnnlib.tflib.network")}
    network = type("Network", (), {"__module__": "dnnlib.tflib.network"})
    modules["dnnlib.tflib.network"].Network = network  # type: ignore[attr-defined]
    sys.modules.update(modules)
    try:
        yield network
    finally:
        for name in modules:
            del sys.modules[name]


def own(variables: dict[str, np.ndarray], prefix: str = "") -> list[tuple[str, Any]]:
    """Those under the prefix, without it, as the list in a state; scalars as NumPy scalars."""
    names = [name for name in variables if name.startswith(prefix) and (prefix or not name.startswith("G_"))]
    return [
        (name[len(prefix) :], variables[name][()] if variables[name].ndim == 0 else variables[name]) for name in names
    ]


def state(name: str, builder: str, kwargs: dict, variables: list, components: dict | None, version: int = 3) -> dict:
    found = {
        "version": version,
        "name": name,
        "static_kwargs": kwargs,
        "components": components,
        "build_module_src": "raise SystemExit('the source in the file was executed')",
        "build_func_name": builder,
        "variables": variables,
    }
    return found if components is not None else {k: v for k, v in found.items() if k != "components"}


def generator(file: str, version: int = 3, **changes: Any) -> Any:
    """An official generator with the variables of a golden file; inside `official_class`."""
    network = sys.modules["dnnlib.tflib.network"].Network  # type: ignore[attr-defined]
    variables, kwargs = golden.under(file, "var/"), {**golden.static_kwargs(file), **changes}

    def made(*arguments: Any) -> Any:
        made_network = network()
        made_network.__dict__.update(state(*arguments))
        return made_network

    parts = {
        role: made(prefix, prefix, kwargs, own(variables, f"{prefix}/"), {}, version)
        for role, prefix in (("synthesis", "G_synthesis"), ("mapping", "G_mapping"))
    }
    return made("Gs", "G_style", kwargs, own(variables), parts, version)


def discriminator(file: str, version: int = 3) -> Any:
    made = sys.modules["dnnlib.tflib.network"].Network()  # type: ignore[attr-defined]
    variables = own(golden.under(file, "var/"))
    # State version 2 has no components.
    components = {} if version == 3 else None
    made.__dict__.update(state("D", "D_basic", golden.static_kwargs(file), variables, components, version))
    return made


def written(path: Path, content: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(content, protocol))
    return path


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


class Raw:
    """Instructions one after another."""

    def __init__(self) -> None:
        self.content = io.BytesIO()
        self.content.write(b"\x80\x04")

    def add(self, *parts: bytes) -> "Raw":
        for part in parts:
            self.content.write(part)
        return self

    def text(self, value: str) -> "Raw":
        encoded = value.encode()
        return self.add(b"X", struct.pack("<I", len(encoded)), encoded)

    def named(self, module: str, name: str) -> "Raw":
        return self.text(module).text(name).add(b"\x93")

    def number(self, value: int) -> "Raw":
        encoded = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return self.add(b"\x8a", bytes([len(encoded)]), encoded)

    def dtype(self, code: str = "f4") -> "Raw":
        """On the stack: the dtype, in little-endian order."""
        self.named("numpy", "dtype").text(code).add(b"\x89\x88\x87R(K\x03")
        return self.text("<").add(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb")

    def array(self, shape: tuple[int, ...], content: bytes, code: str = "f4") -> "Raw":
        self.named("numpy.core.multiarray", "_reconstruct").named("numpy", "ndarray").add(
            b"K\x00\x85C\x01b\x87R(K\x01("
        )
        for size in shape:
            self.number(size)
        return self.add(b"t").dtype(code).add(b"\x89B", struct.pack("<I", len(content)), content, b"tb")

    def end(self) -> bytes:
        return self.content.getvalue() + b"."
