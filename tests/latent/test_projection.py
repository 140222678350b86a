"""From a picture back to its latent."""

import pytest
import torch

from stylegan_fast.latent.projection import ProjectionSettings, pixel_distance, project, psnr
from stylegan_fast.models import Generator
from tests.networks import small_generator


@pytest.fixture
def generator() -> Generator:
    G = small_generator(noise_strength=0.05)
    for size in (4, 8, 16):
        G.synthesis.block(size).to_rgb.weight.mul_(0.3)  # pictures within -1 to 1
    return G


def test_psnr_is_that_of_256_grey_levels() -> None:
    a = torch.zeros(1, 3, 8, 8)
    assert psnr(a, a + 2 / 255) == pytest.approx(20 * torch.log10(torch.tensor(255.0)).item(), abs=1e-3)
    assert psnr(a, a) == float("inf")


def test_the_distance_is_the_mean_over_scales() -> None:
    a, b = torch.randn(2, 1, 16, 16), torch.randn(1, 1, 16, 16)
    found, scales = pixel_distance(a, b), []
    for _ in range(3):
        scales.append((a - b).square().mean(dim=(1, 2, 3)))
        a, b = (torch.nn.functional.interpolate(x, scale_factor=0.5, mode="area") for x in (a, b))
    assert torch.allclose(found, sum(scales) / 3, atol=1e-6)


@pytest.mark.parametrize("space", ["w", "w+"])
def test_projecting_a_drawn_picture_comes_near_it(space: str, generator: Generator) -> None:
    z = torch.randn(1, 8, generator=torch.Generator().manual_seed(5))
    target = generator(z, noise_mode="random", noise_generator=torch.Generator().manual_seed(6))[0].clamp(-1, 1)
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    steps = list(project(generator, target, ProjectionSettings(space, steps=150)))
    assert len(steps) == 151
    # Pictures of random weights have a noise that nothing but this very noise gives.
    assert steps[-1].psnr >= steps[0].psnr + 3
    same = (steps[-1].ws == steps[-1].ws[:, :1]).all()
    assert same == (space == "w")
    assert all(torch.equal(before[name], tensor) for name, tensor in generator.state_dict().items())

    # The latent and the maps are the picture.
    layers = [m for m in generator.synthesis.modules() if "noise_const" in m._buffers]
    for layer, noise in zip(layers, steps[-1].noise, strict=True):
        assert abs(float(noise.mean())) < 1e-5
        assert float(noise.square().mean()) == pytest.approx(1, abs=1e-4)
        layer.noise_const.copy_(noise)
    again = generator.synthesis(steps[-1].ws, noise_mode="const").clamp(-1, 1)
    assert torch.allclose(again, steps[-1].image, atol=1e-5)


def test_without_noise_maps_the_networks_own_are_kept(generator: Generator) -> None:
    z = torch.randn(1, 8, generator=torch.Generator().manual_seed(5))
    target = generator(z, noise_mode="const")[0].clamp(-1, 1)
    *_, last = project(generator, target, ProjectionSettings(steps=150, noise_maps=False))
    assert last.noise == []
    assert last.psnr >= 30


def test_a_perceptual_distance_is_followed(generator: Generator) -> None:
    seen = []

    def perceptual(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        seen.append(image.requires_grad)
        return (image - target).square().mean(dim=(1, 2, 3))

    list(project(generator, torch.zeros(3, 16, 16), ProjectionSettings(steps=3, perceptual=perceptual)))
    assert seen == [True] * 3


def test_a_target_of_another_shape_is_refused(generator: Generator) -> None:
    with pytest.raises(ValueError, match=r"\[3, 8, 8\], expected \[3, 16, 16\]"):
        next(project(generator, torch.zeros(3, 8, 8)))
