"""NVIDIA's op surface: the calls the projects make against the published definitions, with both orders of gradients."""

import contextlib
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from stylegan_fast.interop.nvlabs import (
    bias_act,
    conv2d_gradfix,
    conv2d_resample,
    filtered_lrelu,
    fma,
    grid_sample_gradfix,
    upfirdn2d,
)
from tests.backends import backend as backend  # a fixture, for each backend by name

from . import published

# The 1-D filters the projects make: StyleGAN2's, the augmentation's wavelet-like low-pass, StyleGAN3's Kaiser windows.
FILTERS = {"[1,3,3,1]": [1.0, 3, 3, 1], "sym6": torch.hann_window(14)[1:-1].tolist(), "odd": [1.0, 2, 3], "none": None}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def assert_same_to_the_second_derivative(ours: Callable, theirs: Callable, *inputs: Tensor) -> None:
    """Values, gradients, and the gradients of a function of the gradients."""
    found = []
    for function in (ours, theirs):
        leaves = [tensor.clone().requires_grad_() for tensor in inputs]
        y = function(*leaves)
        first = torch.autograd.grad((y * draw(*y.shape, seed=9)).sum() + (y**2).sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum((g**2).sum() for g in first), leaves)
        found.append([y, *first, *second])
    for a, b in zip(*found, strict=True):
        assert a.shape == b.shape
        # The float32 filters and sums of up to some thousand float64 terms.
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9 * float(b.detach().abs().max()))


UPFIRDN_CALLS = {
    # as networks_stylegan2 and augment call them
    "ToRGB skip": ("upsample2d", "[1,3,3,1]", {}),
    "D skip": ("downsample2d", "[1,3,3,1]", {}),
    "augment up": ("upsample2d", "sym6", {"up": 2}),
    "augment down": ("downsample2d", "sym6", {"down": 2, "padding": -6, "flip_filter": True}),
    "blur of reals": ("filter2d", "odd", {}),
    "equivariance x": ("filter2d", "odd", {"padding": [3, 1, 0, 0]}),
    "equivariance up": ("upsample2d", "odd", {"up": 4, "padding": 3}),
    # as conv2d_resample calls it
    "after a transposed convolution": ("upfirdn2d", "[1,3,3,1]", {"padding": [1, 1, 1, 1], "gain": 4}),
    "before a strided convolution": ("upfirdn2d", "[1,3,3,1]", {"padding": [2, 2, 2, 2], "flip_filter": False}),
    "before a 1x1 convolution": ("upfirdn2d", "[1,3,3,1]", {"down": 2, "padding": [1, 1, 1, 1]}),
    "identity": ("upfirdn2d", "none", {"padding": [1, -2, 0, 3]}),
    "unequal": ("upfirdn2d", "odd", {"up": [2, 1], "down": [1, 3], "padding": [2, 1], "gain": 0.5}),
}


