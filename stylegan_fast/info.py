"""``python -m stylegan_fast.info``: what is installed and what of it can run here, to be pasted into a bug report."""

from __future__ import annotations

import platform
import sys

import click
import torch

from stylegan_fast.ops import library
from stylegan_fast.version import __version__


def report() -> str:
    """Returns one ``name: value`` line for each fact."""
    rows = {
        "stylegan_fast": __version__,
        "python": f"{sys.version.split()[0]} ({sys.executable})",
        "torch": f"{torch.__version__}, CUDA {torch.version.cuda or 'none'}",
        "platform": platform.platform(),
        "backend": f"{library.current_backend()} chosen",
        "reference backend": "usable",
        "cpu backend": _cpu(),
        "cuda backend": _cuda(),
        "CUDA architectures": " ".join(library.cuda_archs()) or "none compiled",
        "devices": ", ".join(_devices()) or "no GPU",
    }
    width = max(map(len, rows)) + 1
    return "\n".join(f"{name + ':':<{width}} {value}" for name, value in rows.items())


def _cpu() -> str:
    native = library.native()
    if native is None:
        return f"not usable: {library.obstacle_on('cpu')}"
    threads = f"torch's {torch.get_num_threads()} threads" if library.shares_threads else "one thread"
    return f"usable, {native.cpu.capability()} kernels on {threads}"


def _cuda() -> str:
    obstacle = library.obstacle_on("cuda")
    if obstacle:
        return f"not usable: {obstacle}"
    native = library.native()
    assert native is not None
    runtime, driver = (library.version_words(v) for v in (native.cuda.runtime_version(), native.cuda.driver_version()))
    return f"usable, built-in CUDA runtime {runtime}, driver for CUDA {driver}"


def _devices() -> list[str]:
    found = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            major, minor = torch.cuda.get_device_capability(index)
            found.append(f"{torch.cuda.get_device_name(index)} (sm_{major}{minor})")
    if torch.backends.mps.is_available():
        found.append("Apple MPS (reference backend)")
    return found


@click.command()
def main() -> None:
    """Print what is installed and what can run on this machine."""
    click.echo(report())


if __name__ == "__main__":
    from stylegan_fast.command import run

    run(main)
