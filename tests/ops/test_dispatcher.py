"""The ops in torch's dispatcher: registered rightly, with the numbers, derivatives and shapes of eager calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import gradcheck, gradgradcheck

from stylegan_fast.ops import adain, bias_act, filter2d, library, setup_filter, use_backend
from stylegan_fast.ops.bias_act_reference import ACTIVATIONS

from .cases import DTYPES, LAYOUTS, Spy, laid_out, needs_extension
from .dispatched import CALLS, Recorder, draw, leaves_of

BACKENDS = ["reference", pytest.param("cpu", marks=needs_extension)]
OPS = torch.ops.stylegan_fast


def adain_arguments(layout: str = "contiguous") -> tuple[Any, ...]:
    x = laid_out(draw(2, 3, 3, 4).detach(), layout).requires_grad_()
    parameters = (draw(2, 3, seed=1), draw(2, 3, seed=2), draw(2, 1, 3, 4, seed=3), draw(3, seed=4), draw(3, seed=5))
    return x, *parameters, None, 0.2, 1e-2, 0.3, False, False


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
            y, statistics = OPS.adain(*arguments, backend)
        dy = laid_out(torch.ones_like(y), "channels_last").requires_grad_()
        every = [True] * 6
        backward = (dy, *arguments[:7], statistics, *arguments[7:], every, backend)
        found[f"adain_backward {layout}"] = (OPS.adain_backward, backward)
    for name, phases, blur in (("plain", False, False), ("blurred", False, True), ("blurred phases", True, True)):
        x = draw(2, 12, 3, 4)
        plain = (x, *[None] * 6, 1.0, 1e-2, 1.0, phases, blur)
        found[f"adain {name}"] = (OPS.adain, (*plain, backend))
        with torch.no_grad():
            y, statistics = OPS.adain(*plain, "reference")
        dy = draw(*y.shape, seed=7)
        backward = (dy, *plain[:7], statistics, *plain[7:], [True, *[False] * 5], backend)
        found[f"adain_backward {name}"] = (OPS.adain_backward, backward)
    for name, seeds in (("seeds", [3, -4]), ("one seed", [5])):
        x, scale, shift, _, *strength_and_bias = adain_arguments()[:6]
        seeded = (x, scale, shift, None, *strength_and_bias, torch.tensor(seeds), 0.2, 1e-2, 0.3, False, False)
        found[f"adain {name}"] = (OPS.adain, (*seeded, backend))
        with torch.no_grad():
            y, statistics = OPS.adain(*seeded, backend)
        wanted = [True, True, True, False, True, True]
        backward = (draw(*y.shape, seed=7), *seeded[:7], statistics, *seeded[7:], wanted, backend)
        found[f"adain_backward {name}"] = (OPS.adain_backward, backward)
    found["philox_normal"] = (OPS.philox_normal, (torch.tensor([6, -7, 8]), 5, 3, backend))
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
    # fp64, but noise drawn from seeds is fp32 everywhere.
    rtol, atol = (1e-6, 1e-6) if "seed" in name or "philox" in name else (1e-11, 1e-12)
    torch.testing.assert_close(op(*ours), op(*theirs), rtol=rtol, atol=atol)


@pytest.fixture(params=BACKENDS)
def behind_the_op(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What an op of a dispatched call runs on; the reference where a graph meets a machine without the extension."""
    if request.param == "reference":
        monkeypatch.setattr(library, "backend_for", lambda *_: "reference")
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
    for i, (mine, theirs) in enumerate(zip(dispatched, eager, strict=True)):
        if name in ACTIVATIONS and i == 2:  # the gradient of the bias, which in eager mode is summed by the kernel
            torch.testing.assert_close(mine, theirs)
        else:
            assert torch.equal(mine, theirs)
        assert (mine.dtype, mine.stride()) == (theirs.dtype, theirs.stride())


@needs_extension
@pytest.mark.parametrize("name", CALLS)
def test_without_gradients_the_same_kernels_run_to_the_bit(name: str, spy: Spy) -> None:
    call, leaves = CALLS[name][0], leaves_of(name)
    with use_backend("cpu"):
        expected, kernels = call(*leaves), list(spy.ran)
        for off in (torch.no_grad, torch.inference_mode):
            spy.ran.clear()
            with off():
                y = call(*leaves)
                assert torch.equal(y, expected)
            assert not y.requires_grad
            assert spy.ran == kernels


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


@needs_extension
def test_noise_of_any_strides_reaches_kernels_as_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels know one map for each sample, one after the other, and one for all; they read 16 bytes at a time."""
    x, strength = torch.randn(2, 3, 8, 8), torch.randn(3)
    noise = torch.randn(2, 1, 8, 8)
    launch, seen = library.launch, []

    def spied(backend: str, kernel: str, x: torch.Tensor, *arguments: Any) -> None:
        seen.append(arguments)
        launch(backend, kernel, x, *arguments)

    monkeypatch.setattr(library, "launch", spied)
    results = []
    for apart in (64, 65):
        strided = torch.empty(200).as_strided(noise.shape, (apart, apart, 8, 1)).copy_(noise)
        given = (None, None, strided, strength, None, None, 0.2, 1e-8, 1.0, False, False, "cpu")
        results.append(torch.ops.stylegan_fast.adain(x, *given)[0])
        assert (seen[-1][3].stride(0) if library.reads_tensors else seen[-1][16]) == 64
    torch.testing.assert_close(*results)
