"""Builds, runs the GPU tests and compute-sanitizer; to be run wherever there is a GPU.

    python tools/gpu_check.py [--no-build] [--steps tests memcheck ...] [--parts N] [--jobs N]
                              [--json PATH] [--logs FOLDER]

Steps: build (`pip install .` with nvcc), tests (`pytest -m gpu`), and memcheck, racecheck, initcheck, synccheck
(compute-sanitizer over tests/gpu/sanitized.py, every kernel at tiny sizes). `--parts 4 --jobs 8` cuts each sanitizer's
work in four and runs eight steps side by side. Exit status 0: all passed; 1: something failed; 2: there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SANITIZERS = ("memcheck", "racecheck", "initcheck", "synccheck")
STEPS = ("build", "tests", *SANITIZERS)
# Kernels of other libraries are left as they are; but initcheck has to see what they write.
ONLY_OURS = {name: ("--kernel-name", "kns=stylegan_fast") for name in SANITIZERS if name != "initcheck"}

# Run by the interpreter that will run the tests: a line of JSON, "null" without a device.
FACTS = """
import json, torch
print(json.dumps({
    "torch": torch.__version__, "torch_cuda": torch.version.cuda,
    "devices": [{"name": p.name, "capability": f"{p.major}.{p.minor}", "gigabytes": round(p.total_memory / 1e9, 1)}
                for p in map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))],
} if torch.cuda.is_available() else None))
"""

# How a report begins; its further lines are indented. And whose kernels it may name that are not ours to answer for.
REPORT = re.compile(r"========= (Invalid|Misaligned|Uninitialized|Barrier|Error|Warning|Host API|Program hit|Internal)")
FOREIGN = re.compile(r"\b(at::|c10::|cub::|thrust::|at_cuda_detail|cutlass|cublas|cudnn)")
SUMMARY = re.compile(r"========= (?:ERROR|RACECHECK) SUMMARY: .*")


def parse_tests(junit: str) -> dict[str, Any]:
    """Counts, failures and reasons for skipping in pytest's JUnit XML."""
    passed, failures, skipped = 0, [], {}
    for case in ElementTree.fromstring(junit).iter("testcase"):
        wrong = [child for child in case if child.tag in ("failure", "error")]
        skip = case.find("skipped")
        name = f"{case.get('classname')}::{case.get('name')}"
        if wrong:
            failures.append({"test": name, "message": (wrong[0].get("message") or "").strip()[:300]})
        elif skip is not None:
            reason = skip.get("message") or ""
            skipped[reason] = skipped.get(reason, 0) + 1
        else:
            passed += 1
    return {"passed": passed, "failed": len(failures), "failures": failures, "skipped": skipped}


def judge_tests(counts: dict[str, Any]) -> bool:
    """Nothing failed, and not everything was skipped."""
    return counts["failed"] == 0 and counts["passed"] > 0


def parse_sanitizer(log: str) -> dict[str, Any]:
    """What compute-sanitizer said: its summary line, the reports about our kernels or nobody's, and how many name a
    kernel of another library or a CUDA call of one."""
    reports: list[list[str]] = []
    inside = False
    for line in log.splitlines():
        if not line.startswith("========="):
            inside = False
        elif REPORT.match(line):
            reports.append([line])
            inside = True
        elif inside:
            reports[-1].append(line)
    ours, others = [], 0
    for report in reports:
        # Host frames follow the device's; they name libraries and folders.
        device = [line for line in report if "Host Frame" not in line and not re.match(r"=========\s+in /", line)]
        text = "\n".join(device)
        if "stylegan_fast::" not in text and (FOREIGN.search(text) or "Program hit" in device[0]):
            others += 1
        else:
            ours.append(text)
    summary = SUMMARY.search(log)
    ran = re.search(r"sanitized: (\d+) cases ran", log)
    return {
        "summary": summary[0].removeprefix("========= ") if summary else None,
        "cases": int(ran[1]) if ran else 0,
        "reports": len(ours),
        "first_reports": ours[:5],
        "reports_on_other_libraries": others,
    }


def judge_sanitizer(counts: dict[str, Any]) -> bool:
    """The program ran to its end under a sanitizer that reached its own, and none of our kernels was reported."""
    return counts["summary"] is not None and counts["cases"] > 0 and counts["reports"] == 0


def output_of(*command: str) -> str:
    """Standard output of a command that may not exist; empty where it fails."""
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def device_facts() -> dict[str, Any] | None:
    answer = output_of(sys.executable, "-c", FACTS)
    return json.loads(answer.splitlines()[-1]) if answer else None


