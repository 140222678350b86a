"""tools/check_cuda.py lets clean kernels pass and stops spilling, warning and broken ones."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parent.parent.parent / "tools" / "check_cuda.py"
CLEAN = "__global__ void copy(float* to, const float* from) { to[threadIdx.x] = from[threadIdx.x]; }\n"

# 96 live values in 32 registers.
SPILLING = """
__global__ void __launch_bounds__(1024, 2) spilling(float* p) {
  float v[96];
#pragma unroll
  for (int i = 0; i < 96; ++i) v[i] = p[i * 1024 + threadIdx.x];
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 96; ++i) p[(95 - i) * 1024 + threadIdx.x] = v[i] * v[(i * 7) % 96];
}
"""
WARNING = "__global__ void unused(float* p) { int never_read = 3; p[0] = 1; }\n"
BROKEN = "__global__ void broken(float* p) { p[0] = undeclared; }\n"


def check(source: Path, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOL), "--archs", "90", str(source)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="there is no nvcc on PATH")
@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        pytest.param(CLEAN, 0, "1 kernels compiled, 0 complaints", id="clean"),
        pytest.param(SPILLING, 1, "spill stores", id="spilling"),
        pytest.param(WARNING, 1, "never_read", id="warning"),
        pytest.param(BROKEN, 1, "does not compile", id="broken"),
    ],
)
def test_a_source_is_judged(text: str, status: int, said: str, tmp_path: Path) -> None:
    source = tmp_path / "kernel.cu"
    source.write_text(text)
    done = check(source)
    assert done.returncode == status, done.stdout + done.stderr
    assert said in done.stdout


def test_without_nvcc_it_says_so(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("CUDA_HOME", "CUDA_PATH")}
    done = check(tmp_path / "kernel.cu", {**environment, "PATH": str(tmp_path)})
    assert done.returncode == 1
    assert done.stderr.strip() == "check_cuda: no nvcc in CUDA_HOME/bin or on PATH"
