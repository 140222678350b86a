"""The command lines: every mistake ends with one clear line and status 2; what is asked for is done."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from stylegan_fast.__main__ import COMMANDS, group
from stylegan_fast.command import exit_status
from stylegan_fast.errors import UserError
from stylegan_fast.figures.mixing import parse_styles
from stylegan_fast.seeds import class_of_seed, latent_of_seed, parse_ranges
from tests.command_lines import TINY, call, expect_one_line, start, write_images, write_network

Capture = pytest.CaptureFixture[str]


# ---------------------------------------------------------------- mistakes in training


def half_labelled(tmp_path: Path) -> str:
    folder = write_images(tmp_path / "half", 6)
    (folder / "dataset.json").write_text(json.dumps({"labels": [["0.png", 0], ["1.png", 1], ["2.png", 0]]}))
    return f"--data {folder} --cond"


def cut_zip(tmp_path: Path) -> str:
    with zipfile.ZipFile(tmp_path / "whole.zip", "w") as archive:
        for path in write_images(tmp_path / "images", 20).iterdir():
            archive.write(path, path.name)
    (tmp_path / "cut.zip").write_bytes((tmp_path / "whole.zip").read_bytes()[:3000])
    return f"--data {tmp_path}/cut.zip"


def folder_without_images(tmp_path: Path) -> str:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("nothing to see")
    return f"--data {tmp_path}/empty"


TRAIN_MISTAKES = {
    "missing folder": (lambda tmp_path: f"--data {tmp_path}/nowhere", ["nowhere"]),
    "folder without images": (folder_without_images, ["empty", "image"]),
    "ZIP cut short": (cut_zip, ["cut.zip"]),
    "resolution 48": (lambda _: "--resolution 48", ["48", "power of two"]),
    "labels for half the images": (half_labelled, ["label", "half"]),
    "negative kimg": (lambda _: "--kimg -5", ["--kimg", "-5"]),
    "no kimg": (lambda _: "--kimg 0", ["--kimg"]),
    "kimg that is no number": (lambda _: "--kimg nan", ["--kimg", "nan", "finite"]),
    "kimg without end": (lambda _: "--kimg inf", ["--kimg", "inf", "finite"]),
    "gamma that is no number": (lambda _: "--gamma nan", ["--gamma", "finite"]),
    "a step larger than the run": (lambda _: "--data faces:40 --batch 1000 --kimg 0.5", ["--batch 1000", "0.5 kimg"]),
    "a pipe without augmentation": (lambda _: "--augpipe color", ["--augpipe color", "--aug ada"]),
    "a detector without metrics": (lambda _: "--detector x.pt", ["--detector", "--metrics"]),
    "mixing without styles": (lambda _: "--config a --mixing-prob 0.5", ["--mixing-prob 0.5", "--config a"]),
    "laziness without penalties": (lambda _: "--objective wgan-gp --r1-every 4", ["--r1-every 4", "--gamma"]),
    "threads without end": (lambda _: "--threads 1000000", ["--threads", "1024"]),
    "latents without end": (lambda _: "--z-dim 100000000000", ["--z-dim", "65536"]),
    "a path of nothing": (lambda _: "--data=", ["--data", "empty"]),
    "batch 0": (lambda _: "--batch 0", ["--batch"]),
    "unknown option": (lambda _: "--kimgs 5", ["--kimgs"]),
    "unknown device": (lambda _: "--device tpu", ["tpu", "cuda"]),
    "nothing to resume": (lambda _: "--resume latest", ["--resume latest", "state.pt"]),
    "no such run": (lambda tmp_path: f"--resume {tmp_path}/run", ["--resume", "run"]),
}


@pytest.mark.parametrize("mistake", TRAIN_MISTAKES)
def test_a_mistake_in_train_ends_with_one_line_and_leaves_no_run(mistake: str, tmp_path: Path, capsys: Capture) -> None:
    arguments, parts = TRAIN_MISTAKES[mistake]
    outdir = tmp_path / "runs"
    assert call("train", f"{arguments(tmp_path)} --outdir {outdir} --cache-dir {tmp_path}/cache") == 2
    expect_one_line(capsys, *parts)
    assert not outdir.exists() or not list(outdir.iterdir())


def test_an_outdir_that_cannot_be_written_is_named(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file").write_text("in the way")
    refused = [tmp_path / "file", tmp_path / "file" / "runs", *(p / "runs" for p in [Path("/proc")] if p.is_dir())]
    for outdir in refused:
        assert call("train", f"--data faces:20 --outdir {outdir}") == 2
        expect_one_line(capsys, "--outdir", str(outdir))


@pytest.mark.parametrize("command", ["train", "generate", "edit", "project", "style_mixing"])
def test_an_empty_outdir_is_not_the_current_folder(command: str, capsys: Capture) -> None:
    assert call(command, ["--outdir", ""]) == 2
    expect_one_line(capsys, "--outdir", "empty")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
@pytest.mark.parametrize("command", ["train --outdir {0}/o", "generate --network {0}/n --seeds 0 --outdir {0}/o"])
def test_cuda_where_there_is_none_is_told(command: str, tmp_path: Path, capsys: Capture) -> None:
    write_network(tmp_path / "n")
    name, _, arguments = command.format(tmp_path).partition(" ")
    assert call(name, f"{arguments} --device cuda") == 2
    expect_one_line(capsys, "--device cuda", "--device cpu")


def test_an_option_that_contradicts_the_run_is_named_on_resume(tmp_path: Path, capsys: Capture) -> None:
    assert call("train", f"{TINY} --kimg 0.02 --outdir {tmp_path}/runs --cache-dir {tmp_path}/cache") == 0
    resume = f"--resume latest --outdir {tmp_path}/runs --cache-dir {tmp_path}/cache"
    capsys.readouterr()
    for option, value in {"--channel-base": "64", "--resolution": "32", "--lr": "0.5", "--seed": "3"}.items():
        assert call("train", f"{resume} {option} {value}") == 2
        expect_one_line(capsys, f"{option} {value}", "--resume")
    assert call("train", f"{resume} --mirror") == 2
    expect_one_line(capsys, "--mirror")
    assert call("train", f"{resume} --data faces:41") == 2
    err = capsys.readouterr().err
    assert "error: --resume: the run was started on data with images 40" in err.splitlines()[-1]
    assert call("train", f"{resume} --seed 0 --batch 4") == 0  # what the run already has is no contradiction


def test_a_real_process_ends_the_same_way(tmp_path: Path) -> None:
    process = start("train", f"--data {tmp_path}/nowhere --outdir {tmp_path}/runs")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1


# ---------------------------------------------------------------- mistakes in drawing

DRAWING_MISTAKES = {
    "backward seeds": ("generate --network {net} --seeds 5-2", ["--seeds", "5-2", "2-5"]),
    "a seed of 5000 digits": ("generate --network {net} --seeds " + "9" * 5000, ["--seeds", "not a number"]),
    "truncation by no number": ("generate --network {net} --seeds 0 --trunc nan", ["--trunc", "finite"]),
    "truncation beyond fp32": ("generate --network {net} --seeds 0 --trunc 1e300", ["--trunc", "finite"]),
    "seeds in words": ("generate --network {net} --seeds one", ["--seeds", "one"]),
    "a seed too large": ("generate --network {net} --seeds 4294967296", ["4294967296", "4294967295"]),
    "class without classes": ("generate --network {net} --seeds 0 --class 9", ["--class 9", "without classes"]),
    "class out of range": ("generate --network {cond} --seeds 0 --class 3", ["--class 3", "0 to 2"]),
    "negative class": ("generate --network {cond} --seeds 0 --class -1", ["--class -1", "0 to 2"]),
    "missing network": ("generate --network {tmp}/none --seeds 0", ["none"]),
    "folder without networks": ("generate --network {tmp} --seeds 0", ["network"]),
    "file of another format": ("generate --network {tmp}/text --seeds 0", ["text", "network file"]),
    "safetensors of something else": ("generate --network {tmp}/other --seeds 0", ["other", "stylegan_fast"]),
    "outdir in the way": ("generate --network {net} --seeds 0 --outdir {tmp}/text/x", ["--outdir", "text/x"]),
    "missing option": ("generate --network {net}", ["--seeds"]),
    "unknown noise": ("generate --network {net} --seeds 0 --noise-mode loud", ["loud", "const"]),
    "backward rows": ("style_mixing --network {net} --rows 3-1 --cols 0", ["--rows", "3-1"]),
    "a sheet without end": (
        "style_mixing --network {net} --rows 0-50000 --cols 0-50000",
        ["--rows", "--cols", "fewer"],
    ),
    "layers not there": ("style_mixing --network {net} --rows 0 --cols 1 --styles fine", ["fine", "0 to 5"]),
    "a layer too many": ("style_mixing --network {net} --rows 0 --cols 1 --styles 4-6", ["--styles", "6", "5"]),
    "layers in other words": ("style_mixing --network {net} --rows 0 --cols 1 --styles rough", ["rough", "coarse"]),
}


@pytest.mark.parametrize("mistake", DRAWING_MISTAKES)
def test_a_mistake_in_drawing_ends_with_one_line(mistake: str, tmp_path: Path, capsys: Capture) -> None:
    command, parts = DRAWING_MISTAKES[mistake]
    (tmp_path / "text").write_text("not a network")
    save_file({"x": torch.zeros(3)}, tmp_path / "other")
    paths = {"net": tmp_path / "net", "cond": tmp_path / "cond", "tmp": tmp_path}
    write_network(paths["net"])
    write_network(paths["cond"], classes=3)
    name, _, arguments = command.format(**paths).partition(" ")
    if "--outdir" not in arguments:
        arguments += f" --outdir {tmp_path}/out"
    assert call(name, arguments) == 2
    expect_one_line(capsys, *parts)
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- how a command ends


def ends(failure: BaseException, capsys: Capture, option: str = "--batch") -> tuple[int, str]:
    def fail(**_: object) -> None:
        raise failure

    status = exit_status(click.Command("x", callback=fail, params=[click.Option([option])]), [])
    return status, capsys.readouterr().err.strip()


def test_each_kind_of_failure_has_its_line_and_status(capsys: Capture) -> None:
    assert ends(UserError("this\nand that"), capsys) == (2, "error: this and that")
    assert ends(KeyboardInterrupt(), capsys)[0] == 130
    assert ends(OSError(32, "Broken pipe"), capsys) == (1, "")
    assert ends(OSError(28, "No space left on device", "/a/b"), capsys) == (
        *(2, "error: the disk is full: could not write '/a/b'; free some space or write to another folder"),
    )
    assert "read-only" in ends(OSError(30, "Read-only file system", "/a/b"), capsys)[1]
    assert ends(FileNotFoundError(2, "No such file", "/a"), capsys) == (2, "error: No such file: '/a'")


@pytest.mark.parametrize(
    "failure",
    [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
     torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")],
)  # fmt: skip
def test_running_out_of_memory_names_the_option_to_lower(failure: BaseException, capsys: Capture) -> None:
    status, line = ends(failure, capsys)
    assert status == 2
    assert line.startswith("error: out of memory; lower --batch")
    assert "--batch" not in ends(failure, capsys, option="--size")[1]


def test_a_bug_of_ours_keeps_its_traceback(capsys: Capture) -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        ends(RuntimeError("a bug"), capsys)


def test_the_console_script_has_every_command(capsys: Capture) -> None:
    assert exit_status(group, []) == 0
    listed = capsys.readouterr().out
    assert all(f"  {name} " in listed for name in COMMANDS)
    for name in COMMANDS:
        assert exit_status(group, [name, "--help"]) == 0
        assert "--help" in capsys.readouterr().out
    assert exit_status(group, ["train", "--kimg", "-1"]) == 2
    expect_one_line(capsys, "--kimg")
    assert exit_status(group, ["paint"]) == 2
    expect_one_line(capsys, "paint")


def test_help_is_answered_without_loading_torch() -> None:
    code = (
        "import sys\nfrom stylegan_fast.__main__ import group\nfrom stylegan_fast.command import exit_status\n"
        "for name in ('train', 'generate', 'style-mixing'):\n    assert exit_status(group, [name, '--help']) == 0\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=Path(__file__).parent.parent)


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    process = start("train", "--help")
    assert process.stdout is not None
    process.stdout.close()
    process.wait(timeout=60)
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()


# ---------------------------------------------------------------- seeds and layers


def test_ranges_are_read_as_people_write_them() -> None:
    assert parse_ranges("0,3,5-9", "--seeds") == [0, 3, 5, 6, 7, 8, 9]
    assert parse_ranges(" 7 , 2-2", "--seeds") == [7, 2]


@pytest.mark.parametrize("text", ["", "5-", "-5", "1,,2", "1;2", "5-2", "1.5", "٣", "0-9999999", "1-2-3"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"^--seeds"):
        parse_ranges(text, "--seeds")


def test_seeds_mean_the_latents_other_tools_take() -> None:
    assert np.array_equal(latent_of_seed(7, 4), np.random.RandomState(7).randn(1, 4)[0].astype(np.float32))


def test_classes_by_seed_cover_all_of_them() -> None:
    assert {class_of_seed(seed, 5) for seed in range(60)} == set(range(5))


def test_named_layers_are_those_of_the_paper() -> None:
    layers = {name: parse_styles(name, 18) for name in ("coarse", "middle", "fine")}
    assert layers == {"coarse": [0, 1, 2, 3], "middle": [4, 5, 6, 7], "fine": list(range(8, 18))}
    assert parse_styles("middle", 6) == [4, 5]
    assert parse_styles("0-2,17,1", 18) == [0, 1, 2, 17]
