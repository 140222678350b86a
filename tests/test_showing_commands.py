"""``figures``, ``video``, ``edit``, ``project``: what they write, and every mistake in one line."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from stylegan_fast.command import exit_status
from stylegan_fast.figures.__main__ import main as figures
from tests.command_lines import call, expect_one_line, write_images, write_network

Capture = pytest.CaptureFixture[str]


def run(command: str, arguments: str) -> int:
    return exit_status(figures, arguments.split()) if command == "figures" else call(command, arguments)


def test_figures_are_written_for_print(tmp_path: Path) -> None:
    network = write_network(tmp_path / "net.safetensors")
    arguments = f"--network {network} --outdir {tmp_path}/out --which truncation,noise_components --seeds 0,1"
    assert run("figures", arguments) == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["figure05-noise_components.png", "figure08-truncation.png"]
    with Image.open(tmp_path / "out" / names[1]) as image:
        assert image.width > 1500
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_a_movie_of_a_run_shows_all_its_networks(tmp_path: Path) -> None:
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    for number in (1, 2, 10):
        write_network(run_folder / f"network-{number:06d}.safetensors")
    out = tmp_path / "lapse.gif"
    arguments = f"--network {run_folder} --out {out} --kind timelapse --seeds 0,1 --grid 2x1 --frames 3 --width 64"
    assert run("video", arguments) == 0
    with Image.open(out) as image:
        assert (image.n_frames, image.size) == (1 + 2 * 3, (64, 32))


def test_edit_keeps_its_direction_and_takes_it_again(tmp_path: Path) -> None:
    network = write_network(tmp_path / "net.safetensors")
    for direction in ("pca:0", f"{tmp_path}/kept.npy"):
        arguments = f"--network {network} --seeds 0 --samples 200 --outdir {tmp_path}/{direction[:3]} --steps 1"
        assert run("edit", f"{arguments} --direction {direction} --save {tmp_path}/kept.npy") == 0
    (first,) = (tmp_path / "pca").iterdir()
    assert first.name == "edit-pca-0.png"
    assert np.linalg.norm(np.load(tmp_path / "kept.npy")) == pytest.approx(1, abs=1e-5)


def test_project_writes_the_latent_the_picture_and_the_way(tmp_path: Path) -> None:
    network = write_network(tmp_path / "net.safetensors")
    target = write_images(tmp_path / "images", 1, size=40) / "0.png"
    out = tmp_path / "out"
    arguments = f"--network {network} --target {target} --outdir {out} --steps 5 --video {tmp_path}/way.gif"
    assert run("project", arguments) == 0
    assert {path.name for path in out.iterdir()} == {"projection.safetensors", "projected.png", "progress.png"}
    tensors = load_file(out / "projection.safetensors")
    assert tensors["ws"].shape == (1, 6, 8)
    assert tensors["noise5"].shape == (1, 1, 16, 16)
    with Image.open(tmp_path / "way.gif") as image:
        assert image.n_frames == 6


MISTAKES = {
    "unknown figure": ("figures", "--which cats --outdir {tmp}/out", ["'cats'", "truncation"]),
    "a class of none": ("figures", "--class 1 --outdir {tmp}/out", ["--class 1"]),
    "an outdir that is a file": ("figures", "--outdir {tmp}/text.png", ["--outdir", "text.png"]),
    "unknown format": ("video", "--out {tmp}/x.avi", ["x.avi", ".mp4"]),
    "a folder that is not there": ("video", "--out {tmp}/no/x.gif", ["no", "not there"]),
    "a grid of words": ("video", "--out {tmp}/x.gif --grid big", ["--grid", "'big'"]),
    "seeds that do not go round": ("video", "--out {tmp}/x.gif --grid 2x2 --seeds 0-4", ["5 seeds", "4 images"]),
    "one seed": ("video", "--out {tmp}/x.gif --seeds 0", ["--seeds", "two"]),
    "frames at no rate": ("video", "--out {tmp}/x.gif --fps nan", ["--fps", "finite"]),
    "too few to mix": ("video", "--out {tmp}/x.gif --kind mixing --seeds 0-1", ["--seeds", "expected 3 or more"]),
    "no fine styles": ("video", "--out {tmp}/x.gif --kind mixing --styles fine", ["--styles fine"]),
    "no run": ("video", "--out {tmp}/x.gif --kind timelapse", ["net", "no such"]),
    "unknown direction": ("edit", "--direction smile --outdir {tmp}/out", ["'smile'", "pca:K"]),
    "unknown attribute": ("edit", "--direction attribute:hat --outdir {tmp}/out", ["hat", "glasses"]),
    "an unknown classifier": (
        "edit",
        "--direction attribute:0 --classifier {tmp}/text.png --outdir {tmp}/out",
        ["--classifier", "--trust-detector"],
    ),
    "a classifier without use": (
        "edit",
        "--direction pca:0 --classifier {tmp}/text.png --outdir {tmp}/out",
        ["--classifier", "pca:0"],
    ),
    "a folder for the direction that is not there": (
        "edit",
        "--direction pca:0 --samples 10 --save {tmp}/no/x.npy --outdir {tmp}/out",
        ["no/x.npy'"],
    ),
    "layers there are not": ("edit", "--direction pca:0 --layers 9 --outdir {tmp}/out", ["--layers", "9"]),
    "no target": ("project", "--target {tmp}/none.png --outdir {tmp}/out", ["--target", "none.png"]),
    "a target that is no picture": ("project", "--target {tmp}/text.png --outdir {tmp}/out", ["--target", "text.png"]),
    "a picture cut short": ("project", "--target {tmp}/cut.png --outdir {tmp}/out", ["--target", "cut.png"]),
    "a missing LPIPS file": (
        "project",
        "--target {tmp}/images/0.png --lpips {tmp}/none.pt --outdir {tmp}/out",
        ["--lpips", "none.pt"],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_with_one_line(mistake: str, tmp_path: Path, capsys: Capture) -> None:
    command, arguments, parts = MISTAKES[mistake]
    network = write_network(tmp_path / "net.safetensors")
    (tmp_path / "text.png").write_text("hello")
    write_images(tmp_path / "images", 1)
    (tmp_path / "cut.png").write_bytes((tmp_path / "images" / "0.png").read_bytes()[:300])
    assert run(command, f"--network {network} {arguments.format(tmp=tmp_path)}") == 2
    expect_one_line(capsys, *parts)
    assert not list(tmp_path.glob("x.*"))


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("figures", "--which truncation --outdir {tmp}/out"),
        ("video", "--out {tmp}/x.gif --frames 1 --seeds 0-1"),
        ("edit", "--direction pca:0 --samples 10 --seeds 0 --steps 1 --outdir {tmp}/out"),
        ("project", "--target {tmp}/images/0.png --steps 1 --outdir {tmp}/out"),
        ("calc_metrics", "--metrics msssim --num 4 --json -"),
    ],
)
def test_networks_of_others_are_taken_by_every_command(
    command: str, arguments: str, tmp_path: Path, capsys: Capture
) -> None:
    """An official pickle, here; `generate`, `style_mixing`, `convert` and `export` are tested elsewhere."""
    write_images(tmp_path / "images", 1)
    network = Path(__file__).parent / "golden" / "official_format_r64.pkl"
    assert run(command, f"--network {network} {arguments.format(tmp=tmp_path)}") == 0, capsys.readouterr().err
