"""upfirdn2d on planes and at sizes that are awkward: forward and gradient against the reference."""

import pytest
import torch
from torch import Tensor

from stylegan_fast.ops import setup_filter, upfirdn2d, upfirdn2d_reference, use_backend

from .cases import DTYPES, assert_within_bound, laid_out, narrower, needs_extension
from .drawn import KINDS, planes, units

pytestmark = [needs_extension, pytest.mark.parametrize("layout", ["contiguous", "channels_last"])]
CALLS = {
    "blur": ([1, 2, 1], {"padding": 1}),
    "up": ([1, 3, 3, 1], {"up": 2, "padding": [2, 1, 2, 1], "gain": 4}),
    "down": ([1, 3, 3, 1], {"down": 2, "padding": 1}),
    "odd": ([[1.0, -2.0], [3.0, 4.0], [5.0, -6.0]], {"up": [3, 2], "down": [2, 3], "padding": [4, -1, 2, 5]}),
    "two_passes": ([1.0, 2, 3, 4, 5, 6, 7, 8, 9], {"up": 2, "padding": [5, 4, 5, 4]}),
}


def with_gradient(call, x: Tensor, name: str, dy_of=units) -> tuple[Tensor, Tensor]:
    taps, options = CALLS[name]
    x = x.detach().requires_grad_()
    y = call(x, setup_filter(taps), **options)
    return y.detach(), torch.autograd.grad(y, x, dy_of(tuple(y.shape), 1).to(y.dtype))[0]


def on_cpu(x: Tensor, name: str, dy_of=units) -> tuple[Tensor, Tensor]:
    with use_backend("cpu"):
        return with_gradient(upfirdn2d, x, name, dy_of)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CALLS)
def test_extreme_planes_are_as_good_as_the_reference(name: str, kind: str, layout: str) -> None:
    for dtype in DTYPES:
        x = planes(kind, (2, 19, 13, 11), dtype, 3)
        truth = with_gradient(upfirdn2d_reference, x, name)
        reference = with_gradient(upfirdn2d_reference, x.to(narrower(dtype)), name)
        for ours, theirs, exact in zip(on_cpu(laid_out(x.to(dtype), layout), name), reference, truth, strict=True):
            assert_within_bound(ours, theirs, exact)


@pytest.mark.parametrize("shape", [(1, 3, 127, 129), (1, 513, 5, 6), (3, 1, 3, 3), (0, 3, 4, 4)], ids=str)
@pytest.mark.parametrize("name", CALLS)
def test_awkward_sizes_are_as_good_as_the_reference(name: str, shape: tuple[int, ...], layout: str) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        x = planes("grid", shape, dtype, 5)
        truth = with_gradient(upfirdn2d_reference, x, name)
        reference = with_gradient(upfirdn2d_reference, x.to(dtype), name)
        for ours, theirs, exact in zip(on_cpu(laid_out(x.to(dtype), layout), name), reference, truth, strict=True):
            assert_within_bound(ours, theirs, exact)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", CALLS)
def test_nan_and_infinity_stay_in_their_plane_forward_and_backward(name: str, poison: float, layout: str) -> None:
    x = planes("grid", (2, 18, 8, 7), torch.float32, 7).float()
    poisoned_x = x.clone()
    poisoned_x[1, 7, 2:5, 2:5] = poison  # some of them meet taps in every call

    def poisoned_units(shape: tuple[int, ...], seed: int) -> Tensor:
        dy = units(shape, seed)
        dy[1, 7, 1:3, 1:3] = poison
        return dy

    clean, poisoned = on_cpu(laid_out(x, layout), name), on_cpu(laid_out(poisoned_x, layout), name, poisoned_units)
    reference = with_gradient(upfirdn2d_reference, poisoned_x, name, poisoned_units)
    for before, after, theirs in zip(clean, poisoned, reference, strict=True):
        # No tap is 0, so that it reaches the very pixels it reaches in the reference.
        assert torch.equal(after.isfinite(), theirs.isfinite())
        assert not after[1, 7].isfinite().all()
        after[1, 7] = before[1, 7]
        assert torch.equal(after, before)
