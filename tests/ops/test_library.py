"""Which backend runs a call, who decides that, and how the choice fails."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from stylegan_fast.errors import UserError
from stylegan_fast.ops import adain, bias_act, filter2d, library, setup_filter, upfirdn2d, use_backend

from .cases import Spy, needs_extension


def x(**more) -> torch.Tensor:
    return torch.randn(1, 2, 4, 4, **more)


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess:
    root = Path(library.__file__).parents[2]
    env = {k: v for k, v in os.environ.items() if not k.startswith("STYLEGAN_FAST_")} | environment
    env["PYTHONPATH"] = str(root)
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)


def test_a_named_backend_runs_and_auto_takes_the_compiled_one(spy: Spy) -> None:
    for name, expected in (("reference", []), ("cpu", ["adain_forward"]), ("auto", ["adain_forward"])):
        spy.ran.clear()
        with use_backend(name):
            adain(x())
        assert spy.ran == expected


def test_impl_ref_runs_the_reference_and_cuda_the_current_backend(spy: Spy) -> None:
    f = setup_filter([1, 2, 1])
    bias_act(x(), impl="ref")
    upfirdn2d(x(), f, impl="ref")
    assert spy.ran == []
    with use_backend("cpu"):
        bias_act(x(), impl="cuda")
        filter2d(x(), f, impl="cuda")
    assert spy.ran == ["bias_act_forward", "upfirdn2d"]


def test_use_backend_sets_and_as_a_context_restores() -> None:
    before = library.current_backend()
    with use_backend("reference"):
        with use_backend("auto"):
            assert library.current_backend() == "auto"
        assert library.current_backend() == "reference"
        use_backend("cpu")
        assert library.current_backend() == "cpu"
    assert library.current_backend() == before
    with pytest.raises(UserError, match=r"use_backend must be one of auto, cuda, cpu, reference, got 'gpu'"):
        use_backend("gpu")
    assert library.current_backend() == before


@needs_extension
def test_a_named_backend_raises_where_it_cannot_run() -> None:
    with (
        use_backend("cuda"),
        pytest.raises(RuntimeError, match=r"adain: the backend 'cuda' was asked for, but x is on"),
    ):
        adain(x())
    with use_backend("cpu"):
        with pytest.raises(RuntimeError, match=r"'cpu' was asked for, but a torch.func transform is active"):
            torch.vmap(adain)(x()[None])
        with pytest.raises(RuntimeError, match=r"'cpu' was asked for, but torch.jit is tracing"):
            torch.jit.trace(adain, x())
        with (
            torch.autograd.forward_ad.dual_level(),
            pytest.raises(RuntimeError, match=r"'cpu' was asked for, but forward-mode differentiation is active"),
        ):
            adain(x())
        with pytest.raises(RuntimeError, match=r"there is no kernel for torch.float8"):
            bias_act(x().to(torch.float8_e4m3fn), act="relu")
        with pytest.raises(RuntimeError, match=r"lrelu with alpha <= 0"):
            bias_act(x(), act="lrelu", alpha=-0.1)


def test_nothing_is_launched_for_tensors_without_memory_or_inside_transforms(spy: Spy) -> None:
    with use_backend("auto"), warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        assert adain(x(device="meta")).is_meta
        with FakeTensorMode():
            assert adain(x()).shape == (1, 2, 4, 4)
        batch = torch.randn(3, 1, 2, 4, 4)
        torch.testing.assert_close(torch.vmap(adain)(batch)[1], library_reference(batch[1]))
        torch.func.grad(lambda t: adain(t).pow(3).sum())(x())
        torch.func.jvp(adain, (x(),), (x(),))
    assert spy.ran == []


def test_a_negated_view_is_read_with_its_sign(spy: Spy) -> None:
    z = torch.randn(1, 2, 4, 4, dtype=torch.complex64)
    view = z.conj().imag
    assert view.is_neg()
    with use_backend("cpu"):
        y = bias_act(view, act="tanh")
    assert spy.ran == ["bias_act_forward"]
    torch.testing.assert_close(y, -z.imag.tanh())


@needs_extension
def test_a_compiled_graph_launches_the_kernel(spy: Spy) -> None:
    with use_backend("auto"):
        torch.compile(lambda t: bias_act(t, act="lrelu"), backend="eager", fullgraph=True)(x())
    assert spy.ran == ["bias_act_forward"]


def library_reference(t: torch.Tensor) -> torch.Tensor:
    with use_backend("reference"):
        return adain(t)


def test_a_missing_extension_means_one_warning_and_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_native", None)
    monkeypatch.setattr(library, "_native_error", "no such file")
    library._not_built.cache_clear()
    library._warn_once.cache_clear()
    try:
        with use_backend("auto"):
            with pytest.warns(RuntimeWarning, match="runs in pure PyTorch, which is slower: .*no such file"):
                adain(x())
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                adain(x())
                bias_act(x())
        with use_backend("cpu"), pytest.raises(RuntimeError, match="the compiled extension is missing"):
            adain(x())
    finally:
        library._not_built.cache_clear()
        library._warn_once.cache_clear()


@pytest.mark.parametrize(
    ("arch", "device", "runs"),
    [("sm_80", (8, 6), True), ("sm_86", (8, 0), False), ("sm_80", (9, 0), False), ("compute_80", (12, 0), True)],
)
def test_machine_code_runs_within_a_major_version_and_ptx_on_everything_newer(
    arch: str, device: tuple[int, int], runs: bool
) -> None:
    assert library._covers(arch, *device) is runs


@needs_extension
def test_an_input_changed_before_the_backward_is_noticed() -> None:
    leaf = x(requires_grad=True)
    with use_backend("cpu"):
        inner = leaf * 1
        y = adain(inner)
    inner.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_environment_variables_choose_and_are_checked() -> None:
    code = (
        "from stylegan_fast.ops import library as l\n"
        "print(l.current_backend(), l.native() and l.native().cpu.capability())"
    )
    assert run_python(code, STYLEGAN_FAST_BACKEND="reference").stdout.startswith("reference ")
    wrong = run_python(code, STYLEGAN_FAST_BACKEND="fast")
    assert "UserError: STYLEGAN_FAST_BACKEND must be one of auto, cuda, cpu, reference, got 'fast'" in wrong.stderr
    if library.native() is not None:
        assert run_python(code, STYLEGAN_FAST_CPU_CAPABILITY="baseline").stdout == "auto baseline\n"
        wrong = run_python(code, STYLEGAN_FAST_CPU_CAPABILITY="sse9")
        assert "STYLEGAN_FAST_CPU_CAPABILITY: this machine or build has no sse9 kernels" in wrong.stderr


@needs_extension
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_kernels_run_on_the_one_openmp_pool_of_the_process() -> None:
    found = run_python(
        "import torch; torch.set_num_threads(3); torch.randn(1 << 20).add(1)\n"
        "import os; before = len(os.listdir('/proc/self/task'))\n"
        "from stylegan_fast.ops import adain, use_backend, library\n"
        "with use_backend('cpu'): adain(torch.randn(8, 64, 32, 32))\n"
        "maps = {l.split()[-1] for l in open('/proc/self/maps') if 'gomp' in l or 'iomp' in l}\n"
        "print(library.shares_threads, len(os.listdir('/proc/self/task')) - before, len(maps))"
    )
    assert found.stdout == "True 0 1\n", found.stderr
