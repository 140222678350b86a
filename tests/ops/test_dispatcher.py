"""The ops in torch's dispatcher: registered rightly, told apart from eager calls, and the same numbers on every way."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import gradcheck, gradgradcheck
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from stylegan_fast.ops import adain, bias_act, filter2d, library, setup_filter, upfirdn2d, use_backend
from stylegan_fast.ops.bias_act_reference import ACTIVATIONS

from .cases import DTYPES, LAYOUTS, Spy, laid_out, needs_extension

BACKENDS = ["reference", pytest.param("cpu", marks=needs_extension)]
OPS = torch.ops.stylegan_fast
BLUR = setup_filter([1, 3, 3, 1])


def draw(*size: int, seed: int = 0, dtype: torch.dtype = torch.float64, grad: bool = True) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(size, generator=g, dtype=torch.float64).to(dtype).requires_grad_(grad)


def adain_arguments(layout: str = "contiguous") -> tuple[Any, ...]:
    x = laid_out(draw(2, 3, 3, 4).detach(), layout).requires_grad_()
    parameters = (draw(2, 3, seed=1), draw(2, 3, seed=2), draw(2, 1, 3, 4, seed=3), draw(3, seed=4), draw(3, seed=5))
    return x, *parameters, 0.2, 1e-2, 0.3


def bias_act_arguments(act: str, clamp: float = -1.0) -> tuple[Any, ...]:
    return draw(2, 4, 3), draw(4, seed=5), 1, act, 0.2, 1.7, clamp


def upfirdn2d_arguments() -> tuple[Any, ...]:
    return draw(2, 3, 5, 6), draw(3, 2, seed=1, grad=False), 2, 3, 3, 1, 2, -1, 3, 1, True, 0.5


def samples(backend: str) -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """Every op of every order, with arguments that require a gradient."""
    found: dict[str, tuple[Any, tuple[Any, ...]]] = {}
    for layout in ("contiguous", "transposed"):
        arguments = adain_arguments(layout)
        found[f"adain {layout}"] = (OPS.adain, (*arguments, backend))
        with torch.no_grad():
            y, mean, rstd = OPS.adain(*arguments, backend)
        dy = laid_out(torch.ones_like(y), "channels_last").requires_grad_()
        every = [True] * 6
        backward = (dy, *arguments[:6], mean, rstd, *arguments[6:], every, backend)
        found[f"adain_backward {layout}"] = (OPS.adain_backward, backward)
    plain = (draw(2, 3, 3, 4), None, None, None, None, None, 1.0, 1e-2, 1.0)
    found["adain plain"] = (OPS.adain, (*plain, backend))
    with torch.no_grad():
        _, mean, rstd = OPS.adain(*plain, backend)
    wanted = [True, *[False] * 5]
    found["adain_backward plain"] = (
        OPS.adain_backward,
        (draw(2, 3, 3, 4, seed=7), *plain[:6], mean, rstd, *plain[6:], wanted, backend),
    )
    for act, clamp in (("linear", -1.0), ("lrelu", 1.1), ("relu", -1.0), ("tanh", -1.0), ("swish", 1.1)):
        x, b, *numbers = bias_act_arguments(act, clamp)
        call = (*numbers, backend)
        found[f"bias_act {act}"] = (OPS.bias_act, (x, b, *call))
        y = OPS.bias_act(x, b, *call).detach()
        dy, ddx = draw(2, 4, 3, seed=8), draw(2, 4, 3, seed=9)
        smooth = ACTIVATIONS[act].smooth
        kept = (x if smooth else None, b if smooth else None, y)
        found[f"bias_act_backward {act}"] = (OPS.bias_act_backward, (dy, *kept, *call))
        if smooth:
            found[f"bias_act_second {act}"] = (OPS.bias_act_second, (ddx, dy, *kept, *call))
    found["bias_act nothing"] = (OPS.bias_act, (draw(2, 4, 3), None, 1, "linear", 0.0, 1.0, -1.0, backend))
    found["upfirdn2d"] = (OPS.upfirdn2d, (*upfirdn2d_arguments(), backend))
    return found


NAMES = list(samples("reference"))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_opcheck(name: str, backend: str) -> None:
    """Schema (no result is an argument), fake shapes and strides, autograd registration, AOT with dynamic shapes."""
    op, arguments = samples(backend)[name]
    torch.library.opcheck(op.default, arguments)


@needs_extension
@pytest.mark.parametrize("name", NAMES)
def test_the_reference_of_every_op_gives_the_results_of_its_kernel(name: str) -> None:
    (op, ours), (_, theirs) = samples("cpu")[name], samples("reference")[name]
    torch.testing.assert_close(op(*ours), op(*theirs), rtol=1e-11, atol=1e-12)


class Recorder(TorchDispatchMode):
    """Writes down which of our ops pass by."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "stylegan_fast":
            self.seen.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def all_of_adain(x: Tensor, *parameters: Tensor) -> Tensor:
    scale, shift, noise, strength, bias = parameters
    more = {"negative_slope": 0.2, "eps": 1e-2, "output_negative_slope": 0.3}
    return adain(x, scale, shift, noise=noise, noise_strength=strength, bias=bias, **more)


