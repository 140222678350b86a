"""philox_normal: the published words, the formula in fp64, and numbers that depend on seed and pixel alone."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from stylegan_fast.ops import library, philox_normal, philox_normal_reference, use_backend
from stylegan_fast.ops.philox import philox4x32
from tests.philox_formula import KNOWN, LARGEST_ERROR, SEEDS, assert_normal_of, words_of

from .cases import CAPABILITIES, Spy, capability, needs_extension

BACKENDS = ["reference", pytest.param("cpu", marks=needs_extension)]


def assert_close_to_the_formula(y: Tensor, seeds: list[int]) -> None:
    for numbers, seed in zip(y, seeds, strict=True):
        assert_normal_of(numbers.numpy(), seed)


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_the_published_answers(counter: list[int], key: list[int], expected: list[int]) -> None:
    words = philox4x32(tuple(map(torch.tensor, counter)), tuple(map(torch.tensor, key)))
    assert [int(word) for word in words] == expected
    # And so are the words that all tests of philox_normal go by.
    assert words_of(np.array([counter]), (key[0], key[1]))[0].tolist() == expected


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [(1, 1), (1, 3), (2, 2), (5, 1), (4, 4), (31, 33), (32, 32), (1, 1025), (130, 127)])
def test_every_size_matches_the_formula(size: tuple[int, int], backend: str) -> None:
    with use_backend(backend):
        y = philox_normal(torch.tensor(SEEDS), *size)
    assert y.shape == (len(SEEDS), 1, *size)
    assert y.dtype == torch.float32
    assert y.is_contiguous()
    assert_close_to_the_formula(y, SEEDS)


@needs_extension
@pytest.mark.parametrize("isa", CAPABILITIES)
def test_every_instruction_set_matches_the_formula(isa: str) -> None:
    with capability(isa), use_backend("cpu"):
        assert_close_to_the_formula(philox_normal(torch.tensor(SEEDS[:3]), 257, 300), SEEDS[:3])


@pytest.mark.slow
@needs_extension
@pytest.mark.parametrize("isa", CAPABILITIES)
def test_millions_of_numbers_match_the_formula(isa: str) -> None:
    with capability(isa), use_backend("cpu"):
        assert_close_to_the_formula(philox_normal(torch.tensor([77]), 4096, 4096), [77])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_sample_does_not_depend_on_those_drawn_with_it(backend: str) -> None:
    seeds = torch.tensor([*SEEDS, 1])
    with use_backend(backend):
        together = philox_normal(seeds, 65, 33)
        assert torch.equal(together[1], together[-1])
        for seed, mine in zip(seeds, together, strict=True):
            assert torch.equal(philox_normal(seed[None], 65, 33)[0], mine)
        # Nor on the shape, nor on how many follow.
        assert torch.equal(philox_normal(seeds, 33, 65).flatten(), together.flatten())
        assert torch.equal(philox_normal(seeds, 1, 70).flatten(1), together.flatten(1)[:, :70])


@needs_extension
@pytest.mark.parametrize("isa", CAPABILITIES)
def test_nothing_beside_the_numbers_is_written(isa: str) -> None:
    seeds = torch.tensor(SEEDS)
    for size in range(1, 70):
        room = torch.full([1 + len(SEEDS) * size + 1], 9.0)
        with capability(isa):
            library.native().cpu.philox_normal(len(SEEDS), size, seeds.data_ptr(), room.data_ptr() + 4, 1)
        assert room[0] == room[-1] == 9.0
        assert room[1:-1].abs().max() < 9.0


@needs_extension
def test_threads_change_nothing() -> None:
    seeds, before = torch.arange(3), torch.get_num_threads()
    try:
        with use_backend("cpu"):
            torch.set_num_threads(1)
            expected = philox_normal(seeds, 300, 300)
            torch.set_num_threads(4)
            assert torch.equal(philox_normal(seeds, 300, 300), expected)
    finally:
        torch.set_num_threads(before)


def test_the_backends_agree_but_for_rounding(spy: Spy) -> None:
    seeds = torch.tensor(SEEDS)
    with use_backend("cpu"):
        ours = philox_normal(seeds, 100, 101)
    assert spy.ran == ["philox_normal"]
    reference = philox_normal_reference(seeds, 100, 101)
    assert spy.ran == ["philox_normal"]
    torch.testing.assert_close(ours, reference, rtol=2 * LARGEST_ERROR, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_seeds_may_lie_anyhow(backend: str) -> None:
    seeds = torch.arange(12).reshape(3, 4)
    with use_backend(backend):
        assert torch.equal(philox_normal(seeds[:, 1], 5, 5), philox_normal(torch.tensor([1, 5, 9]), 5, 5))
        assert torch.equal(philox_normal(seeds[0, :1].expand(3), 5, 5)[2], philox_normal(seeds[0, :1], 5, 5)[0])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("n", "h", "w"), [(0, 4, 4), (2, 0, 4), (2, 4, 0)])
def test_nothing_is_drawn_for_nothing(n: int, h: int, w: int, backend: str) -> None:
    with use_backend(backend):
        assert philox_normal(torch.zeros(n, dtype=torch.int64), h, w).shape == (n, 1, h, w)


# Deviations are in units of what chance gives; a fixed seed decides whether they are below 4, once and for all.
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_numbers_are_normal(backend: str) -> None:
    with use_backend(backend):
        y = philox_normal(torch.arange(4), 512, 512).double()
    count = y.numel()
    assert abs(y.mean()) < 4 * (1 / count) ** 0.5
    assert abs(y.square().mean() - 1) < 4 * (2 / count) ** 0.5
    assert abs(y.pow(3).mean()) < 4 * (15 / count) ** 0.5
    assert abs(y.pow(4).mean() - 3) < 4 * (96 / count) ** 0.5
    for limit in (0.1, 1.0, 2.0, 3.0):
        expected = math.erfc(limit / 2**0.5)
        beyond = (y.abs() > limit).double().mean()
        assert abs(beyond - expected) < 4 * (expected * (1 - expected) / count) ** 0.5
    assert y.abs().max() <= (48 * math.log(2)) ** 0.5


@pytest.mark.parametrize("backend", BACKENDS)
def test_neighbours_and_samples_are_not_correlated(backend: str) -> None:
    with use_backend(backend):
        # Seeds that differ in one bit, low or high.
        y = philox_normal(torch.tensor([0, 1, 2, 2**32, 2**62]), 256, 256).double().flatten(1)
    pairs = [(y[i], y[j]) for i in range(5) for j in range(i)]
    for lag in (1, 2, 3, 4, 5, 255, 256, 257):
        pairs += [(sample[lag:], sample[:-lag]) for sample in y]
    # The numbers of a pair share their radius, so their squares are looked at too; the variance of x^2 is 2.
    for a, b in pairs:
        assert abs((a * b).mean()) < 4.5 * (1 / a.numel()) ** 0.5
        assert abs(((a.square() - 1) * (b.square() - 1)).mean()) < 4.5 * 2 * (1 / a.numel()) ** 0.5


@needs_extension
def test_fake_and_meta_tensors_have_the_shape_of_real_ones() -> None:
    seeds = torch.arange(3)
    for backend in ("auto", "cpu"):
        with use_backend(backend):
            meta = philox_normal(seeds.to("meta"), 4, 6)
            with FakeTensorMode() as mode:
                fake = philox_normal(mode.from_tensor(seeds), 4, 6)
        for y in (meta, fake):
            assert (y.shape, y.dtype, y.stride()) == ((3, 1, 4, 6), torch.float32, (24, 24, 6, 1))


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_compiles_and_has_no_gradient(backend: str) -> None:
    def network(x: Tensor, seed: Tensor) -> Tensor:
        return x * philox_normal(seed, *x.shape[2:])

    x, seed = torch.randn(2, 3, 6, 5, requires_grad=True), torch.tensor([8, -9])
    with use_backend(backend):
        assert not philox_normal(seed, 4, 4).requires_grad
        y = torch.compile(network, backend="aot_eager", fullgraph=True)(x, seed)
        torch.testing.assert_close(y, network(x, seed))
        (dx,) = torch.autograd.grad(y.sum(), x)
        torch.testing.assert_close(dx, philox_normal(seed, 6, 5).expand_as(dx))


REFUSED: list[tuple[type[Exception], tuple[Any, ...], str]] = [
    (TypeError, (torch.zeros(2), 4, 4), "philox_normal: seed must be an int64 tensor, got a torch.float32 tensor"),
    (
        TypeError,
        (torch.zeros(2, dtype=torch.int32), 4, 4),
        "philox_normal: seed must be an int64 tensor, got a torch.int",
    ),
    (TypeError, (7, 4, 4), "philox_normal: seed must be an int64 tensor, got 7 (int)"),
    (ValueError, (torch.tensor(7), 4, 4), "philox_normal: seed must be [N], got shape []"),
    (ValueError, (torch.arange(2), -1, 4), "philox_normal: height must be at least 0, got -1"),
    (ValueError, (torch.arange(2), 4, -2), "philox_normal: width must be at least 0, got -2"),
]


@pytest.mark.parametrize(("kind", "arguments", "words"), REFUSED, ids=[words for _, _, words in REFUSED])
def test_wrong_arguments_are_refused(kind: type[Exception], arguments: tuple[Any, ...], words: str) -> None:
    for op in (philox_normal, philox_normal_reference):
        with pytest.raises(kind, match=re.escape(words)):
            op(*arguments)


@needs_extension
def test_the_native_entry_point_refuses_what_no_kernel_could_accept() -> None:
    cpu = library.native().cpu
    with pytest.raises(ValueError, match="philox_normal: a size is negative, for 1 samples of -4 numbers"):
        cpu.philox_normal(1, -4, 8, 8, 1)
    with pytest.raises(ValueError, match="philox_normal: seeds is null"):
        cpu.philox_normal(1, 4, 0, 8, 1)
    with pytest.raises(ValueError, match="philox_normal: y is null"):
        cpu.philox_normal(1, 4, 8, 0, 1)


@needs_extension
def test_a_named_backend_on_another_device_is_refused() -> None:
    with use_backend("cuda"), pytest.raises(RuntimeError, match="philox_normal: the backend 'cuda' was asked for, but"):
        philox_normal(torch.arange(2), 4, 4)
