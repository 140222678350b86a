"""Weights go into another network so that it does what the old one did, as far as it can."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from stylegan_fast.data import open_dataset
from stylegan_fast.errors import UserError
from stylegan_fast.models import Discriminator, Generator, save_networks
from stylegan_fast.training.config import config_for_resume, config_from_options
from stylegan_fast.training.precision import choose_precision
from stylegan_fast.training.start import build_trainer
from stylegan_fast.training.transfer import (
    channel_conversion,
    freeze_discriminator,
    freeze_mapping,
    transfer,
)
from stylegan_fast.training.warm_start import open_source, start_from

WIDTHS: dict[str, Any] = {"channel_base": 64, "channel_max": 8}


def generator(resolution: int = 16, channels: int = 3, classes: int = 0, seed: int = 0, **other: Any) -> Generator:
    torch.manual_seed(seed)
    settings = {"z_dim": 8, "w_dim": 8, "mapping_layers": 2, **WIDTHS, **other}
    return randomised(Generator(resolution, img_channels=channels, c_dim=classes, **settings))


def discriminator(resolution: int = 16, channels: int = 3, classes: int = 0, seed: int = 0) -> Discriminator:
    torch.manual_seed(seed)
    return randomised(Discriminator(resolution, channels, classes, **WIDTHS))


def randomised(network: Any) -> Any:
    """Biases and noise strengths are 0 at the start, and a bias lost would not be noticed."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(("bias", "noise_strength")):
                parameter.normal_(std=0.3)
    return network.eval().requires_grad_(False)


def pictures(G: Generator, ws: torch.Tensor, **options: Any) -> torch.Tensor:
    return G.synthesis(ws, noise_mode="const", **options)


def test_equal_networks_are_kept_as_a_whole() -> None:
    source, target = generator(), generator(seed=1)
    fates = transfer(source, target)
    assert fates.summary("G") == [
        f"G kept: mapping, synthesis.b4, synthesis.b8, synthesis.b16 ({len(source.state_dict())} tensors)"
    ]
    assert all(torch.equal(value, target.state_dict()[name]) for name, value in source.state_dict().items())


def test_a_larger_network_draws_the_old_pictures_before_it_grows() -> None:
    source, target = generator(16), generator(32, seed=1)
    fates = transfer(source, target)
    assert [line.partition(" (")[0] for line in fates.summary("G")] == [
        "G kept: mapping, synthesis.b4, synthesis.b8, synthesis.b16",
        "G fresh: synthesis.b32",
    ]
    z = torch.randn(3, 8)
    new = pictures(target, target.mapping(z), lod=1.0)
    torch.testing.assert_close(new, pictures(source, source.mapping(z)))
    old_D, new_D = discriminator(16), discriminator(32, seed=1)
    transfer(old_D, new_D)
    torch.testing.assert_close(new_D(new, lod=1.0), old_D(new))


def test_a_smaller_network_leaves_the_finest_layers_out() -> None:
    source, target = generator(32), generator(16, seed=1)
    assert transfer(source, target).summary("G")[-1].startswith("G left out: synthesis.b32 (")
    z = torch.randn(3, 8)
    new = pictures(target, target.mapping(z))
    torch.testing.assert_close(new, pictures(source, source.mapping(z), lod=1.0))


@pytest.mark.parametrize(("old", "new"), [(3, 1), (3, 4), (1, 3), (1, 4), (4, 3), (4, 1)])
def test_other_image_channels_show_the_same_picture(old: int, new: int) -> None:
    source, target = generator(channels=old), generator(channels=new, seed=1)
    fates = transfer(source, target)
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in fates.names["adapted"]} == {"to_rgb"}
    assert not fates.names["fresh"]
    ws = source.mapping(torch.randn(3, 8))
    matrix, offset = channel_conversion(old, new)
    expected = torch.einsum("oi,nihw->nohw", matrix, pictures(source, ws)) + offset[:, None, None]
    torch.testing.assert_close(pictures(target, ws), expected)
    if new == 4:
        assert (expected[:, 3] == 1).all()  # opaque


@pytest.mark.parametrize(("old", "new"), [(3, 1), (3, 4), (1, 3), (1, 4), (4, 3), (4, 1)])
def test_the_discriminator_scores_other_image_channels_as_the_picture_they_show(old: int, new: int) -> None:
    source, target = discriminator(channels=old), discriminator(channels=new, seed=1)
    assert not transfer(source, target).names["fresh"]
    images = torch.randn(4, new, 16, 16)
    matrix, offset = channel_conversion(new, old)
    as_old = torch.einsum("oi,nihw->nohw", matrix, images) + offset[:, None, None]
    torch.testing.assert_close(target(images), source(as_old), rtol=1e-4, atol=1e-5)


