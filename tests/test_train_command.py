"""``train`` from the outside: what it writes, how it stops, how it goes on."""

import errno
import json
import os
import shlex
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from stylegan_fast.models import load_discriminator, load_generator, network_config
from stylegan_fast.training.checkpoint import save_state
from stylegan_fast.training.trainer import Trainer
from tests.command_lines import RUN, TINY, call, start, write_images
from tests.runs import expect_same_result, rows


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def whole_run(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    outdir = tmp_path_factory.mktemp("whole")
    assert call("train", f"{RUN} --cache-dir {cache} --outdir {outdir}") == 0
    return outdir / "00000-faces_40-16"


def test_a_run_leaves_the_files_it_promises(whole_run: Path) -> None:
    names = {path.name for path in whole_run.iterdir()}
    assert names == {
        *("config.json", "log.txt", "stats.jsonl", "reals.png", "fakes_init.png", "fakes000000.png"),
        *("network-000000.safetensors", "state.pt", "state.prev.pt", "report.html", "curves.png", "progress.png"),
    }
    config = json.loads((whole_run / "config.json").read_text())
    assert (config["kimg"], config["resolution"], config["dataset"]["images"]) == (0.4, 16, 40)
    log = (whole_run / "log.txt").read_text()
    assert all(word in log for word in ("kimg", "lod", "img/s", "s/kimg", "mem", "data wait", "left", "samples:"))


def test_stats_are_finite_and_show_the_fade(whole_run: Path) -> None:
    table = rows(whole_run)
    assert [row["tick"] for row in table] == list(range(1, len(table) + 1))
    assert table[0]["lod"] == pytest.approx(1 / 3)  # a second group of steps: 16 of 9.6 + 9.6 images of growth
    assert {(row["resolution"], row["lod"]) for row in table[1:]} == {(16, 0.0)}
    assert table[-1]["images"] == 400
    assert all(value is not None for row in table for value in row.values())
    assert all(row["images_per_second"] > 0 and 0 <= row["data_wait"] <= 1 for row in table)


def test_the_networks_of_a_run_open_ready_to_use(whole_run: Path) -> None:
    G, D = load_generator(whole_run), load_discriminator(whole_run)
    images = G(torch.randn(2, G.z_dim), noise_mode="const")
    assert images.shape == (2, 3, 16, 16)
    assert D(images).shape == (2, 1)
    assert network_config(whole_run)["lod"] == 0.0
    assert not torch.equal(
        load_generator(whole_run, which="G").synthesis.b4.const, load_generator(whole_run).synthesis.b4.const
    )


@pytest.mark.parametrize("pairs", [1, 6, 8, 37])  # before the fade, within it, at its end, long after it
def test_a_run_stopped_by_a_signal_goes_on_to_the_bit(
    pairs: int,
    whole_run: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls = 0
    g_step = Trainer.g_step

    def g_step_and_signal(*args: object) -> dict[str, torch.Tensor]:
        nonlocal calls
        calls += 1
        if calls == pairs:
            signal.raise_signal(signal.SIGINT)
        return g_step(*args)

    monkeypatch.setattr(Trainer, "g_step", g_step_and_signal)
    assert call("train", f"{RUN} --cache-dir {cache} --outdir {tmp_path}") == 130
    assert calls == pairs
    out = capsys.readouterr().out
    command = shlex.split(out.partition("To continue:\n")[2].splitlines()[0])
    assert command[:3] == ["python", "-m", "stylegan_fast.train"]
    assert call("train", command[3:]) == 0
    expect_same_result(next(tmp_path.iterdir()), whole_run)


def test_a_killed_run_goes_on_to_the_bit(whole_run: Path, cache: Path, tmp_path: Path) -> None:
    run = tmp_path / "00000-faces_40-16"
    for arguments, ticks in ((RUN, 3), ("--resume latest", 9)):
        process = start("train", f"{arguments} --cache-dir {cache} --outdir {tmp_path}")
        try:
            while process.poll() is None and not ((run / "stats.jsonl").exists() and len(rows(run)) >= ticks):
                time.sleep(0.002)
        finally:
            process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert call("train", f"--resume latest --outdir {tmp_path}") == 0
    expect_same_result(run, whole_run)


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "disk is read-only")])
def test_a_disk_that_fills_up_or_is_taken_away_stops_the_run_and_loses_nothing_saved(
    number: int,
    words: str,
    whole_run: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    snapshots = 0

    def full_at_the_third(*args: Any, **kwargs: Any) -> None:
        nonlocal snapshots
        snapshots += 1
        if snapshots == 3:
            raise OSError(number, os.strerror(number), str(args[0].state))
        save_state(*args, **kwargs)

    monkeypatch.setattr("stylegan_fast.training.loop.save_state", full_at_the_third)
    assert call("train", f"{RUN} --cache-dir {cache} --outdir {tmp_path}") == 2
    assert f"error: the {words}: could not write" in capsys.readouterr().err.splitlines()[-1]
    run = next(tmp_path.iterdir())
    assert os.strerror(number) in (run / "log.txt").read_text().splitlines()[-1]
    assert call("train", f"--resume {run}") == 0
    expect_same_result(run, whole_run)


def test_a_run_resumed_after_its_end_changes_nothing(whole_run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(whole_run, tmp_path / whole_run.name)
    assert call("train", f"--resume {copy}") == 0
    expect_same_result(copy, whole_run)
    assert rows(copy) == rows(whole_run)


def test_a_run_can_be_made_longer(cache: Path, tmp_path: Path) -> None:
    assert call("train", f"{TINY} --kimg 0.1 --cache-dir {cache} --outdir {tmp_path}") == 0
    assert call("train", f"--resume latest --outdir {tmp_path} --kimg 0.2") == 0
    table = rows(tmp_path / "00000-faces_40-16")
    assert table[-1]["images"] == 208  # the first multiple of four batches past 200
    assert all(row["lod"] == 0.0 for row in table if row["images"] > 112)  # it does not grow a second time


def test_labels_mirroring_and_gray_images_train(tmp_path: Path) -> None:
    for name in ("cats", "dogs"):
        folder = write_images(tmp_path / "data" / name, 5)
        for path in folder.iterdir():
            Image.open(path).convert("L").save(path)
    options = f"--data {tmp_path}/data {TINY.partition(' ')[2].partition(' ')[2]} --cond --mirror --kimg 0.05"
    assert call("train", f"{options} --cache-dir {tmp_path}/cache --outdir {tmp_path}/runs") == 0
    run = tmp_path / "runs" / "00000-data-16-cond-mirror"
    G = load_generator(run)
    assert (G.c_dim, G.img_channels) == (2, 1)
    assert call("generate", f"--network {run} --seeds 0-3 --class 1 --outdir {tmp_path}/out") == 0
    with Image.open(tmp_path / "out" / "seed0003.png") as image:
        assert (image.mode, image.size) == ("L", (16, 16))


def test_the_log_names_the_images_that_were_skipped(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", 6)
    (images / "broken.png").write_bytes((images / "0.png").read_bytes()[:60])
    options = TINY.replace("--data faces:40", f"--data {images}")
    assert call("train", f"{options} --kimg 0.01 --cache-dir {tmp_path / 'cache'} --outdir {tmp_path / 'runs'}") == 0
    log = (tmp_path / "runs" / "00000-images-16" / "log.txt").read_text()
    assert "broken.png" in log


def test_the_generator_may_learn_at_a_rate_of_its_own(cache: Path, tmp_path: Path) -> None:
    """At a rate of nothing it stays as it began, while the discriminator learns."""
    ends = []
    for kimg in (0.02, 0.06):
        outdir = tmp_path / str(kimg)
        options = f"{TINY} --growing off --kimg {kimg} --g-lr 1e-30 --cache-dir {cache} --outdir {outdir}"
        assert call("train", options) == 0
        network = next(outdir.glob("*/network-*.safetensors"))
        ends.append((load_generator(network, which="G"), load_discriminator(network)))
    (G, D), (later_G, later_D) = ends
    for before, after in zip(G.parameters(), later_G.parameters(), strict=True):
        torch.testing.assert_close(after, before, rtol=0, atol=1e-20)
    assert not torch.equal(D.b4.out.weight, later_D.b4.out.weight)
