"""stylegan_fast.info says what is true of this machine."""

import subprocess
import sys

import pytest
import torch

from stylegan_fast import info
from stylegan_fast.ops import library
from stylegan_fast.version import __version__


def lines() -> dict[str, str]:
    return {name: value.strip() for name, value in (row.split(":", 1) for row in info.report().splitlines())}


def test_report_names_versions_backends_and_architectures() -> None:
    found = lines()
    assert found["stylegan_fast"] == __version__
    assert torch.__version__ in found["torch"]
    assert found["backend"] == f"{library.current_backend()} chosen"
    native = library.native()
    if native is None:
        assert found["cpu backend"].startswith("not usable: the compiled extension is missing")
    else:
        assert found["cpu backend"].startswith(f"usable, {native.cpu.capability()} kernels on ")
    if not torch.cuda.is_available():
        assert found["cuda backend"].startswith("not usable: ")
    assert found["CUDA architectures"] == (" ".join(library.cuda_archs()) or "none compiled")


def test_report_without_the_extension_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_native", None)
    monkeypatch.setattr(library, "_native_error", "no such file")
    library._not_built.cache_clear()
    try:
        found = lines()
    finally:
        library._not_built.cache_clear()
    assert found["cpu backend"] == "not usable: the compiled extension is missing (no such file)"
    assert found["cuda backend"] == "not usable: the compiled extension is missing (no such file)"
    assert found["CUDA architectures"] == "none compiled"


def test_the_command_prints_the_report() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "stylegan_fast.info"],
        capture_output=True,
        text=True,
        check=True,
        cwd=info.__file__[:-22],
    )
    assert finished.stdout.startswith("stylegan_fast:")
    assert "cpu backend:" in finished.stdout
