"""The benchmarks are scripts beside the package: their folder is where they import from."""

import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(FOLDER))


@pytest.fixture(autouse=True)
def small_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few sets of inputs instead of the many that leave a real cache."""
    from harness import machine

    monkeypatch.setattr(machine, "last_level_cache", lambda device: 1 << 16)
