"""What holds for every call of bias_act: hypothesis draws activations, numbers, shapes, dimensions, dtypes, strides."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from stylegan_fast.ops import bias_act, bias_act_reference, use_backend
from stylegan_fast.ops.bias_act import ACTIVATIONS

from .cases import assert_within_bound, narrower, needs_extension
from .drawn import dtypes, examples, grid, in_layout, layouts, seeds, shapes, units

pytestmark = needs_extension
every_activation = pytest.mark.parametrize("act", ACTIVATIONS)
gains = st.sampled_from([None, 0.25, 1.0, 3.0, -1.5, 0.0])
clamps = st.sampled_from([None, None, 2.5, 0.3, 0.0])
alphas = st.sampled_from([None, 0.01, 0.5, 1.0, 1.5])


@dataclass(frozen=True)
class Case:
    shape: tuple[int, ...]
    dim: int
    biased: bool
    dtype: torch.dtype
    bias_dtype: torch.dtype | None  # None: that of x
    layout: tuple[str, tuple[int, ...]]
    layout_of_dy: tuple[str, tuple[int, ...]]
    options: dict[str, float | None]
    seed: int

    def tensors(self, dtype: torch.dtype, bias_dtype: torch.dtype) -> list[Tensor]:
        """x and b; the values are the same in all dtypes."""
        x = grid(self.shape, self.seed, dtype)
        x = in_layout(x, self.layout) if x.ndim == 4 else x
        return [x, grid((self.shape[self.dim],), self.seed + 1, bias_dtype)] if self.biased else [x]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    ndim = draw(st.sampled_from([4, 4, 1, 2, 3, 5]))
    shape = draw(shapes()) if ndim == 4 else tuple(draw(st.lists(st.integers(0, 7), min_size=ndim, max_size=ndim)))
    if ndim == 2 and draw(st.booleans()):
        shape = (shape[0], 2100)  # more than a block of the kernels
    return Case(
        shape=shape,
        dim=draw(st.integers(-ndim, ndim - 1)),
        biased=draw(st.booleans()),
        dtype=draw(dtypes),
        bias_dtype=draw(st.sampled_from([None, torch.float32])),
        layout=draw(layouts),
        layout_of_dy=draw(layouts),
        options={"alpha": draw(alphas), "gain": draw(gains), "clamp": draw(clamps)},
        seed=draw(seeds),
    )


def differentiated(call: Any, act: str, case: Case, tensors: list[Tensor], dy: Tensor) -> list[Tensor]:
    leaves = [v.detach().requires_grad_() for v in tensors]
    y = call(*leaves, dim=case.dim, act=act, **case.options)
    return [y.detach(), *torch.autograd.grad(y, leaves, dy.to(y.dtype))]


def away_from_the_clamp(y: Tensor, clamp: float, dtype: torch.dtype) -> Tensor:
    """Where no rounding of y decides whether it is clamped, and its gradient 0."""
    return (y.abs() - clamp).abs() > 4 * torch.finfo(dtype).eps * clamp


@every_activation
@given(case=cases())
@examples(30)
def test_y_and_all_gradients_are_as_good_as_the_reference(act: str, case: Case) -> None:
    dtype, narrow = case.dtype, narrower(case.dtype)
    bias_dtype = case.bias_dtype or dtype
    exact = case.tensors(torch.float64, torch.float64)
    y = bias_act_reference(*exact, dim=case.dim, act=act, **{**case.options, "clamp": None})
    dy = units(case.shape, case.seed + 2)
    dy = in_layout(dy, case.layout_of_dy) if dy.ndim == 4 else dy
    if case.options["clamp"] is not None:
        dy = dy * away_from_the_clamp(y, case.options["clamp"], dtype)
    truth = differentiated(bias_act_reference, act, case, exact, dy)
    reference = differentiated(bias_act_reference, act, case, case.tensors(narrow, narrower(bias_dtype)), dy)
    with use_backend("cpu"):
        ours = differentiated(bias_act, act, case, case.tensors(dtype, bias_dtype), dy)
    gain = ACTIVATIONS[act].gain if case.options["gain"] is None else abs(case.options["gain"])
    # The slope comes from y, rounded to an ulp of 1 and of at most twice that in selu.
    size = 2 * gain * dy.abs()
    sizes = [truth[0].abs(), size]
    if case.biased:
        # Its terms are rounded to the dtype of x, the sum to that of b.
        others = [i for i in range(size.ndim) if i != case.dim % size.ndim]
        in_ulps_of_b = torch.finfo(dtype).eps / min(torch.finfo(dtype).eps, torch.finfo(bias_dtype).eps)
        sizes.append((size.sum(others) if others else size) * in_ulps_of_b)
    for mine, theirs, exactly, magnitude in zip(ours, reference, truth, sizes, strict=True):
        assert_within_bound(mine, theirs, exactly, magnitude)


@every_activation
@given(case=cases())
@examples(6)
def test_derivatives_away_from_the_corners_are_those_of_finite_differences(act: str, case: Case) -> None:
    shape = tuple(min(size, 3) for size in case.shape[:3])
    dim = case.dim % len(shape)
    # Odd multiples of 1/64, the sum with a bias too: never 0.
    tensors = [grid(shape, case.seed) / 2 + 1 / 64, *([grid((shape[dim],), case.seed + 1) / 2] if case.biased else [])]
    clamp = case.options["clamp"]
    if clamp is not None:
        y = bias_act_reference(*tensors, dim=dim, act=act, **{**case.options, "clamp": None})
        if y.numel() and (y.abs() - clamp).abs().min() < 1e-3:
            clamp = None
    options = {**case.options, "clamp": clamp, "dim": dim, "act": act}
    with use_backend("cpu"):
        tensors = [v.requires_grad_() for v in tensors]
        assert gradcheck(lambda *v: bias_act(*v, **options), tensors)
        assert gradgradcheck(lambda *v: bias_act(*v, **options), tensors)


@every_activation
@given(case=cases(), threads=st.integers(2, 3))
@examples(4)
def test_the_number_of_threads_changes_no_bit(act: str, case: Case, threads: int) -> None:
    x, b, before = grid((3, 17, 61, 33), case.seed, case.dtype), grid((17,), case.seed + 1), torch.get_num_threads()
    x = in_layout(x, case.layout).requires_grad_()
    found = []
    try:
        for count in (1, threads):
            torch.set_num_threads(count)
            with use_backend("cpu"):
                y = bias_act(x, b, act=act, **case.options)
                found.append((y.detach(), *torch.autograd.grad(y, x, x.detach())))
    finally:
        torch.set_num_threads(before)
    assert all(map(torch.equal, *found))
