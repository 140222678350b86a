"""The discriminator as people call it."""

import json

import pytest
import torch
from torch import Tensor

from stylegan_fast.models import Discriminator


def images(size: int = 32, batch: int = 4) -> Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(size))


def test_has_the_papers_number_of_parameters_at_1024() -> None:
    with torch.device("meta"):
        network = Discriminator(1024)
    assert sum(p.numel() for p in network.parameters()) == 23_087_249


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("resolution", [8, 16, 128])
def test_scores_any_resolution_and_channel_count(resolution: int, channels: int, backend: str) -> None:
    network = Discriminator(resolution, channels, channel_base=8, channel_max=4)
    assert network(torch.zeros(2, channels, resolution, resolution)).shape == (2, 1)


@pytest.mark.parametrize("batch", [0, 1, 2, 3, 4, 5, 6, 7])
def test_scores_any_batch_size(small_discriminator: Discriminator, batch: int, backend: str) -> None:
    assert small_discriminator(images(batch=batch)).shape == (batch, 1)


@pytest.mark.parametrize("lod", [0, 0.5, 1, 1.5, 3])
def test_lod_may_be_a_tensor_or_the_networks_own(small_discriminator: Discriminator, lod: float, backend: str) -> None:
    expected = small_discriminator(images(), lod=lod)
    torch.testing.assert_close(small_discriminator(images(), lod=torch.tensor(lod)), expected, rtol=0, atol=1e-5)
    small_discriminator.lod = lod
    assert torch.equal(small_discriminator(images()), expected)


def test_fade_is_continuous_at_whole_lods(small_discriminator: Discriminator, backend: str) -> None:
    below, at = (small_discriminator(images(), lod=lod) for lod in (1 - 1e-6, 1))
    torch.testing.assert_close(below, at, rtol=0, atol=1e-4)


def test_layers_not_in_use_get_no_gradient(small_discriminator: Discriminator, backend: str) -> None:
    small_discriminator(images(16), lod=1.5).sum().backward()
    used = {name for name, p in small_discriminator.named_parameters() if p.grad is not None}
    entries = {r: f"b{r}.from_rgb.weight" in used for r in (32, 16, 8, 4)}
    assert entries == {32: False, 16: True, 8: True, 4: False}
    assert "b32.conv0.weight" not in used


def test_gradient_penalty_reaches_every_weight_in_use(small_discriminator: Discriminator, backend: str) -> None:
    x = images().requires_grad_()
    (gradient,) = torch.autograd.grad(small_discriminator(x).sum(), x, create_graph=True)
    gradient.square().sum().backward()
    without = {name for name, p in small_discriminator.named_parameters() if p.grad is None or not p.grad.any()}
    unused = {f"b{r}.from_rgb.{kind}" for r in (16, 8, 4) for kind in ("weight", "bias")}
    assert without <= unused | {name for name, _ in small_discriminator.named_parameters() if name.endswith("bias")}


def test_class_chooses_the_score(backend: str) -> None:
    network = Discriminator(8, c_dim=3, channel_base=8, channel_max=4)
    x = images(8, batch=1)
    scores = torch.cat([network(x, c[None]) for c in torch.eye(3)], dim=1)
    weights = torch.tensor([[0.2, -1.0, 3.0]])
    torch.testing.assert_close(network(x, weights), (scores * weights).sum(dim=1, keepdim=True))
    with pytest.raises(ValueError, match=r"c is None, expected one-hot classes of shape \[1, 3\]"):
        network(x)


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 1, 32, 32), (3, 32, 32), (2, 3, 32, 16)])
def test_wrong_images_are_refused_by_shape(small_discriminator: Discriminator, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \[N, 3, 16, 16\] or \[N, 3, 32, 32\]"):
        small_discriminator(torch.zeros(shape), lod=1)


def test_classes_for_a_network_without_are_refused(small_discriminator: Discriminator) -> None:
    with pytest.raises(ValueError, match="no classes"):
        small_discriminator(images(), torch.zeros(4, 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"img_resolution": 48}, "Discriminator: img_resolution is 48, expected a power of two"),
        ({"img_resolution": 8, "mbstd_group_size": 0}, "mbstd_group_size is 0, expected at least 1"),
        ({"img_resolution": 8, "c_dim": -2}, "c_dim is -2"),
    ],
)
def test_impossible_settings_are_refused_by_name(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Discriminator(**arguments)


def test_init_kwargs_survive_json_and_build_the_same_architecture() -> None:
    network = Discriminator(16, 1, 2, 32, 8, 2)
    again = Discriminator(**json.loads(json.dumps(network.init_kwargs)))
    again.load_state_dict(network.state_dict())
    assert again.init_kwargs == network.init_kwargs


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_features_in_the_dtype_of_the_images_scores_in_that_of_the_parameters(
    small_discriminator: Discriminator, dtype: torch.dtype, backend: str
) -> None:
    score = small_discriminator(images().to(dtype))
    assert score.dtype == torch.float32
    exact = small_discriminator.double()(images().double())
    assert (score - exact).abs().max() <= (1e-4 if dtype == torch.float32 else 0.2) * exact.abs().max().clamp(min=1)