CALLS: dict[str, tuple[Callable[..., Tensor], list[tuple[int, ...]], list[str]]] = {
    "adain": (
        all_of_adain,
        [(2, 2, 3, 3), (2, 2), (2,), (1, 1, 3, 3), (2,), (2,)],
        ["adain", "adain_backward"],
    ),
    "instance_norm": (lambda x: adain(x, eps=1e-2), [(2, 2, 3, 3)], ["adain", "adain_backward"]),
    **{
        act: (
            lambda x, b, act=act: bias_act(x, b, act=act, clamp=1.9),
            [(3, 4, 2), (4,)],
            ["bias_act", "bias_act_backward"],
        )
        for act in ACTIVATIONS
    },
    "upfirdn2d": (lambda x: upfirdn2d(x, BLUR, up=2, down=[1, 3], padding=[2, 1]), [(1, 2, 4, 5)], ["upfirdn2d"] * 2),
}


def leaves_of(name: str, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [draw(*size, seed=11 * i, dtype=dtype) for i, size in enumerate(CALLS[name][1])]


@pytest.fixture(params=BACKENDS)
def behind_the_op(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What an op of a dispatched call runs on; the reference where a graph meets a machine without the extension."""
    if request.param == "reference":
        monkeypatch.setattr(library, "backend_for", lambda op, x, wanted: "reference")
    return request.param


@needs_extension
@pytest.mark.parametrize("name", CALLS)
def test_under_a_dispatch_mode_first_and_second_derivatives_are_right(name: str, behind_the_op: str) -> None:
    call, leaves = CALLS[name][0], leaves_of(name)
    with use_backend("cpu"), Recorder() as recorder:
        assert gradcheck(call, leaves)
        assert gradgradcheck(call, leaves)
    expected = set(CALLS[name][2])
    if name in ACTIVATIONS and ACTIVATIONS[name].smooth:
        expected.add("bias_act_second")
    assert set(recorder.seen) == expected


@needs_extension
@pytest.mark.parametrize("act", ["tanh", "sigmoid", "elu", "selu", "softplus", "swish"])
def test_under_a_dispatch_mode_third_derivatives_are_right(act: str, behind_the_op: str) -> None:
    x, b = draw(2, 3), draw(3, seed=5)

    def gradient(x: Tensor, b: Tensor) -> Tensor:
        (dx,) = torch.autograd.grad(bias_act(x, b, act=act).pow(3).sum(), x, create_graph=True)
        return dx

    with use_backend("cpu"), Recorder():
        assert gradgradcheck(gradient, [x, b])


@needs_extension
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_both_ways_run_the_same_kernels_to_the_bit(name: str, dtype: torch.dtype, spy: Spy) -> None:
    call, leaves = CALLS[name][0], leaves_of(name, dtype)

    def results() -> list[Tensor]:
        y = call(*leaves)
        return [y.detach(), *torch.autograd.grad(y.float().square().sum(), leaves)]

    with use_backend("cpu"):
        eager, kernels = results(), list(spy.ran)
        spy.ran.clear()
        with Recorder() as recorder:
            dispatched = results()
    assert recorder.seen == CALLS[name][2]
    assert spy.ran == kernels
    for mine, theirs in zip(dispatched, eager, strict=True):
        assert torch.equal(mine, theirs)
        assert (mine.dtype, mine.stride()) == (theirs.dtype, theirs.stride())


SHAPE_CALLS: dict[str, Callable[[Tensor], Tensor]] = {
    "adain": lambda x: adain(x, x.new_ones(5)),
    "bias_act": lambda x: bias_act(x, x.new_ones(5), act="swish"),
    "upfirdn2d": lambda x: filter2d(x, setup_filter([1, 3, 3, 1], device=x.device)),
}


@needs_extension
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", SHAPE_CALLS)
def test_fake_and_meta_tensors_have_the_shape_dtype_and_strides_of_real_ones(name: str, layout: str) -> None:
    call = SHAPE_CALLS[name]
    for dtype in (torch.float32, torch.bfloat16):
        real = laid_out(draw(2, 5, 4, 6, dtype=dtype, grad=False), layout).requires_grad_()

        def described(x: Tensor) -> tuple[Any, ...]:
            y = call(x)
            (dx,) = torch.autograd.grad(y.sum(), x)
            return y.shape, y.dtype, y.stride(), dx.shape, dx.dtype, dx.stride()

        for backend in ("auto", "cpu"):
            with use_backend(backend):
                expected = described(real)
                meta = torch.empty_strided(real.shape, real.stride(), dtype=dtype, device="meta", requires_grad=True)
                assert described(meta) == expected
                with FakeTensorMode() as mode:
                    assert described(mode.from_tensor(real)) == expected


class Named(Tensor):
    """A subclass that leaves everything to torch."""


class Wrapper(Tensor):
    """A subclass that has no memory of its own."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Wrapper:
        return Tensor._make_wrapper_subclass(
            cls, inner.shape, inner.stride(), dtype=inner.dtype, requires_grad=inner.requires_grad
        )

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        def unwrap(t: Any) -> Any:
            return t.inner if isinstance(t, Wrapper) else t

        result = func(*map(unwrap, args), **{k: unwrap(v) for k, v in (kwargs or {}).items()})
        return torch.utils._pytree.tree_map_only(Tensor, cls, result)


@needs_extension
@pytest.mark.parametrize("name", ["instance_norm", "upfirdn2d"])
def test_subclasses_meet_the_op_and_its_kernel(name: str, spy: Spy) -> None:
    call, (x,) = CALLS[name][0], leaves_of(name)
    with use_backend("cpu"):
        expected = call(x)
        (gradient,) = torch.autograd.grad(expected.square().sum(), x)
        spy.ran.clear()
        named = x.detach().as_subclass(Named).requires_grad_()
        y = call(named)
        assert type(y) is Named
        assert torch.equal(y, expected)
        (dx,) = torch.autograd.grad(y.square().sum(), named)
        assert torch.equal(dx, gradient)
        wrapped = call(Wrapper(x.detach()))
        assert type(wrapped) is Wrapper
        assert torch.equal(wrapped.inner, expected)
    assert len(spy.ran) == 3


@needs_extension
@pytest.mark.parametrize("name", ["adain", "swish", "upfirdn2d"])
def test_make_fx_records_the_ops_and_replays_them(name: str, spy: Spy) -> None:
    call, leaves = CALLS[name][0], leaves_of(name)

    def step(*leaves: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(call(*leaves).square().sum(), leaves)

    with use_backend("cpu"):
        graph = make_fx(step)(*leaves)
        expected = step(*leaves)
    targets = [str(node.target).split(".")[1] for node in graph.graph.nodes if "stylegan_fast" in str(node.target)]
    assert targets == CALLS[name][2]
    spy.ran.clear()
    for ours, theirs in zip(graph(*leaves), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert len(spy.ran) == 2


@pytest.mark.parametrize("name", CALLS)
def test_torch_func_sees_the_reference_and_gets_right_numbers(name: str, request: pytest.FixtureRequest) -> None:
    call, leaves = CALLS[name][0], [t.detach() for t in leaves_of(name)]

    def loss(*leaves: Tensor) -> Tensor:
        return call(*leaves).square().sum()

    with use_backend("reference"):
        y = call(*leaves)
        attached = [t.clone().requires_grad_() for t in leaves]
        gradients = torch.autograd.grad(loss(*attached), attached)
    with use_backend("auto"):
        for ours, theirs in zip(torch.func.grad(loss, tuple(range(len(leaves))))(*leaves), gradients, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
        tangents = tuple(torch.ones_like(t) for t in leaves)
        slope = sum(g.sum() for g in gradients)
        torch.testing.assert_close(torch.func.jvp(loss, tuple(leaves), tangents)[1], slope, rtol=1e-10, atol=1e-10)
        batch = [torch.stack([t, -t, 2 * t]) for t in leaves]
        rows = [call(*(t[i] for t in batch)) for i in range(3)]
        torch.testing.assert_close(torch.vmap(call)(*batch), torch.stack(rows), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(torch.jit.trace(call, tuple(leaves))(*leaves), y, rtol=1e-10, atol=1e-10)


@needs_extension
@pytest.mark.parametrize("name", ["adain", "tanh", "lrelu"])
def test_an_input_or_output_changed_before_the_backward_is_noticed_on_both_ways(name: str) -> None:
    call = CALLS[name][0]
    for way in (contextlib.nullcontext, Recorder):
        inner = [t * 1 for t in leaves_of(name)]
        with use_backend("cpu"), way():
            y = call(*inner)
        with torch.no_grad():
            (y if name == "lrelu" else inner[0]).add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


@needs_extension
@pytest.mark.parametrize("name", ["adain", "swish", "upfirdn2d"])
def test_a_backward_on_another_thread_keeps_the_backend_of_its_forward(name: str, spy: Spy) -> None:
    call, leaves = CALLS[name][0], leaves_of(name)
    with use_backend("cpu"):
        y = call(*leaves)
    spy.ran.clear()
    with use_backend("reference"):
        thread = threading.Thread(target=y.square().sum().backward)
        thread.start()
        thread.join()
    assert len(spy.ran) == 1
    assert all(t.grad is not None for t in leaves)


@needs_extension
def test_autocast_reaches_neither_x_nor_the_parameters_of_a_dispatched_call() -> None:
    x, scale = draw(2, 3, 4, 4, dtype=torch.float32, grad=False), draw(3, seed=1, dtype=torch.bfloat16, grad=False)
    with use_backend("cpu"):
        expected = adain(x, scale), bias_act(x, scale, act="tanh"), filter2d(x, BLUR)
        with torch.autocast("cpu", dtype=torch.bfloat16), Recorder() as recorder:
            found = adain(x, scale), bias_act(x, scale, act="tanh"), filter2d(x, BLUR)
    assert recorder.seen == ["adain", "bias_act", "upfirdn2d"]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, theirs)


def refused() -> list[tuple[type[Exception], Any, tuple[Any, ...], str]]:
    """Calls of the ops themselves, which would hand a kernel memory that is too small or of another dtype."""
    x, row, plane = torch.zeros(2, 3, 4, 5), torch.zeros(3), torch.zeros(2, 3)
    slopes = (1.0, 1e-8, 1.0)
    rest = (None, None, None, *slopes)
    f = torch.ones(2, 2)
    fir = (1, 1, 1, 1, 0, 0, 0, 0, False, 1.0)
    act = (1, "tanh", 0.0, 1.0, -1.0)
    return [
        (ValueError, OPS.adain, (x, row, None, *rest), "adain: scale must be [2, 3], got shape [3]"),
        (TypeError, OPS.adain, (x, plane.double(), None, *rest), "adain: scale must be a torch.float32 tensor"),
        (ValueError, OPS.adain, (x[0], None, None, *rest), "adain: x must be [N, C, H, W], got shape [3, 4, 5]"),
        (
            ValueError,
            OPS.adain_backward,
            (x[:1], x, None, None, None, None, None, plane, plane, *slopes, [True] + [False] * 5),
            "adain_backward: dy must be [2, 3, 4, 5], got shape [1, 3, 4, 5]",
        ),
        (
            ValueError,
            OPS.adain_backward,
            (x, x, None, None, None, None, None, plane, row, *slopes, [True] + [False] * 5),
            "adain_backward: rstd must be [2, 3], got shape [3]",
        ),
        (
            ValueError,
            OPS.adain_backward,
            (x, x, None, None, None, None, None, plane, plane, *slopes, [True] * 6),
            "adain_backward: wanted must be six bools, False for what is None, got [True, True",
        ),
        (ValueError, OPS.bias_act, (x, row[:2], *act), "bias_act: b must be [x.shape[1]] = [3], got shape [2]"),
        (TypeError, OPS.bias_act, (x, row.double(), *act), "bias_act: b must be a torch.float32 tensor"),
        (ValueError, OPS.bias_act, (x, None, 1, "lrelu", -0.1, 1.0, -1.0), "bias_act: alpha must be above 0, got -0.1"),
        (ValueError, OPS.bias_act_backward, (x, None, None, x[0], *act), "bias_act_backward: y must be [2, 3, 4, 5]"),
        (TypeError, OPS.bias_act_second, (x, x.double(), x, None, x, *act), "must be a torch.float64 tensor, got a"),
        (ValueError, OPS.upfirdn2d, (x, row, *fir), "upfirdn2d: f must be [fh, fw], got shape [3]"),
        (TypeError, OPS.upfirdn2d, (x, f.double(), *fir), "upfirdn2d: f must be a torch.float32 tensor"),
        (ValueError, OPS.upfirdn2d, (x, f, 0, *fir[1:]), "upfirdn2d: up and down must be at least 1, got [0, 1, 1, 1]"),
        (ValueError, OPS.upfirdn2d, (x, torch.ones(9, 9), *fir), "f must be no larger than the padded image of 4 x 5"),
    ]


@pytest.mark.parametrize(("kind", "op", "arguments", "words"), [pytest.param(*c, id=c[3][:40]) for c in refused()])
def test_the_ops_refuse_what_no_kernel_could_take_real_and_fake(
    kind: type[Exception], op: Any, arguments: tuple[Any, ...], words: str, spy: Spy
) -> None:
    with pytest.raises(kind, match=re.escape(words)):
        op(*arguments, "cpu")
    assert spy.ran == []
    with pytest.raises(kind, match=re.escape(words)):
        op(*(a.to("meta") if isinstance(a, Tensor) else a for a in arguments), "cpu")


@needs_extension
def test_a_graph_asks_for_its_backend_when_it_runs() -> None:
    x = draw(1, 2, 3, 3, grad=False)
    with pytest.raises(RuntimeError, match="bias_act: the backend 'cuda' was asked for, but x is on cpu"):
        OPS.bias_act(x, None, 1, "tanh", 0.0, 1.0, -1.0, "cuda")
    with use_backend("cuda"), Recorder(), pytest.raises(RuntimeError, match="'cuda' was asked for, but x is on cpu"):
        bias_act(x)


def test_the_gradient_of_a_filter_is_refused_by_the_op_and_not_left_out() -> None:
    x, f = draw(1, 1, 4, 4), draw(2, 2, seed=1)
    y = OPS.upfirdn2d(x, f, 1, 1, 1, 1, 0, 0, 0, 0, False, 1.0, "reference")
    with pytest.raises(RuntimeError, match="only the reference has a gradient of f"):
        y.sum().backward()
