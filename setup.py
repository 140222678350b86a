"""Builds csrc/ into the module _stylegan_fast through ninja; everything else about the package is in pyproject.toml.

The module stands beside the package, not in it: so a checkout installed with ``pip install .`` finds its kernels
also when Python, started in the checkout, imports the package from there.

STYLEGAN_FAST_BUILD      auto (default): CUDA kernels if there is an nvcc, CPU kernels always; cuda: fail without nvcc;
                         cpu: no CUDA; none: pure Python, no compiler needed
STYLEGAN_FAST_CUDA_ARCHS compute capabilities to compile for, e.g. "80 90"; default: those of the GPUs in this machine,
                         without any GPU all that nvcc knows of 75 80 86 89 90 100 120
CXX, CUDA_HOME, MAX_JOBS which compiler, which CUDA, how many compilations at a time
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, SetupError

ROOT = Path(__file__).resolve().parent
CSRC = ROOT / "csrc"
sys.path.insert(0, str(ROOT))
from stylegan_fast.fingerprint import fingerprint  # noqa: E402

HOST_FLAGS = ["-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra"]
# Contraction is off because a value computed twice must be the same number twice (csrc/cpu/simd.h); trapping math would
# keep the compiler from vectorising a choice. NaN and infinity keep their meaning: this is not -ffast-math.
# How vectors are passed to functions differs between instruction sets (-Wno-psabi); none leaves its object file here.
KERNEL_FLAGS = ["-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-fopenmp-simd", "-fno-exceptions"]
KERNEL_FLAGS += ["-Wno-psabi"]
AVX2 = ["-mavx2", "-mfma", "-mf16c"]
X86_FLAGS = {"baseline": [], "avx2": AVX2, "avx512": [*AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"]}
PER_ISA = ("adain.cpp", "bias_act.cpp", "philox.cpp", "upfirdn2d.cpp")

OLDEST_CUDA = (11, 8)
CUDA_ARCHS = (75, 80, 86, 89, 90, 100, 120)
INSTEAD = "STYLEGAN_FAST_BUILD=cpu installs the CPU kernels alone"


def wanted() -> str:
    choice = os.environ.get("STYLEGAN_FAST_BUILD", "auto")
    if choice not in ("auto", "cuda", "cpu", "none"):
        raise SetupError(f"STYLEGAN_FAST_BUILD must be auto, cuda, cpu or none, got {choice!r}")
    if choice == "auto" and sys.platform == "win32":
        print("stylegan_fast: no kernels are built on Windows; the ops run in pure PyTorch")
        return "none"
    return choice


def output_of(*command: str) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        words = getattr(error, "stderr", None) or str(error)
        raise SetupError(f"{shlex.join(command)} failed: {' '.join(words.split())}") from None


class Nvcc:
    """The CUDA compiler, and the architectures it is to compile for."""

    def __init__(self, path: str) -> None:
        self.path = path
        found = re.search(r"release (\d+)\.(\d+)", output_of(path, "--version"))
        if not found:
            raise SetupError(f"{path} --version names no CUDA release; set CUDA_HOME to a CUDA toolkit, or {INSTEAD}")
        self.version = int(found[1]), int(found[2])
        if self.version < OLDEST_CUDA:
            raise SetupError(
                f"nvcc {found[1]}.{found[2]} at {path} is too old: install CUDA {OLDEST_CUDA[0]}.{OLDEST_CUDA[1]} "
                f"or newer and set CUDA_HOME to it, or {INSTEAD}"
            )
        self.archs = self._archs()

    @classmethod
    def find(cls) -> Nvcc | None:
        for variable in ("CUDA_HOME", "CUDA_PATH"):
            if home := os.environ.get(variable):
                path = Path(home) / "bin" / "nvcc"
                if not path.is_file():
                    raise SetupError(f"{variable} is {home}, but there is no {path}; unset it or correct it")
                return cls(str(path))
        path_found = shutil.which("nvcc")
        return cls(path_found) if path_found else None

    def _archs(self) -> list[int]:
        known = sorted({int(n) for n in re.findall(r"compute_(\d+)\b", output_of(self.path, "--list-gpu-arch"))})
        asked_for = _given_archs() or _archs_of_gpus()
        unknown = [arch for arch in asked_for if arch not in known]
        if unknown:
            raise SetupError(
                f"nvcc {self.version[0]}.{self.version[1]} at {self.path} cannot compile for sm_{unknown[0]}, only for "
                f"{' '.join(map(str, known))}: set STYLEGAN_FAST_CUDA_ARCHS, install another CUDA, or {INSTEAD}"
            )
        return asked_for or [arch for arch in CUDA_ARCHS if arch in known]

    @property
    def arch_flags(self) -> list[str]:
        machine_code = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in self.archs]
        newest = self.archs[-1]
        return [*machine_code, f"-gencode=arch=compute_{newest},code=compute_{newest}"]

    @property
    def arch_names(self) -> str:
        return " ".join([f"sm_{a}" for a in self.archs] + [f"compute_{self.archs[-1]}"])


def _given_archs() -> list[int]:
    words = re.split(r"[\s,;]+", os.environ.get("STYLEGAN_FAST_CUDA_ARCHS", "").strip())
    numbers = [word.replace(".", "") for word in words if word]
    if not all(number.isdigit() for number in numbers):
        raise SetupError(f'STYLEGAN_FAST_CUDA_ARCHS must be numbers like "80 90", got {" ".join(words)!r}')
    return sorted({int(number) for number in numbers})


def _archs_of_gpus() -> list[int]:
    smi = shutil.which("nvidia-smi")
    if not smi:
        return []
    # A machine with the tool but without a working driver is a machine without a GPU.
    seen = subprocess.run(
        [smi, "--query-gpu=compute_cap", "--format=csv,noheader"], check=False, capture_output=True, text=True
    )
    return sorted({int(major + minor) for major, minor in re.findall(r"^(\d+)\.(\d+)\s*$", seen.stdout, re.M)})


def cxx_compiler() -> list[str]:
    if given := os.environ.get("CXX"):
        return shlex.split(given)
    for name in ("c++", "g++", "clang++"):
        if path := shutil.which(name):
            return [path]
    raise SetupError("no C++ compiler was found: install g++, set CXX, or set STYLEGAN_FAST_BUILD=none for pure Python")


class BuildFile:
    """A build.ninja in the making: one edge an object, one for the link."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.objects: list[Path] = []
        self.text = "ninja_required_version = 1.5\nbuilddir = .\n"

    @staticmethod
    def _path(path: Path) -> str:
        return str(path).replace("$", "$$").replace(" ", "$ ").replace(":", "$:")

    def _edge(self, command: Sequence[str], inputs: Sequence[Path], output: Path, extra: str = "") -> None:
        number = len(self.objects)
        line = shlex.join(command).replace("$", "$$")
        self.text += f"rule r{number}\n  command = {line}\n  description = {output.name}\n{extra}"
        self.text += f"build {self._path(output)}: r{number} {' '.join(map(self._path, inputs))}\n"

    def compile(self, compiler: Sequence[str], source: Path, tag: str = "") -> None:
        output = self.folder / f"{source.parent.name}.{source.name}{tag and '.' + tag}.o"
        dependencies = f"{output}.d"
        command = [*compiler, "-MMD", "-MF", dependencies, "-c", str(source), "-o", str(output)]
        self._edge(command, [source], output, f"  deps = gcc\n  depfile = {dependencies}\n")
        self.objects.append(output)

    def link(self, linker: Sequence[str], output: Path, libraries: Sequence[str]) -> None:
        self._edge([*linker, *map(str, self.objects), *libraries, "-o", str(output)], self.objects, output)

    def run(self) -> None:
        (self.folder / "build.ninja").write_text(self.text)
        jobs = ["-j", os.environ["MAX_JOBS"]] if os.environ.get("MAX_JOBS") else []
        # Unbuffered from here on, so that the compiler's words come in order and reach the person.
        sys.stdout.flush()
        finished = subprocess.run([sys.executable, "-m", "ninja", "-C", str(self.folder), *jobs], check=False)
        if finished.returncode:
            raise CompileError(
                "the kernels of csrc/ did not compile; the compiler's message is above "
                "(STYLEGAN_FAST_BUILD=none installs without them)"
            )


