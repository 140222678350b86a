"""philox_normal on a CUDA device: the formula in fp64, the words and the numbers of the CPU."""

import pytest
import torch

from stylegan_fast.ops import adain, philox_normal, philox_normal_reference, use_backend
from tests.philox_formula import LARGEST_ERROR, SEEDS, assert_normal_of

from .device import DEVICE, back, there

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("size", [(1, 1), (1, 3), (4, 4), (31, 33), (1, 1025), (512, 511), (1024, 1024)])
def test_every_size_matches_the_formula(size: tuple[int, int]) -> None:
    numbers = back(philox_normal(there(torch.tensor(SEEDS)), *size))
    for mine, seed in zip(numbers, SEEDS, strict=True):
        assert_normal_of(mine.numpy(), seed)


def test_the_reference_on_the_device_and_the_cpu_draw_the_same() -> None:
    seeds = torch.tensor(SEEDS)
    ours = back(philox_normal(there(seeds), 130, 129))
    for theirs in (philox_normal_reference(there(seeds), 130, 129), philox_normal_reference(seeds, 130, 129)):
        torch.testing.assert_close(ours, back(theirs), rtol=2 * LARGEST_ERROR, atol=0)


def test_a_sample_does_not_depend_on_those_drawn_with_it() -> None:
    seeds = there(torch.tensor(SEEDS))
    together = philox_normal(seeds, 65, 33)  # samples that are not aligned
    for seed, mine in zip(seeds, together, strict=True):
        assert torch.equal(philox_normal(seed[None], 65, 33)[0], mine)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_adain_draws_what_its_seeds_stand_for_to_the_bit(layout: torch.memory_format) -> None:
    x = torch.randn(3, 16, 32, 32, device=DEVICE).contiguous(memory_format=layout).requires_grad_()
    strength, seeds = torch.randn(16, device=DEVICE, requires_grad=True), there(torch.tensor([1, -2, 3]))
    found = []
    for noise in ({"noise_seed": seeds}, {"noise": philox_normal(seeds, 32, 32)}):
        y = adain(x, noise_strength=strength, negative_slope=0.2, **noise)
        found.append([y, *torch.autograd.grad(y.pow(3).sum(), (x, strength))])
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(*found, strict=True))
    with use_backend("reference"):
        expected = adain(x, noise_strength=strength, negative_slope=0.2, noise_seed=seeds)
    torch.testing.assert_close(found[0][0], expected, rtol=1e-4, atol=1e-4)
