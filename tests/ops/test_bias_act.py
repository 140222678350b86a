"""bias_act: the reference against numpy, the CPU kernels against fp64, derivatives against finite differences."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from stylegan_fast.ops import bias_act, bias_act_reference, use_backend
from stylegan_fast.ops.bias_act import ACTIVATIONS

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
SHAPES = [
    ((), None),
    ((7,), 0),
    ((3, 5), 1),
    ((4, 6, 5), -1),
    ((2, 3, 5, 7), 1),
    ((2, 70, 33, 9), 1),
    ((0, 4, 2, 2), 1),
]
SHAPES += [((2, 3, 2, 4, 5), 1), ((1, 1, 1, 1), 1), ((2, 3, 5, 7), 2)]

NUMPY = {
    "linear": lambda u: u,
    "relu": lambda u: np.maximum(u, 0),
    "lrelu": lambda u: np.where(u >= 0, u, 0.2 * u),
    "tanh": np.tanh,
    "sigmoid": lambda u: 1 / (1 + np.exp(-u)),
    "elu": lambda u: np.where(u > 0, u, np.expm1(u)),
    "selu": lambda u: 1.0507009873554805 * np.where(u > 0, u, 1.6732632423543772 * np.expm1(u)),
    "softplus": lambda u: np.logaddexp(0, u),
    "swish": lambda u: u / (1 + np.exp(-u)),
}
ROOT_TWO = {"relu", "lrelu", "swish"}


def draw(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(shape, generator=g, dtype=torch.float64)).to(torch.bfloat16).to(dtype)


def differentiated(call, x: Tensor, b: Tensor | None, dy: Tensor, **options) -> list[Tensor]:
    x = x.detach().requires_grad_()
    b = None if b is None else b.detach().requires_grad_()
    y = call(x, b, **options)
    return [y.detach(), *torch.autograd.grad(y, [x] if b is None else [x, b], dy.to(y.dtype))]


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_reference_matches_the_formula_written_in_numpy(act: str) -> None:
    x, b = draw((3, 4, 5, 6), torch.float64), draw((4,), torch.float64, 1)
    u = x.numpy() + b.numpy()[:, None, None]
    gain = math.sqrt(2) if act in ROOT_TWO else 1
    np.testing.assert_allclose(bias_act_reference(x, b, act=act).numpy(), gain * NUMPY[act](u), rtol=1e-13, atol=1e-15)
    clamped = bias_act_reference(x, b, act=act, gain=3, clamp=0.7).numpy()
    np.testing.assert_allclose(clamped, np.clip(3 * NUMPY[act](u), -0.7, 0.7), rtol=1e-13, atol=1e-15)


@needs_extension
@pytest.mark.parametrize(("shape", "dim"), SHAPES, ids=str)
@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_cpu_kernel_and_its_gradients_are_as_good_as_the_reference(
    dtype: torch.dtype, act: str, shape: tuple[int, ...], dim: int | None, spy: Spy
) -> None:
    x, dy = draw(shape, dtype), draw(shape, dtype, 1)
    b = None if dim is None else draw((shape[dim],), dtype, 2)
    options = {"act": act, "dim": dim or 0}
    truth = differentiated(bias_act_reference, x.double(), None if b is None else b.double(), dy, **options)
    narrow = narrower(dtype)
    reference = differentiated(bias_act_reference, x.to(narrow), None if b is None else b.to(narrow), dy, **options)
    with use_backend("cpu"):
        ours = differentiated(bias_act, x, b, dy, **options)
    # Of x + b the gradient is dy as it is.
    assert spy.ran == ["bias_act_forward", *(["bias_act_backward"] if act != "linear" else [])]
    gain = ACTIVATIONS[act].gain
    # The slope comes from y, rounded to an ulp of 1 (swish apart); a sum over the batch adds those up.
    sizes = [None, 2 * gain * float(dy.abs().max()) if dy.numel() else None]
    sizes.append(None if sizes[1] is None or b is None else sizes[1] * math.sqrt(x.numel() / max(b.numel(), 1)))
    ulps = torch.finfo(dtype).eps / torch.finfo(torch.float32 if dtype != torch.float64 else dtype).eps
    for i, (mine, theirs, exact) in enumerate(zip(ours, reference, truth, strict=True)):
        size = sizes[i]
        if i == 2 and size is not None and mine.dtype == dtype:
            ulps = 1.0
        assert_within_bound(mine, theirs, exact, size if i < 2 or size is None else size * ulps)


@needs_extension
@pytest.mark.parametrize("isa", CAPABILITIES)
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_every_instruction_set_computes_the_same_op(act: str, isa: str) -> None:
    for dtype in DTYPES:
        x, b, dy = draw((2, 37, 33, 9), dtype), draw((37,), dtype, 1), draw((2, 37, 33, 9), dtype, 2)
        truth = differentiated(bias_act_reference, x.double(), b.double(), dy, act=act)[:2]
        narrow = narrower(dtype)
        reference = differentiated(bias_act_reference, x.to(narrow), b.to(narrow), dy, act=act)[:2]
        with use_backend("cpu"), capability(isa):
            ours = differentiated(bias_act, x, b, dy, act=act)[:2]
        assert_within_bound(ours[0], reference[0], truth[0])
        assert_within_bound(ours[1], reference[1], truth[1], 2 * ACTIVATIONS[act].gain * float(dy.abs().max()))


# How the numbers of a bias lie: planes of one piece of work, of several, cut into slices, and shorter than a register;
# rows that are whole registers and not, longer than a piece, and shorter than a register; with one bias and many.
OF_A_BIAS = [
    ((16, 64, 4, 4), "contiguous"),
    ((3, 5, 60, 61), "contiguous"),
    ((9, 8, 32, 32), "contiguous"),
    ((2, 3, 200, 201), "contiguous"),
    ((2, 1, 400, 401), "contiguous"),
    ((40, 300, 2, 2), "contiguous"),
    ((16, 64, 4, 4), "channels_last"),
    ((4, 48, 32, 32), "channels_last"),
    ((5, 37, 33, 9), "channels_last"),
    ((3, 513, 9, 9), "channels_last"),
    ((16, 3, 64, 64), "channels_last"),
    ((3, 15, 5, 7), "channels_last"),
    ((2, 1, 64, 300), "channels_last"),
    ((5, 70000), "contiguous"),
    ((300, 200), "contiguous"),
    ((1, 1), "contiguous"),
]


@needs_extension
@pytest.mark.parametrize("isa", CAPABILITIES)
@pytest.mark.parametrize(("shape", "layout"), OF_A_BIAS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_bias_gradient_is_the_sum_of_dx_however_the_numbers_lie(
    dtype: torch.dtype, shape: tuple[int, ...], layout: str, isa: str
) -> None:
    x, b, dy = draw(shape, dtype), draw((shape[1],), dtype, 1).requires_grad_(), draw(shape, dtype, 2)
    if layout == "channels_last":
        x, dy = (t.contiguous(memory_format=torch.channels_last) for t in (x, dy))
    others = [i for i in range(x.ndim) if i != 1]
    for act in ("lrelu", "swish"):
        with use_backend("cpu"), capability(isa):
            _, dx, db = differentiated(bias_act, x, b, dy, act=act)
        exact, size = dx.double().sum(others), dx.double().abs().sum(others)
        eps = torch.finfo(b.dtype).eps + 4 * torch.finfo(torch.promote_types(dtype, torch.float32)).eps
        assert ((db.double() - exact).abs() <= eps * size).all()


@needs_extension
@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_clamped_values_have_no_gradient_in_any_dtype(dtype: torch.dtype, act: str) -> None:
    x = torch.linspace(-4, 4, 97).to(dtype).requires_grad_()
    for clamp in (0.3, 0.7, 0.1):  # 0.3 rounds up in every dtype, 0.7 down in bf16 and fp32, 0.1 down in fp16
        with use_backend("cpu"):
            y = bias_act(x, act=act, dim=0, clamp=clamp)
            (dx,) = torch.autograd.grad(y.sum(), x)
        limit = torch.tensor(clamp, dtype=torch.float64).to(dtype)
        clamped = bias_act_reference(x.detach().double(), act=act, dim=0).abs() > 1.03 * clamp
        assert clamped.any()
        assert y.abs().max() == limit
        assert (dx[clamped] == 0).all()
        passes = ~clamped & (y.abs() < limit) & (x != 0)
        assert (dx[passes] != 0).any() or not passes.any() or act == "relu"


@needs_extension
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_strides_give_the_same_numbers_and_dense_ones_are_kept(layout: str) -> None:
    x, b = draw((2, 5, 6, 7), torch.float32), draw((5,), torch.float32, 1)
    with use_backend("cpu"):
        y = bias_act(laid_out(x, layout), b, act="lrelu")
        expected = bias_act(x, b, act="lrelu")
    assert torch.equal(y, expected)
    kept = torch.channels_last if layout.startswith("channel") else torch.contiguous_format
    assert y.is_contiguous(memory_format=kept)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_first_and_second_derivatives(act: str, backend: str) -> None:
    x, b = draw((3, 4, 2), torch.float64).requires_grad_(), draw((4,), torch.float64, 5).requires_grad_()
    assert (x + b[:, None]).abs().min() > 1e-3, "a corner of the activation is too near for finite differences"
    with use_backend(backend):
        for options in ({}, {"clamp": 1.3, "gain": 1.7}):
            assert gradcheck(lambda x, b, o=options: bias_act(x, b, act=act, **o), [x, b])
            assert gradgradcheck(lambda x, b, o=options: bias_act(x, b, act=act, **o), [x, b])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("act", ["tanh", "softplus", "swish", "lrelu"])
def test_third_derivative(act: str, backend: str) -> None:
    x, b = draw((2, 3), torch.float64).requires_grad_(), draw((3,), torch.float64, 5).requires_grad_()

    def gradient(x: Tensor, b: Tensor) -> Tensor:
        (dx,) = torch.autograd.grad(bias_act(x, b, act=act).pow(3).sum(), x, create_graph=True)
        return dx

    with use_backend(backend):
        assert gradgradcheck(gradient, [x, b])


@needs_extension
def test_second_derivatives_come_from_the_kernel(spy: Spy) -> None:
    x = torch.randn(5, dtype=torch.float64, requires_grad=True)
    with use_backend("cpu"):
        (dx,) = torch.autograd.grad(bias_act(x, dim=0, act="tanh").sum(), x, create_graph=True)
        dx.sum().backward()
    assert spy.ran == ["bias_act_forward", "bias_act_backward", "bias_act_second"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_nan_and_infinity_stay_where_they_are(act: str, backend: str) -> None:
    x = torch.tensor([float("nan"), float("inf"), -3.0, 2.0] * 9)
    with use_backend(backend):
        y = bias_act(x, dim=0, act=act)
    assert y[0::4].isnan().all()
    assert y[2:].isfinite().reshape(-1)[0::4].all()
    assert not y[1::4].isnan().any()
    expected = bias_act_reference(torch.tensor([-3.0, 2.0]), dim=0, act=act)
    torch.testing.assert_close(y.reshape(9, 4)[:, 2:], expected.expand(9, 2))


@pytest.mark.parametrize("backend", BACKENDS)
def test_slope_of_lrelu_at_zero_is_one_and_of_relu_zero(backend: str) -> None:
    for act, slope in (("lrelu", 1.0), ("relu", 0.0)):
        x = torch.tensor([0.0, -0.0], requires_grad=True)
        with use_backend(backend):
            (dx,) = torch.autograd.grad(bias_act(x, dim=0, act=act, gain=1).sum(), x)
        assert dx.tolist() == [slope, slope]
