"""Who meets the ops in torch's dispatcher, and how: subclasses, tracers, torch.func, threads, autocast, wrong hands."""

from __future__ import annotations

import contextlib
import re
import threading
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from stylegan_fast.ops import adain, bias_act, filter2d, use_backend

from .cases import Spy, needs_extension
from .dispatched import BLUR, CALLS, Recorder, draw, leaves_of

OPS = torch.ops.stylegan_fast


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
    x, row, plane, both = (torch.zeros(size) for size in [(2, 3, 4, 5), (3,), (2, 3), (2, 2, 3)])
    slopes = (1.0, 1e-8, 1.0, False, False)
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
            (x[:1], x, None, None, None, None, None, both, *slopes, [True] + [False] * 5),
            "adain_backward: dy must be [2, 3, 4, 5], got shape [1, 3, 4, 5]",
        ),
        (
            ValueError,
            OPS.adain_backward,
            (x, x, None, None, None, None, None, row, *slopes, [True] + [False] * 5),
            "adain_backward: statistics must be [2, 2, 3], got shape [3]",
        ),
        (
            ValueError,
            OPS.adain_backward,
            (x, x, None, None, None, None, None, both, *slopes, [True] * 6),
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
