"""What holds for every call of upfirdn2d: hypothesis draws filters, factors, paddings, shapes, dtypes and strides."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from stylegan_fast.ops import upfirdn2d, upfirdn2d_reference, use_backend
from stylegan_fast.ops.arguments import acc_dtype

from .cases import assert_within_bound, laid_out, narrower, needs_extension
from .drawn import dtypes, examples, grid, in_layout, layouts, seeds, shapes, units

pytestmark = needs_extension
pairs = st.lists(st.integers(1, 4), min_size=2, max_size=2)


@dataclass(frozen=True)
class Case:
    shape: tuple[int, int, int, int]
    dtype: torch.dtype
    layout: tuple[str, tuple[int, ...]]
    layout_of_dy: tuple[str, tuple[int, ...]]
    f: Tensor
    options: dict[str, Any]
    seed: int

    def x(self, dtype: torch.dtype | None = None) -> Tensor:
        return in_layout(grid(self.shape, self.seed, dtype or self.dtype), self.layout)


def a_filter(kind: str, height: int, width: int, seed: int) -> Tensor:
    """[fh, fw]: any numbers, an outer product of others, or [taps] for both axes. Zeros among them are frequent."""
    if kind == "separable":
        return 8 * units((width,), seed, torch.float32).round(decimals=1)
    if kind == "product":
        return units((height,), seed, torch.float32).outer(units((width,), seed + 1, torch.float32))
    return units((height, width), seed, torch.float32)


@st.composite
def cases(draw: st.DrawFn, **fixed: Any) -> Case:
    shape, up, down = draw(shapes()), draw(pairs), draw(pairs)
    if draw(st.booleans()):  # half of the calls resample as a StyleGAN does
        up, down = draw(st.sampled_from([([1, 1], [1, 1]), ([2, 2], [1, 1]), ([1, 1], [2, 2]), ([2, 1], [1, 2])]))
    kind = draw(st.sampled_from(["any", "product", "separable"]))
    f = a_filter(kind, draw(st.integers(1, 8)), draw(st.integers(1, 8)), draw(seeds))
    sides = st.one_of(st.integers(-1, 2), st.integers(-3, 8))  # small outputs are the awkward ones
    padding = draw(st.lists(sides, min_size=4, max_size=4))
    # The padded image has to hold the filter.
    for axis, size, taps, factor in ((0, shape[3], f.shape[-1], up[0]), (1, shape[2], f.shape[0], up[1])):
        padding[2 * axis + 1] += max(0, taps - size * factor - sum(padding[2 * axis : 2 * axis + 2]))
    options = {
        "up": up,
        "down": down,
        "padding": padding,
        "flip_filter": draw(st.booleans()),
        "gain": draw(st.sampled_from([1, 4, 0.3, -1.5])),
    }
    return Case(
        shape=shape,
        dtype=fixed.get("dtype") or draw(dtypes),
        layout=draw(layouts),
        layout_of_dy=draw(layouts),
        f=f,
        options=options,
        seed=draw(seeds),
    )


def on_cpu(x: Tensor, f: Tensor, **options: Any) -> Tensor:
    with use_backend("cpu"):
        return upfirdn2d(x, f, **options)


def size_of_sums(x: Tensor, f: Tensor, options: dict[str, Any]) -> Tensor:
    """What the roundings of an output go with: the sum of the sizes of its terms, however much of them cancels."""
    return upfirdn2d_reference(x.double().abs(), f.double().abs(), **{**options, "gain": abs(options["gain"])})


def apart(dtype: torch.dtype, f: Tensor, size: Tensor) -> Tensor:
    """How far two right results may be from each other: a rounding for every tap, and two of the result's dtype."""
    ulps = 2 * (f.numel() + 2) * torch.finfo(acc_dtype(dtype)).eps + 4 * torch.finfo(dtype).eps
    return ulps * size + 4 * torch.finfo(dtype).smallest_normal


def with_gradient(call: Any, x: Tensor, case: Case) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    y = call(x, case.f, **case.options)
    dy = in_layout(units(tuple(y.shape), case.seed + 1), case.layout_of_dy)
    return y.detach(), torch.autograd.grad(y, x, dy.to(y.dtype))[0]


@given(case=cases())
@examples(300)
def test_y_and_its_gradient_are_as_good_as_the_reference(case: Case) -> None:
    exact = case.x(torch.float64)
    truth = with_gradient(upfirdn2d_reference, exact, case)
    reference = with_gradient(upfirdn2d_reference, case.x(narrower(case.dtype)), case)
    ours = with_gradient(on_cpu, case.x(), case)

    def absolute(x: Tensor, f: Tensor, **options: Any) -> Tensor:
        return upfirdn2d_reference(x, f.abs(), **{**options, "gain": abs(options["gain"])})

    x = exact.abs().requires_grad_()
    sums = absolute(x, case.f, **case.options)
    dy = in_layout(units(tuple(sums.shape), case.seed + 1), case.layout_of_dy)
    sizes = (sums.detach(), torch.autograd.grad(sums, x, dy.abs())[0])
    for mine, theirs, exactly, size in zip(ours, reference, truth, sizes, strict=True):
        assert_within_bound(mine, theirs, exactly, size)


