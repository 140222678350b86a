"""Exported programs draw what the network draws, in their own runtimes."""

import errno
import os
from pathlib import Path

import pytest
import torch

from stylegan_fast.errors import UserError
from stylegan_fast.interop import exported
from stylegan_fast.interop.exported import Drawing, export
from stylegan_fast.models import Generator
from tests.command_lines import call, expect_one_line, write_network


@pytest.fixture
def G() -> Generator:
    torch.manual_seed(0)
    network = Generator(16, z_dim=8, w_dim=8, c_dim=3, channel_base=64, channel_max=8, mapping_layers=2).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) / 4)
    return network


# 1e-4 is what is asked for; a hundred float32 operations in another order leave a tenth of it.
PARITY = 1e-4


@pytest.mark.parametrize("noise", ["const", pytest.param("given", marks=pytest.mark.slow)])
def test_pt2_program_draws_the_same_images_for_any_batch(G: Generator, noise: str, tmp_path: Path) -> None:
    path, drawing = tmp_path / "g.pt2", Drawing(G, 0.7, 4, noise)
    assert export(drawing, path, "pt2") < PARITY
    program = torch.export.load(path).module()
    for batch in (1, 8):  # 8 is also the number of feature maps
        inputs = drawing.inputs(batch)
        images = program(*inputs.values())
        if noise == "const":
            theirs = G(inputs["z"], inputs["c"], 0.7, 4, noise_mode="const")
            torch.testing.assert_close(images, theirs, rtol=0, atol=PARITY)
        else:
            for name, map_ in zip(drawing.noise_names(), list(inputs.values())[2:], strict=True):
                G.synthesis.get_buffer(name).copy_(map_)
            torch.testing.assert_close(images, G(inputs["z"], inputs["c"], 0.7, 4, noise_mode="const"))


@pytest.mark.parametrize("noise", ["given", pytest.param("const", marks=pytest.mark.slow)])
def test_onnx_program_draws_the_same_images_in_onnxruntime(G: Generator, noise: str, tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    import onnxruntime

    path, drawing = tmp_path / "g.onnx", Drawing(G, 0.7, 4, noise)
    assert export(drawing, path, "onnx") < PARITY
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_outputs()] == ["images"]
    for batch in (1, 8):
        inputs = drawing.inputs(batch)
        assert [value.name for value in session.get_inputs()] == list(inputs)
        (images,) = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
        torch.testing.assert_close(torch.from_numpy(images), drawing(*inputs.values()), rtol=0, atol=PARITY)


@pytest.mark.slow
def test_a_network_in_growth_is_exported_at_its_size(tmp_path: Path) -> None:
    path = write_network(tmp_path / "network-000001.safetensors", lod=1.5)
    assert call("export", f"--network {path} --format pt2 --noise given --dest {tmp_path / 'g.pt2'}") == 0
    images = torch.export.load(tmp_path / "g.pt2").module()(
        torch.randn(1, 8), *[torch.randn(1, 1, s, s) for s in (4, 4, 8, 8)]
    )
    assert images.shape == (1, 3, 8, 8)


def test_mistakes_end_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = write_network(tmp_path / "network-000001.safetensors")
    (tmp_path / "bad.pkl").write_bytes(b"\x80\x04cos\nsystem\n.")
    mistakes = [
        (f"--network {network} --dest {tmp_path / 'g.pt2'}", "ends in .onnx"),
        (f"--network {network} --format pt2 --dest {tmp_path / 'no' / 'g.pt2'}", "does not exist"),
        (f"--network {tmp_path / 'none'} --dest {tmp_path / 'g.onnx'}", "no such network file"),
        (f"--network {tmp_path / 'bad.pkl'} --dest {tmp_path / 'g.onnx'}", "not executed"),
    ]
    for arguments, told in mistakes:
        assert call("export", arguments) == 2
        expect_one_line(capsys, told)
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(UserError, match=r"pip install 'stylegan_fast\[export\]'"):
        exported.export(
            Drawing(Generator(8, z_dim=4, w_dim=4, channel_max=4), 1, None, "const"), tmp_path / "g", "onnx"
        )
    assert not list(tmp_path.glob("g*"))


def test_a_program_that_draws_something_else_replaces_nothing(
    G: Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "g.pt2"
    path.write_bytes(b"an earlier one")
    monkeypatch.setattr(exported, "_run_pt2", lambda program, inputs: torch.zeros(3, 3, 16, 16))
    with pytest.raises(UserError, match=r"images differ .*g\.pt2 is not written"):
        export(Drawing(G, 0.7, 4, "const"), path, "pt2")
    assert path.read_bytes() == b"an earlier one"


def test_a_full_disk_is_told(G: Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        export(Drawing(G, 0.7, 4, "const"), tmp_path / "g.pt2", "pt2")
    assert not list(tmp_path.iterdir())
