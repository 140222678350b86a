"""Networks as folders to give away."""

import json
import sys
import types
from pathlib import Path

import pytest
import torch

from stylegan_fast.errors import UserError
from stylegan_fast.models import Discriminator, Generator, load_discriminator


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "00000-cats"
    folder.mkdir(parents=True)
    config = {"data": "/home/somebody/secret/cats.zip", "kimg": 200.0, "gamma": 10.0, "mirror": True, "lr": None}
    (folder / "config.json").write_text(json.dumps(config))
    rows = [{"kimg": 100.0}, {"kimg": 200.0}]
    (folder / "stats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"kimg": 3')
    metrics = [
        {"metric": "fid50k", "results": {"fid50k": 9.0}},
        {"metric": "fid50k", "results": {"fid50k": 7.123456}},
        {"metric": "ppl", "value": 3},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics))
    return folder


def test_a_saved_folder_loads_as_the_same_networks(
    tmp_path: Path, small_generator: Generator, small_discriminator: Discriminator
) -> None:
    folder = tmp_path / "for" / "you"
    small_generator.save_pretrained(folder, D=small_discriminator)
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "model.safetensors"]
    G = Generator.from_pretrained(folder)
    z = torch.randn(2, G.z_dim)
    assert not G.training
    assert torch.equal(G(z, noise_mode="const"), small_generator(z, noise_mode="const"))
    assert load_discriminator(folder).init_kwargs == small_discriminator.init_kwargs
    assert Generator.from_pretrained(folder / "model.safetensors").init_kwargs == G.init_kwargs


def test_the_card_tells_how_it_was_trained_and_what_was_measured(
    tmp_path: Path, small_generator: Generator, run: Path
) -> None:
    small_generator.save_pretrained(tmp_path / "out", run=run)
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: stylegan_fast\n")
    for row in (
        f"| image | {small_generator.img_resolution}x{small_generator.img_resolution}, 3 channels",
        "| data | cats.zip |",
        "| kimg | 200.0 |",
        "| mirror | True |",
        "| trained on | 200.0 thousand images |",
        "| fid50k | fid50k 7.123 |",
        "| ppl | 3 |",
    ):
        assert row in card
    assert "somebody" not in card  # nobody's folders are published
    assert "lr" not in card
    assert f"{sum(p.numel() for p in small_generator.parameters()):,}" in card


def test_the_code_in_the_card_runs(tmp_path: Path) -> None:
    for classes in (0, 3):
        G = Generator(8, z_dim=4, w_dim=4, c_dim=classes, channel_max=4, mapping_layers=1)
        folder = tmp_path / str(classes)
        G.save_pretrained(folder)
        code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
        names: dict = {}
        exec(code.replace("<this repository or folder>", str(folder)), names)
        assert names["images"].shape == (4, 3, 8, 8)


def test_a_run_directory_is_taken_as_it_is(tmp_path: Path, small_generator: Generator) -> None:
    from stylegan_fast.models import save_networks

    save_networks(tmp_path / "network-000001.safetensors", G_ema=small_generator)
    assert Generator.from_pretrained(tmp_path).init_kwargs == small_generator.init_kwargs


def test_repositories_are_downloaded(
    tmp_path: Path, small_generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_generator.save_pretrained(tmp_path / "cache")
    asked = []

    def download(repository: str, name: str, revision: str | None) -> str:
        asked.append((repository, name, revision))
        if repository == "nobody/nothing":
            raise OSError("404\nnot found")
        return str(tmp_path / "cache" / name)

    hub, errors = types.ModuleType("huggingface_hub"), types.ModuleType("huggingface_hub.errors")
    hub.hf_hub_download = download
    errors.HfHubHTTPError = errors.LocalEntryNotFoundError = KeyError
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)
    monkeypatch.chdir(tmp_path)
    G = Generator.from_pretrained("somebody/cats", revision="v1")
    assert G.init_kwargs == small_generator.init_kwargs
    assert asked == [("somebody/cats", "model.safetensors", "v1")]
    with pytest.raises(UserError, match=r"nobody/nothing: model.safetensors cannot be downloaded \(404 not found\)"):
        Generator.from_pretrained("nobody/nothing")


def test_mistakes_are_told_in_one_line(
    tmp_path: Path, small_generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install 'stylegan_fast\[hub\]'"):
        Generator.from_pretrained("somebody/cats")
    with pytest.raises(UserError, match="not the name of a repository"):
        Generator.from_pretrained(tmp_path / "no" / "such" / "folder")
    with pytest.raises(UserError, match="expected a run directory"):
        Generator.from_pretrained(tmp_path)
    with pytest.raises(UserError, match="no such run"):
        small_generator.save_pretrained(tmp_path / "out", run=tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot make this folder"):
        small_generator.save_pretrained(tmp_path / "file" / "out")
