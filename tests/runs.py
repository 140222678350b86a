"""Comparing the folders of two runs."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file


def rows(run: Path) -> list[dict]:
    """The ticks in ``stats.jsonl``."""
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]


def same_tensors(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_tensors(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same_tensors, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def expect_same_result(run: Path, whole: Path) -> None:
    """The final networks are equal to the last bit, and so is what was logged but for the clock."""
    last = max(path.name for path in whole.glob("network-*.safetensors"))
    networks = [load_file(each / last) for each in (run, whole)]
    assert networks[0].keys() == networks[1].keys()
    assert all(torch.equal(networks[0][name], networks[1][name]) for name in networks[0])
    assert [row["images"] for row in rows(run)] == [row["images"] for row in rows(whole)]
    states = [torch.load(each / "state.pt", weights_only=True) for each in (run, whole)]
    for state in states:
        del state["position"]["seconds"]
    assert states[0]["position"] == states[1]["position"]
    assert same_tensors(states[0]["trainer"], states[1]["trainer"])
