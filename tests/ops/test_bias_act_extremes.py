"""bias_act at awkward values and sizes: forward and gradients against the reference."""

import pytest
import torch
from torch import Tensor

from stylegan_fast.ops import bias_act, bias_act_reference, use_backend
from stylegan_fast.ops.bias_act import ACTIVATIONS

from .cases import DTYPES, assert_within_bound, laid_out, narrower, needs_extension
from .drawn import KINDS, grid, planes, units

pytestmark = [needs_extension, pytest.mark.parametrize("act", ACTIVATIONS)]


def with_gradients(call, x: Tensor, b: Tensor, dy: Tensor, act: str) -> list[Tensor]:
    x, b = x.detach().requires_grad_(), b.detach().requires_grad_()
    y = call(x, b, act=act)
    return [y.detach(), *torch.autograd.grad(y, (x, b), dy.to(y.dtype))]


@pytest.mark.parametrize("kind", [*KINDS, "saturated"])
@pytest.mark.parametrize("shape", [(2, 513, 3, 3), (1, 5, 127, 129), (3, 1, 1, 1), (0, 3, 4, 4)], ids=str)
def test_extreme_values_and_sizes_are_as_good_as_the_reference(shape: tuple[int, ...], kind: str, act: str) -> None:
    for dtype in (torch.float32, torch.bfloat16) if shape[2] > 3 else DTYPES:
        x = 16 * planes("grid", shape, dtype, 1) if kind == "saturated" else planes(kind, shape, dtype, 1)
        b = 0 * grid((shape[1],), 2) if kind == "subnormal" else grid((shape[1],), 2)
        # Where y underflows to 0, nothing tells on which side of the corner x was.
        left = bias_act_reference(x, b, act=act).to(dtype) != 0
        dy = units(shape, 3) * left
        truth = with_gradients(bias_act_reference, x, b, dy, act)
        narrow = narrower(dtype)
        reference = with_gradients(bias_act_reference, x.to(narrow), b.to(narrow), dy, act)
        # The slope comes from y, rounded to an ulp of 1 and of at most twice that in selu.
        size = 2 * ACTIVATIONS[act].gain * dy.abs()
        sizes = [truth[0].abs(), size, size.sum((0, 2, 3))]
        for layout in ("contiguous", "channels_last"):
            with use_backend("cpu"):
                ours = with_gradients(bias_act, laid_out(x.to(dtype), layout), b.to(dtype), dy, act)
            for mine, theirs, exact, magnitude in zip(ours, reference, truth, sizes, strict=True):
                assert_within_bound(mine, theirs, exact, magnitude)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_reach_no_gradient_of_another_element(poison: float, act: str) -> None:
    x, b, dy = grid((2, 18, 9, 9), 1, torch.float32), grid((18,), 2, torch.float32), units((2, 18, 9, 9), 3)
    with use_backend("cpu"):
        clean = with_gradients(bias_act, x, b, dy, act)
        x[1, 7, 3, 4] = poison
        y, dx, db = with_gradients(bias_act, x, b, dy, act)
        dy[0, 7, 2, 1] = poison
        *_, dx_of_dy, _ = with_gradients(bias_act, x, b, dy, act)
    for found in (y, dx):
        found[1, 7, 3, 4] = clean[0 if found is y else 1][1, 7, 3, 4]
    dx_of_dy[1, 7, 3, 4], dx_of_dy[0, 7, 2, 1] = dx[1, 7, 3, 4], dx[0, 7, 2, 1]
    db[7] = clean[2][7]
    for before, after in zip([*clean, clean[1]], [y, dx, db, dx_of_dy], strict=True):
        assert torch.equal(after, before)
