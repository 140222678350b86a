"""``convert`` as a person meets it."""

from pathlib import Path

import pytest
import torch

import stylegan_fast
from stylegan_fast.models import network_config

from .command_lines import call, expect_one_line, write_network
from .interop import port_arithmetic as port
from .interop.snapshots import OFFICIAL


def test_a_converted_snapshot_is_the_same_networks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dest = tmp_path / "net.safetensors"
    assert call("convert", f"--source {OFFICIAL} --dest {dest}") == 0
    assert "G, D, G_ema of official StyleGAN" in capsys.readouterr().out
    z = torch.randn(2, 32)
    for which in ("G", "G_ema"):
        theirs = stylegan_fast.load_generator(OFFICIAL, which)(z, noise_mode="const")
        assert torch.equal(stylegan_fast.load_generator(dest, which)(z, noise_mode="const"), theirs)
    images = torch.randn(4, 3, 64, 64)
    D = stylegan_fast.load_discriminator(dest)
    assert torch.equal(D(images), stylegan_fast.load_discriminator(OFFICIAL)(images))


def test_a_converted_port_keeps_its_switches_and_names_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    g, d = port.ros_states(64, [8, 8, 8, 8, 4], 8, 2, activated=False)
    source, dest = tmp_path / "ros.model", tmp_path / "net.safetensors"
    torch.save({"g_running": g, "discriminator": d}, source)
    assert call("convert", f"--source {source} --dest {dest}") == 0
    out = capsys.readouterr().out
    for switch in ("norm_eps=1e-5", "bias_before_blur", "shared_noise", "widen_first", "from_rgb_linear"):
        assert switch in out
        assert switch in str(network_config(dest)["converted_from"])
    z = torch.randn(2, 8)
    theirs = stylegan_fast.load_generator(source)(z, noise_mode="const")
    assert torch.equal(stylegan_fast.load_generator(dest)(z, noise_mode="const"), theirs)


def test_generate_takes_a_snapshot_as_it_is(tmp_path: Path) -> None:
    assert call("generate", f"--network {OFFICIAL} --seeds 0 --outdir {tmp_path / 'out'}") == 0
    assert (tmp_path / "out" / "seed0000.png").exists()


def test_mistakes_end_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dest = tmp_path / "net.safetensors"
    ours = write_network(tmp_path / "ours.safetensors")
    broken = tmp_path / "broken.pkl"
    broken.write_bytes(OFFICIAL.read_bytes()[:1000])
    mistakes = [
        (f"--source {tmp_path / 'none.pkl'} --dest {dest}", "no such network file"),
        (f"--source {OFFICIAL} --dest {tmp_path / 'net.pkl'}", "ends in .safetensors"),
        (f"--source {ours} --dest {dest}", "neither an official pickle"),
        (f"--source {broken} --dest {dest}", "not a whole pickle"),
        (f"--source {OFFICIAL} --dest {tmp_path / 'no' / 'net.safetensors'}", "No such file"),
    ]
    for arguments, told in mistakes:
        assert call("convert", arguments) == 2
        expect_one_line(capsys, told)
        assert not dest.exists()
