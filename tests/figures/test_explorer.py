"""What the studio draws for each of its knobs."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from stylegan_fast.errors import UserError
from stylegan_fast.figures.explorer import Explorer, Look, load_directions, on_the_way
from stylegan_fast.figures.samples import SampleSettings, draw_seeds, styles_of_seeds
from stylegan_fast.models import Generator, load_generator
from stylegan_fast.seeds import MAX_SEED
from tests.command_lines import write_network


@pytest.fixture
def G(tmp_path: Path) -> Generator:
    return load_generator(write_network(tmp_path / "net.safetensors"))


def difference(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def test_a_seed_shows_what_generate_draws(G: Generator) -> None:
    settings = SampleSettings(0.6, 4)
    expected = dict(draw_seeds(G, [5], settings))[5]
    assert difference(Explorer(G).draw(Look(5, settings=settings)), expected) <= 1


def test_a_walk_ends_where_the_next_one_begins(G: Generator) -> None:
    explorer = Explorer(G)
    on_the_walk = [explorer.draw(Look(5, share)) for share in (0.0, 0.5, 1.0)]
    assert difference(on_the_walk[2], explorer.draw(Look(6))) <= 1
    assert all(difference(on_the_walk[1], end) > 3 for end in (on_the_walk[0], on_the_walk[2]))
    assert explorer.draw(Look(MAX_SEED, 1.0)).shape == (16, 16, 3)


def test_the_way_between_two_latents_is_an_arc() -> None:
    first, second = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 5.0])
    torch.testing.assert_close(on_the_way(first, second, 1 / 3), torch.tensor([3**0.5 / 2, 0.5]) * (3 + 2 / 3))
    torch.testing.assert_close(on_the_way(first, second, 1.0), second)
    torch.testing.assert_close(on_the_way(first, 2 * first, 0.5), 1.5 * first)


def test_styles_are_mixed_in_the_layers_named(G: Generator) -> None:
    settings = SampleSettings()
    ws = Explorer(G).ws(Look(1, settings=settings, mix_seed=2, mix_layers=(1, 3)))
    first, second = styles_of_seeds(G, [1, 2], settings)
    expected = torch.stack([second[i] if 1 <= i <= 3 else first[i] for i in range(G.num_ws)])
    torch.testing.assert_close(ws[0], expected)


def test_noise_is_switched_by_resolution(G: Generator) -> None:
    explorer = Explorer(G)
    assert explorer.resolutions == [4, 8, 16]
    fixed = explorer.draw(Look())
    off = explorer.draw(Look(noise={4: "off", 8: "off", 16: "off"}))
    with torch.no_grad():
        ws = styles_of_seeds(G, [0], SampleSettings())
        quiet = G.synthesis(ws, noise_mode="none")[0].permute(1, 2, 0) * 127.5 + 128
    assert difference(off, quiet.clamp(0, 255).numpy().astype(int)) <= 1
    fine, coarse = (explorer.draw(Look(noise={r: "fresh"}, noise_seed=1)) for r in (16, 4))
    assert all(difference(each, fixed) > 3 for each in (off, fine, coarse))
    assert difference(explorer.draw(Look(noise={16: "fresh"}, noise_seed=1)), fine) == 0
    assert difference(explorer.draw(Look(noise={16: "fresh"}, noise_seed=2)), fine) > 3
    assert difference(explorer.draw(Look()), fixed) == 0  # the stored noise is still there
    assert difference(explorer.draw(Look()), dict(draw_seeds(G, [0], SampleSettings()))[0]) <= 1


def test_classes_and_a_network_still_growing(tmp_path: Path) -> None:
    explorer = Explorer(load_generator(write_network(tmp_path / "net", classes=3, lod=1.0)))
    assert explorer.resolutions == [4, 8]
    drawn = [explorer.draw(Look(settings=SampleSettings(class_index=k))) for k in range(3)]
    assert drawn[0].shape == (8, 8, 3)
    assert difference(drawn[0], drawn[1]) > 3
    with pytest.raises(UserError, match="classes 0 to 2"):
        explorer.draw(Look(settings=SampleSettings(class_index=3)))


def test_directions_are_added_to_w(G: Generator, tmp_path: Path) -> None:
    path = tmp_path / "directions.safetensors"
    one, each = torch.randn(8), torch.randn(G.num_ws, 8)
    safetensors.torch.save_file({"smile": one, "age": each}, path)
    explorer = Explorer(G, load_directions(path, G))
    assert list(explorer.directions) == ["age", "smile"]
    moved = explorer.ws(Look(strengths={"smile": 2.0, "age": -1.0}))
    torch.testing.assert_close(moved, explorer.ws(Look()) + 2 * one - each)


def test_directions_of_another_network_are_refused(G: Generator, tmp_path: Path) -> None:
    path = tmp_path / "directions.safetensors"
    safetensors.torch.save_file({"smile": torch.randn(9)}, path)
    with pytest.raises(UserError, match=r"'smile' is torch.float32 \[9\], expected floating point \[8\] or \[6, 8\]"):
        load_directions(path, G)
    for name, content in (("directions.safetensors", b"hello"), ("age.npy", b"hello"), ("empty.npy", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=r"not a safetensors or \.npy file"):
            load_directions(tmp_path / name, G)
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object))
    with pytest.raises(UserError, match=r"not a safetensors or \.npy file"):
        load_directions(tmp_path / "object.npy", G)
    np.save(tmp_path / "age.npy", np.ones(8, dtype=np.float32))
    assert load_directions(tmp_path / "age.npy", G)["age"].tolist() == [1.0] * 8