def machine_facts() -> dict[str, Any]:
    nvcc = re.search(r"release ([\d.]+)", output_of("nvcc", "--version"))
    return {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": output_of("git", "rev-parse", "HEAD") or "unknown",
        "uncommitted_changes": bool(output_of("git", "status", "--porcelain")),
        "driver": output_of("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader") or "unknown",
        "nvcc": nvcc[1] if nvcc else "none",
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def find_sanitizer() -> str | None:
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    folders = [os.path.join(home, "bin") for home in homes if home]
    return shutil.which("compute-sanitizer", path=os.pathsep.join([*folders, os.environ.get("PATH", "")]))


def run_step(
    name: str,
    command: list[str],
    counts_of: Callable[[str], dict[str, Any]],
    judge: Callable[[dict[str, Any]], bool],
    args: argparse.Namespace,
    **environment: str,
) -> dict[str, Any]:
    """Runs a command and judges it by its exit status and what it printed."""
    print(f"{name}: {' '.join(command)}", flush=True)
    started = time.monotonic()
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=args.timeout,
        )
        rc, log = done.returncode, done.stdout
    except subprocess.TimeoutExpired as late:
        rc, log = 124, (late.stdout or b"").decode(errors="replace") + f"\nstopped after {args.timeout} seconds\n"
    except OSError as error:
        rc, log = 127, str(error)
    if args.logs:
        args.logs.mkdir(parents=True, exist_ok=True)
        (args.logs / f"{name}.log").write_text(log)
    counts = counts_of(log)
    ok = rc == 0 and judge(counts)
    step = {"name": name, "ok": ok, "rc": rc, "seconds": round(time.monotonic() - started, 1), "counts": counts}
    if not ok:
        step["end_of_log"] = log[-3000:]
        print(log[-3000:])
    print(f"{name}: {'passed' if ok else 'FAILED'} (status {rc}) in {step['seconds']} s", flush=True)
    return step


def run_named(name: str, args: argparse.Namespace, part: int = 0) -> dict[str, Any]:
    if name == "build":
        command = [sys.executable, "-m", "pip", "install", "--no-build-isolation", "--no-deps", "."]
        return run_step(name, command, lambda _: {}, lambda _: True, args, STYLEGAN_FAST_BUILD="cuda")
    if name == "tests":
        with tempfile.TemporaryDirectory() as folder:
            junit = Path(folder) / "junit.xml"
            command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]

            def counts_of(_: str) -> dict[str, Any]:
                return parse_tests(junit.read_text() if junit.exists() else "<testsuites/>")

            return run_step(name, [*command, f"--junitxml={junit}"], counts_of, judge_tests, args)
    sanitizer = find_sanitizer() or "compute-sanitizer"  # which then fails by its name
    command = [sanitizer, "--tool", name, *ONLY_OURS.get(name, ()), sys.executable, "-m", "tests.gpu.sanitized"]
    if args.parts > 1:
        command += [str(part), str(args.parts)]
        name = f"{name}-{part + 1}-of-{args.parts}"
    # Every tensor an allocation of its own: what lies beyond it, and what nothing wrote, is then known.
    return run_step(
        name, command, parse_sanitizer, judge_sanitizer, args, PYTORCH_NO_CUDA_MEMORY_CACHING="1", PYTHONUNBUFFERED="1"
    )


def run_all(names: list[str], args: argparse.Namespace, report: Callable[[dict[str, Any]], None]) -> None:
    """Runs the steps, the build before all others and alone; nothing follows a build that failed."""
    if "build" in names:
        built = run_named("build", args)
        report(built)
        if not built["ok"]:
            return
    parts = {name: range(args.parts if name in SANITIZERS else 1) for name in names if name != "build"}
    with ThreadPoolExecutor(args.jobs) as pool:
        running = [pool.submit(run_named, name, args, part) for name, some in parts.items() for part in some]
        for one in as_completed(running):
            report(one.result())


def at_least_one(word: str) -> int:
    if not word.isdigit() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"must be a number from 1 up, got {word!r}")
    return int(word)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--no-build", action="store_true", help="test what is installed")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS), metavar="STEP", help=" ".join(STEPS))
    parser.add_argument("--parts", type=at_least_one, default=1, help="cut each sanitizer's work into so many steps")
    parser.add_argument("--jobs", type=at_least_one, default=1, help="run so many steps at a time, after the build")
    parser.add_argument("--json", type=Path, help="write machine, steps, counts and seconds here")
    parser.add_argument("--logs", type=Path, help="write each step's whole output into this folder")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds a step may take")
    args = parser.parse_args(arguments)
    devices = device_facts()
    if devices is None:
        print("gpu_check: torch sees no CUDA device on this machine", file=sys.stderr)
        return 2
    report: dict[str, Any] = {**machine_facts(), **devices, "steps": [], "ok": False}

    def finished(step: dict[str, Any]) -> None:
        report["steps"].append(step)
        report["ok"] = all(step["ok"] for step in report["steps"])
        if args.json:  # after every step, so that a machine taken away leaves what it did
            report["info"] = output_of(sys.executable, "-m", "stylegan_fast.info").splitlines()
            args.json.write_text(json.dumps(report, indent=1) + "\n")

    run_all([s for s in STEPS if s in args.steps and not (s == "build" and args.no_build)], args, finished)
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
