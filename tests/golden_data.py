"""Reads tests/golden: numbers computed by the official implementation, and our networks with its variables.

Some large arrays there are only the leading part of the original array in each dimension (see tests/golden/README.md),
so everything is compared through `assert_matches`. STYLEGAN_FAST_GOLDEN names another folder with the same files.
"""

import csv
import gzip
import io
import json
import os
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stylegan_fast.interop import official
from stylegan_fast.models import Discriminator, Generator

FOLDER = Path(os.environ.get("STYLEGAN_FAST_GOLDEN", Path(__file__).parent / "golden"))

# Relative to the largest magnitude of an array. The networks' float32 variables are used in both dtypes; in float32 one
# leaky ReLU input within rounding distance of 0 may take the other branch, which moves a whole gradient array.
FORWARD = {torch.float64: 5e-5, torch.float32: 1e-4}
GRADIENT = {torch.float64: 2e-4, torch.float32: 3e-3}


@cache
def load(name: str) -> dict[str, np.ndarray]:
    """The arrays of ``<name>.npz`` by key."""
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


def tensor(name: str, key: str, dtype: torch.dtype = torch.float64) -> Tensor:
    """One array as a tensor."""
    return torch.from_numpy(np.array(load(name)[key])).to(dtype)


def under(name: str, prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose key starts with the prefix, by the rest of the key."""
    return {key[len(prefix) :]: array for key, array in load(name).items() if key.startswith(prefix)}


def labels(name: str, dtype: torch.dtype = torch.float64) -> Tensor | None:
    """The one-hot classes of a file, None where its network has none."""
    classes = tensor(name, "in/labels", dtype)
    return classes if classes.shape[1] > 0 else None


def generator(name: str, dtype: torch.dtype = torch.float64) -> Generator:
    """Our generator with the variables of a generator file."""
    network = Generator(**official.generator_init_kwargs(static_kwargs(name)))
    network.load_state_dict(official.generator_state_dict(under(name, "var/")))
    return network.to(dtype)


def discriminator(name: str, dtype: torch.dtype = torch.float64) -> Discriminator:
    """Our discriminator with the variables of a discriminator file."""
    network = Discriminator(**official.discriminator_init_kwargs(static_kwargs(name)))
    network.load_state_dict(official.discriminator_state_dict(under(name, "var/")))
    return network.to(dtype)


def static_kwargs(name: str) -> dict:
    """The official settings of the network in a file."""
    return json.loads(str(load(name)["cfg/static_kwargs_json"]))


def table(name: str) -> list[dict[str, str]]:
    """The rows of ``<name>.csv`` or ``<name>.csv.gz``."""
    plain = FOLDER / f"{name}.csv"
    content = plain.read_bytes() if plain.exists() else gzip.decompress((FOLDER / f"{name}.csv.gz").read_bytes())
    return list(csv.DictReader(io.StringIO(content.decode())))


def lod_of(key: str) -> float:
    """The lod in a key: ``out/img_lod1p25`` is 1.25."""
    return float(key.rpartition("lod")[2].partition("/")[0].replace("p", "."))


def assert_matches(ours: Tensor, golden: np.ndarray | Tensor, tolerance: float, what: str, floor: float = 0.0) -> None:
    """Asserts equality within `tolerance` of the golden array's largest magnitude (at least `floor`).

    `golden` may be the leading part of the whole array in each dimension.
    """
    expected = torch.as_tensor(golden).double()
    assert ours.ndim == expected.ndim, f"{what}: shape {list(ours.shape)}, golden {list(expected.shape)}"
    assert all(a >= b for a, b in zip(ours.shape, expected.shape, strict=True)), (
        f"{what}: shape {list(ours.shape)}, golden {list(expected.shape)}"
    )
    part = ours.detach().double()[tuple(slice(size) for size in expected.shape)]
    error = (part - expected).abs().max().item()
    allowed = tolerance * max(expected.abs().max().item(), floor)
    assert error <= allowed, f"{what}: off by {error:.3g}, allowed {allowed:.3g}"
