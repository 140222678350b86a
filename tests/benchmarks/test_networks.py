"""The benchmarks of whole networks: what they count, measure, project and refuse."""

import importlib
import json
from pathlib import Path

import pytest
import torch
from harness.floor import discriminator_work, generator_work
from harness.ports import open_port
from torch.utils.flop_counter import FlopCounterMode

from stylegan_fast.command import exit_status
from stylegan_fast.errors import UserError
from stylegan_fast.models import Discriminator, Generator
from stylegan_fast.ops import library
from stylegan_fast.training.schedule import Schedule
from tests.command_lines import expect_one_line

needs_extension = pytest.mark.skipif(library.native() is None, reason="the extension was not built")
PORTS = {
    "models/GAN.py": "class Generator: pass",
    "models/CustomLayers.py": "",
}


def counted(call) -> int:
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_flop_counts()["Global"][torch.ops.aten.convolution]


@pytest.mark.parametrize("resolution", [16, 64])
def test_the_floor_counts_the_convolutions_there_are(resolution: int) -> None:
    sizes = {"channel_base": 256, "channel_max": 16}
    G, D = Generator(resolution, **sizes), Discriminator(resolution, **sizes)
    ws, images = torch.zeros(2, G.num_ws, 512), torch.zeros(2, 3, resolution, resolution)
    work = sum(w.flops for w in generator_work(G))
    assert counted(lambda: G.synthesis(ws, noise_mode="none")) == 2 * work
    work = sum(w.flops for w in discriminator_work(D))
    assert counted(lambda: D(images)) == pytest.approx(2 * work, rel=0.02)  # fromRGB and the deviation's channel


@needs_extension
def test_a_quick_run_writes_rows_that_name_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rows.json"
    options = ["--device", "cpu", "--quick", "--memory", "default", "--json", str(out)]
    names = "ours fp32;ours fp32, as trained"
    bench = importlib.import_module("generator_bench")
    assert exit_status(bench.main, [*options, "--resolutions", "8", "--batches", "1", "--providers", names]) == 0
    rows = json.loads(out.read_text())
    assert [row["provider"] for row in rows] == names.split(";")
    for row in rows:
        assert {"op", "chip", "dtype", "shape", "ms", "images_per_s", "roofline", "peak_bytes", "torch"} <= row.keys()
        assert row["roofline"] > 0
        assert row["images_per_s"] == pytest.approx(1e3 / row["ms"])
    assert "ours fp32, as trained" in capsys.readouterr().out


@needs_extension
def test_every_form_of_a_convolution_gets_a_row(tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    options = ["--device", "cpu", "--dtype", "fp32", "--resolutions", "8", "--batch", "1", "--layers", "to RGB"]
    bench = importlib.import_module("convolution_bench")
    assert exit_status(bench.main, [*options, "--json", str(out)]) == 0
    rows = json.loads(out.read_text())
    assert [row["form"] for row in rows] == ["1x1", "product"]
    assert all(row[column] > 0 for row in rows for column in ("ms", "ms_dx", "ms_dw"))


def test_a_layer_nobody_has_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    bench = importlib.import_module("convolution_bench")
    assert exit_status(bench.main, ["--device", "cpu", "--layers", "4x4"]) == 2
    expect_one_line(capsys, "--layers: '4x4' is unknown; choose from 3x3,up,down")


@needs_extension
def test_growth_is_measured_and_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out, picture = tmp_path / "rows.json", tmp_path / "growth.png"
    options = ["--device", "cpu", "--resolution", "8", "--batch", "1", "--batches", "1,2", "--memory", "default"]
    bench = importlib.import_module("growth_bench")
    assert exit_status(bench.main, [*options, "--json", str(out), "--plot", str(picture)]) == 0
    rows = json.loads(out.read_text())
    assert [row["provider"] for row in rows if row["part"] == "time"] == ["grown so far", "of this size"]
    assert [row["batch"] for row in rows if row["part"] == "memory"] == [1, 2]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_projection_is_the_schedule_priced_row_by_row() -> None:
    bench = importlib.import_module("training_bench")
    sizes = (8, 16, 32, 64, 128, 256, 512, 1024)
    rows = [
        {"provider": "ours", "shape": [4, 3, r, r], "lod": lod, "s_per_kimg": 0.36} for r in sizes for lod in (0.0, 0.5)
    ]
    (line,) = bench.projections(rows)
    assert line.endswith("takes 2 hours")  # 25,000 kimg of 0.36 s
    assert bench.projections(rows[:-1]) == []
    assert Schedule(1024).growth_kimg() == 8400


@pytest.mark.parametrize(
    ("bench", "arguments", "words"),
    [
        ("generator_bench", ["--batches", "0"], "--batches: '0' must be numbers from 1"),
        ("generator_bench", ["--resolutions", "4"], "--resolutions: '4' must be numbers from 8"),
        ("training_bench", ["--resolutions", "x"], "--resolutions: 'x' must be numbers"),
        ("training_bench", ["--peer", "/nowhere"], "--peer '/nowhere': this is no checkout of"),
        ("generator_bench", ["--json", "/nowhere/rows.json"], "--json '/nowhere/rows.json' must be a file in a folder"),
    ],
)
def test_mistakes_end_with_one_line(
    bench: str, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = exit_status(importlib.import_module(bench).main, ["--device", "cpu", "--memory", "default", *arguments])
    assert status == 2
    expect_one_line(capsys, words)


def test_a_checkout_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    for name, text in {**PORTS, "models/GAN.py": "import a_module_nobody_has"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match="cannot be imported"):
        open_port(str(tmp_path))
