"""The forms in which convolutions are computed are one function; in fp64, where only mistakes exceed rounding."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from stylegan_fast.layers import MinibatchStdDev
from stylegan_fast.models import Discriminator, Generator, convolution, rgb
from stylegan_fast.models.convolution import Conv3x3, DownConv2d, UpConv2d, join_pixels, split_pixels, widened_weight
from stylegan_fast.models.deviation import DeviationConv2d
from stylegan_fast.models.rgb import FromRGB, ImageOfFeatures, ToRGB
from stylegan_fast.ops.subpixel import interleave_phases


def numbers(*shape: int, seed: int = 0) -> Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else drawn


@pytest.fixture
def forms_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every convolution in the form that CUDA devices get, whatever the device and the dtype."""
    monkeypatch.setattr(convolution, "_is_for_tensor_cores", lambda x: True)
    monkeypatch.setattr(convolution, "_PHASES_FROM", 16)
    monkeypatch.setattr(rgb, "_is_product", lambda x: True)


@pytest.mark.parametrize("pixels", [2, 4])
@pytest.mark.parametrize("shape", [(2, 3, 4, 8), (1, 5, 1, 4), (2, 1, 3, 4)])
def test_joined_pixels_are_convolved_as_single_ones(shape: tuple[int, ...], pixels: int) -> None:
    x, weight = numbers(*shape), numbers(6, shape[1], 3, 3, seed=1)
    joined = join_pixels(x, pixels)
    assert joined.data_ptr() == x.data_ptr()
    y = functional.conv2d(joined, widened_weight(weight, pixels), padding=1)
    torch.testing.assert_close(split_pixels(y, pixels), functional.conv2d(x, weight, padding=1))


def test_an_up_convolution_in_phases_is_the_transposed_one() -> None:
    layer, x = UpConv2d(3, 5).double(), numbers(2, 3, 4, 6)
    expected = functional.conv2d(functional.interpolate(x, scale_factor=2), layer.scaled_weight(), padding=1)
    torch.testing.assert_close(interleave_phases(layer.phases(x)), expected)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("compose", [convolution.transposed_weight, convolution.strided_weight])
def test_gradients_of_composed_weights_in_any_layout_come_in_the_weight_s_own(
    compose: Callable[[Tensor], Tensor], channels_last: bool
) -> None:
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    weight = numbers(6, 5, 3, 3).contiguous(memory_format=memory_format)
    composed = compose(weight.requires_grad_())
    columns = [compose(one).flatten() for one in torch.eye(weight.numel(), dtype=weight.dtype).view(-1, 6, 5, 3, 3)]
    for layout in (torch.channels_last, torch.contiguous_format):
        gradient = numbers(*composed.shape, seed=1).contiguous(memory_format=layout)
        (found,) = torch.autograd.grad(composed, weight, gradient, retain_graph=True)
        torch.testing.assert_close(found.flatten(), torch.stack(columns) @ gradient.flatten())
        assert found.is_contiguous(memory_format=memory_format)


@pytest.mark.usefixtures("forms_of_gpus")
@pytest.mark.parametrize("layer", [Conv3x3(4, 6), Conv3x3(4, 4, bias=False), DownConv2d(4, 6)], ids=repr)
def test_layers_compute_what_they_say_in_the_forms_of_gpus(layer: nn.Module) -> None:
    layer, x = layer.double(), numbers(2, 4, 6, 8)
    assert convolution.pixels_as_one(x) == 2
    if isinstance(layer, DownConv2d):
        convolved = functional.conv2d(layer.blur(x), layer.scaled_weight(), layer.bias, padding=1)
        expected = functional.leaky_relu(functional.avg_pool2d(convolved, 2), 0.2)
    else:
        expected = functional.conv2d(x, layer.scaled_weight(), layer.bias, padding=1)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("batch", [0, 1, 6, 8])
def test_the_deviation_as_a_number_is_the_deviation_as_a_channel(batch: int) -> None:
    layer, x = DeviationConv2d(5, 4).double(), numbers(batch, 5, 4, 4)
    expected = functional.conv2d(MinibatchStdDev(4)(x), layer.scaled_weight(), layer.bias, padding=1)
    torch.testing.assert_close(layer(x), functional.leaky_relu(expected, 0.2))


def test_the_convolution_of_the_deviation_is_differentiable_twice() -> None:
    layer, x = DeviationConv2d(2, 2).double(), numbers(4, 2, 3, 3).requires_grad_()
    function = lambda x, weight: torch.func.functional_call(layer, {"weight": weight}, (x,))  # noqa: E731
    weight = layer.weight.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(function, (x, weight))
    assert torch.autograd.gradgradcheck(function, (x, weight))


@pytest.mark.usefixtures("forms_of_gpus")
@pytest.mark.parametrize("layer", [ToRGB(5, 3), FromRGB(3, 5)], ids=repr)
def test_images_and_features_as_matrix_products(layer: nn.Module) -> None:
    layer, x = layer.double(), numbers(2, layer.in_channels, 4, 6).requires_grad_()
    expected = functional.conv2d(x, layer.scaled_weight(), layer.bias)
    y = layer(x)
    torch.testing.assert_close(y, expected if isinstance(layer, ToRGB) else functional.leaky_relu(expected, 0.2))
    planes = torch.contiguous_format if isinstance(layer, ToRGB) else torch.channels_last
    assert y.is_contiguous(memory_format=planes)


def test_matrix_products_are_differentiable_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rgb, "_PIXELS_OF_A_SUM", 4)
    features, matrix = numbers(2, 5, 4, 2).requires_grad_(), numbers(3, 5).requires_grad_()
    assert torch.autograd.gradcheck(ImageOfFeatures.apply, (features, matrix))
    assert torch.autograd.gradgradcheck(ImageOfFeatures.apply, (features, matrix))
    image = numbers(2, 3, 4, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(rgb.FeaturesOfImage.apply, (image, matrix))
    assert torch.autograd.gradgradcheck(rgb.FeaturesOfImage.apply, (image, matrix))


def of_the_whole_game(lod: float) -> list[Tensor]:
    """Pictures, scores, and every gradient of a step with R1."""
    torch.manual_seed(0)
    shape = {"channel_base": 64, "channel_max": 8}
    G = Generator(32, z_dim=8, w_dim=8, mapping_layers=2, **shape).double()
    D = Discriminator(32, **shape).double()
    for network in (G, D):
        network.to(memory_format=torch.channels_last)
    images = G(numbers(4, 8), lod=lod, noise_mode="const")
    leaf = images.detach().requires_grad_()
    scores = D(leaf, lod=lod)
    (gradient,) = torch.autograd.grad(scores.sum(), leaf, create_graph=True)
    (scores.mean() + gradient.square().sum()).backward()
    D_gradients = [p.grad for p in D.parameters() if p.grad is not None]
    G_gradients = torch.autograd.grad(D(images, lod=lod).mean(), list(G.parameters()), allow_unused=True)
    return [images, scores, gradient, *D_gradients, *(g for g in G_gradients if g is not None)]


@pytest.mark.parametrize("lod", [0.0, 0.5])
def test_networks_and_their_gradients_are_the_same_in_the_forms_of_gpus(
    lod: float, request: pytest.FixtureRequest
) -> None:
    expected = of_the_whole_game(lod)
    request.getfixturevalue("forms_of_gpus")
    for ours, theirs in zip(of_the_whole_game(lod), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_the_forms_of_gpus_are_for_gpus() -> None:
    x = torch.zeros(1, 16, 256, 256, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
    assert convolution.pixels_as_one(x) == 1
    assert not UpConv2d(16, 16).is_best_in_phases(x)
