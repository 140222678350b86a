"""The CPU kernels of adain on either side of every size at which they change their way."""

import pytest
import torch

from stylegan_fast.ops import adain, use_backend

from .cases import CAPABILITIES, capability, needs_extension
from .test_adain import assert_as_good_as_the_reference

pytestmark = needs_extension

BORDERS = {
    "planes side by side in a register": [(1, 33, 3, 5), (1, 33, 4, 4), (2, 5, 1, 17)],
    "groups of planes, the last not full": [(1, 17, 16, 16), (3, 7, 9, 9), (1, 7, 24, 25)],
    "a plane of one block and of two": [(1, 3, 32, 32), (1, 3, 25, 41), (1, 2, 1, 2048), (1, 2, 3, 683)],
    "as many values as stay in the cache, and one more": [(1, 2, 128, 128), (1, 2, 5, 3277)],
    "one slab and two": [(1, 1, 128, 256), (1, 1, 9, 3641)],
}


@pytest.mark.parametrize("isa", CAPABILITIES)
@pytest.mark.parametrize("border", BORDERS)
def test_kernels_are_as_good_as_the_reference_on_both_sides_of(border: str, isa: str) -> None:
    with capability(isa):
        for shape in BORDERS[border]:
            # The sums over all dt of a plane this large are mostly the rounding of one number per plane, times the
            # pixels, in the reference as in the kernels: which of the two is further off is chance.
            option = "epilogue" if shape[2] * shape[3] < 30000 else "style"
            for dtype in (torch.float32, torch.float64):
                assert_as_good_as_the_reference(option, shape, dtype, "contiguous")
            assert_as_good_as_the_reference("all", shape, torch.bfloat16, "contiguous")


def test_a_plane_of_the_most_slabs_is_as_good_as_the_reference() -> None:
    assert_as_good_as_the_reference("style", (1, 1, 1025, 2049), torch.float32, "contiguous")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("size", [(64, 64), (63, 65), (130, 130)], ids=str)
def test_results_written_past_the_cache_are_those_written_into_it(size: tuple[int, int], dtype: torch.dtype) -> None:
    h, w = size
    planes = (32 << 20) // (dtype.itemsize * h * w) + 1
    generator = torch.Generator().manual_seed(0)
    few = torch.randn(1, 3, h, w, generator=generator).to(dtype)
    x = few.repeat(1, planes // 3 + 1, 1, 1).requires_grad_()
    dy = few.flip(1).repeat(1, planes // 3 + 1, 1, 1)
    with use_backend("cpu"):
        y = adain(x, negative_slope=0.2)
        (dx,) = torch.autograd.grad(y, x, dy)
        few = few.requires_grad_()
        expected = adain(few, negative_slope=0.2)
        (expected_dx,) = torch.autograd.grad(expected, few, dy[:, :3])
    for found, want in ((y.detach(), expected.detach()), (dx, expected_dx)):
        assert torch.equal(found.unflatten(1, (-1, 3)), want[:, None].expand(-1, x.shape[1] // 3, -1, -1, -1))


@pytest.mark.parametrize("shape", [(1, 1, 210, 320), (1, 2, 130, 520), (2, 3, 400, 200), (1, 40, 8, 8)], ids=str)
def test_threads_that_share_a_plane_change_no_bit(shape: tuple[int, ...]) -> None:
    x, dy, threads, found = torch.randn(shape, requires_grad=True), torch.randn(shape), torch.get_num_threads(), []
    bias = torch.linspace(-1, 1, shape[1], requires_grad=True)
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            with use_backend("cpu"):
                y = adain(x, bias=bias, negative_slope=0.2)
            found.append((y.detach(), *torch.autograd.grad(y, (x, bias), dy)))
    finally:
        torch.set_num_threads(threads)
    for results in found[1:]:
        for one, other in zip(found[0], results, strict=True):
            assert torch.equal(one, other)
