"""The CPU kernels of bias_act and upfirdn2d where their branches meet: planes and rows about as long as a register,
pixels of about as many channels, pieces of work that end inside a plane; and how exact their exp and its like are."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from stylegan_fast.ops import (
    bias_act,
    bias_act_reference,
    downsample2d,
    filter2d,
    setup_filter,
    upfirdn2d,
    upfirdn2d_reference,
    upsample2d,
    use_backend,
)

from .cases import CAPABILITIES, assert_within_bound, capability, laid_out, needs_extension

pytestmark = needs_extension
BOTH_LAYOUTS = ["contiguous", "channels_last"]
RESAMPLINGS: dict[str, tuple[Callable[..., Tensor], list[int]]] = {
    "blur": (filter2d, [1, 2, 1]),
    "blur4": (filter2d, [1, 3, 3, 1]),
    "up": (upsample2d, [1, 1]),
    "up4": (upsample2d, [1, 3, 3, 1]),
    "down": (downsample2d, [1, 1]),
    "down4": (downsample2d, [1, 3, 3, 1]),
}
# Planes held whole; rows of one register and of one pixel more or less; runs of 512 and beyond; pixels of fewer
# channels than a register, of as many, of one more; slabs of 512 channels and beyond.
IMAGES = [(1, 3, 4, 4), (3, 1, 8, 8), (2, 5, 16, 16), (1, 2, 5, 1), (2, 1, 1, 9), (1, 2, 7, 15), (1, 1, 6, 17)]
IMAGES += [(1, 2, 9, 32), (1, 1, 5, 33), (1, 1, 3, 513), (1, 1, 4, 1030), (1, 15, 5, 4), (1, 16, 3, 5), (2, 17, 4, 3)]
IMAGES += [(1, 512, 3, 2), (1, 513, 2, 3), (1, 1030, 2, 2)]


def as_good_as_the_reference(x: Tensor, f: Tensor, **options: Any) -> None:
    with use_backend("cpu"):
        y = upfirdn2d(x, f, **options)
    assert_within_bound(y, upfirdn2d_reference(x, f, **options), upfirdn2d_reference(x.double(), f, **options))


@pytest.mark.parametrize("isa", CAPABILITIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", RESAMPLINGS)
def test_short_filters_and_their_adjoints_at_every_threshold(name: str, dtype: torch.dtype, isa: str) -> None:
    resample, taps = RESAMPLINGS[name]
    f = setup_filter(taps)
    for shape, layout in itertools.product(IMAGES, BOTH_LAYOUTS):
        if resample is downsample2d and min(shape[2:]) < 2:
            continue
        x = laid_out(torch.randn(shape).to(dtype), layout).requires_grad_()
        found = []
        for call, backend in ((x, "cpu"), (x, "reference"), (x.detach().double().requires_grad_(), "reference")):
            with use_backend(backend), capability(isa):
                y = resample(call, f)
                dy = torch.linspace(-1, 2, y.numel(), dtype=torch.float64).reshape(y.shape).to(dtype).to(y.dtype)
                found.append((y.detach(), *torch.autograd.grad(y, call, dy)))
        for ours, reference, truth in zip(*found, strict=True):
            assert_within_bound(ours, reference, truth)


@pytest.mark.parametrize("layout", [*BOTH_LAYOUTS, "offset"])
@pytest.mark.parametrize(
    "padding", [[0, 0], [-1, 2], [3, -2], [2, 2, -2, -1], [-3, -1, 1, 1], [0, 21, 19, 0], [1, 0, 1, 0]], ids=str
)
def test_any_padding_and_cropping_around_short_filters(padding: list[int], layout: str) -> None:
    for shape, taps in itertools.product([(2, 3, 8, 8), (1, 17, 16, 16), (1, 2, 19, 37)], [[1, 2, 1], [1, 3, 3, 1]]):
        for dtype, factors in itertools.product((torch.float32, torch.bfloat16), ({}, {"up": 2}, {"down": 2})):
            x = laid_out(torch.randn(shape).to(dtype), layout)
            as_good_as_the_reference(x, setup_filter(taps), padding=padding, **factors)


@pytest.mark.parametrize("isa", CAPABILITIES)
@pytest.mark.parametrize("size", [4, 8, 16, 20])
@pytest.mark.parametrize("name", RESAMPLINGS)
def test_planes_do_not_leak_into_their_neighbours(name: str, size: int, isa: str) -> None:
    resample, taps = RESAMPLINGS[name]
    for layout, bad in itertools.product(BOTH_LAYOUTS, (float("nan"), float("inf"))):
        x = torch.ones(3, 20, size, size)
        x[1, 7] = bad
        with use_backend("cpu"), capability(isa):
            wrong = ~resample(laid_out(x, layout), setup_filter(taps)).isfinite()
        assert wrong[1, 7].all()
        wrong[1, 7] = False
        assert not wrong.any()


@pytest.mark.parametrize("layout", BOTH_LAYOUTS)
def test_the_number_of_threads_changes_no_bit_of_resampling_or_activations(layout: str) -> None:
    planes, threads, found = laid_out(torch.randn(3, 37, 40, 33), layout), torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            with use_backend("cpu"):
                results = [resample(planes, setup_filter(taps)) for resample, taps in RESAMPLINGS.values()]
                found.append([*results, bias_act(planes, torch.linspace(-1, 1, 37), act="tanh")])
    finally:
        torch.set_num_threads(threads)
    for results in found[1:]:
        assert all(map(torch.equal, results, found[0]))


# -------------------------------------------------------------------------------------------------------- bias_act
BIASED = [((5, 3, 1, 1), 1), ((2, 7, 3, 5), 1), ((3, 2, 4, 4), 1), ((2, 3, 1, 17), 1), ((9, 15), 1), ((9, 16), 1)]
BIASED += [((7, 33), 1), ((3, 40000), 1), ((2, 2, 200, 90), 1), ((700, 3, 4, 5), 1), ((3, 5000), 0), ((70001,), 0)]


@pytest.mark.parametrize("isa", CAPABILITIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_every_element_meets_its_own_bias(dtype: torch.dtype, isa: str) -> None:
    for (shape, dim), layout in itertools.product(BIASED, BOTH_LAYOUTS):
        if layout == "channels_last" and len(shape) != 4:
            continue
        x, b = torch.randn(shape).to(dtype), torch.arange(shape[dim]).sub(shape[dim] / 2).to(torch.bfloat16).to(dtype)
        x = laid_out(x, layout) if len(shape) == 4 else x
        with use_backend("cpu"), capability(isa):
            y = bias_act(x, b, dim=dim, act="linear")
        where = [1] * len(shape)
        where[dim] = -1
        assert torch.equal(y, x + b.reshape(where))


@pytest.mark.parametrize("isa", CAPABILITIES)
@pytest.mark.parametrize(
    ("act", "ulp"), [("tanh", 2), ("sigmoid", 2), ("elu", 2), ("selu", 3), ("softplus", 2), ("swish", 2.5)]
)
def test_smooth_activations_are_exact_to_two_ulp_over_all_numbers(act: str, ulp: float, isa: str) -> None:
    """selu adds the rounding of two factors to elu's, swish that of one to sigmoid's."""
    bits = torch.arange(-(2**31), 2**31, 4099).to(torch.int32)
    x = torch.cat([bits.view(torch.float32), torch.linspace(-20, 20, 100003), torch.tensor([0.0, -0.0, 1e-45, -1e-45])])
    with use_backend("cpu"), capability(isa):
        y = bias_act(x, dim=0, act=act, gain=1)
    truth = bias_act_reference(x.double(), dim=0, act=act, gain=1)
    truth[x == -torch.inf] = bias_act_reference(torch.tensor([-torch.inf]), dim=0, act=act, gain=1).double()
    rounded = truth.float()
    finite = rounded.isfinite()
    assert torch.equal(y.isnan(), rounded.isnan())
    assert torch.equal(y[rounded.isinf()], rounded[rounded.isinf()])
    one = torch.frexp(rounded[finite]).exponent.clamp(min=-125).double().sub(24).exp2()
    error = (y[finite].double() - truth[finite]).abs() / one
    worst = int(error.argmax())
    assert error[worst] <= ulp, f"{error[worst]:.2f} ulp at {x[finite][worst]!r}"