@pytest.mark.parametrize("call", UPFIRDN_CALLS)
def test_upfirdn2d_and_relatives_as_the_projects_call_them(call: str, backend: str) -> None:
    name, taps, options = UPFIRDN_CALLS[call]
    f = None if FILTERS[taps] is None else upfirdn2d.setup_filter(FILTERS[taps])
    fw, fh = upfirdn2d._get_filter_size(f)
    up = upfirdn2d._parse_scaling(options.get("up", 2 if name == "upsample2d" else 1))
    down = upfirdn2d._parse_scaling(options.get("down", 2 if name == "downsample2d" else 1))
    sides = list(upfirdn2d._parse_padding(options.get("padding", 0)))
    gain = options.get("gain", 1)
    if name == "upsample2d":
        gain *= up[0] * up[1]
        around = [(fw + up[0] - 1) // 2, (fw - up[0]) // 2, (fh + up[1] - 1) // 2, (fh - up[1]) // 2]
    elif name == "downsample2d":
        around = [(fw - down[0] + 1) // 2, (fw - down[0]) // 2, (fh - down[1] + 1) // 2, (fh - down[1]) // 2]
    else:
        around = [fw // 2, (fw - 1) // 2, fh // 2, (fh - 1) // 2] if name == "filter2d" else [0] * 4
    sides = tuple(a + b for a, b in zip(sides, around, strict=True))
    flip = options.get("flip_filter", False)
    assert_same_to_the_second_derivative(
        lambda x: getattr(upfirdn2d, name)(x, f, **options),
        lambda x: published.up_fir_down(x, f, up, down, sides, flip, gain),
        draw(2, 3, 16, 18),
    )


@pytest.mark.parametrize(
    "options",
    [
        {"act": "lrelu", "gain": math.sqrt(2) * math.sqrt(0.5), "clamp": 2.0},
        {"act": "lrelu"},
        {"act": "linear", "clamp": 1.5},
        {"act": "linear"},
        {"act": "relu"},
        {"act": "swish"},
        {"act": "sigmoid", "gain": 2},
        {"act": "lrelu", "alpha": 0.1, "gain": 1, "impl": "ref"},
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [(2, 5, 6, 7), (4, 5)], ids=str)
def test_bias_act_as_the_projects_call_it(options: dict, shape: tuple[int, ...], backend: str) -> None:
    act = bias_act.activation_funcs[options["act"]]

    def theirs(x: Tensor, b: Tensor) -> Tensor:
        x = x + b.view(1, -1, *[1] * (x.ndim - 2))
        alpha = options.get("alpha", 0.2)
        x = {
            "linear": lambda x: x,
            "relu": F.relu,
            "lrelu": lambda x: F.leaky_relu(x, alpha),
            "swish": F.silu,
            "sigmoid": torch.sigmoid,
        }[options["act"]](x)
        x = x * options.get("gain", act.def_gain)
        return x.clamp(-options["clamp"], options["clamp"]) if "clamp" in options else x

    assert_same_to_the_second_derivative(
        lambda x, b: bias_act.bias_act(x, b, **options), theirs, draw(*shape), draw(5, seed=1)
    )


def test_default_gains_are_the_published_ones() -> None:
    gains = {name: act.def_gain for name, act in bias_act.activation_funcs.items()}
    rooted = {"relu", "lrelu", "swish"}
    assert set(gains) == {"linear", "tanh", "sigmoid", "elu", "selu", "softplus"} | rooted
    assert all(gain == pytest.approx(math.sqrt(2) if name in rooted else 1) for name, gain in gains.items())
    assert bias_act.activation_funcs["lrelu"].def_alpha == 0.2
    assert torch.equal(bias_act.activation_funcs["lrelu"].func(torch.tensor([-1.0]), alpha=0.5), torch.tensor([-0.5]))


@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2), (2, 2), (3, 1)])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("flips", [(True, False), (False, True)], ids=str)
def test_conv2d_resample_is_up_sampling_convolution_down_sampling(
    up: int, down: int, kernel: int, groups: int, flips: tuple[bool, bool]
) -> None:
    f = upfirdn2d.setup_filter([1, 3, 3, 1] if up + down < 4 else [1, 2, 4])
    padding = kernel // 2
    assert_same_to_the_second_derivative(
        lambda x, w: conv2d_resample.conv2d_resample(x, w, f, up, down, padding, groups, *flips),
        lambda x, w: published.resampled_convolution(x, w, f, up, down, (padding,) * 4, groups, *flips),
        draw(2, 4, 6, 8),
        draw(6, 4 // groups, kernel, kernel, seed=1),
    )


@pytest.mark.parametrize("padding", [[1, 0, 2, 1], [-1, 2], 0], ids=str)
@pytest.mark.parametrize("up", [1, 2])
def test_conv2d_resample_takes_any_padding(padding: int | list[int], up: int) -> None:
    sides = upfirdn2d._parse_padding(padding)
    f = upfirdn2d.setup_filter([1, 3, 3, 1])
    assert_same_to_the_second_derivative(
        lambda x, w: conv2d_resample.conv2d_resample(x, w, f, up=up, padding=padding),
        lambda x, w: published.resampled_convolution(x, w, f, up, 1, tuple(sides), 1, True, False),
        draw(1, 2, 6, 7),
        draw(3, 2, 3, 3, seed=1),
    )


def test_output_sizes_are_those_of_the_factors() -> None:
    f, w = upfirdn2d.setup_filter([1, 3, 3, 1]), torch.randn(4, 2, 3, 3)
    x = torch.randn(1, 2, 8, 8)
    assert conv2d_resample.conv2d_resample(x, w, f, up=2, padding=1).shape[2:] == (16, 16)
    assert conv2d_resample.conv2d_resample(x, w, f, down=2, padding=1).shape[2:] == (4, 4)


@pytest.mark.parametrize(
    "options",
    [
        {"up": 2, "down": 2, "padding": [9, 8, 9, 8], "gain": math.sqrt(2), "slope": 0.2, "clamp": 0.8},
        {"up": 4, "down": 2, "padding": [-1, -2, -1, -2], "gain": 1, "slope": 1},
        {"up": 1, "down": 1, "padding": 0, "gain": 1.5, "slope": 0},
        {"up": 2, "down": 1, "padding": [3, 2], "flip_filter": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("radial", [False, True])
def test_filtered_lrelu_as_stylegan3_calls_it(options: dict, radial: bool) -> None:
    up, down, padding = options["up"], options["down"], options["padding"]
    fu, fd = (torch.hann_window(6 * factor + 2)[1:-1] / (3 * factor + 0.5) for factor in (up, down))
    fu = None if up == 1 else fu
    fd = None if down == 1 else torch.outer(fd, fd) if radial else fd
    gain, slope, clamp = options.get("gain", math.sqrt(2)), options.get("slope", 0.2), options.get("clamp")
    flip = options.get("flip_filter", False)

    def theirs(x: Tensor, b: Tensor) -> Tensor:
        x = x + b[:, None, None]
        x = published.up_fir_down(x, fu, (up, up), sides=upfirdn2d._parse_padding(padding), flip=flip, gain=up**2)
        x = F.leaky_relu(x, slope) * gain
        x = x if clamp is None else x.clamp(-clamp, clamp)
        return published.up_fir_down(x, fd, down=(down, down), flip=flip)

    assert_same_to_the_second_derivative(
        lambda x, b: filtered_lrelu.filtered_lrelu(x, fu, fd, b, **options), theirs, draw(2, 3, 12, 10), draw(3, seed=1)
    )


def test_fma_broadcasts_as_the_modulated_convolution_needs_it() -> None:
    assert_same_to_the_second_derivative(
        fma.fma, lambda a, b, c: a * b + c, draw(2, 3, 4, 5), draw(2, 3, 1, 1, seed=1), draw(2, 1, 4, 5, seed=2)
    )


def test_grid_sample_has_second_derivatives_by_image_and_grid() -> None:
    grid = draw(2, 4, 5, 2, seed=1) * 0.8
    assert_same_to_the_second_derivative(grid_sample_gradfix.grid_sample, published.bilinear, draw(2, 3, 6, 7), grid)
    inputs = (draw(1, 2, 4, 4).requires_grad_(), (draw(1, 3, 3, 2, seed=2) * 0.7).requires_grad_())
    assert gradcheck(grid_sample_gradfix.grid_sample, inputs)
    assert gradgradcheck(grid_sample_gradfix.grid_sample, inputs)


def test_grid_sample_penalty_on_the_image_alone() -> None:
    grid = draw(2, 6, 6, 2, seed=1)
    assert_same_to_the_second_derivative(
        lambda x: grid_sample_gradfix.grid_sample(x, grid), lambda x: published.bilinear(x, grid), draw(2, 3, 6, 7)
    )


@pytest.mark.parametrize("transposed", [False, True])
def test_convolutions_give_weights_no_gradient_inside_no_weight_gradients(transposed: bool) -> None:
    name = "conv_transpose2d" if transposed else "conv2d"
    x, w, b = draw(2, 4, 6, 6).requires_grad_(), draw(4, 4, 3, 3, seed=1).requires_grad_(), draw(4).requires_grad_()
    y = getattr(conv2d_gradfix, name)(x, w, b, stride=2, padding=1)
    assert torch.equal(y, getattr(F, name)(x, w, b, stride=2, padding=1))
    for disable in (True, False):
        with conv2d_gradfix.no_weight_gradients(disable):
            gradients = torch.autograd.grad(y.sum(), [x, w, b], retain_graph=True, allow_unused=True)
        assert (gradients[1] is None) == disable
        assert gradients[0] is not None
        assert gradients[2] is not None
    with contextlib.suppress(ZeroDivisionError), conv2d_gradfix.no_weight_gradients():
        raise ZeroDivisionError
    assert not conv2d_gradfix.weight_gradients_disabled


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("biased", [False, True])
def test_convolutions_have_both_derivatives_of_the_weight_in_bfloat16(
    transposed: bool, groups: int, biased: bool
) -> None:
    """As the path length and R1 need them. On a processor with AMX torch's own way loses the second at this size."""
    name = "conv_transpose2d" if transposed else "conv2d"

    def gradients(call: Callable, dtype: torch.dtype) -> list[Tensor]:
        shapes = [(4, 8 * groups, 16, 16), (8 * groups, 8, 3, 3)] + [(8 * groups,)] * biased
        leaves = [draw(*shape, seed=i).to(dtype).requires_grad_() for i, shape in enumerate(shapes)]
        y = call(*leaves, padding=1, groups=groups)
        (dx,) = torch.autograd.grad(y, leaves[0], draw(*y.shape, seed=9).to(dtype), create_graph=True)
        (second,) = torch.autograd.grad(dx.float().square().mean(), leaves[1])
        assert y.dtype == dtype
        return [
            y,
            *torch.autograd.grad(call(*leaves, padding=1, groups=groups).float().square().mean(), leaves),
            second,
        ]

    found = gradients(getattr(conv2d_gradfix, name), torch.bfloat16)
    for ours, exact in zip(found, gradients(getattr(F, name), torch.float32), strict=True):
        assert (ours.float() - exact).norm() < 0.02 * exact.norm()


def test_convolutions_under_autocast_are_in_its_dtype() -> None:
    x, w, b = torch.randn(2, 4, 8, 8), torch.randn(4, 4, 3, 3, requires_grad=True), torch.randn(4)
    with torch.autocast("cpu", torch.bfloat16):
        assert conv2d_gradfix.conv2d(x, w, b, padding=1).dtype == torch.bfloat16


def test_half_precision_calls_keep_the_dtype() -> None:
    x, w = torch.randn(1, 2, 8, 8).half(), torch.randn(2, 2, 1, 1).half()
    f = upfirdn2d.setup_filter([1, 3, 3, 1])
    assert filtered_lrelu.filtered_lrelu(x, f, f, torch.zeros(2).half(), up=2, down=2, padding=3).dtype == torch.half
    assert conv2d_resample.conv2d_resample(x.float(), w.float(), f, up=2).dtype == torch.float32
