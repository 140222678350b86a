"""adain: the reference against numpy, the CPU kernels against fp64, over dtypes, layouts, shapes and options."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stylegan_fast.ops import adain, adain_reference, library, use_backend

from .cases import (
    CAPABILITIES,
    DTYPES,
    LAYOUTS,
    Spy,
    assert_within_bound,
    capability,
    laid_out,
    narrower,
    needs_exchange,
    needs_extension,
)

SHAPES = [
    (1, 1, 1, 1),
    (2, 3, 4, 4),
    (1, 1, 7, 5),
    (2, 70, 5, 3),
    (1, 5, 127, 129),
    (0, 4, 4, 4),
    (2, 0, 3, 3),
    (2, 2, 0, 5),
]
OPTIONS = {
    "plain": (),
    "style": ("scale", "shift"),
    "epilogue": ("scale", "shift", "noise", "bias", "slope"),
    "noise_of_one_sample": ("noise", "one_map", "slope"),
    "channel_style_then_relu": ("scale", "shift", "by_channel", "output_slope"),
    "all": ("scale", "shift", "noise", "bias", "slope", "output_slope"),
}
NAMES = ("scale", "shift", "noise", "noise_strength", "bias")


def arguments(shape: tuple[int, ...], dtype: torch.dtype, option: str, seed: int = 0) -> dict:
    """The tensors are exact in dtype, so that fp64 sees the same numbers."""
    n, c, h, w = shape
    g = torch.Generator().manual_seed(seed)
    wants = OPTIONS[option]

    def draw(*size: int) -> Tensor:
        return torch.randn(size, generator=g, dtype=torch.float64).to(torch.bfloat16).to(dtype)

    style = (c,) if "by_channel" in wants else (n, c)
    found: dict = {"x": draw(*shape) * 2 + 1}
    if "scale" in wants:
        found |= {"scale": 1 + draw(*style), "shift": draw(*style)}
    if "noise" in wants:
        found |= {"noise": draw(1 if "one_map" in wants else n, 1, h, w), "noise_strength": draw(c)}
    if "bias" in wants:
        found["bias"] = draw(c)
    if "slope" in wants:
        found["negative_slope"] = 0.2
    if "output_slope" in wants:
        found["output_negative_slope"] = 0.1
    return found


def widened(found: dict) -> dict:
    return {name: v.detach().double() if isinstance(v, Tensor) else v for name, v in found.items()}


def differentiated(call, found: dict, dy: Tensor, dx_layout: str) -> list[Tensor]:
    """y and the gradients of everything that is a tensor."""
    found = {k: v.detach().clone().requires_grad_() if isinstance(v, Tensor) else v for k, v in found.items()}
    leaves = [v for v in found.values() if isinstance(v, Tensor)]
    x = found.pop("x")
    y = call(laid_out(x, dx_layout), **found)
    return [y.detach(), *torch.autograd.grad(y, leaves, dy.to(y.dtype))]


def lengths_of_sums(found: dict, dy: Tensor, gradients: list[Tensor]) -> list[Tensor]:
    """For every result the magnitude its rounding goes with. That of a sum, however small it comes out, is the root of
    the sum of squares of its terms."""
    found = {k: v.double() if isinstance(v, Tensor) else v for k, v in found.items()}
    dy, dx = dy.double(), gradients[1]
    normalised = adain_reference(**{k: v for k, v in found.items() if k not in ("scale", "shift")})
    over_style = (0, 2, 3) if found.get("scale", dx).ndim == 1 else (2, 3)
    terms = {
        "scale": lambda: (dy * normalised).square().sum(over_style).sqrt(),
        "shift": lambda: dy.square().sum(over_style).sqrt(),
        "noise": lambda: (dx * found["noise_strength"][:, None, None]).square().sum(1, keepdim=True).sqrt(),
        "noise_strength": lambda: (dx * found["noise"]).square().sum((0, 2, 3)).sqrt(),
        "bias": lambda: dx.square().sum((0, 2, 3)).sqrt(),
    }
    names = [k for k, v in found.items() if isinstance(v, Tensor)]
    return [gradients[0], dx, *(terms[name]() for name in names if name != "x")]


def largest(values: Tensor) -> float:
    return float(values.abs().max()) if values.numel() else 0.0


def assert_as_good_as_the_reference(option: str, shape: tuple[int, ...], dtype: torch.dtype, layout: str) -> None:
    found, dy = arguments(shape, dtype, option), arguments(shape, dtype, "plain", seed=1)["x"]
    truth = differentiated(adain_reference, widened(found), dy.double(), layout)
    narrow = arguments(shape, narrower(dtype), option)
    reference = differentiated(adain_reference, narrow, dy, layout)
    with use_backend("cpu"):
        ours = differentiated(adain, found, dy, layout)
    for mine, theirs, exact, size in zip(ours, reference, truth, lengths_of_sums(found, dy, truth), strict=True):
        assert_within_bound(mine, theirs, exact, max(largest(size), largest(exact)))


def numpy_adain(x, scale, shift, noise, noise_strength, bias, slope, eps, output_slope) -> np.ndarray:
    y = np.empty_like(x)
    for n, c in np.ndindex(*x.shape[:2]):
        t = x[n, c] + noise_strength[c] * noise[n, 0] + bias[c]
        a = np.where(t >= 0, t, slope * t)
        z = scale[n, c] * (a - a.mean()) / np.sqrt(a.var() + eps) + shift[n, c]
        y[n, c] = np.where(z >= 0, z, output_slope * z)
    return y


def test_reference_matches_the_formula_written_in_numpy() -> None:
    found = arguments((2, 3, 5, 6), torch.float64, "all")
    expected = numpy_adain(*(found[k].numpy() for k in ("x", *NAMES)), 0.2, 1e-3, 0.1)
    y = adain_reference(**found, eps=1e-3)
    np.testing.assert_allclose(y.numpy(), expected, rtol=0, atol=1e-13)


@needs_extension
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_cpu_kernel_and_its_gradients_are_as_good_as_the_reference(
    dtype: torch.dtype, option: str, shape: tuple[int, ...], spy: Spy
) -> None:
    for layout in ("contiguous", "channels_last"):
        assert_as_good_as_the_reference(option, shape, dtype, layout)
        assert spy.ran[-2:] == ["adain_forward", "adain_backward"]


@needs_extension
@pytest.mark.parametrize("isa", CAPABILITIES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_instruction_set_computes_the_same_op(isa: str, dtype: torch.dtype) -> None:
    for layout in ("contiguous", "channels_last"):
        with capability(isa):
            assert_as_good_as_the_reference("all", (2, 37, 33, 9), dtype, layout)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("backend", ["reference", pytest.param("cpu", marks=needs_extension)])
def test_any_strides_give_the_same_numbers_and_dense_ones_are_kept(backend: str, layout: str) -> None:
    found = arguments((2, 5, 6, 7), torch.float32, "all")
    x = found.pop("x")
    truth = adain_reference(x.double(), **widened(found))
    with use_backend(backend):
        y = adain(laid_out(x, layout), **found)
    assert_within_bound(y, adain_reference(x, **found), truth)
    expected = torch.channels_last if layout.startswith("channel") else torch.contiguous_format
    assert y.is_contiguous(memory_format=expected)


@pytest.mark.parametrize("backend", ["reference", pytest.param("cpu", marks=needs_extension)])
def test_expanded_input_and_expanded_output_gradient(backend: str) -> None:
    x = torch.randn(1, 3, 4, 5, requires_grad=True)
    with use_backend(backend):
        y = adain(x.expand(4, 3, 4, 5), negative_slope=0.2)
        (dx,) = torch.autograd.grad((y * 1.5).sum(), x)
    assert torch.equal(y[0], y[3])
    # The sum of a normalised plane is constant, so that its gradient is rounding alone.
    assert dx.abs().max() <= 64 * torch.finfo(torch.float32).eps * y.detach().abs().max()


@needs_extension
def test_output_gradient_may_come_in_the_other_layout() -> None:
    found = arguments((2, 5, 6, 7), torch.float64, "all")
    dy = arguments((2, 5, 6, 7), torch.float64, "plain", seed=1)["x"]
    with use_backend("cpu"):
        same = differentiated(adain, found, dy, "contiguous")
        for layout in LAYOUTS:
            for ours, expected in zip(
                differentiated(adain, found, laid_out(dy, layout), "contiguous"), same, strict=True
            ):
                assert torch.equal(ours, expected)


@needs_extension
def test_gradients_come_one_by_one_as_well_as_together() -> None:
    found = arguments((2, 5, 6, 7), torch.float64, "all")
    with use_backend("cpu"):
        together = differentiated(adain, found, torch.ones(2, 5, 6, 7), "contiguous")[1:]
        for (name, value), expected in zip(
            [(k, v) for k, v in found.items() if isinstance(v, Tensor)], together, strict=True
        ):
            leaf = value.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(adain(**{**found, name: leaf}).sum(), leaf)
            assert torch.equal(gradient, expected), name


@pytest.mark.parametrize("as_tensors", [pytest.param(True, marks=needs_exchange), False])
def test_halves_of_one_style_tensor_are_read_where_they_lie(
    as_tensors: bool, spy: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "reads_tensors", as_tensors)
    style = torch.randn(2, 10)
    x = torch.randn(2, 5, 4, 4)
    addresses = []
    forward = spy.cpu.adain_forward

    def noted(*arguments: Any) -> Any:
        halves = [half.data_ptr() for half in arguments[1:3]] if as_tensors else [arguments[9], arguments[12]]
        addresses.extend(halves)
        return forward(*arguments)

    spy.cpu.adain_forward = noted
    with use_backend("cpu"):
        y = adain(x, style[:, :5], style[:, 5:])
    assert addresses == [style.data_ptr(), style.data_ptr() + 5 * 4]
    assert_within_bound(
        y, adain_reference(x, style[:, :5], style[:, 5:]), adain_reference(x.double(), style[:, :5], style[:, 5:])
    )


@needs_extension
def test_threads_change_no_bit() -> None:
    found = arguments((2, 40, 64, 33), torch.float32, "all")
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            with use_backend("cpu"):
                results.append(
                    differentiated(adain, found, found["x"], "contiguous")
                    + differentiated(adain, found, found["x"], "channels_last")
                )
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for mine, theirs in zip(results[0], other, strict=True):
            assert torch.equal(mine, theirs)
