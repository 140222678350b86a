"""Tiny runs and networks for the tests of the command lines."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stylegan_fast.command import exit_status
from stylegan_fast.models import Discriminator, Generator, save_networks

TINY = "--data faces:40 --resolution 16 --channel-base 32 --channel-max 8 --z-dim 8 --map-depth 2 --batch 4 --threads 1"
# 100 pairs of steps, a tick every 5 of them, a snapshot every 2 ticks; growth ends after some 10 pairs.
RUN = f"{TINY} --kimg 0.4 --tick 0.02 --snap 2"


def call(command: str, arguments: str | list[str]) -> int:
    """The exit status of a command line, run in this process."""
    module = __import__(f"stylegan_fast.{command}", fromlist=["main"])
    threads = torch.get_num_threads()
    try:
        return exit_status(module.main, arguments.split() if isinstance(arguments, str) else arguments)
    finally:
        torch.set_num_threads(threads)


def start(command: str, arguments: str) -> "subprocess.Popen[str]":
    """A command line in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", f"stylegan_fast.{command}", *arguments.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


def expect_one_line(capsys: pytest.CaptureFixture[str], *parts: str) -> None:
    """Asserts that stderr holds exactly one line, an error that has all these parts, and no traceback anywhere."""
    out, err = capsys.readouterr()
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert "Traceback" not in out + err
    for part in parts:
        assert part in err


def write_network(path: Path, channels: int = 3, classes: int = 0, resolution: int = 16, lod: float = 0.0) -> Path:
    """A network file with random weights."""
    torch.manual_seed(0)
    shape = {"img_channels": channels, "c_dim": classes, "channel_base": 64, "channel_max": 8}
    G = Generator(resolution, z_dim=8, w_dim=8, mapping_layers=2, **shape)
    with torch.no_grad():
        G.mapping.w_avg.normal_()
        for name, parameter in G.named_parameters():
            if name.endswith("noise_strength"):
                parameter.fill_(0.3)
    save_networks(path, G_ema=G, D=Discriminator(resolution, **shape), lod=lod)
    return path


def write_images(folder: Path, count: int, size: int = 16) -> Path:
    """A folder of random pictures ``0.png``, ``1.png``, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for index in range(count):
        Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    return folder
