"""The command lines, on tiny shapes."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from harness import session

from stylegan_fast.command import exit_status
from stylegan_fast.ops import library
from tests.command_lines import expect_one_line

from .conftest import FOLDER

QUICK = "--device cpu --quick --batch 1 --threads 1 --resolutions 8 --providers ours,eager"
KEYS = {"op", "device", "chip", "dtype", "layout", "direction", "shape", "provider", "ms", "gbps", "roofline"}
MORE_KEYS = {"peak_bytes", "torch", "spread", "commit", "driver", "case", "threads", "saved_bytes"}
BENCHES = ("adain_bench", "bias_act_bench", "upfirdn2d_bench")
OVERVIEW = "--device cpu --batch 1 --ops bias_act --resolutions 32"

needs_extension = pytest.mark.skipif(library.native() is None, reason="the extension was not built")


def call(bench: str, *arguments: str) -> int:
    threads = torch.get_num_threads()
    try:
        return exit_status(importlib.import_module(bench).main, arguments)
    finally:
        torch.set_num_threads(threads)


@needs_extension
@pytest.mark.parametrize("bench", BENCHES)
@pytest.mark.parametrize(("direction", "layout"), [("fwd", "channels_last"), ("bwd", "contiguous")])
def test_quick_run_prints_a_table_and_writes_rows(
    bench: str, direction: str, layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "rows.json"
    assert call(bench, *QUICK.split(), "--direction", direction, "--layout", layout, "--json", str(out)) == 0
    rows = json.loads(out.read_text())
    cases = (
        ("epilogue",) if bench == "adain_bench" else ("lrelu",) if bench == "bias_act_bench" else ("blur", "up", "down")
    )
    assert [(r["case"], r["provider"]) for r in rows] == [
        (case, provider) for case in cases for provider in ("ours", "eager", "copy", "fresh copy")
    ]
    for row in rows:
        assert row.keys() >= KEYS | MORE_KEYS
        assert row["ms"] > 0
        assert row["gbps"] > 0
        assert (row["direction"], row["layout"], row["threads"]) == (direction, layout, 1)
    assert {r["roofline"] for r in rows if r["provider"] == "copy"} == {1.0}
    ours = next(r for r in rows if r["provider"] == "ours")
    assert ours["peak_bytes"] is None or ours["peak_bytes"] >= ours["x_bytes"]
    printed = capsys.readouterr()
    assert "as fast as eager (geometric mean of 1 shape), at worst" in printed.out
    assert "quick run" in printed.err


@needs_extension
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="torch.compile needs one")
@pytest.mark.parametrize("bench", BENCHES)
def test_every_case_compiles_and_agrees_forward_and_backward(bench: str, tmp_path: Path):
    out = tmp_path / "rows.json"
    arguments = "--device cpu --quick --batch 1 --threads 1 --resolutions 8 --cases all --direction fwdbwd"
    assert call(bench, *arguments.split(), "--dtype", "bf16", "--json", str(out)) == 0
    assert {"ours", "eager", "compile"} <= {row["provider"] for row in json.loads(out.read_text())}


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("--dtype fp8", ["--dtype", "fp8", "bf16"]),
        ("--batch 0", ["--batch", "0"]),
        ("--threads 0", ["--threads", "0"]),
        ("--resolutions 5", ["--resolutions", "5", "1024"]),
        ("--cases walk", ["--cases", "walk", "lrelu"]),
        ("--providers him", ["--providers", "him", "eager"]),
        ("--providers peer", ["--peer PATH"]),
        ("--providers eager --peer /nowhere", ["--peer", "--providers"]),
        ("--peer /nowhere", ["--peer", "/nowhere", "torch_utils/ops/bias_act.py"]),
        ("--json /nowhere/rows.json", ["--json", "/nowhere/rows.json"]),
        ("--spin", ["--spin"]),
    ],
)
def test_wrong_arguments_end_with_one_line(arguments: str, parts: list[str], capsys: pytest.CaptureFixture[str]):
    if arguments == "--peer /nowhere" and library.native() is None:
        pytest.skip("the extension was not built")
    assert call("bias_act_bench", "--device", "cpu", *arguments.split()) == 2
    expect_one_line(capsys, *parts)


def test_adain_has_no_peer(capsys: pytest.CaptureFixture[str]):
    assert call("adain_bench", "--device", "cpu", "--peer", ".") == 2
    expect_one_line(capsys, "--peer", "no adain")


def test_plot_without_matplotlib_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert call("bias_act_bench", "--device", "cpu", "--plot", "x.png") == 2
    expect_one_line(capsys, "--plot", "matplotlib")


def test_a_shape_beyond_the_free_memory_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(session.machine, "free_memory", lambda device: 1000)
    assert call("bias_act_bench", "--device", "cpu", "--providers", "eager", "--resolutions", "8") == 2
    err = capsys.readouterr().err
    assert "lrelu at 8x8 is left out: it needs more memory than is free" in err
    assert "error: nothing was measured" in err


PEER = """
import requests, pkg_resources, torch
assert pkg_resources.parse_version(torch.__version__) >= pkg_resources.parse_version("1.7.0a")

def bias_act(x, b=None, dim=1, act="linear", alpha=None, gain=None, clamp=None, impl="cuda"):
    assert impl == "ref"
    return torch.nn.functional.leaky_relu(x + b.reshape(-1, 1, 1) * {factor}, alpha) * gain
"""


def run_with_peer(folder: Path, factor: int | str) -> "subprocess.CompletedProcess[str]":
    ops = folder / "torch_utils" / "ops"
    ops.mkdir(parents=True)
    (ops / "bias_act.py").write_text(PEER.replace("{factor}", str(factor)))
    arguments = [
        "--device",
        "cpu",
        "--quick",
        "--threads",
        "1",
        "--resolutions",
        "64",
        "--batch",
        "1",
        "--providers",
        "eager,peer",
        "--json",
        "rows.json",
    ]
    return subprocess.run(
        [sys.executable, str(FOLDER / "bias_act_bench.py"), *arguments, "--peer", str(folder)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_peer_is_measured_without_what_its_ops_do_not_need(tmp_path: Path):
    done = run_with_peer(tmp_path, factor=1)
    assert done.returncode == 0, done.stderr
    providers = [row["provider"] for row in json.loads((tmp_path / "rows.json").read_text())]
    assert providers == ["eager", "peer", "copy", "fresh copy"]
    assert "StyleGAN3" in done.stdout


def test_a_peer_that_does_not_run_is_one_line(tmp_path: Path):
    done = run_with_peer(tmp_path, factor="undefined_name")
    assert done.returncode == 2
    assert "error: --peer: its bias_act does not run here: NameError" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_provider_that_computes_something_else_is_not_timed(tmp_path: Path):
    done = run_with_peer(tmp_path, factor=2)
    assert done.returncode == 1
    assert "peer and eager differ by" in done.stderr
    assert not (tmp_path / "rows.json").exists()


@needs_extension
def test_the_overview_has_a_line_a_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("overview", *OVERVIEW.split(), "--json", str(tmp_path / "rows.json")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 4  # two layouts, forward and backward
    assert all("32²: " in line for line in lines[1:])
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert {row["provider"] for row in rows} == {"ours", "copy", "fresh copy"}
    assert rows[0].keys() >= KEYS


def test_the_overview_names_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("overview", "--device", "cpu", "--ops", "fft") == 2
    expect_one_line(capsys, "--ops", "fft")
