"""What ``generate`` and ``style_mixing`` draw."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stylegan_fast.figures.mixing import style_mixing_sheet
from stylegan_fast.figures.samples import SampleSettings, draw_seeds
from stylegan_fast.figures.sheet import to_uint8
from stylegan_fast.models import Generator, load_generator
from stylegan_fast.seeds import latent_of_seed
from tests.command_lines import call, write_network


def drawn(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: np.asarray(Image.open(path)).astype(int) for path in sorted(folder.iterdir())}


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return write_network(tmp_path / "net.safetensors")


def generate(network: Path, outdir: Path, options: str) -> dict[str, np.ndarray]:
    assert call("generate", f"--network {network} --outdir {outdir} {options}") == 0
    return drawn(outdir)


def test_an_image_is_that_of_its_latent(network: Path, tmp_path: Path) -> None:
    images = generate(network, tmp_path / "out", "--seeds 3,0 --trunc 0.5 --trunc-cutoff 2")
    assert list(images) == ["seed0000.png", "seed0003.png"]
    G = load_generator(network)
    z = torch.from_numpy(latent_of_seed(3, G.z_dim))[None]
    expected = to_uint8(G(z, truncation_psi=0.5, truncation_cutoff=2, noise_mode="const"))[0].astype(int)
    assert abs(images["seed0003.png"] - expected).max() <= 1


@pytest.mark.parametrize("noise_mode", ["const", "random", "none"])
def test_an_image_does_not_depend_on_those_drawn_with_it(noise_mode: str, network: Path, tmp_path: Path) -> None:
    together = generate(network, tmp_path / "a", f"--seeds 0-6 --batch 5 --noise-mode {noise_mode}")
    alone = generate(network, tmp_path / "b", f"--seeds 5 --batch 1 --noise-mode {noise_mode}")
    # Another batch may take another convolution, whose rounding can carry a value over to the next whole number.
    assert abs(together["seed0005.png"] - alone["seed0005.png"]).max() <= 1
    assert abs(together["seed0005.png"] - together["seed0004.png"]).max() > 10


def test_noise_modes_draw_different_images(network: Path, tmp_path: Path) -> None:
    images = [
        generate(network, tmp_path / mode, f"--seeds 2 --noise-mode {mode}")["seed0002.png"]
        for mode in ("const", "random", "none")
    ]
    assert all(abs(a - b).max() > 3 for i, a in enumerate(images) for b in images[:i])


def test_no_truncation_and_full_truncation(network: Path, tmp_path: Path) -> None:
    mean = generate(network, tmp_path / "mean", "--seeds 0-1 --trunc 0 --trunc-cutoff 6")
    assert abs(mean["seed0000.png"] - mean["seed0001.png"]).max() <= 1
    free = generate(network, tmp_path / "free", "--seeds 0-1 --trunc 1")
    assert abs(free["seed0000.png"] - free["seed0001.png"]).max() > 10


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_the_mode_of_a_picture_is_that_of_the_network(channels: int, mode: str, tmp_path: Path) -> None:
    generate(write_network(tmp_path / "net", channels), tmp_path / "out", "--seeds 0-4 --grid")
    with Image.open(tmp_path / "out" / "seed0004.png") as image:
        assert (image.mode, image.size) == (mode, (16, 16))
    with Image.open(tmp_path / "out" / "grid.png") as image:
        assert (image.mode, image.size) == ("RGB", (3 * 66 + 2, 2 * 66 + 2))


def test_classes_change_the_image_and_are_drawn_by_seed_where_not_given(tmp_path: Path) -> None:
    network = write_network(tmp_path / "net", classes=3)
    by_class = [generate(network, tmp_path / f"c{k}", f"--seeds 0 --class {k}")["seed0000.png"] for k in range(3)]
    assert abs(by_class[0] - by_class[1]).max() > 3
    by_seed = generate(network, tmp_path / "seed", "--seeds 0")["seed0000.png"]
    assert sum(np.array_equal(by_seed, image) for image in by_class) == 1


def test_a_network_saved_while_growing_draws_the_size_it_had_reached(tmp_path: Path) -> None:
    images = generate(write_network(tmp_path / "net", lod=1.0), tmp_path / "out", "--seeds 0")
    assert images["seed0000.png"].shape == (8, 8, 3)


# ---------------------------------------------------------------- style mixing


def cells(sheet: Image.Image, columns: int, rows: int) -> np.ndarray:
    """``[rows, columns, H, W, 3]`` at a resolution of 16, cells of 64 and gaps of 2."""
    pixels = np.asarray(sheet).astype(int)
    starts = [[(2 + 66 * row, 2 + 66 * column) for column in range(columns)] for row in range(rows)]
    return np.stack([[pixels[y : y + 64 : 4, x : x + 64 : 4] for y, x in row] for row in starts])


def test_the_sheet_mixes_its_sources_layer_by_layer(network: Path) -> None:
    G = load_generator(network)
    settings = SampleSettings(noise_mode="const")
    sources = dict(draw_seeds(G, [0, 1, 5, 6, 7], settings))
    for layers, owner in ((range(G.num_ws), "column"), ([], "row")):
        table = cells(style_mixing_sheet(G, [0, 1], [5, 6, 7], list(layers), settings, batch=4), 4, 3)
        assert (table[0, 0] == 255).all()
        for r, row_seed in enumerate([0, 1]):
            assert abs(table[r + 1, 0] - sources[row_seed]).max() <= 1
            for c, col_seed in enumerate([5, 6, 7]):
                assert abs(table[0, c + 1] - sources[col_seed]).max() <= 1
                expected = sources[col_seed if owner == "column" else row_seed]
                assert abs(table[r + 1, c + 1] - expected).max() <= 1, (owner, r, c)


def test_a_partly_mixed_cell_takes_the_layers_named_from_its_column(network: Path) -> None:
    G: Generator = load_generator(network)
    settings = SampleSettings(truncation_psi=1.0)
    table = cells(style_mixing_sheet(G, [0], [5], [1, 4], settings), 2, 2)
    with torch.no_grad():
        ws, ws_col = (G.mapping(torch.from_numpy(latent_of_seed(seed, G.z_dim))[None]) for seed in (0, 5))
        ws[:, [1, 4]] = ws_col[:, [1, 4]]
        expected = to_uint8(G.synthesis(ws, noise_mode="const"))[0]
    assert abs(table[1, 1] - expected).max() <= 1
    assert abs(table[1, 1] - table[1, 0]).max() > 3


def test_the_command_writes_the_sheet(network: Path, tmp_path: Path) -> None:
    for styles in ("coarse", "0-3"):
        arguments = f"--network {network} --rows 0,1 --cols 3-5 --styles {styles} --outdir {tmp_path}/out"
        assert call("style_mixing", arguments) == 0
    sheets = drawn(tmp_path / "out")
    assert list(sheets) == ["style-mixing-0-3.png", "style-mixing-coarse.png"]
    assert np.array_equal(*sheets.values())
    assert sheets["style-mixing-coarse.png"].shape == (3 * 66 + 2, 4 * 66 + 2, 3)
