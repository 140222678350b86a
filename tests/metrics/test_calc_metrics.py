"""The command line: what it writes, and every mistake in one line."""

import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from stylegan_fast.metrics import record
from stylegan_fast.metrics.detector import KNOWN
from tests.command_lines import RUN, call, write_images, write_network
from tests.metrics.detectors import FeatureMaps, NaNDetector, SmallDetector, script

Capture = pytest.CaptureFixture[str]


def expect_error(capsys: Capture, *parts: str) -> None:
    """Asserts that the last line on stderr is an error with all these parts; before it the data set may have spoken."""
    out, err = capsys.readouterr()
    line = err.splitlines()[-1]
    assert line.startswith("error: ")
    assert "Traceback" not in out + err
    for part in parts:
        assert part in line


def test_it_writes_a_row_a_metric_and_a_line_for_people(tmp_path: Path, capsys: Capture) -> None:
    network = write_network(tmp_path / "net.safetensors")
    out = tmp_path / "rows.jsonl"
    arguments = f"--network {network} --metrics swd,msssim --data faces:60 --num 50 --json {out}"
    assert call("calc_metrics", arguments) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["metric"] for row in rows] == ["swd", "msssim"]
    assert rows[0]["network"] == "net.safetensors"
    text = capsys.readouterr().out
    assert "50 images" in text
    assert f"{rows[0]['results']['swd']:.4g}" in text


