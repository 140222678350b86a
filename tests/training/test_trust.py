"""What is saved survives crashes, disks and numbers that are not finite."""

import json
import math
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from stylegan_fast.training import loop, start
from stylegan_fast.training.loop import Loop
from stylegan_fast.training.observer import Observer
from stylegan_fast.training.reals import pixels_to_float
from stylegan_fast.training.run_folder import RunFolder
from tests.command_lines import RUN, TINY, call
from tests.runs import expect_same_result, rows
from tests.training import crashing_train

resource = pytest.importorskip("resource", reason="limits of POSIX systems")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def whole_run(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    outdir = tmp_path_factory.mktemp("whole")
    assert call("train", f"{RUN} --cache-dir {cache} --outdir {outdir}") == 0
    return outdir / "00000-faces_40-16"


def crash(moment: int, outdir: Path, cache: Path, resume: bool) -> int:
    arguments = [crashing_train.__file__, str(moment), str(outdir), str(cache), *(["latest"] if resume else [])]
    ended = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
    return ended.returncode


@pytest.mark.slow
@pytest.mark.parametrize("kills", [50])
def test_a_run_killed_at_random_moments_ends_as_the_uninterrupted_one(kills: int, cache: Path, tmp_path: Path) -> None:
    assert crash(0, tmp_path / "whole", cache, resume=False) == 0
    moments = random.Random(0)
    broken = tmp_path / "broken"
    run = broken / "00000-faces_40-32"
    killed = mid_fade = mid_snapshot = 0
    while killed < kills:
        # A cycle of ten pairs and a snapshot has some seventy moments, half of them within the snapshot.
        resume = RunFolder(run).has_state()
        if not resume and run.exists():
            run.rename(broken / f"before-the-first-state-{killed}")
        assert crash(moments.randint(1, 140), broken, cache, resume) == -signal.SIGKILL, f"ended after {killed} kills"
        killed += 1
        if RunFolder(run).has_state():
            position = torch.load(next(run.glob("state*.pt")), weights_only=True)["position"]
            mid_fade += position["levels"][0] != position["levels"][1]
        mid_snapshot += any(path.name.startswith(".") or path.name == "state.new.pt" for path in run.glob("*")) or any(
            path.suffix in (".tmp", ".partial") for path in run.glob(".*")
        )
    assert crash(0, broken, cache, resume=True) == 0
    expect_same_result(run, tmp_path / "whole" / run.name)
    print(f"{killed} kills, {mid_fade} in a fade, {mid_snapshot} with a half-written file left behind")
    assert mid_fade > 0
    assert mid_snapshot > 0


@pytest.mark.parametrize("too_large", ["fakes000000.png", "state.pt"])  # the first file of a snapshot, the last
def test_a_disk_that_takes_no_more_stops_the_run_and_loses_nothing_saved(
    too_large: str, whole_run: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_after(25, f"{RUN} --cache-dir {cache} --outdir {tmp_path}")  # two snapshots are there, others are to come
    run = tmp_path / "00000-faces_40-16"
    before = {path.name: path.read_bytes() for path in run.glob("*") if path.suffix in (".pt", ".safetensors", ".png")}
    capsys.readouterr()
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, ((run / too_large).stat().st_size * 2 // 3, unlimited[1]))
        assert call("train", f"--resume {run}") == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith("error: File too large: ")
    assert str(run) in err
    assert "stopped at" in (run / "log.txt").read_text().splitlines()[-1]
    after = {path.name: path.read_bytes() for path in run.glob("*") if path.suffix in (".pt", ".safetensors", ".png")}
    assert after.keys() == before.keys()
    assert before["state.pt"] in (after["state.pt"], after["state.prev.pt"])
    assert call("train", f"--resume {run}") == 0
    expect_same_result(run, whole_run)


def stop_after(pairs: int, options: str) -> None:
    """Run until a signal comes in the given pair of steps."""
    calls = 0
    begin = Loop._pair

    def pair(self: Loop) -> None:
        nonlocal calls
        calls += 1
        if calls == pairs:
            signal.raise_signal(signal.SIGINT)
        begin(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "_pair", pair)
        assert call("train", options) == 130


def test_gradients_that_are_not_finite_are_skipped_counted_and_in_a_row_stop_the_run(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = 0

    def broken_from_the_30th(pixels: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return pixels_to_float(pixels) * (math.nan if calls in (12, 13) or calls > 30 else 1.0)

    monkeypatch.setattr(loop, "pixels_to_float", broken_from_the_30th)
    options = f"{RUN} --snap 1 --max-skipped 8 --cache-dir {cache} --outdir {tmp_path}"
    assert call("train", options) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: ")
    assert "steps in a row had gradients that are not finite (--max-skipped 8)" in line
    run = tmp_path / "00000-faces_40-16"
    assert "steps in a row" in (run / "log.txt").read_text().splitlines()[-1]
    assert [row["skipped_steps"] for row in rows(run)] == [0, 2, 2, 4]
    state = torch.load(run / "state.pt", weights_only=True)
    tensors = [t for name in ("G", "D", "G_ema") for t in state["trainer"][name].values()]
    assert all(torch.isfinite(t).all() for t in tensors)
    monkeypatch.setattr(loop, "pixels_to_float", pixels_to_float)
    assert call("train", f"--resume {run}") == 0
    assert rows(run)[-1]["images"] == 400


def test_weights_that_are_not_finite_are_never_saved(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Spoiler(Observer):
        def step_ends(self, loop: Loop, values: dict[str, torch.Tensor]) -> None:
            if loop.position.step == 25:
                with torch.no_grad():
                    loop.trainer.G_ema.synthesis.b4.const.fill_(math.inf)

    monkeypatch.setattr(start, "build_observers", lambda *_: [Spoiler()])
    assert call("train", f"{RUN} --cache-dir {cache} --outdir {tmp_path}") == 2
    assert "a weight is no finite number any more: the last good state is kept" in capsys.readouterr().err
    state = torch.load(tmp_path / "00000-faces_40-16" / "state.pt", weights_only=True)
    assert torch.isfinite(state["trainer"]["G_ema"]["synthesis.b4.const"]).all()


def test_an_observer_sees_every_moment_and_its_state_goes_on(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    class Counter(Observer):
        name = "counter"
        count = 0

        def begin(self, loop: Loop) -> None:
            told.append("begin")

        def step_begins(self, loop: Loop) -> None:
            self.count += 1

        def step_ends(self, loop: Loop, values: dict[str, torch.Tensor]) -> None:
            assert {"D_loss", "G_loss", "R1", "sign_real"} <= values.keys()

        def tick(self, loop: Loop, row: dict[str, Any]) -> None:
            row["counted"] = self.count

        def snapshot(self, loop: Loop) -> None:
            told.append(f"snapshot {loop.position.images}")

        def end(self, loop: Loop) -> None:
            told.append("end")

        def state_dict(self) -> dict[str, Any]:
            return {"count": self.count}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.count = state["count"]

    monkeypatch.setattr(start, "build_observers", lambda *_: [Counter()])
    stop_after(22, f"{RUN} --kimg 0.16 --cache-dir {cache} --outdir {tmp_path}")
    assert call("train", f"--resume latest --outdir {tmp_path}") == 0
    table = rows(tmp_path / "00000-faces_40-16")
    assert all(row["counted"] * 4 == row["images"] for row in table)
    assert told == ["begin", "snapshot 64", "end", "begin", "snapshot 128", "snapshot 160", "end"]


def test_keep_leaves_the_newest_snapshots_and_the_best(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for kimg in (10, 20, 30, 40, 50, 1_200_000):
        folder.network(kimg * 1000).touch()
        folder.fakes(kimg * 1000).touch()
    for name in ("fakes_init.png", "reals.png", "network-000010.txt"):
        (tmp_path / name).touch()
    folder.remove_old_snapshots(3, {1_200_000_000, 20_400})
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {
        *("network-000020.safetensors", "network-000050.safetensors", "network-1200000.safetensors"),
        *("fakes000020.png", "fakes000050.png", "fakes1200000.png", "fakes_init.png", "reals.png"),
        "network-000010.txt",
    }
    folder.remove_old_snapshots(1, {1_200_000_000, 20_400})  # the best and the last, whatever the number
    assert len(list(tmp_path.glob("network-*.safetensors"))) == 2


def test_the_best_reported_snapshot_is_remembered_over_a_resume(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quality = iter([5.0, 2.0, 3.0, 4.0, 2.5])
    asked: list[set[int]] = []

    class Judge(Observer):
        def snapshot(self, loop: Loop) -> None:
            loop.report_quality(next(quality))

    def remove(self: RunFolder, keep: int, protected: set[int]) -> None:
        assert keep == 2
        asked.append(protected)

    monkeypatch.setattr(start, "build_observers", lambda *_: [Judge()])
    monkeypatch.setattr(RunFolder, "remove_old_snapshots", remove)
    stop_after(30, f"{RUN} --keep 2 --kimg 0.3 --cache-dir {cache} --outdir {tmp_path}")
    assert call("train", f"--resume latest --outdir {tmp_path}") == 0
    assert asked == [{64}, {128}, {192, 128}, {256, 128}, {304, 128}]


def test_a_profile_leaves_a_trace_and_a_table_of_the_phases(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("train", f"{TINY} --kimg 0.04 --profile --cache-dir {cache} --outdir {tmp_path}") == 0
    run = tmp_path / "00000-faces_40-16"
    table = (run / "profile.txt").read_text()
    phases = ("D: generator", "D: fakes", "D: reals and R1", "G: forward", "G: backward", "Adam", "average of G")
    assert all(phase in table for phase in phases)
    told = capsys.readouterr().out  # a progress bar may have been drawn between the lines
    assert all(line in told for line in table.splitlines())
    shares = [float(line.split("%")[0].split()[-1]) for line in table.splitlines()[1:]]
    assert sum(shares) == pytest.approx(100, abs=0.5)
    assert shares == sorted(shares, reverse=True)
    names = {event.get("name") for event in json.loads((run / "trace.json").read_text())["traceEvents"]}
    assert set(phases) <= names
