"""adain where a simpler kernel fails: constant planes, far means, outliers, NaN, subnormals."""

import pytest
import torch

from stylegan_fast.ops import adain, adain_reference, use_backend

from .cases import CAPABILITIES, DTYPES, assert_within_bound, capability, laid_out, needs_extension
from .drawn import KINDS
from .drawn_adain import Case, assert_as_good_as_the_reference, differentiated

BACKENDS = ["reference", pytest.param("cpu", marks=needs_extension)]
BOTH_LAYOUTS = ["contiguous", "channels_last"]
pytestmark = pytest.mark.parametrize("layout", BOTH_LAYOUTS)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [1, 4, 32, 65])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_constant_planes_give_exactly_shift(dtype: torch.dtype, size: int, backend: str, layout: str) -> None:
    g = torch.Generator().manual_seed(size)
    values = 3 * torch.randn(2, 19, 1, 1, generator=g)  # both signs, so that the activation rounds
    x = laid_out(values.expand(2, 19, size, size).to(dtype), layout)
    shift = torch.randn(2, 19, generator=g).to(dtype)
    ones = torch.ones(1, 1, size, size)
    options = {"noise": ones, "noise_strength": torch.randn(19, generator=g), "bias": torch.randn(19, generator=g)}
    with use_backend(backend):
        for more in ({}, options):
            y = adain(x, torch.full((2, 19), 7.0), shift, negative_slope=0.2, **more)
            assert torch.equal(y, shift[..., None, None].expand_as(y))


@needs_extension
@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
def test_constant_planes_give_exactly_shift_on_every_instruction_set(isa: str, layout: str) -> None:
    x = laid_out(torch.randn(1, 70, 1, 1).expand(1, 70, 37, 29), layout)
    shift = torch.randn(70)
    noise = torch.full((1, 1, 37, 29), 0.3)
    with use_backend("cpu"), capability(isa):
        y = adain(x, shift=shift, noise=noise, noise_strength=torch.randn(70), bias=shift, negative_slope=0.2)
    assert torch.equal(y, shift[:, None, None].expand_as(y))


@needs_extension
@pytest.mark.parametrize("case", ["far_mean", "outlier_first", "outlier_inside", "subnormal"])
def test_extreme_planes_are_as_good_as_the_reference(case: str, layout: str) -> None:
    x = torch.randn(2, 21, 64, 48)
    if case == "far_mean":
        x = x + 3000
    elif case == "outlier_first":
        x[..., 0, 0] = 1e4
    elif case == "outlier_inside":
        x[..., 33, 7] = 1e4
    else:
        x = x * 1e-40
    x = laid_out(x, layout)
    truth = adain_reference(x.double())
    rstd = (x.double().var((2, 3), correction=0, keepdim=True) + 1e-8).rsqrt()
    magnitude = torch.maximum(truth.abs(), rstd * x.double().mean((2, 3), keepdim=True).abs())
    with use_backend("cpu"):
        assert_within_bound(adain(x), adain_reference(x), truth, magnitude)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_stay_in_their_plane(poison: float, backend: str, layout: str) -> None:
    clean = torch.randn(2, 18, 9, 9)
    poisoned = clean.clone()
    poisoned[1, 7, 3, 4] = poison
    with use_backend(backend):
        expected, y = (adain(laid_out(x, layout), negative_slope=0.2) for x in (clean, poisoned))
    assert y[1, 7].isnan().all()
    y[1, 7] = expected[1, 7]
    assert torch.equal(y, expected)


@needs_extension
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 5, 127, 129), (1, 513, 4, 4), (3, 1, 1, 1), (0, 4, 3, 3)], ids=str)
def test_gradients_of_extreme_planes_are_as_good_as_the_reference(
    shape: tuple[int, int, int, int], kind: str, layout: str
) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        case = Case(shape, dtype, kind, (layout, ()), style="NC", noise="N", bias=True, slopes=(0.2, 1.0), seed=4)
        assert_as_good_as_the_reference(case)


@needs_extension
@pytest.mark.parametrize("isa", CAPABILITIES)
@pytest.mark.parametrize("size", [8, 32])
def test_one_outlier_in_a_plane_of_equal_numbers_is_as_good_as_the_reference(size: int, isa: str, layout: str) -> None:
    for dtype in (torch.float32, torch.float64):
        x = torch.tensor([0.3, 1.7, -3.3, 0.77])[:, None, None].repeat(1, 1, size, size).to(dtype)
        x[..., 0, 1] = 1e4
        truth, narrow = adain_reference(x.double()), adain_reference(x.float())
        with use_backend("cpu"), capability(isa):
            assert_within_bound(adain(laid_out(x, layout)), narrow, truth)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("where", ["x", "dy"])
def test_nan_and_infinity_reach_no_gradient_of_another_plane(
    where: str, poison: float, backend: str, layout: str
) -> None:
    case = Case((2, 18, 9, 9), torch.float32, style="NC", noise="N", bias=True, slopes=(0.2, 1.0), seed=1)
    found, dy = case.arguments(), case.output_gradient().float()
    found["x"], dy = laid_out(found["x"], layout), laid_out(dy, layout)
    with use_backend(backend):
        clean = differentiated(adain, found, dy)
        found, dy = {**found, "x": found["x"].clone()}, dy.clone()
        (found["x"] if where == "x" else dy)[1, 7, 3, 4] = poison
        poisoned = differentiated(adain, found, dy)
    # What the poisoned plane is a part of: itself, its sample's noise map, its channel's sums over samples.
    parts = {"noise": (1,), "noise_strength": (7,), "bias": (7,)}
    for name, values in poisoned.items():
        part = parts.get(name, (1, 7))
        # y has nothing of dy, and dshift, the sum of dy, nothing of x.
        if (where, name) not in (("dy", "y"), ("x", "shift")):
            assert not values[part].isfinite().all(), name
        values[part] = clean[name][part]
        assert torch.equal(values, clean[name]), name