@given(case=cases(), a=st.sampled_from([1.0, -2.0, 0.75]), b=st.sampled_from([1.0, 0.5, -3.0]))
@examples(40)
def test_upfirdn2d_is_linear_in_x_and_in_f(case: Case, a: float, b: float) -> None:
    x, f, other_x, other_f = case.x(), case.f, grid(case.shape, case.seed + 2), units(tuple(case.f.shape), case.seed)
    sums = a * x.double() + b * other_x
    ways = [(sums, f, [(a, x.double(), f), (b, other_x, f)])]
    if f.ndim == 2:  # quadratic in the taps of a separable one
        ways.append((x.double(), a * f.double() + b * other_f, [(a, x.double(), f), (b, x.double(), other_f)]))
    for whole_x, whole_f, parts in ways:
        y = on_cpu(whole_x, whole_f, **case.options)
        expected = sum(factor * on_cpu(part_x, part_f, **case.options) for factor, part_x, part_f in parts)
        size = sum(abs(factor) * size_of_sums(part_x, part_f, case.options) for factor, part_x, part_f in parts)
        assert ((y - expected).abs() <= apart(y.dtype, f, size)).all()


@given(case=cases(dtype=torch.float64))
@examples(60)
def test_the_gradient_is_the_adjoint(case: Case) -> None:
    """<A x, y> = <x, A^T y>."""
    x = case.x()
    ax, aty = with_gradient(on_cpu, x, case)
    y = in_layout(units(tuple(ax.shape), case.seed + 1), case.layout_of_dy)
    size = (size_of_sums(x, case.f, case.options) * y.abs()).sum()
    assert ((ax * y).sum() - (x * aty).sum()).abs() <= apart(x.dtype, case.f, size)


@given(case=cases(), right=st.integers(0, 3), below=st.integers(0, 3))
@examples(40)
def test_moving_the_image_is_padding_it_and_moving_the_output_is_cropping_it(
    case: Case, right: int, below: int
) -> None:
    (up_x, up_y), (down_x, down_y), (x0, x1, y0, y1) = (case.options[k] for k in ("up", "down", "padding"))
    x, f = case.x(), case.f

    def padded(left: int, top: int) -> Tensor:
        return on_cpu(x, f, **{**case.options, "padding": [x0 + left, x1, y0 + top, y1]})

    moved = on_cpu(F.pad(x, [right, 0, below, 0]), f, **case.options)
    size = size_of_sums(F.pad(x, [right, 0, below, 0]), f, case.options)
    bound = apart(case.dtype, f, size)
    assert ((padded(right * up_x, below * up_y).double() - moved.double()).abs() <= bound).all()
    # The outputs of an image padded by whole steps of down begin that many outputs earlier.
    earlier = padded(right * down_x, below * down_y)
    once = on_cpu(x, f, **case.options)
    assert earlier.shape[2:] == (once.shape[2] + below, once.shape[3] + right)
    size = size_of_sums(x, f, case.options)
    bound = apart(case.dtype, f, size)
    assert ((earlier[:, :, below:, right:].double() - once.double()).abs() <= bound).all()


@given(case=cases())
@examples(30)
def test_flipping_the_filter_and_scaling_it_are_options(case: Case) -> None:
    x, f, axes = case.x(), case.f, list(range(case.f.ndim))
    y = on_cpu(x, f, **case.options)
    flipped = {**case.options, "flip_filter": not case.options["flip_filter"]}
    size = size_of_sums(x, f, case.options)
    bound = apart(case.dtype, f, size)
    assert ((on_cpu(x, f.flip(axes), **flipped).double() - y.double()).abs() <= bound).all()
    if f.ndim == 2:
        scaled = on_cpu(x, f.double() * case.options["gain"], **{**case.options, "gain": 1})
        assert ((scaled.double() - y.double()).abs() <= bound).all()


@given(case=cases(), order=st.lists(st.integers(0, 2), min_size=1, max_size=4))
@examples(30)
def test_a_sample_gives_the_same_among_others(case: Case, order: list[int]) -> None:
    x, index = grid((3, *case.shape[1:]), case.seed, case.dtype), torch.tensor(order)
    layout = "channels_last" if case.layout[0] == "channels_last" else "contiguous"
    whole = on_cpu(laid_out(x, layout), case.f, **case.options)
    some = on_cpu(laid_out(x[index], layout), case.f, **case.options)
    bound = apart(case.dtype, case.f, size_of_sums(x[index], case.f, case.options))
    assert ((some.double() - whole[index].double()).abs() <= bound).all()


@given(case=cases())
@examples(8)
def test_the_number_of_threads_changes_no_bit(case: Case) -> None:
    x, threads, results = grid((2, 17, 61, 33), case.seed, case.dtype), torch.get_num_threads(), []
    padding = [max(p, 0) for p in case.options["padding"]]
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(
                [
                    on_cpu(y, case.f, **{**case.options, "padding": padding})
                    for y in (x, x.to(memory_format=torch.channels_last))
                ]
            )
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(map(torch.equal, other, results[0]))