def test_classes_that_come_anew_change_nothing_at_first() -> None:
    source, target = generator(), generator(classes=3, seed=1)
    fates = transfer(source, target)
    assert (fates.names["adapted"], fates.names["fresh"]) == (["mapping.fc0.weight"], ["mapping.embedding"])
    with torch.no_grad():
        target.mapping.embedding.normal_()
        z = torch.nn.functional.normalize(torch.randn(3, 8)) * 8**0.5
        target.mapping.embedding.copy_(torch.nn.functional.normalize(target.mapping.embedding) * 8**0.5)
    # Both halves of the input have the same length here; otherwise the norm over both is not that of z alone.
    torch.testing.assert_close(target.mapping(z, torch.eye(3)), source.mapping(z))
    old_D, new_D = discriminator(), discriminator(classes=3, seed=1)
    assert transfer(old_D, new_D).names["adapted"] == ["b4.out.weight", "b4.out.bias"]
    images = torch.randn(3, 3, 16, 16)
    torch.testing.assert_close(new_D(images, torch.eye(3)), old_D(images))


def test_classes_that_go_leave_their_mean() -> None:
    old_D, new_D = discriminator(classes=3), discriminator(seed=1)
    transfer(old_D, new_D)
    images = torch.randn(4, 3, 16, 16)
    each = [old_D(images, torch.eye(3)[k].expand(4, 3)) for k in range(3)]
    torch.testing.assert_close(new_D(images), torch.stack(each).mean(dim=0))
    fates = transfer(generator(classes=3), generator(seed=1))
    assert fates.names["left out"] == ["mapping.embedding"]
    assert fates.names["adapted"] == ["mapping.fc0.weight"]


def test_other_widths_are_fresh_and_named() -> None:
    target = generator(seed=1, channel_base=32)  # half as wide at 16x16, and so at the way from there
    before = {name: value.clone() for name, value in target.state_dict().items()}
    fates = transfer(generator(), target)
    assert "synthesis.b16.layer0.conv.weight" in fates.names["fresh"]
    assert "synthesis.b4.const" in fates.names["kept"]
    assert all(torch.equal(before[name], target.state_dict()[name]) for name in fates.names["fresh"])


def test_frozen_layers_are_the_first_of_those_transferred() -> None:
    D = discriminator(32).requires_grad_()
    freeze_discriminator(D, 4, resolution=16)
    frozen = {name.rpartition(".")[0] for name, parameter in D.named_parameters() if not parameter.requires_grad}
    assert frozen == {"b16.from_rgb", "b8.from_rgb", "b4.from_rgb", "b16.conv0", "b16.conv1", "b8.conv0"}
    with pytest.raises(UserError, match=r"--freeze-d 8: this discriminator has 8 layers"):
        freeze_discriminator(D, 8, resolution=16)


def test_a_frozen_mapping_does_not_learn() -> None:
    G = generator().requires_grad_()
    freeze_mapping(G)
    assert not any(p.requires_grad for p in G.mapping.parameters())
    assert all(p.requires_grad for p in G.synthesis.parameters())


def test_a_run_from_the_weights_of_a_port_keeps_its_arithmetic(tmp_path: Path) -> None:
    """Switches that no option sets come with the weights, and stay through a resume."""
    torch.manual_seed(0)
    path = tmp_path / "network.safetensors"
    G = generator(norm_eps=1e-2, shared_noise=True, w_avg_beta=0.9, mapping_width=12)
    D = randomised(Discriminator(16, **WIDTHS, from_rgb_linear=True, widen_first=True, mbstd_group_size=2))
    save_networks(path, G_ema=G, D=D)
    source = open_source(str(path))
    config = config_from_options({"data": "faces:20", "resolution": 16, **source.adopted()}, "cpu")
    config = config_for_resume(json.loads(json.dumps(config.as_dict())), {})
    dataset = open_dataset("faces:20", resolution=16, cache_dir=str(tmp_path))
    trainer = build_trainer(config, dataset, torch.device("cpu"), choose_precision("fp32", torch.device("cpu")))
    start_from(source, trainer)
    images, ws = torch.randn(4, 3, 16, 16), G.mapping(torch.randn(2, 8))
    torch.testing.assert_close(trainer.D(images), D(images))
    torch.testing.assert_close(pictures(trainer.G_ema, ws), pictures(G, ws))
    assert trainer.G.init_kwargs == G.init_kwargs
    assert trainer.D.init_kwargs == D.init_kwargs
    dataset.close()
