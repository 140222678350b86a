"""adain that reads its input through phases and blur: as good as the reference, and the reference as the two alone."""

import sys
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from stylegan_fast.ops import adain, adain_reference, use_backend
from stylegan_fast.ops.subpixel import read_through

from .cases import CAPABILITIES, DTYPES, assert_within_bound, capability, narrower, needs_extension
from .test_adain import arguments, differentiated, largest, lengths_of_sums, widened

WAYS = {"blur": (False, True), "phases": (True, False), "both": (True, True)}
SHAPES = [(2, 3, 4, 4), (1, 5, 2, 2), (2, 70, 8, 6), (1, 33, 16, 16), (1, 3, 32, 34), (1, 5, 128, 130), (1, 17, 6, 520)]
SHAPES += [(1, 6, 4, 6200)]  # rows in strips
BACKENDS = ["reference", pytest.param("cpu", marks=needs_extension)]
ODD_SHAPES = [(1, 1, 1, 1), (2, 3, 1, 7), (1, 4, 9, 1), (1, 2, 127, 129), (1, 1, 3, 1025), (0, 3, 4, 4), (2, 0, 3, 3)]


def reading(shape: tuple[int, ...], dtype: torch.dtype, option: str, way: str, seed: int = 0) -> dict[str, Any]:
    """Arguments of planes of this shape, with an x that is read as `way` says."""
    phases, blur = WAYS[way]
    found = arguments(shape, dtype, option, seed)
    if phases:
        n, c, h, w = shape
        found["x"] = arguments((n, 4 * c, h // 2 + 1, w // 2 + 1), dtype, "plain", seed)["x"]
    return found | {"phases": phases, "blur": blur}


def assert_as_good(shape: tuple[int, ...], dtype: torch.dtype, layout: str, option: str, way: str) -> None:
    found, dy = reading(shape, dtype, option, way), arguments(shape, dtype, "plain", seed=1)["x"]
    truth = differentiated(adain_reference, widened(found), dy.double(), layout)
    reference = differentiated(adain_reference, reading(shape, narrower(dtype), option, way), dy, layout)
    with use_backend("cpu"):
        ours = differentiated(adain, found, dy, layout)
    # The bound's magnitudes are those of what comes after the reading.
    phases, blur = WAYS[way]
    x = read_through(found["x"].double(), phases, blur)
    whole = {k: v for k, v in found.items() if k not in ("phases", "blur")} | {"x": x}
    after = differentiated(adain_reference, widened(whole), dy.double(), "contiguous")
    sizes = lengths_of_sums(whole, dy, after)
    for mine, theirs, exact, size in zip(ours, reference, truth, sizes, strict=True):
        assert_within_bound(mine, theirs, exact, max(largest(size), largest(exact)))


@pytest.mark.parametrize("way", WAYS)
def test_the_reference_reads_as_the_two_alone_would(way: str) -> None:
    found = reading((2, 3, 6, 8), torch.float64, "all", way)
    phases, blur = WAYS[way]
    whole = {k: v for k, v in found.items() if k not in ("phases", "blur")}
    whole["x"] = read_through(found["x"], phases, blur)
    torch.testing.assert_close(adain_reference(**found), adain_reference(**whole))


@needs_extension
@pytest.mark.parametrize("way", WAYS)
def test_reading_first_in_passes_of_its_own_is_the_same(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What CUDA does with large contiguous planes of fp32, in fp64 and to the second derivative."""
    found = reading((2, 3, 6, 8), torch.float64, "all", way)
    tensors = {k: v.requires_grad_() for k, v in found.items() if isinstance(v, Tensor)}

    def derivatives() -> list[Tensor]:
        y = adain(**found)
        first = torch.autograd.grad(y.sin().sum(), list(tensors.values()), create_graph=True)
        return [y, *first, *torch.autograd.grad(sum(g.sin().sum() for g in first), list(tensors.values()))]

    with use_backend("cpu"):
        on_the_way = derivatives()
        monkeypatch.setattr(sys.modules["stylegan_fast.ops.adain"], "_is_better_read_first", lambda x, formula: True)
        for before, after in zip(derivatives(), on_the_way, strict=True):
            torch.testing.assert_close(before, after)


@needs_extension
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_kernels_are_as_good_as_the_reference(shape: tuple[int, ...], layout: str, way: str) -> None:
    for dtype in DTYPES:
        # The truth is fp64 itself: its sums over so many pixels are further off than the kernel's.
        if dtype != torch.float64 or shape[2] * shape[3] <= 4096:
            assert_as_good(shape, dtype, layout, "all", way)
    assert_as_good(shape, torch.float32, layout, "plain", way)


@needs_extension
@pytest.mark.parametrize("shape", ODD_SHAPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "transposed", "offset"])
def test_blurred_planes_of_any_size_and_layout(shape: tuple[int, ...], layout: str) -> None:
    for option in ("plain", "epilogue", "noise_of_one_sample"):
        assert_as_good(shape, torch.float32, layout, option, "blur")


@needs_extension
@pytest.mark.parametrize("isa", CAPABILITIES)
@pytest.mark.parametrize("way", WAYS)
def test_every_instruction_set_reads_alike(isa: str, way: str) -> None:
    with capability(isa):
        for layout in ("contiguous", "channels_last"):
            for dtype in DTYPES:
                assert_as_good((2, 19, 10, 18), dtype, layout, "all", way)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("way", WAYS)
def test_first_and_second_derivatives(backend: str, way: str) -> None:
    found = reading((1, 2, 4, 4), torch.float64, "all", way)
    names = [name for name, v in found.items() if isinstance(v, Tensor)]
    leaves = [found[name].requires_grad_() for name in names]

    def call(*tensors: Tensor) -> Tensor:
        return adain(**(found | dict(zip(names, tensors, strict=True))), eps=1e-2)

    with use_backend(backend):
        assert gradcheck(call, leaves)
        assert gradgradcheck(call, leaves)


@pytest.mark.parametrize("backend", BACKENDS)
def test_phases_must_be_four_times_the_channels(backend: str) -> None:
    with use_backend(backend), pytest.raises(ValueError, match=r"with phases \[N, 4 \* C"):
        adain(torch.zeros(1, 6, 3, 3), phases=True)


@needs_extension
def test_nothing_but_x_and_the_statistics_is_kept_for_the_backward() -> None:
    kept: list[Tensor] = []
    x = torch.randn(2, 16, 9, 9, requires_grad=True)
    with use_backend("cpu"), torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        adain(x, phases=True, blur=True)
    assert sum(t.numel() for t in kept) == x.numel() + 2 * 2 * 4
