"""adain with seeds in place of noise: the numbers of the map the seeds stand for, which is not kept."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from stylegan_fast.ops import adain, adain_reference, philox_normal, use_backend

from .cases import DTYPES, Spy, laid_out, needs_extension
from .test_adain import arguments

BACKENDS = ["reference", pytest.param("cpu", marks=needs_extension)]
WAYS = {"plain": (False, False), "blur": (False, True), "phases": (True, False), "both": (True, True)}


def seeded(seeds: list[int], dtype: torch.dtype, phases: bool = False) -> dict[str, Any]:
    """All arguments of planes 6 x 10 but the noise; x, with phases, is that of planes 10 x 18."""
    found = arguments((len(seeds), 12, 6, 10), dtype, "all")
    channels = 3 if phases else 12
    found = {
        name: v[..., :channels] if name not in ("x", "noise") and isinstance(v, Tensor) else v
        for name, v in found.items()
    }
    return {**found, "noise": None, "noise_seed": torch.tensor(seeds), "phases": phases}


def drawn(found: dict[str, Any], h: int, w: int) -> dict[str, Any]:
    noise = philox_normal(found["noise_seed"], h, w)
    return {**found, "noise": noise.to(torch.promote_types(found["x"].dtype, torch.float32)), "noise_seed": None}


def results(op: Any, found: dict[str, Any], layout: str = "contiguous") -> list[Tensor]:
    """y and the gradients of all floating tensors but the noise."""
    floating = [
        name for name, v in found.items() if isinstance(v, Tensor) and v.is_floating_point() and name != "noise"
    ]
    leaves = {name: found[name].detach().requires_grad_() for name in floating}
    leaves["x"] = laid_out(found["x"], layout).requires_grad_()
    y = op(**{**found, **leaves})
    return [y.detach(), *torch.autograd.grad(y.double().pow(3).sum(), list(leaves.values()))]


def assert_same(ours: list[Tensor], theirs: list[Tensor]) -> None:
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine, other)
        assert (mine.dtype, mine.stride()) == (other.dtype, other.stride())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "transposed"])
def test_seeds_are_the_noise_they_stand_for_to_the_bit(layout: str, dtype: torch.dtype, backend: str) -> None:
    found = seeded([3, -8], dtype)
    with use_backend(backend):
        assert_same(results(adain, found, layout), results(adain, drawn(found, 6, 10), layout))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("way", WAYS)
def test_planes_read_through_phases_and_blur_have_noise_of_their_own_size(way: str, backend: str) -> None:
    phases, blur = WAYS[way]
    found = {**seeded([3, -8], torch.float32, phases), "blur": blur}
    with use_backend(backend):
        assert_same(results(adain, found), results(adain, drawn(found, *((10, 18) if phases else (6, 10)))))


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_seed_is_one_map_for_all_samples(backend: str) -> None:
    found = seeded([4, 4, 4], torch.float32)
    with use_backend(backend):
        expected = results(adain, found)
        assert_same(results(adain, {**found, "noise_seed": torch.tensor([4])}), expected)
        other = results(adain, {**found, "noise_seed": torch.tensor([4, 5, 4])})
    assert torch.equal(other[0][::2], expected[0][::2])
    assert not torch.equal(other[0][1], expected[0][1])


def test_the_reference_of_its_own_takes_seeds() -> None:
    found = seeded([3, -8], torch.float32)
    with use_backend("reference"):
        assert_same(results(adain_reference, found), results(adain, found))


@pytest.mark.parametrize("backend", BACKENDS)
def test_first_and_second_derivatives(backend: str) -> None:
    x, strength = (torch.randn(size, dtype=torch.float64, requires_grad=True) for size in ((2, 2, 2, 3), (2,)))

    def call(x: Tensor, strength: Tensor) -> Tensor:
        seeds = torch.tensor([6, 7])
        return adain(x, noise_seed=seeds, noise_strength=strength, negative_slope=0.2, eps=1e-2)

    with use_backend(backend):
        assert gradcheck(call, [x, strength])
        assert gradgradcheck(call, [x, strength])


def test_the_map_is_drawn_by_a_kernel_once_forward_and_once_backward(spy: Spy) -> None:
    found = seeded([3, -8], torch.float32)
    with use_backend("cpu"):
        with torch.no_grad():
            without = adain(**found)
        assert spy.ran == ["philox_normal", "adain_forward"]
        spy.ran.clear()
        y = results(adain, found)[0]
    assert spy.ran == ["philox_normal", "adain_forward", "philox_normal", "adain_backward"]
    assert torch.equal(without, y)


@needs_extension
def test_the_map_is_not_kept() -> None:
    kept: list[Tensor] = []
    x = torch.randn(2, 2, 32, 32, requires_grad=True)
    with use_backend("cpu"), torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        adain(x, noise_seed=torch.tensor([1, 2]), noise_strength=torch.ones(2, requires_grad=True))
    # x, the statistics, the strength and the seeds.
    assert sum(t.numel() for t in kept) == x.numel() + 2 * 2 * 2 + 2 + 2


@needs_extension
def test_it_compiles_with_the_seeds_as_an_input() -> None:
    found = seeded([3, -8], torch.float64)
    x, seeds = found.pop("x").requires_grad_(), found.pop("noise_seed")

    def call(x: Tensor, seeds: Tensor) -> Tensor:
        return adain(x, noise_seed=seeds, **found)

    compiled = torch.compile(call, backend="aot_eager", fullgraph=True)
    with use_backend("cpu"):
        for s in (seeds, seeds + 1):
            gradients = [torch.autograd.grad(f(x, s).pow(3).sum(), x)[0] for f in (compiled, call)]
            torch.testing.assert_close(*gradients)


X, SEED, STRENGTH = torch.zeros(2, 3, 4, 5), torch.arange(2), torch.zeros(3)
REFUSED: list[tuple[type[Exception], dict[str, Any], str]] = [
    (TypeError, {"noise_seed": SEED.float()}, "adain: noise_seed must be an int64 tensor, got a torch.float32 tensor"),
    (TypeError, {"noise_seed": 3}, "adain: noise_seed must be an int64 tensor, got 3 (int)"),
    (ValueError, {"noise_seed": torch.arange(3)}, "adain: noise_seed must be [N] = [2] or [1], got shape [3]"),
    (
        ValueError,
        {"noise_seed": SEED.to("meta")},
        "adain: noise_seed must be on cpu, where x is, got device(type='meta')",
    ),
    (ValueError, {"noise": X[:, :1]}, "adain: noise and noise_seed were both given, expected at most one of them"),
    (ValueError, {"noise_strength": None}, "adain: noise_strength must be given together with noise_seed, got None"),
]


@pytest.mark.parametrize(("kind", "wrong", "words"), REFUSED, ids=[words for _, _, words in REFUSED])
def test_wrong_seeds_are_refused(kind: type[Exception], wrong: dict[str, Any], words: str) -> None:
    for op in (adain, adain_reference):
        with pytest.raises(kind, match=re.escape(words)):
            op(**{"x": X, "noise_seed": SEED, "noise_strength": STRENGTH, **wrong})
