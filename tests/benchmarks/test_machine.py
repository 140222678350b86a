"""benchmarks/harness/machine.py: what rows say of the machine."""

import subprocess
from pathlib import Path

import pytest
import torch
from harness import machine


def test_the_commit_is_what_the_environment_says_or_else_gits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "__file__", str(tmp_path / "machine.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.delenv("BENCHMARK_COMMIT", raising=False)
    assert machine.commit() is None
    for command in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=b", "commit", "-q", "--allow-empty", "-m", "c"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    head = subprocess.run(["git", "-C", str(tmp_path), "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    assert machine.commit() == head.stdout.strip()
    monkeypatch.setenv("BENCHMARK_COMMIT", "given")
    assert machine.commit() == "given"


def test_a_cpu_has_no_driver_and_neither_has_a_machine_without_the_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.driver(torch.device("cpu")) is None
    monkeypatch.setenv("PATH", "")
    assert machine.driver(torch.device("cuda")) is None
