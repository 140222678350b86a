"""What each layer promises in its docstring, beyond the official numbers."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from stylegan_fast import layers, philox_normal
from tests.layers.examples import LAYERS, example, run

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@pytest.mark.parametrize("memory_format", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.float16], ids=["float32", "bfloat16", "float16"]
)
@pytest.mark.parametrize("name", LAYERS)
def test_layer_keeps_dtype_and_layout_with_float32_parameters(
    name: str, dtype: torch.dtype, memory_format: torch.memory_format, backend: str
) -> None:
    layer, inputs = example(name)
    expected = run(layer, inputs)
    layer = layer.float().to(memory_format=memory_format)
    x = inputs[0].to(dtype).contiguous(memory_format=memory_format)
    out = run(layer, [x, *(w.float() if name.startswith("LayerEpilogue") else w.to(dtype) for w in inputs[1:])])
    assert out.dtype == dtype
    assert out.is_contiguous(memory_format=memory_format)
    # One rounding of inputs and weights and one of the output each lose eps/2 of the largest magnitude, convolutions
    # and normalisations sum a few dozen of them.
    allowed = 16 * torch.finfo(dtype).eps * expected.abs().max()
    assert (out.double() - expected).abs().max() <= allowed


@pytest.mark.parametrize("name", LAYERS)
def test_layer_has_correct_first_and_second_derivatives(name: str, backend: str) -> None:
    layer, inputs = example(name)
    inputs = [
        x[:2, :, :4, :4].clone().requires_grad_() if x.ndim == 4 else x[:2].clone().requires_grad_() for x in inputs
    ]

    def scalar(*arguments: Tensor) -> Tensor:
        if isinstance(layer, layers.LayerEpilogue | layers.NoiseInjection):
            return layer(*arguments, noise=torch.ones(2, 1, 4, 4, dtype=torch.float64).tril()).square().sum()
        return layer(*arguments).square().sum()

    assert torch.autograd.gradcheck(scalar, inputs)
    assert torch.autograd.gradgradcheck(scalar, inputs)


@pytest.mark.parametrize("name", LAYERS)
def test_layer_accepts_an_empty_batch(name: str, backend: str) -> None:
    layer, inputs = example(name)
    if name in ("LayerEpilogue", "LayerEpilogue with blur", "NoiseInjection"):
        out = layer(*(x[:0] for x in inputs), noise=torch.zeros(1, 1, 8, 8, dtype=torch.float64))
    else:
        out = layer(*(x[:0] for x in inputs))
    assert out.shape[0] == 0
    assert out.shape[1:] == run(layer, inputs).shape[1:]


@pytest.mark.parametrize("shape", [(4, 6, 5, 7), (6, 5, 7)], ids=["batched", "unbatched"])
@pytest.mark.parametrize("track", [False, True])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("momentum", [0.1, 0.7, None])
def test_instance_norm_equals_torch_in_training_and_evaluation(
    shape: tuple[int, ...], track: bool, affine: bool, momentum: float | None, backend: str
) -> None:
    theirs = nn.InstanceNorm2d(6, 1e-3, momentum, affine, track, dtype=torch.float64)
    ours = layers.InstanceNorm2d(6, 1e-3, momentum, affine, track, dtype=torch.float64)
    for parameter in theirs.parameters():
        parameter.data.normal_()
    ours.load_state_dict(theirs.state_dict())
    for training in (True, True, False):
        theirs.train(training)
        ours.train(training)
        x = 3 + 2 * torch.randn(shape, dtype=torch.float64)
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(2, 6, 1, 1), (2, 6, 3), (2, 5, 3, 3)])
def test_instance_norm_refuses_what_torch_refuses(shape: tuple[int, ...], backend: str) -> None:
    for module in (nn.InstanceNorm2d(6, affine=True), layers.InstanceNorm2d(6, affine=True)):
        with pytest.raises(ValueError, match=r"(?i)expected"):
            module(torch.zeros(shape))


def test_adain_starts_as_instance_norm(backend: str) -> None:
    layer = layers.AdaIN(6, 5).double()
    layer.affine.weight.data.zero_()
    x, w = 3 + torch.randn(2, 6, 8, 8, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    torch.testing.assert_close(layer(x, w), functional.instance_norm(x, eps=1e-8), rtol=1e-9, atol=1e-9)


def test_adain_takes_scale_from_the_first_half_and_shift_from_the_second(backend: str) -> None:
    layer, (x, w) = example("AdaIN")
    style = w @ (layer.affine.weight / math.sqrt(5)).t() + layer.affine.bias
    scale, shift = style[:, :6, None, None], style[:, 6:, None, None]
    expected = functional.instance_norm(x, eps=1e-8) * (scale + 1) + shift
    torch.testing.assert_close(layer(x, w), expected, rtol=1e-9, atol=1e-9)


def test_epilogue_is_its_formula(backend: str) -> None:
    layer, (x, w) = example("LayerEpilogue")
    noise = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    t = x + layer.noise_strength[:, None, None] * noise + layer.bias[:, None, None]
    scale, shift = layer.affine(w)[:, :, None, None].chunk(2, dim=1)
    normalised = functional.instance_norm(functional.leaky_relu(t, 0.2), eps=1e-8)
    torch.testing.assert_close(layer(x, w, noise), normalised * (1 + scale) + shift, rtol=1e-9, atol=1e-9)


def test_epilogue_with_blur_is_the_epilogue_of_the_blurred(backend: str) -> None:
    layer, (x, w) = example("LayerEpilogue with blur")
    noise = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    plain = layers.LayerEpilogue(6, 5).double()
    plain.load_state_dict(layer.state_dict())
    expected = plain(layers.Blur().double()(x), w, noise)
    torch.testing.assert_close(layer(x, w, noise), expected, rtol=1e-9, atol=1e-9)


def test_epilogue_of_a_constant_plane_is_its_shift(backend: str) -> None:
    layer, (_, w) = example("LayerEpilogue")
    layer, w = layer.float(), w.float()
    out = layer(torch.full((4, 6, 64, 64), 3.3), w)
    shift = layer.affine(w)[:, 6:, None, None]
    assert torch.equal(out, shift.expand_as(out))


def test_epilogue_takes_seeds_for_noise(backend: str) -> None:
    layer, (x, w) = example("LayerEpilogue")
    seeds = torch.tensor([5, 5, -6, 7])
    noise = philox_normal(seeds, 8, 8)
    assert torch.equal(layer(x, w, noise_seed=seeds), layer(x, w, noise))
    assert torch.equal(layer(x, w, noise_seed=seeds[:1]), layer(x, w, noise[:1]))
    with pytest.raises(ValueError, match="noise and noise_seed were both given"):
        layer(x, w, noise, seeds)


def test_epilogue_without_noise_has_no_strength_and_refuses_noise(backend: str) -> None:
    layer = layers.LayerEpilogue(6, 5, use_noise=False)
    assert "noise_strength" not in layer.state_dict()
    with pytest.raises(ValueError, match="noise_seed was given, expected None because use_noise=False"):
        layer(torch.zeros(1, 6, 4, 4), torch.zeros(1, 5), noise_seed=torch.zeros(1, dtype=torch.int64))
    with pytest.raises(ValueError, match="use_noise=False"):
        layer(torch.zeros(1, 6, 4, 4), torch.zeros(1, 5), noise=torch.zeros(1, 1, 4, 4))


def test_fresh_noise_differs_between_samples_but_not_between_channels() -> None:
    layer = layers.NoiseInjection(3)
    layer.strength.data.fill_(1.0)
    out = layer(torch.zeros(2, 3, 4, 4))
    assert torch.equal(out[:, 0], out[:, 2])
    assert not torch.equal(out[0], out[1])


def test_fused_leaky_relu_default_gain_is_sqrt_two(backend: str) -> None:
    layer, (x,) = example("FusedLeakyReLU")
    expected = math.sqrt(2) * functional.leaky_relu(x + layer.bias[:, None, None], 0.2)
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("lr_multiplier", [1.0, 0.01])
def test_equalised_layers_start_with_unit_variance_whatever_the_multiplier(lr_multiplier: float, backend: str) -> None:
    torch.manual_seed(0)
    linear = layers.EqualLinear(512, 512, lr_multiplier=lr_multiplier)
    conv = layers.EqualConv2d(64, 64, 3, lr_multiplier=lr_multiplier)
    assert linear.weight.std().item() == pytest.approx(1 / lr_multiplier, rel=0.02)
    assert linear.bias.abs().max() == conv.bias.abs().max() == 0
    assert linear(torch.randn(64, 512)).std().item() == pytest.approx(1, rel=0.05)
    inner = conv(torch.randn(8, 64, 16, 16))[:, :, 1:-1, 1:-1]
    assert inner.std().item() == pytest.approx(1, rel=0.05)


def test_equal_linear_takes_any_leading_dimensions(backend: str) -> None:
    layer = layers.EqualLinear(5, 3, activation="lrelu").double()
    x = torch.randn(2, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(layer(x)[1, 2], layer(x[1, 2][None])[0])


def test_equal_conv_has_stride_and_padding(backend: str) -> None:
    layer = layers.EqualConv2d(3, 4, 3, stride=2, padding=0, gain=2.0).double()
    x = torch.randn(2, 3, 9, 9, dtype=torch.float64)
    expected = functional.conv2d(x, layer.weight * 2 / math.sqrt(27), stride=2)
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layer", [layers.EqualLinear, layers.EqualConv2d])
def test_unknown_activation_is_refused(layer: type[nn.Module]) -> None:
    with pytest.raises(ValueError, match="'gelu', expected one of linear, lrelu"):
        layer(3, 3, 3, activation="gelu")


@pytest.mark.parametrize(
    ("layer", "border"),
    [
        (layers.Upsample(2, [1, 3, 3, 1]), 2),
        (layers.Upsample(3), 0),
        (layers.Downsample(3), 0),
        (layers.Downsample(2, [1, 3, 3, 1]), 1),
        (layers.Blur(), 1),
        (layers.Blur([1, 3, 3, 1]), 2),
    ],
)
def test_resampling_keeps_the_brightness_inside(layer: nn.Module, border: int, backend: str) -> None:
    out = layer.double()(torch.ones(1, 1, 12, 12, dtype=torch.float64))
    inside = out[:, :, border : out.shape[2] - border, border : out.shape[3] - border]
    torch.testing.assert_close(inside, torch.ones_like(inside))


def test_resampling_has_nothing_in_the_state_dict() -> None:
    network = nn.Sequential(layers.Blur(), layers.Upsample(), layers.Downsample())
    assert not network.state_dict()


@pytest.mark.parametrize(("batch", "group"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 1), (6, 3), (7, 1), (8, 4), (9, 3)])
def test_stddev_group_is_the_largest_divisor_of_the_batch(batch: int, group: int) -> None:
    assert layers.MinibatchStdDev(4).group_size_for(batch) == group


def test_stddev_groups_are_strided() -> None:
    x = torch.randn(6, 3, 4, 4, dtype=torch.float64)
    out = layers.MinibatchStdDev(3)(x)
    for first in range(2):
        members = x[first::2]
        expected = (members.var(dim=0, correction=0) + 1e-8).sqrt().mean()
        torch.testing.assert_close(out[first::2, 3], expected.expand(3, 4, 4))


def test_stddev_refuses_channels_it_cannot_divide() -> None:
    with pytest.raises(ValueError, match="3 channels, expected a multiple of 2"):
        layers.MinibatchStdDev(4, num_channels=2)(torch.zeros(2, 3, 4, 4))
    with pytest.raises(ValueError, match="at least 1"):
        layers.MinibatchStdDev(0)


@pytest.mark.parametrize("name", [*LAYERS, "EqualLinear"])
def test_docstring_states_formula_gain_and_use(name: str) -> None:
    text = getattr(layers, name.split()[0]).__doc__
    assert "::" in text
    assert "gain" in text.lower()
    assert text.count(">>> ") in (2, 3, 4)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_weights_of_16_bits_are_scaled_in_their_own_dtype_and_so_are_their_gradients(
    dtype: torch.dtype, layout: torch.memory_format
) -> None:
    layer = layers.EqualConv2d(3, 5, 3).to(memory_format=layout)
    expected = (layer.weight * layer.weight_scale).to(dtype)
    found = layer.used_weight(dtype)
    assert torch.equal(found, expected)
    assert found.stride() == layer.weight.stride()
    gradient = torch.randn(found.shape).to(dtype)
    ours, theirs = (torch.autograd.grad(weight, layer.weight, gradient)[0] for weight in (found, expected))
    assert torch.equal(ours, theirs)
