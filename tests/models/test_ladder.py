"""The configurations A to F of the paper's Table 1 and the mapping depths of Table 4, each against its description."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from stylegan_fast.models import LADDER, Discriminator, Generator, load_discriminator, load_generator, save_networks
from stylegan_fast.models.synthesis import PixelNormEpilogue

SHAPE: dict[str, Any] = {"channel_base": 64, "channel_max": 8}


def generator(config: str, depth: int | None = None, **more: Any) -> Generator:
    rung = LADDER[config]
    depth = (2 if rung.mapping else 0) if depth is None else depth
    torch.manual_seed(0)
    return Generator(16, z_dim=8, w_dim=8, mapping_layers=depth, **SHAPE, **rung.generator_settings(), **more).double()


def z(count: int = 3) -> Tensor:
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("config", list(LADDER))
def test_each_configuration_draws_and_is_saved_and_opened(config: str, tmp_path: Path) -> None:
    G = generator(config)
    D = Discriminator(16, **SHAPE, blur=LADDER[config].blur)
    images = G(z(), noise_mode="const")
    assert images.shape == (3, 3, 16, 16)
    assert not torch.allclose(images[0], images[1])
    save_networks(tmp_path / "network-000000.safetensors", G_ema=G, D=D)
    opened = load_generator(tmp_path).double()
    assert torch.equal(opened(z(), noise_mode="const"), images)
    assert opened.init_kwargs == G.init_kwargs
    assert load_discriminator(tmp_path).init_kwargs == D.init_kwargs


@pytest.mark.parametrize(
    ("config", "differs_from", "by"),
    [
        ("b", "a", {"title", "blur", "objective", "start_resolution", "kimg"}),
        ("c", "b", {"title", "mapping", "styles"}),
        ("d", "c", {"title", "const_input"}),
        ("e", "d", {"title", "noise"}),
        ("f", "e", {"title", "mixing"}),
    ],
)
def test_each_step_up_changes_what_the_table_says(config: str, differs_from: str, by: set[str]) -> None:
    now, before = vars(LADDER[config]), vars(LADDER[differs_from])
    assert {name for name in now if now[name] != before[name]} == by


def test_configuration_f_is_the_generator_as_it_comes() -> None:
    torch.manual_seed(0)
    plain = Generator(16, z_dim=8, w_dim=8, mapping_layers=2, **SHAPE).double()
    assert torch.equal(plain(z(), noise_mode="const"), generator("f")(z(), noise_mode="const"))


def progressive_gan(G: Generator, latents: Tensor) -> Tensor:
    """Configuration A written from its description: pixel norm of the latents, a dense layer, nearest-neighbour
    upsampling, 3x3 convolutions, bias, leaky ReLU, pixel norm."""

    def norm(x: Tensor) -> Tensor:
        return x / (x.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()

    def finished(x: Tensor, layer: Any) -> Tensor:
        return norm(F.leaky_relu(x + layer.epilogue.activation.bias[:, None, None], 0.2))

    def conv(x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(x, weight * math.sqrt(2 / (weight.shape[1] * 9)), padding=1)

    x = norm(latents)
    for resolution in (4, 8, 16):
        block: Any = G.synthesis.block(resolution)
        if resolution == 4:
            weight = block.dense.weight * (math.sqrt(2) / 4 / math.sqrt(8))
            x = (x @ weight.T).view(len(x), -1, 4, 4)
        else:
            x = conv(F.interpolate(x, scale_factor=2.0, mode="nearest"), block.layer0.conv.weight)
        x = finished(x, block.layer0)
        x = finished(conv(x, block.layer1.conv.weight), block.layer1)
    rgb = block.to_rgb
    return F.conv2d(x, rgb.weight / math.sqrt(rgb.weight.shape[1]), rgb.bias)


def test_configuration_a_is_the_progressive_gan() -> None:
    G = generator("a")
    with torch.no_grad():
        for name, parameter in G.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
    assert [type(m) for m in G.modules() if isinstance(m, PixelNormEpilogue)]
    torch.testing.assert_close(G(z()), progressive_gan(G, z()), rtol=1e-9, atol=1e-9)


def test_blur_sets_b_apart_in_both_networks() -> None:
    a, b = generator("a"), generator("b")
    b.load_state_dict(a.state_dict())
    assert not torch.allclose(a(z()), b(z()))
    image = torch.randn(4, 3, 16, 16)
    torch.manual_seed(0)
    plain, blurred = Discriminator(16, **SHAPE, blur=False), Discriminator(16, **SHAPE)
    blurred.load_state_dict(plain.state_dict())
    assert not torch.allclose(plain(image), blurred(image))


@pytest.mark.parametrize("config", ["a", "b", "c", "d"])
def test_without_noise_inputs_every_noise_mode_gives_the_same(config: str) -> None:
    G = generator(config)
    pictures = [G(z(), noise_mode=mode) for mode in ("none", "const", "random")]
    assert torch.equal(pictures[0], pictures[1])
    assert torch.equal(pictures[0], pictures[2])
    assert not any("noise" in name for name in G.state_dict())


@pytest.mark.parametrize("config", ["b", "c", "f"])
@pytest.mark.parametrize("depth", [0, 1, 2, 8])
def test_every_mapping_depth_of_table_4_works_for_traditional_and_style_based_generators(
    config: str, depth: int
) -> None:
    G = generator(config, depth)
    assert sum(name.startswith("mapping.fc") for name, _ in G.named_parameters()) == 2 * depth
    w = G.mapping(z())
    assert w.shape == (3, G.num_ws, 8)
    if depth == 0:
        expected = z() / (z().square().mean(dim=1, keepdim=True) + 1e-8).sqrt()
        torch.testing.assert_close(w[:, 0], expected)
    assert G(z()).shape == (3, 3, 16, 16)


def test_without_mapping_a_class_stands_beside_z() -> None:
    G = Generator(16, z_dim=8, w_dim=16, c_dim=3, mapping_layers=0, **SHAPE)
    c = torch.eye(3)
    assert G.mapping(torch.randn(3, 8), c).shape == (3, G.num_ws, 16)
    with pytest.raises(ValueError, match="w_dim is 8, expected 16"):
        Generator(16, z_dim=8, w_dim=8, c_dim=3, mapping_layers=0, **SHAPE)


@pytest.mark.parametrize("settings", [{"styles": False}, {"styles": False, "const_input": False}])
def test_ingredients_that_do_not_go_together_are_refused(settings: dict[str, bool]) -> None:
    with pytest.raises(ValueError, match="styles is False"):
        Generator(16, **SHAPE, **settings)


@pytest.mark.parametrize("config", list(LADDER))
def test_half_faded_and_grown_images_are_drawn_and_scored(config: str) -> None:
    G, D = generator(config), Discriminator(16, **SHAPE, blur=LADDER[config].blur).double()
    for lod, size in ((2.0, 4), (1.5, 8), (1.0, 8), (0.25, 16)):
        images = G(z(), lod=lod)
        assert images.shape[2] == size
        D(images, lod=lod).sum().backward()
