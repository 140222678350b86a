"""Who is measured: our kernels, eager PyTorch, torch.compile, the StyleGAN3 project's ops."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch._dynamo

from harness.benchmark import Benchmark, Case, Function, Setting
from stylegan_fast.errors import UserError
from stylegan_fast.ops import library

PROVIDERS = ("ours", "eager", "compile", "peer")


def chosen_providers(wanted: str | None, peer: str | None, benchmark: Benchmark, device: torch.device) -> list[str]:
    """The names to measure. Raises UserError where one is unknown or cannot run here."""
    if peer is not None and not any(case.peer for case in benchmark.cases.values()):
        raise UserError(f"--peer {peer!r}: the StyleGAN3 project has no {benchmark.op}; leave --peer out")
    names = wanted.split(",") if wanted is not None else [*PROVIDERS[:3], *(["peer"] if peer is not None else [])]
    for name in names:
        if name not in PROVIDERS:
            raise UserError(f"--providers: {name!r} is unknown; choose from {','.join(PROVIDERS)}")
    if peer is not None and "peer" not in names:
        raise UserError("--peer is given, but --providers does not name peer; add it there or leave --peer out")
    if "peer" in names and peer is None:
        raise UserError("--providers peer needs --peer PATH, a checkout of the StyleGAN3 project")
    if "ours" in names and (obstacle := library.obstacle_on(device.type, device.index)):
        raise UserError(f"our {device.type} kernels cannot run here: {obstacle}; or leave them out with --providers")
    return list(dict.fromkeys(names))


def functions_of(provider: str, case: Case, setting: Setting, peer_module: ModuleType | None) -> list[Function]:
    """What to call with x and the parameters: the ways the provider has of writing the op, none if it lacks it."""
    if provider == "peer":
        if case.peer is None or peer_module is None:
            return []
        return [case.peer(peer_module, "cuda" if setting.device.type == "cuda" else "ref", setting)]
    functions = case.functions(setting)[provider]
    if provider != "compile":
        return functions
    # From a fresh start: past 8 recompilations of one function the compiler would give up and run it eagerly.
    torch._dynamo.reset()
    return [torch.compile(function, dynamic=False, fullgraph=True) for function in functions]


class _Absent(ModuleType):
    """Stands in for a module that is not installed and that no op calls."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return torch.torch_version.TorchVersion if name == "parse_version" else None


def peer_ops(path: str, op: str) -> ModuleType:
    """The module ``torch_utils.ops.<op>`` of the checkout at `path`. Raises UserError where it cannot be imported."""
    checkout = Path(path).resolve()
    if not (checkout / "torch_utils" / "ops" / f"{op}.py").is_file():
        raise UserError(
            f"--peer {path!r}: there is no torch_utils/ops/{op}.py; name a checkout of the StyleGAN3 project"
        )
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    # Its package imports these two for downloads and to compare version numbers; pkg_resources left setuptools in 82.
    for name in ("requests", "pkg_resources"):
        if name not in sys.modules and importlib.util.find_spec(name) is None:
            sys.modules[name] = _Absent(name)
    try:
        return importlib.import_module(f"torch_utils.ops.{op}")
    except ImportError as failure:
        raise UserError(f"--peer {path!r}: its {op} cannot be imported ({failure})") from None