class BuildNative(build_ext):
    def build_extension(self, ext: Extension) -> None:
        import pybind11  # here, because STYLEGAN_FAST_BUILD=none needs none

        folder = Path(self.build_temp).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        output = Path(self.get_ext_fullpath(ext.name)).resolve()
        output.parent.mkdir(parents=True, exist_ok=True)

        nvcc = self._nvcc()
        cxx = cxx_compiler()
        x86 = platform.machine().lower() in ("x86_64", "amd64")
        build = BuildFile(folder)
        host = [*cxx, *HOST_FLAGS, *(["-DSTYLEGAN_FAST_WITH_X86"] if x86 else [])]
        for name in ("status.cpp", "check.cpp", "cpu/dispatch.cpp", "cpu/pages.cpp", "cpu/parallel.cpp"):
            build.compile(host, CSRC / name)
        for isa, flags in (X86_FLAGS if x86 else {"baseline": []}).items():
            for name in PER_ISA:
                build.compile([*host, *KERNEL_FLAGS, *flags, f"-DSTYLEGAN_FAST_ISA={isa}"], CSRC / "cpu" / name, isa)

        for_bindings = [
            f"-I{pybind11.get_include()}",
            f"-I{sysconfig.get_paths()['include']}",
            f'-DSTYLEGAN_FAST_SOURCES="{fingerprint(CSRC)}"',
        ]
        shared = ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]
        libraries = [] if sys.platform == "darwin" else ["-ldl"]
        if nvcc is None:
            build.compile([*host, *for_bindings], CSRC / "bindings.cpp")
            build.link([*cxx, *shared], output, libraries)
        else:
            # nvcc drives the host compiler where CUDA's headers and libraries are needed: it knows where they are.
            driver = [nvcc.path, f"-ccbin={cxx[0]}"]
            through = [f"-Xcompiler={flag}" for flag in HOST_FLAGS if flag not in ("-std=c++17", "-O3")]
            with_cuda = ["-DSTYLEGAN_FAST_WITH_CUDA", f'-DSTYLEGAN_FAST_CUDA_ARCHS="{nvcc.arch_names}"']
            build.compile([*driver, "-std=c++17", "-O3", *through, *with_cuda, *for_bindings], CSRC / "bindings.cpp")
            device = [*driver, "-std=c++17", "-O3", "-Xcompiler=-fPIC,-fvisibility=hidden", *nvcc.arch_flags]
            for source in sorted((CSRC / "cuda").glob("*.cu")):
                build.compile(device, source)
            build.link([*driver, *shared, "-cudart=static"], output, ["-ldl", "-lrt", "-lpthread"])
        build.run()

    @staticmethod
    def _nvcc() -> Nvcc | None:
        choice = wanted()
        if choice == "cpu":
            return None
        kernels = list((CSRC / "cuda").glob("*.cu"))
        nvcc = Nvcc.find() if kernels else None
        if nvcc is None and choice == "cuda":
            missing = "csrc/cuda has no kernels" if not kernels else "no nvcc was found on PATH or in CUDA_HOME"
            raise SetupError(f"STYLEGAN_FAST_BUILD=cuda, but {missing}: install the CUDA toolkit, or {INSTEAD}")
        what = f"CUDA kernels for {nvcc.arch_names}, and CPU kernels" if nvcc else "CPU kernels alone"
        print(f"stylegan_fast: building {what}", flush=True)
        return nvcc


sources = [str(path.relative_to(ROOT)) for path in sorted(CSRC.rglob("*")) if path.suffix in (".cpp", ".cu")]
setup(
    cmdclass={"build_ext": BuildNative},
    ext_modules=[] if wanted() == "none" else [Extension("_stylegan_fast", sources)],
)