def test_numbers_are_told_though_they_cannot_be_kept(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that was full when the work was done."""

    def refuse(path: Path, rows: list) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(record, "append_rows", refuse)
    network = write_network(tmp_path / "net.safetensors")
    arguments = f"--network {network} --metrics msssim --num 4 --json {tmp_path}/rows.jsonl"
    assert call("calc_metrics", arguments) == 2
    out, err = capsys.readouterr()
    assert out.startswith("msssim ")
    assert "the disk is full" in err
    assert "rows.jsonl" in err


def test_json_goes_to_stdout_where_asked(tmp_path: Path, capsys: Capture) -> None:
    network = write_network(tmp_path / "net.safetensors")
    assert call("calc_metrics", f"--network {network} --metrics msssim --num 10 --json -") == 0
    assert json.loads(capsys.readouterr().out)["results"]["msssim"] > 0


MISTAKES = {
    "unknown metric": ("--metrics fid", ["--metrics", "'fid'", "fid50k"]),
    "no data": ("--metrics swd", ["swd", "--data"]),
    "no detector": ("--metrics fid50k --data faces:50", ["fid50k", "--detector"]),
    "missing detector": ("--metrics fid50k --data faces:50 --detector {tmp}/none.pt", ["--detector", "none.pt"]),
    "a detector nobody vouched for": (
        "--metrics fid50k --data faces:50 --detector {tmp}/small.pt",
        ["small.pt", "sha256", "--trust-detector"],
    ),
    "not TorchScript": (
        "--metrics fid50k --data faces:50 --trust-detector --detector {tmp}/text.pt",
        ["text.pt", "TorchScript"],
    ),
    "a detector cut short": (
        "--metrics fid50k --data faces:50 --trust-detector --detector {tmp}/cut.pt",
        ["cut.pt", "TorchScript"],
    ),
    "no probabilities": (
        "--metrics is50k --num 20 --trust-detector --detector {tmp}/nan.pt",
        ["nan.pt", "no_output_bias"],
    ),
    "features that are not finite": (
        "--metrics fid50k --num 20 --data faces:50 --trust-detector --detector {tmp}/nan.pt",
        ["nan.pt", "not finite"],
    ),
    "features that are maps": (
        "--metrics fid50k --num 20 --data faces:50 --trust-detector --detector {tmp}/maps.pt",
        ["maps.pt", "expected [20, D]"],
    ),
    "no LPIPS": ("--metrics ppl_wend", ["ppl_wend", "--lpips"]),
    "no classifier": ("--metrics ls --num 10 --data {tmp}/images", ["ls", "--classifier"]),
    "another resolution": ("--metrics swd --data {tmp}/large", ["64x64", "16x16", "--resize"]),
    "another channel count": ("--metrics swd --data {tmp}/gray", ["1 channels", "draws 3"]),
    "more images than there are": ("--metrics swd --num 70 --data faces:50", ["--num 70", "50"]),
    "too few images": ("--metrics swd --num 1 --data faces:50", ["1 images", "at least 2"]),
    "too few images for ten parts": (
        "--metrics is50k --num 9 --trust-detector --detector {tmp}/small.pt",
        ["is50k", "at least 10"],
    ),
    "a class of a network without": ("--metrics msssim --class 1", ["--class 1", "without classes"]),
    "a file that cannot be written": ("--metrics msssim --json {tmp}/no/rows", ["--json", "rows"]),
    "data that are not there": ("--metrics swd --data {tmp}/nowhere", ["nowhere"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_with_one_line(mistake: str, tmp_path: Path, capsys: Capture) -> None:
    arguments, parts = MISTAKES[mistake]
    if "ls" in arguments.split():
        pytest.importorskip("sklearn")
    network = write_network(tmp_path / "net.safetensors")
    script(SmallDetector(), tmp_path / "small.pt")
    script(NaNDetector(), tmp_path / "nan.pt")
    script(FeatureMaps(), tmp_path / "maps.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "small.pt").read_bytes()[:2000])
    (tmp_path / "text.pt").write_text("hello")
    write_images(tmp_path / "images", 20)
    write_images(tmp_path / "large", 4, size=64)
    for path in write_images(tmp_path / "gray", 4).iterdir():
        Image.open(path).convert("L").save(path)
    assert call("calc_metrics", f"--network {network} {arguments.format(tmp=tmp_path)}") == 2
    expect_error(capsys, *parts)


def test_resize_reads_data_of_another_size(tmp_path: Path, capsys: Capture) -> None:
    network = write_network(tmp_path / "net.safetensors")
    data = write_images(tmp_path / "large", 12, size=64)
    assert call("calc_metrics", f"--network {network} --metrics swd --data {data} --resize") == 0
    assert "12 real" in capsys.readouterr().out


def test_a_known_detector_needs_no_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = write_network(tmp_path / "net.safetensors")
    detector = script(SmallDetector(), tmp_path / "small.pt")
    monkeypatch.setitem(KNOWN, hashlib.sha256(detector.read_bytes()).hexdigest(), "Small-2026")
    out = tmp_path / "rows.jsonl"
    arguments = f"--network {network} --metrics fid50k --num 20 --data faces:30 --detector {detector} --json {out}"
    assert call("calc_metrics", arguments) == 0
    assert json.loads(out.read_text())["detector"]["name"] == "Small-2026"


@pytest.mark.slow
def test_two_processes_find_the_numbers_of_one(tmp_path: Path) -> None:
    network = write_network(tmp_path / "net.safetensors")
    detector = script(SmallDetector(), tmp_path / "small.pt")
    arguments = (
        f"-m stylegan_fast.calc_metrics --network {network} --metrics fid50k,kid50k,is50k,pr50k,swd,msssim,ppl_wfull "
        f"--images 150 --data faces:200 --detector {detector} --lpips {detector} --trust-detector "
        f"--cache-dir {tmp_path}/c"
    ).split()
    found = []
    for processes in (1, 2):
        out = tmp_path / f"{processes}.jsonl"
        start = ["-m", "torch.distributed.run", "--nproc_per_node", "2"] if processes == 2 else []
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        subprocess.run([sys.executable, *start, *arguments, "--json", str(out)], check=True, env=environment)
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        found.append({name: value for row in rows for name, value in row["results"].items()})
    one, two = found
    assert one.keys() == two.keys()
    for name in one:
        assert two[name] == pytest.approx(one[name], rel=1e-6), name


def test_training_measures_its_snapshots_and_resuming_keeps_only_what_came_before(
    tmp_path: Path, capsys: Capture
) -> None:
    outdir = tmp_path / "runs"
    arguments = f"{RUN} --outdir {outdir} --cache-dir {tmp_path}/cache --metrics swd,msssim --metrics-num 30"
    assert call("train", arguments) == 0
    (run,) = outdir.iterdir()
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["metric"] for row in rows[:2]] == ["swd", "msssim"]
    assert {row["network"] for row in rows} == {"network-000000.safetensors"}
    assert [row["kimg"] for row in rows] == sorted(row["kimg"] for row in rows)
    assert "metric   swd" in (run / "log.txt").read_text()

    state = torch.load(run / "state.prev.pt", weights_only=True)
    (run / "state.pt").write_bytes((run / "state.prev.pt").read_bytes())
    kimg = state["position"]["images"] / 1000
    before = [row for row in rows if row["kimg"] <= kimg]
    assert call("train", f"--resume {run} --metrics swd --metrics-num 30 --threads 1") == 0
    again = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert again[: len(before)] == before
    assert [row["metric"] for row in again[len(before) :]] == ["swd"] * (len(again) - len(before))


def test_training_does_not_begin_without_what_a_metric_needs(tmp_path: Path, capsys: Capture) -> None:
    outdir = tmp_path / "runs"
    assert call("train", f"{RUN} --outdir {outdir} --cache-dir {tmp_path}/cache --metrics fid50k") == 2
    expect_error(capsys, "fid50k", "--detector")
    assert not list(outdir.iterdir())
