"""upfirdn2d: the reference against a loop in numpy, the CPU kernels against fp64, derivatives, the padding formulas."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from stylegan_fast.ops import (
    downsample2d,
    filter2d,
    setup_filter,
    upfirdn2d,
    upfirdn2d_reference,
    upsample2d,
    use_backend,
)

from .cases import (
    CAPABILITIES,
    DTYPES,
    LAYOUTS,
    Spy,
    assert_within_bound,
    capability,
    laid_out,
    narrower,
    needs_extension,
)

BACKENDS = ["reference", pytest.param("cpu", marks=needs_extension)]
LOP_SIDED = [[1.0, 2.0], [3.0, 4.0], [5.0, -6.0]]  # no symmetry that could hide a flip
CALLS = {
    "blur": ([1, 2, 1], {"padding": 1}),
    "nearest": ([1, 1], {"up": 2, "padding": [1, 0, 1, 0], "gain": 4}),
    "up": ([1, 3, 3, 1], {"up": 2, "padding": [2, 1, 2, 1], "gain": 4}),
    "down": ([1, 3, 3, 1], {"down": 2, "padding": 1, "flip_filter": True}),
    "box": ([1, 1], {"down": 2}),
    "lop_sided": (LOP_SIDED, {"up": [2, 3], "down": [3, 1], "padding": [4, -1, 2, 5]}),
    "up_and_down": (LOP_SIDED, {"up": [4, 6], "down": [6, 4], "padding": 2, "gain": 0.5, "flip_filter": True}),
    "separable": ([1.0, 2, 3, 4, 5, 6, 7, 8, 9], {"up": 2, "down": [1, 2], "padding": 5, "gain": 3}),
    "crop": (None, {"padding": [-1, 2, -2, 1]}),
    "all_cropped": (LOP_SIDED, {"padding": [-9, 12, -11, 13]}),
}
SHAPES = [(2, 3, 9, 7), (1, 70, 6, 5), (2, 1, 6, 1030), (0, 2, 6, 6), (2, 0, 6, 6)]


def draw(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=g, dtype=torch.float64).to(torch.bfloat16).to(dtype)


def a_filter(f) -> Tensor | None:
    return None if f is None else setup_filter(f)


def numpy_upfirdn2d(x, f, up, down, padding, flip_filter, gain) -> np.ndarray:
    """One plane, every step as the definition says it."""
    (up_x, up_y), (down_x, down_y), (x0, x1, y0, y1) = up, down, padding
    spread = np.zeros((x.shape[0] * up_y, x.shape[1] * up_x))
    spread[::up_y, ::up_x] = x
    spread = np.pad(spread, [(max(y0, 0), max(y1, 0)), (max(x0, 0), max(x1, 0))])
    spread = spread[max(-y0, 0) : spread.shape[0] - max(-y1, 0), max(-x0, 0) : spread.shape[1] - max(-x1, 0)]
    f = f if flip_filter else f[::-1, ::-1]
    rows, columns = spread.shape[0] - f.shape[0] + 1, spread.shape[1] - f.shape[1] + 1
    filtered = [
        [(spread[i : i + f.shape[0], j : j + f.shape[1]] * f).sum() for j in range(columns)] for i in range(rows)
    ]
    return gain * np.array(filtered)[::down_y, ::down_x]


@pytest.mark.parametrize("flip_filter", [False, True])
def test_reference_matches_the_definition_written_in_numpy(flip_filter: bool) -> None:
    x = draw((1, 1, 7, 6), torch.float64)
    f = torch.tensor(LOP_SIDED, dtype=torch.float64)
    options = {"up": [2, 3], "down": [3, 2], "padding": [3, -1, -2, 4], "flip_filter": flip_filter, "gain": 1.5}
    expected = numpy_upfirdn2d(x[0, 0].numpy(), f.numpy(), **options)
    np.testing.assert_allclose(upfirdn2d_reference(x, f, **options)[0, 0].numpy(), expected, rtol=0, atol=1e-13)


def test_a_separable_filter_is_its_outer_product() -> None:
    x, f = draw((2, 3, 8, 9), torch.float64), torch.tensor([1.0, -2.0, 4.0], dtype=torch.float64)
    options = {"up": [2, 3], "down": 2, "padding": [4, 3, 2, 1], "gain": 2}
    torch.testing.assert_close(
        upfirdn2d_reference(x, f, **options), upfirdn2d_reference(x, f.outer(f), **options), rtol=0, atol=1e-12
    )


def differentiated(call, x: Tensor, f: Tensor | None, options: dict) -> list[Tensor]:
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = call(x, f, **options)
    dy = draw(tuple(y.shape), y.dtype, 1)
    return [y.detach(), *torch.autograd.grad(y, x, dy)]


def assert_as_good_as_the_reference(name: str, x: Tensor) -> None:
    f, options = CALLS[name]
    f = a_filter(f)
    truth = differentiated(upfirdn2d_reference, x.double(), f, options)
    reference = differentiated(upfirdn2d_reference, x.to(narrower(x.dtype)), f, options)
    with use_backend("cpu"):
        ours = differentiated(upfirdn2d, x, f, options)
    for mine, theirs, exact in zip(ours, reference, truth, strict=True):
        assert_within_bound(mine, theirs, exact)


@needs_extension
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_cpu_kernel_and_its_adjoint_are_as_good_as_the_reference(
    dtype: torch.dtype, name: str, shape: tuple[int, ...], spy: Spy
) -> None:
    for layout in ("contiguous", "channels_last"):
        assert_as_good_as_the_reference(name, laid_out(draw(shape, dtype), layout))
    assert set(spy.ran) == {"upfirdn2d"}


@needs_extension
@pytest.mark.parametrize("isa", CAPABILITIES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_instruction_set_computes_the_same_op(dtype: torch.dtype, isa: str) -> None:
    with capability(isa):
        for name in CALLS:
            for layout in ("contiguous", "channels_last"):
                assert_as_good_as_the_reference(name, laid_out(draw((2, 19, 13, 37), dtype), layout))


@needs_extension
def test_more_channels_than_one_block_of_a_row() -> None:
    assert_as_good_as_the_reference("up", laid_out(draw((1, 2100, 3, 3), torch.float32), "channels_last"))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_strides_give_the_same_numbers_and_dense_ones_are_kept(layout: str, backend: str) -> None:
    x = draw((2, 5, 6, 7), torch.float64)
    f = setup_filter([1, 3, 3, 1])
    with use_backend(backend):
        y = upsample2d(laid_out(x, layout), f)
        torch.testing.assert_close(y, upsample2d(x, f), rtol=0, atol=1e-14)
    kept = torch.channels_last if layout.startswith("channel") else torch.contiguous_format
    assert y.is_contiguous(memory_format=kept)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", [name for name in CALLS if name != "all_cropped"])
def test_first_and_second_derivatives(name: str, backend: str) -> None:
    f, options = CALLS[name]
    x = draw((1, 2, 4, 5), torch.float64).requires_grad_()
    with use_backend(backend):
        assert gradcheck(lambda x: upfirdn2d(x, a_filter(f), **options), [x])
        assert gradgradcheck(lambda x: upfirdn2d(x, a_filter(f), **options), [x])


def test_the_filter_has_a_gradient_in_pure_pytorch(spy: Spy) -> None:
    x, f = draw((1, 2, 4, 5), torch.float64), draw((3, 2), torch.float64, 1).requires_grad_()
    assert gradcheck(lambda f: upfirdn2d(x, f, padding=2), [f])
    assert spy.ran == []
    with use_backend("cpu"), pytest.raises(RuntimeError, match="f requires a gradient"):
        upfirdn2d(x, f)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("taps", [[1], [1, 1], [1, 2, 1], [1, 3, 3, 1], [1, 4, 6, 4, 1]])
def test_resampling_keeps_sizes_and_the_brightness_of_the_inside(taps: list[int], backend: str) -> None:
    x, f = torch.ones(1, 1, 12, 16), setup_filter(taps)
    with use_backend(backend):
        for y, size in [
            (filter2d(x, f), (12, 16)),
            (upsample2d(x, f), (24, 32)),
            (downsample2d(x, f), (6, 8)),
            (downsample2d(x, f, down=[4, 2]), (6, 4)),
        ]:
            assert y.shape[2:] == size
            if len(taps) > 1 or y.shape[2] <= 12:  # one tap leaves the zeros between the pixels
                inside = y[0, 0, 3:-3, 3:-3] if min(size) > 6 else y[0, 0, 2:-2, 2:-2]
                torch.testing.assert_close(inside, torch.ones_like(inside))


@pytest.mark.parametrize("backend", BACKENDS)
def test_nearest_and_box_resampling(backend: str) -> None:
    x, f = draw((2, 3, 4, 6), torch.float32), setup_filter([1, 1])
    with use_backend(backend):
        assert torch.equal(upsample2d(x, f), x.repeat_interleave(2, 2).repeat_interleave(2, 3))
        torch.testing.assert_close(downsample2d(x, f), torch.nn.functional.avg_pool2d(x, 2))


@pytest.mark.parametrize("backend", BACKENDS)
def test_nan_stays_in_its_plane(backend: str) -> None:
    x = draw((2, 5, 6, 6), torch.float32)
    x[1, 3, 2, 2] = float("nan")
    for layout in ("contiguous", "channels_last"):
        with use_backend(backend):
            bad = filter2d(laid_out(x, layout), setup_filter([1, 2, 1])).isnan()
        assert bad[1, 3].sum() == 9
        assert bad.sum() == 9


def test_autocast_leaves_the_dtype_and_the_numbers() -> None:
    x, f = draw((1, 2, 8, 8), torch.float32), setup_filter([1, 2, 1])
    for backend in ("reference", "auto"):
        with use_backend(backend):
            expected = filter2d(x, f)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                assert torch.equal(filter2d(x, f), expected)


def test_setup_filter() -> None:
    assert torch.equal(setup_filter(None), torch.ones(1, 1))
    assert torch.equal(setup_filter([1, 2, 1]), torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16)
    assert setup_filter([1] * 8).shape == (8,), "long filters stay separable"
    assert setup_filter([1] * 8, separable=False).shape == (8, 8)
    assert torch.equal(setup_filter([1, 2, 1], separable=True), torch.tensor([0.25, 0.5, 0.25]))
    assert torch.equal(
        setup_filter([[1, 2], [3, 4]], normalize=False, flip_filter=True), torch.tensor([[4.0, 3], [2, 1]])
    )
    assert setup_filter([1, 1], gain=4).sum() == 4
    assert setup_filter([1] * 8, gain=4).sum() == 2, "half of the gain in decibels for each axis"
    for wrong in ([], [[[1.0]]]):
        with pytest.raises(ValueError, match="setup_filter: f must be"):
            setup_filter(wrong)
    with pytest.raises(ValueError, match="separable is True"):
        setup_filter([[1.0, 2.0]], separable=True)
