"""The official snapshots: what was inside draws what it drew there."""

from pathlib import Path

import numpy as np
import pytest
import torch

import stylegan_fast
from stylegan_fast.errors import UserError
from stylegan_fast.interop.official_pickle import read_networks
from tests import golden_data as golden

from . import snapshots

CHECK = "pkl_check"


@pytest.mark.parametrize(("theirs", "which"), [("G", "G"), ("Gs", "G_ema")])
@pytest.mark.parametrize(("key", "psi", "cutoff"), [("validation", 1.0, None), ("psi0.7_cut8", 0.7, 8)])
def test_official_generators_draw_the_official_pictures(
    theirs: str, which: str, key: str, psi: float, cutoff: int | None
) -> None:
    G = stylegan_fast.load_generator(snapshots.OFFICIAL, which)
    assert not G.training
    assert not any(p.requires_grad for p in G.parameters())
    images = G(golden.tensor(CHECK, "in/z", torch.float32), None, psi, cutoff, noise_mode="const")
    golden.assert_matches(
        images, golden.load(CHECK)[f"out/{theirs}_img_{key}_lod0"], golden.FORWARD[torch.float32], f"{theirs} {key}"
    )


def test_official_discriminator_gives_the_official_scores() -> None:
    D = stylegan_fast.load_discriminator(snapshots.OFFICIAL)
    scores = D(golden.tensor("discriminator_r64", "in/images", torch.float32))
    golden.assert_matches(scores, golden.load(CHECK)["out/D_scores_lod0"], golden.FORWARD[torch.float32], "scores")


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_both_state_versions_and_all_protocols_are_read(tmp_path: Path, version: int, protocol: int) -> None:
    file, d_file = "generator_cond_r32", "discriminator_cond_r32"
    with snapshots.official_class():
        content = tuple(
            build(name, version=version)
            for build, name in (
                (snapshots.generator, file),
                (snapshots.discriminator, d_file),
                (snapshots.generator, file),
            )
        )
        path = snapshots.written(tmp_path / "network.pkl", content, protocol)
    networks = read_networks(path)
    assert list(networks) == ["G", "D", "G_ema"]
    z, labels = golden.tensor(file, "in/z", torch.float32), golden.labels(file, torch.float32)
    images = networks["G_ema"](z, labels, noise_mode="const")
    golden.assert_matches(images, golden.load(file)["out/img_lod0"], golden.FORWARD[torch.float32], "images")
    scores = networks["D"](golden.tensor(d_file, "in/images", torch.float32), golden.labels(d_file, torch.float32))
    golden.assert_matches(scores, golden.load(d_file)["out/scores_lod0"], golden.FORWARD[torch.float32], "scores")


def test_fused_upscaling_of_larger_networks_is_read(tmp_path: Path) -> None:
    file = "generator_r256"
    with snapshots.official_class():
        path = snapshots.written(tmp_path / "network.pkl", snapshots.generator(file))
    G = stylegan_fast.load_generator(path)
    images = G(golden.tensor(file, "in/z", torch.float32), noise_mode="const")
    golden.assert_matches(images, golden.load(file)["out/img_lod0"], golden.FORWARD[torch.float32], "images")


def test_a_pickle_of_one_discriminator_is_read(tmp_path: Path) -> None:
    with snapshots.official_class():
        path = snapshots.written(tmp_path / "network.pkl", snapshots.discriminator("discriminator_r64"))
    assert stylegan_fast.load_discriminator(path).img_resolution == 64
    with pytest.raises(UserError, match="does not contain G_ema, only D"):
        stylegan_fast.load_generator(path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"use_styles": False}, "use_styles is False"),
        ({"resolution": 1 << 40}, "resolution is"),
        ({"resolution": 128}, "unknown tensor|lacks"),
        ({"mapping_layers": 10**9}, "mapping_layers"),
        ({"fmap_max": 64}, "has shape"),
        ({"fmap_base": [1]}, "channel_base"),
        ({"latent_size": "512"}, "z_dim"),
        ({"fused_scale": "perhaps"}, "fused_scale"),
        ({"blur_filter": np.zeros(3)}, "blur_filter"),
    ],
)
def test_settings_that_do_not_fit_the_variables_are_told(tmp_path: Path, changes: dict, told: str) -> None:
    with snapshots.official_class():
        path = snapshots.written(tmp_path / "network.pkl", snapshots.generator("generator_cond_r32", **changes))
    with pytest.raises(UserError, match=told) as caught:
        stylegan_fast.load_generator(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": 4}, "state version 4"),
        ({"build_func_name": "G_main"}, "'G_main', which is not StyleGAN 1"),
        ({"variables": None}, "without variables"),
        ({"variables": [("lod", "0")]}, "not an array"),
        ({"variables": [("noise99999999999", np.zeros(1, np.float32))]}, "no variable is named"),
        ({"static_kwargs": None}, "without static_kwargs"),
        ({"components": {}}, "lacks"),
        ({"components": 5}, "not a dict"),
    ],
)
def test_states_of_other_networks_are_told(tmp_path: Path, change: dict, told: str) -> None:
    with snapshots.official_class():
        network = snapshots.generator("generator_cond_r32")
        network.__dict__.update(change)
        path = snapshots.written(tmp_path / "network.pkl", network)
    with pytest.raises(UserError, match=told):
        stylegan_fast.load_generator(path)
