"""What holds for every call of adain: hypothesis draws shapes, dtypes, strides, options and awkward planes."""

from dataclasses import replace
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from stylegan_fast.ops import adain, adain_reference, use_backend

from .adain_bounds import adain_magnitudes
from .cases import assert_within_bound, error_bound, laid_out, narrower, needs_extension
from .drawn import examples, grid, seeds
from .drawn_adain import Case, assert_as_good_as_the_reference, cases, differentiated, on_cpu

pytestmark = needs_extension
dense = st.sampled_from([("contiguous", ()), ("channels_last", ())])


@given(case=cases())
@examples(150)
def test_y_and_all_gradients_are_as_good_as_the_reference(case: Case) -> None:
    assert_as_good_as_the_reference(case)


@given(case=cases(kind="grid", noise="", bias=False, slopes=(1.0, 1.0)), plus=st.integers(-4, 4))
@examples(30)
def test_a_constant_added_to_a_plane_changes_nothing(case: Case, plus: int) -> None:
    moved = case.arguments()
    # By another constant in every plane, small enough for the sum to be exact.
    moved["x"] = (
        moved["x"] + plus * torch.arange(case.shape[1], dtype=torch.float64).remainder(3).to(case.dtype)[:, None, None]
    )
    narrow = {k: v.to(narrower(case.dtype)) if isinstance(v, Tensor) else v for k, v in moved.items()}
    sizes = adain_magnitudes(moved, torch.zeros(case.shape))
    with use_backend("cpu"):
        y = adain(**moved)
    assert_within_bound(y, adain_reference(**narrow), adain_reference(**case.arguments(torch.float64)), sizes["y"])


def sample_by_sample(found: dict[str, Any], index: Tensor) -> dict[str, Any]:
    """The same call for the samples of index, in that order."""
    shared = ("noise_strength", "bias")
    return {k: v[index] if isinstance(v, Tensor) and k not in shared else v for k, v in found.items()}


@given(
    case=cases(style="NC", noise="N", layout=dense, layout_of_dy=("contiguous", ())),
    order=st.lists(st.integers(0, 2), min_size=1, max_size=4),
)
@examples(40)
def test_what_a_sample_gives_does_not_depend_on_the_others_by_a_bit(case: Case, order: list[int]) -> None:
    case = replace(case, shape=(3, *case.shape[1:]))
    index, dy = torch.tensor(order), case.output_gradient()
    whole = on_cpu(case.arguments(), dy)
    picked = sample_by_sample(case.arguments(), index)
    picked["x"] = laid_out(picked["x"], case.layout[0])
    some = on_cpu(picked, dy[index])
    for name in ("y", "x", "scale", "shift", "noise"):
        assert torch.equal(some[name], whole[name][index]), name


@given(case=cases(layout=dense), seed=seeds)
@examples(30)
def test_permuting_channels_permutes_what_they_give(case: Case, seed: int) -> None:
    order = torch.randperm(case.shape[1], generator=torch.Generator().manual_seed(seed))
    found, dy = case.arguments(), case.output_gradient()
    permuted = {
        k: v if k == "noise" or not isinstance(v, Tensor) else v[order] if v.ndim == 1 else v[:, order]
        for k, v in found.items()
    }
    permuted["x"] = laid_out(permuted["x"], case.layout[0])
    results = on_cpu(permuted, dy[:, order])
    back = order.argsort()
    restored = {k: v if k == "noise" else v[back] if v.ndim == 1 else v[:, back] for k, v in results.items()}
    assert_as_good_as_the_reference(case, restored)


@given(case=cases(layout=("contiguous", ())))
@examples(30)
def test_both_layouts_agree_within_the_bound(case: Case) -> None:
    dy, exact = case.output_gradient(), case.arguments(torch.float64)
    truth, sizes = differentiated(adain_reference, exact, dy), adain_magnitudes(exact, dy)
    reference = differentiated(adain_reference, case.arguments(narrower(case.dtype)), dy)
    one = on_cpu(case.arguments(), dy)
    other = on_cpu(replace(case, layout=("channels_last", ())).arguments(), dy)
    for name, exactly in truth.items():
        if exactly.numel():
            bound = error_bound(one[name].dtype, reference[name], exactly, sizes[name])
            # Each may be a bound away from the truth.
            assert ((one[name].double() - other[name].double()).abs() <= 2 * bound).all(), name


@given(case=cases(dtype=st.sampled_from([torch.float32, torch.bfloat16]), layout=dense), small=st.booleans())
@examples(8)
def test_the_number_of_threads_changes_no_bit_of_drawn_calls(case: Case, small: bool) -> None:
    # Enough work for several threads: below that all run on one.
    case = replace(case, shape=(3, 513, 5, 9) if small else (2, 17, 61, 33))
    found, dy, threads = case.arguments(), case.output_gradient(), torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(on_cpu(found, dy))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        for name, mine in results[0].items():
            assert torch.equal(other[name], mine), name


@given(case=cases(style="NC", slopes=st.sampled_from([(1.0, 1.0), (0.2, 1.0)])), seed=seeds)
@examples(30)
def test_y_is_linear_in_scale_and_shift(case: Case, seed: int) -> None:
    found = case.arguments()
    more = {"scale": grid(case.shape[:2], seed), "shift": grid(case.shape[:2], seed + 1)}
    exact = case.arguments(torch.float64)
    total = {**exact, **{k: exact[k] + more[k] for k in more}}
    sizes = [adain_magnitudes({**exact, **some}, torch.zeros(case.shape))["y"] for some in ({}, more, total)]

    def on_cpu_with(**parameters: Tensor) -> Tensor:
        with use_backend("cpu"):
            return adain(**{**found, **parameters}).double()

    both = on_cpu_with() + on_cpu_with(**more)
    narrow = adain_reference(**{**total, "x": total["x"].to(narrower(case.dtype))})
    truth = adain_reference(**total)
    if truth.numel():
        bound = error_bound(case.dtype, narrow, truth, sum(sizes))
        assert ((on_cpu_with(scale=total["scale"], shift=total["shift"]) - both).abs() <= 3 * bound).all()
    # A power of two is exact in every sum and product, whatever their order; float16 may underflow.
    if case.dtype != torch.float16:
        assert torch.equal(on_cpu_with(scale=2 * exact["scale"], shift=2 * exact["shift"]), 2 * on_cpu_with())


@given(
    case=cases(
        kind=st.sampled_from(["grid", "one_differs", "outlier"]), dtype=st.sampled_from([torch.float32, torch.float64])
    )
)
@examples(20)
def test_gradients_are_linear_in_that_of_y_to_the_bit(case: Case) -> None:
    dy = case.output_gradient()
    once, twice = on_cpu(case.arguments(), dy), on_cpu(case.arguments(), 2 * dy)
    for name in once.keys() - {"y"}:
        assert torch.equal(twice[name], 2 * once[name]), name
