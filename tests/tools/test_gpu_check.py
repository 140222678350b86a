"""tools/gpu_check.py: what it makes of pytest's and compute-sanitizer's words, and that it passes nothing unseen."""

import importlib.util
import json
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest
import torch

from stylegan_fast.ops import use_backend
from tests.gpu import sanitized
from tests.gpu.workloads import TINY, arguments, results
from tests.ops.cases import Spy
from tests.ops.conftest import spy

__all__ = ["spy"]

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "gpu_check.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_check", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


JUNIT = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pytest" errors="1" failures="1" skipped="2" tests="5">
<testcase classname="tests.gpu.test_adain" name="test_a"/>
<testcase classname="tests.gpu.test_adain" name="test_b"><failure message="AssertionError: 2 times"/></testcase>
<testcase classname="tests.gpu.test_large" name="test_c"><skipped message="needs 20 GB"/></testcase>
<testcase classname="tests.gpu.test_large" name="test_d"><skipped message="needs 20 GB"/></testcase>
<testcase classname="tests.gpu.test_streams" name="test_e"><error message="setup"/></testcase>
</testsuite></testsuites>"""


def test_failures_errors_and_skips_are_counted(tool: ModuleType) -> None:
    counts = tool.parse_tests(JUNIT)
    assert (counts["passed"], counts["failed"]) == (1, 2)
    assert counts["failures"][0] == {"test": "tests.gpu.test_adain::test_b", "message": "AssertionError: 2 times"}
    assert counts["skipped"] == {"needs 20 GB": 2}
    assert not tool.judge_tests(counts)


def test_a_run_in_which_everything_was_skipped_is_no_success(tool: ModuleType) -> None:
    assert not tool.judge_tests({"failed": 0, "passed": 0, "skipped": {"no device": 900}})
    assert not tool.judge_tests(tool.parse_tests("<testsuites/>"))
    assert tool.judge_tests({"failed": 0, "passed": 1, "skipped": {"no device": 900}})


RAN = "sanitized: 160 cases ran\n"
CLEAN = f"========= COMPUTE-SANITIZER\n{RAN}========= ERROR SUMMARY: 0 errors\n"
CLEAN_RACECHECK = (
    f"========= COMPUTE-SANITIZER\n{RAN}========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)\n"
)
OUT_OF_BOUNDS = """========= COMPUTE-SANITIZER
========= Invalid __global__ write of size 4 bytes
=========     at void stylegan_fast::cuda::adain_apply<float, (int)1>(stylegan_fast::AdaINForward)+0x4f0
=========     by thread (63,0,0) in block (0,0,0)
=========     Access at 0x7f3c7ec000fc is out of bounds
=========     Saved host backtrace up to driver entry point at kernel launch time
=========         Host Frame: cudaLaunchKernelExC [0x465b5] in _stylegan_fast.so
=========         Host Frame: at::native::copy_ [0x1] in libtorch_cuda.so
=========
"""
RACE = """========= Error: Race reported between Write access at void stylegan_fast::cuda::adain_stats<float>(int)+0x90
=========     and Read access at void stylegan_fast::cuda::adain_stats<float>(int)+0xa0 [2048 hazards]
=========
"""
DIVERGENT = """========= Barrier error detected. Divergent thread(s) in block.
=========     at void stylegan_fast::cuda::adain_stats<float, (int)1>()+0x90
=========     by thread (17,0,0) in block (2,0,0)
========= Barrier error detected. Divergent thread(s) in block.
=========     at void stylegan_fast::cuda::adain_stats<float, (int)1>()+0x90
=========     by thread (18,0,0) in block (2,0,0)
"""
UNWRITTEN = """========= Host API memory access error at host access to 0x7f7fcdc01200 of size 400 bytes
=========     Uninitialized access at 0x7f7fcdc01300 on access by cudaMemcpy source
=========     Saved host backtrace up to driver entry point at error
=========         Host Frame: at::native::copy_ [0x1] in libtorch_cuda.so
"""
FOREIGN = """========= Uninitialized __global__ memory read of size 4 bytes
=========     at void at::native::vectorized_elementwise_kernel<(int)4>(int)+0x70
=========     by thread (31,0,0) in block (1,0,0)
=========         Host Frame: main [0x1] in /home/me/stylegan_fast/.venv/lib/libtorch_cuda.so
========= Program hit CUDA_ERROR_INVALID_VALUE (error 1) due to "invalid argument" on CUDA API call to cuGetProcAddress.
=========     Saved host backtrace up to driver entry point at error
"""


@pytest.mark.parametrize("log", [CLEAN, CLEAN_RACECHECK, FOREIGN + CLEAN])
def test_a_clean_log_passes_and_what_other_libraries_do_is_counted_apart(tool: ModuleType, log: str) -> None:
    counts = tool.parse_sanitizer(log)
    assert tool.judge_sanitizer(counts)
    assert counts["cases"] == 160
    assert counts["reports_on_other_libraries"] == (2 if log.startswith(FOREIGN) else 0)


@pytest.mark.parametrize(
    ("log", "reports", "words"),
    [
        (OUT_OF_BOUNDS, 1, "out of bounds"),
        (RACE, 1, "and Read access"),
        (DIVERGENT, 2, "Divergent"),
        (UNWRITTEN, 1, "cudaMemcpy source"),
        (FOREIGN + RACE + DIVERGENT, 3, "Race reported"),
    ],
)
def test_a_report_on_our_kernels_or_on_unwritten_results_fails(
    tool: ModuleType, log: str, reports: int, words: str
) -> None:
    counts = tool.parse_sanitizer(log + RAN + "========= ERROR SUMMARY: 9 errors\n")
    assert counts["reports"] == reports
    assert words in counts["first_reports"][0]
    assert counts["summary"] == "ERROR SUMMARY: 9 errors"
    assert not tool.judge_sanitizer(counts)


@pytest.mark.parametrize(
    "log",
    [
        "",
        RAN,  # no sanitizer
        "========= ERROR SUMMARY: 0 errors\n",  # no program
        "========= Error: process didn't terminate successfully\n" + CLEAN,
        "========= Internal Sanitizer Error: it didn't track the launch. Errors might go undetected.\n" + CLEAN,
    ],
)
def test_a_sanitizer_or_a_program_that_did_not_finish_fails(tool: ModuleType, log: str) -> None:
    assert not tool.judge_sanitizer(tool.parse_sanitizer(log))


def test_a_step_is_judged_by_its_exit_status_and_its_words(tool: ModuleType, tmp_path: Path) -> None:
    args = tool.argparse.Namespace(timeout=1.0, logs=tmp_path)

    def run(code: str, verdict: bool = True) -> dict:
        return tool.run_step("name", [sys.executable, "-c", code], lambda log: {"log": log}, lambda _: verdict, args)

    assert run("print(7)")["ok"]
    assert (tmp_path / "name.log").read_text() == "7\n"
    assert not run("print(7)", verdict=False)["ok"]
    assert run("raise SystemExit(3)")["rc"] == 3
    late = run("import time; print(8, flush=True); time.sleep(60)")
    assert (late["ok"], late["rc"]) == (False, 124)
    assert "8\n\nstopped after 1.0 seconds" in late["end_of_log"]
    missing = tool.run_step("name", ["/nonexistent/compute-sanitizer"], tool.parse_sanitizer, lambda _: True, args)
    assert (missing["ok"], missing["rc"]) == (False, 127)


def test_the_report_is_written_and_one_failure_is_a_failure(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    failing: list[str] = []

    def run_named(name: str, args: object, part: int = 0) -> dict:
        ran.append(name)
        return {"name": name, "ok": name not in failing, "rc": 0, "seconds": 0.0, "counts": {}}

    monkeypatch.setattr(tool, "device_facts", lambda: {"torch": "2.11", "devices": [{"name": "GPU"}]})
    monkeypatch.setattr(tool, "machine_facts", lambda: {"commit": "abc"})
    monkeypatch.setattr(tool, "output_of", lambda *command: "a: b\nc: d")
    monkeypatch.setattr(tool, "run_named", run_named)
    path = tmp_path / "report.json"
    for wrong, options, status, expected in (
        ([], [], 0, list(tool.STEPS)),
        ([], ["--no-build"], 0, list(tool.STEPS[1:])),
        (["tests"], [], 1, list(tool.STEPS)),
        (["build"], [], 1, ["build"]),
        ([], ["--steps", "racecheck", "tests"], 0, ["tests", "racecheck"]),
        ([], ["--steps", "tests", "memcheck", "--parts", "3"], 0, ["tests", *["memcheck"] * 3]),
    ):
        failing[:] = wrong
        ran.clear()
        assert tool.main([*options, "--json", str(path)]) == status
        assert ran == expected
        report = json.loads(path.read_text())
        assert (report["ok"], report["commit"], report["torch"]) == (status == 0, "abc", "2.11")
        assert [step["name"] for step in report["steps"]] == expected
        assert report["info"] == ["a: b", "c: d"]


def test_jobs_run_side_by_side_and_parts_cover_every_case_once(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both_there = threading.Barrier(2, timeout=30)  # breaks where the second waits for the first to end
    commands = []

    def run_step(name: str, command: list[str], *rest: object, **environment: str) -> dict:
        commands.append((name, command[-2:]))
        both_there.wait()
        return {"name": name, "ok": True, "rc": 0, "seconds": 0.0, "counts": {}}

    monkeypatch.setattr(tool, "run_step", run_step)
    steps: list[dict] = []
    tool.run_all(["memcheck"], tool.argparse.Namespace(parts=2, jobs=2), steps.append)
    assert sorted(commands) == [("memcheck-1-of-2", ["0", "2"]), ("memcheck-2-of-2", ["1", "2"])]
    assert sorted(step["name"] for step in steps) == ["memcheck-1-of-2", "memcheck-2-of-2"]


def test_kernels_of_other_libraries_are_checked_by_initcheck_alone(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_step(name: str, command: list[str], *rest: object, **environment: str) -> dict:
        return {"name": name, "command": command}

    monkeypatch.setattr(tool, "run_step", run_step)
    for name in tool.SANITIZERS:
        command = tool.run_named(name, tool.argparse.Namespace(parts=1, jobs=1))["command"]
        assert command[1:3] == ["--tool", name]
        assert ("kns=stylegan_fast" in command) == (name != "initcheck")


def test_without_a_device_it_says_so_in_one_line_and_returns_two(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert tool.main([]) == 2
    assert capsys.readouterr() == ("", "gpu_check: torch sees no CUDA device on this machine\n")


def test_importing_the_gpu_tests_touches_no_device() -> None:
    code = (
        "import importlib, pathlib, torch\n"
        "def touched(*a): raise SystemExit('CUDA was initialised')\n"
        "torch.cuda._lazy_init = touched\n"
        "names = sorted(p.stem for p in pathlib.Path('tests/gpu').glob('*.py'))\n"
        "assert 'sanitized' in names and len(names) >= 10, names\n"
        "for name in names: importlib.import_module('tests.gpu.' + name)\n"
        "assert not torch.cuda.is_initialized()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_is_sanitized_calls_every_kernel(spy: Spy) -> None:
    with use_backend("cpu"):
        device = torch.device("cpu")
        cases = sanitized.run(device)
        assert cases >= 100
        assert sum(sanitized.run(device, part, 3) for part in range(3)) == cases
    everything = {"adain_forward", "adain_backward", "bias_act_forward", "bias_act_backward", "bias_act_second"}
    assert set(spy.ran) == everything | {"philox_normal", "upfirdn2d"}


def test_an_adain_that_is_sanitized_runs_no_kernel_of_another_library() -> None:
    """What PyTorch does around it are allocations, views and copies, for which a device has no kernels of PyTorch's."""
    work = TINY["adain, slab in a block, channels_last"]
    with use_backend("cpu"):
        tensors = arguments(work, torch.device("cpu"))
        with torch.profiler.profile() as profile:
            results(work, tensors, second=False)
    ran = {event.key for event in profile.key_averages() if event.key.startswith("aten::")}
    assert ran
    assert ran <= {"aten::" + name for name in ("detach", "empty", "empty_like", "empty_strided", "new_empty")}
