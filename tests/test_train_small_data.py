"""``train`` with few images: augmentation, weights of other networks, frozen layers, and what there is to watch."""

import json
import signal
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stylegan_fast.models import load_generator
from stylegan_fast.training.trainer import Trainer
from tests.command_lines import TINY, call, expect_one_line, write_network
from tests.runs import rows, same_tensors

# 24 pairs of steps of 4 images, 6 adjustments of p, a snapshot in the middle and at the end.
SHORT = f"{TINY} --kimg 0.096 --tick 0.048 --snap 1"
# With a target of -1 p goes up at every adjustment, whatever D says of the reals.
ADA = f"{SHORT} --aug ada --aug-kimg 0.2 --aug-target -1"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "network-000000.safetensors")


def test_adaptive_augmentation_goes_on_to_the_bit_in_the_middle_of_an_adjustment(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = f"--cache-dir {cache} --outdir"
    assert call("train", f"{ADA} {common} {tmp_path}/whole") == 0
    calls, g_step = 0, Trainer.g_step

    def g_step_and_signal(*args: object) -> dict[str, torch.Tensor]:
        nonlocal calls
        calls += 1
        if calls == 10:  # two steps after the second adjustment
            signal.raise_signal(signal.SIGINT)
        return g_step(*args)

    monkeypatch.setattr(Trainer, "g_step", g_step_and_signal)
    assert call("train", f"{ADA} {common} {tmp_path}/parts") == 130
    assert call("train", f"--resume latest {common} {tmp_path}/parts") == 0
    whole, parts = (next((tmp_path / name).iterdir()) for name in ("whole", "parts"))
    assert same_tensors(weights(whole), weights(parts))
    assert [row["augment_p"] for row in rows(parts)][-1] == rows(whole)[-1]["augment_p"] > 0
    state = torch.load(whole / "state.pt", weights_only=True)["observers"]["augmentation"]
    assert state["p"] == rows(whole)[-1]["augment_p"]
    assert "aug p 0." in (whole / "log.txt").read_text()


def test_fixed_augmentation_changes_what_is_learned_and_stays_as_strong(cache: Path, tmp_path: Path) -> None:
    for name, options in (("plain", ""), ("blit", "--aug fixed --aug-p 0.5 --augpipe blit")):
        assert call("train", f"{SHORT} {options} --cache-dir {cache} --outdir {tmp_path}/{name}") == 0
    plain, blit = (next((tmp_path / name).iterdir()) for name in ("plain", "blit"))
    assert not same_tensors(weights(plain), weights(blit))
    assert [row["augment_p"] for row in rows(blit)] == [0.5, 0.5]
    assert "augment_p" not in rows(plain)[0]


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ("--aug fixed", ("--aug fixed", "--aug-p")),
        ("--aug-p 0.3", ("--aug-p 0.3", "--aug ada")),
        ("--aug fixed --aug-p 0.2 --aug-target 0.5", ("--aug-target 0.5", "--aug ada")),
        ("--freeze-d 2", ("--freeze-d 2", "--resume")),
        ("--freeze-mapping", ("--freeze-mapping", "--resume")),
        ("--resume none.safetensors", ("none.safetensors", "no such run folder")),
    ],
)
def test_options_that_make_no_sense_are_named(
    options: str, parts: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("train", f"{SHORT} {options} --outdir {tmp_path}/runs") == 2
    expect_one_line(capsys, *parts)
    assert not (tmp_path / "runs").exists()


def test_a_run_begins_with_the_weights_of_another_network(cache: Path, tmp_path: Path) -> None:
    network = write_network(tmp_path / "net.safetensors", resolution=8)  # channels 64 / 8, z of 8, 2 mapping layers
    data = "--data faces:40 --resolution 16 --batch 4 --threads 1 --kimg 0.008 --lr 1e-9"
    assert call("train", f"{data} --resume {network} --cache-dir {cache} --outdir {tmp_path}/runs") == 0
    run = tmp_path / "runs" / "00000-faces_40-16"
    log = (run / "log.txt").read_text()
    assert "G kept: mapping, synthesis.b4, synthesis.b8 (" in log
    assert "G fresh: synthesis.b16 (" in log
    assert "D kept: b8, b4 (" in log
    config = json.loads((run / "config.json").read_text())
    assert [config[name] for name in ("channel_base", "channel_max", "z_dim", "map_depth")] == [64, 8, 8, 2]
    assert (config["weights"], config["start_resolution"]) == (str(network), 8)
    old, new = load_file(network), weights(run)
    for name in ("G_ema.mapping.fc0.weight", "G_ema.synthesis.b8.layer1.conv.weight", "D.b8.conv0.weight"):
        torch.testing.assert_close(new[name], old[name])
    assert call("train", f"--resume {run} --kimg 0.016") == 0  # goes on as any run


def test_a_folder_with_nothing_but_networks_gives_its_newest(cache: Path, tmp_path: Path) -> None:
    for kimg in (3, 7):
        write_network(tmp_path / f"network-{kimg:06d}.safetensors")
    options = f"{SHORT} --kimg 0.004 --resume {tmp_path} --cache-dir {cache} --outdir {tmp_path}/runs"
    assert call("train", options) == 0
    assert "network-000007.safetensors" in (tmp_path / "runs" / "00000-faces_40-16" / "log.txt").read_text()


def test_frozen_layers_stay_and_the_others_learn_also_after_a_resume(cache: Path, tmp_path: Path) -> None:
    network = write_network(tmp_path / "net.safetensors")
    data = "--data faces:40 --resolution 16 --batch 4 --threads 1 --kimg 0.016"
    frozen = f"{data} --resume {network} --freeze-d 2 --freeze-mapping --cache-dir {cache} --outdir {tmp_path}/runs"
    assert call("train", frozen) == 0
    run = tmp_path / "runs" / "00000-faces_40-16"
    assert call("train", f"--resume {run} --kimg 0.032") == 0
    old, new = load_file(network), weights(run)
    old |= {name.replace("G_ema.", "G."): value for name, value in old.items()}  # the file has no other generator
    still = {name for name in old if name.startswith(("G.mapping.fc", "D.")) and torch.equal(old[name], new[name])}
    moved = {name for name in old if name.startswith(("G.mapping.fc", "D.")) and name not in still}
    layers = {name.rpartition(".")[0] for name in still}
    assert layers == {
        "G.mapping.fc0",
        "G.mapping.fc1",
        "D.b16.from_rgb",
        "D.b8.from_rgb",
        "D.b4.from_rgb",
        "D.b16.conv0",
    }
    assert {"D.b16.conv1.weight", "D.b4.out.weight"} <= moved
    assert not torch.equal(old["G.mapping.w_avg"], new["G.mapping.w_avg"])


@pytest.mark.parametrize("content", [b"", b"hello", None])
def test_a_file_that_is_no_network_is_named(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = write_network(tmp_path / "net.safetensors")
    network.write_bytes(network.read_bytes()[:2000] if content is None else content)
    assert call("train", f"{SHORT} --resume {network} --outdir {tmp_path}/runs") == 2
    expect_one_line(capsys, "net.safetensors", "not a whole safetensors network file")
    official = tmp_path / "official.pkl"
    official.write_bytes(b"\x80\x02.")
    assert call("train", f"{SHORT} --resume {official} --outdir {tmp_path}/runs") == 2
    expect_one_line(capsys, "official.pkl", "stylegan_fast.convert")


def test_the_page_that_cannot_be_written_stops_nothing(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path / "report.html"))

    monkeypatch.setattr("stylegan_fast.training.watching.write_report", refuse)
    assert call("train", f"{SHORT} --kimg 0.004 --cache-dir {cache} --outdir {tmp_path}") == 0
    assert "report.html could not be written: Permission denied" in capsys.readouterr().out
    assert load_generator(tmp_path / "00000-faces_40-16").img_resolution == 16


def test_tensorboard_files_hold_what_the_ticks_say(cache: Path, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert call("train", f"{ADA} --tensorboard --cache-dir {cache} --outdir {tmp_path}") == 0
    run = next(tmp_path.iterdir())
    assert call("train", f"--resume {run} --tensorboard --kimg 0.144") == 0
    events = accumulator.EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    for name in ("D_loss", "augment_p", "lod"):
        expected = [(row["images"], pytest.approx(row[name], rel=1e-6)) for row in rows(run)]
        assert [(event.step, event.value) for event in events.Scalars(name)] == expected
    assert [event.step for event in events.Images("samples")] == [48, 96, 144]


def test_without_tensorboard_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert call("train", f"{SHORT} --tensorboard --outdir {tmp_path}/runs") == 2
    expect_one_line(capsys, "pip install 'stylegan_fast[tensorboard]'")
