"""The build: what the extension holds and links, and how setup.py answers what it cannot do."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from stylegan_fast.ops import library

ROOT = Path(__file__).resolve().parents[1]
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads ELF files")
needs_checkout = pytest.mark.skipif(not (ROOT / "setup.py").is_file(), reason="needs the source tree")


def built() -> Path:
    native = library.native()
    if native is None:
        pytest.skip("the extension was not built")
    return Path(native.__file__)


def test_the_extension_is_there_unless_it_was_left_out_on_purpose() -> None:
    if os.environ.get("STYLEGAN_FAST_BUILD") == "none":
        pytest.skip("STYLEGAN_FAST_BUILD=none")
    assert library.native() is not None, library.obstacle_on("cpu")


@linux
def test_nothing_of_torch_or_openmp_is_included_or_linked() -> None:
    symbols = subprocess.run(["nm", "-DC", built()], capture_output=True, text=True, check=True).stdout
    assert "PyInit__stylegan_fast" in symbols
    for foreign in ("at::", "c10::", "torch::", "GOMP_", "omp_"):
        assert foreign not in symbols
    needed = subprocess.run(["readelf", "-d", built()], capture_output=True, text=True, check=True).stdout
    libraries = [line for line in needed.splitlines() if "(NEEDED)" in line]
    assert libraries
    assert not [line for line in libraries if any(word in line for word in ("torch", "gomp", "omp5", "cudart"))]


@linux
def test_nothing_but_the_module_itself_is_exported() -> None:
    defined = subprocess.run(
        ["nm", "-DC", "--defined-only", built()], capture_output=True, text=True, check=True
    ).stdout
    exported = [line.split(maxsplit=2)[2] for line in defined.splitlines() if line.split()[1] == "T"]
    assert [name for name in exported if "stylegan_fast" in name] == ["PyInit__stylegan_fast"]


@linux
@needs_checkout
@pytest.mark.slow
@pytest.mark.parametrize("source", ["adain.cpp", "bias_act.cpp", "upfirdn2d.cpp"])
def test_code_for_one_instruction_set_defines_nothing_the_linker_could_share(source: str, tmp_path: Path) -> None:
    setup = setup_module()
    flags = [*setup.HOST_FLAGS, *setup.KERNEL_FLAGS, "-DSTYLEGAN_FAST_ISA=here"]
    target = tmp_path / "object.o"
    subprocess.run([*setup.cxx_compiler(), *flags, "-c", ROOT / "csrc/cpu" / source, "-o", target], check=True)
    defined = subprocess.run(["nm", "-C", "--defined-only", target], capture_output=True, text=True, check=True).stdout
    kinds = {line.split()[1] for line in defined.splitlines()}
    assert "T" in kinds
    assert not kinds & set("WVu"), [line for line in defined.splitlines() if line.split()[1] in "WVu"]


def setup_module():
    """setup.py's functions, without running setup()."""
    pytest.importorskip("setuptools")
    text = (ROOT / "setup.py").read_text().rsplit("\nsources = ", 1)[0]
    module = type(sys)("setup_of_stylegan_fast")
    module.__file__ = str(ROOT / "setup.py")
    sys.modules[module.__name__] = module
    exec(compile(text, module.__file__, "exec"), module.__dict__)
    return module


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what setup.py needs, to break."""
    pytest.importorskip("setuptools", minversion="77")
    if not (ROOT / "setup.py").is_file():
        pytest.skip("needs the source tree")
    copy = tmp_path / "tree"
    (copy / "stylegan_fast").mkdir(parents=True)
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "LICENSE", "README.md"):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, copy)
        else:
            (copy / name).touch()
    for name in ("__init__.py", "fingerprint.py", "version.py"):
        shutil.copy(ROOT / "stylegan_fast" / name, copy / "stylegan_fast")
    shutil.copytree(ROOT / "csrc", copy / "csrc")
    return copy


def run_setup(tree: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("STYLEGAN_FAST_", "CUDA_"))} | environment
    return subprocess.run(
        [sys.executable, "setup.py", *arguments], cwd=tree, env=env, capture_output=True, text=True, check=False
    )


def last_line(finished: subprocess.CompletedProcess) -> str:
    return finished.stderr.strip().splitlines()[-1]


def fake_nvcc(tree: Path, release: str) -> str:
    """A CUDA_HOME whose nvcc claims to be of that release and to know two architectures."""
    home = tree / "cuda"
    (home / "bin").mkdir(parents=True)
    nvcc = home / "bin" / "nvcc"
    nvcc.write_text(f"#!/bin/sh\n[ $1 = --version ] && echo 'Cuda tools, release {release}, V{release}.1'\n"
                    "[ $1 = --list-gpu-arch ] && printf 'compute_80\\ncompute_90\\n'\nexit 0\n")  # fmt: skip
    nvcc.chmod(0o755)
    return str(home)


def test_pure_python_needs_no_compiler(tree: Path) -> None:
    finished = run_setup(tree, "build", STYLEGAN_FAST_BUILD="none", PATH="/nonexistent", CXX="/nonexistent/g++")
    assert finished.returncode == 0, finished.stderr
    assert list(tree.glob("build/lib*/stylegan_fast/version.py"))
    assert not list(tree.rglob("*.so"))


def test_an_unknown_choice_is_refused_in_one_line(tree: Path) -> None:
    finished = run_setup(tree, "build", STYLEGAN_FAST_BUILD="gpu")
    assert finished.returncode != 0
    assert last_line(finished).endswith("STYLEGAN_FAST_BUILD must be auto, cuda, cpu or none, got 'gpu'")


def test_a_missing_compiler_is_named_in_one_line(tree: Path) -> None:
    finished = run_setup(tree, "build_ext", STYLEGAN_FAST_BUILD="cpu", PATH="/nonexistent", CXX="")
    assert finished.returncode != 0
    assert last_line(finished).startswith("error: no C++ compiler was found: install g++, set CXX, or set STYLEGAN")


@linux
@pytest.mark.parametrize(
    ("release", "environment", "words"),
    [
        ("10.1", {}, "is too old: install CUDA 11.8 or newer and set CUDA_HOME to it, or STYLEGAN_FAST_BUILD=cpu"),
        ("12.4", {"STYLEGAN_FAST_CUDA_ARCHS": "80;120"}, "cannot compile for sm_120, only for 80 90: set STYLEGAN"),
        ("12.4", {"STYLEGAN_FAST_CUDA_ARCHS": "hopper"}, "must be numbers like \"80 90\", got 'hopper'"),
        ("none", {}, "names no CUDA release; set CUDA_HOME to a CUDA toolkit, or STYLEGAN_FAST_BUILD=cpu installs"),
    ],
)
def test_a_wrong_nvcc_is_answered_with_one_line_that_says_what_to_do(
    release: str, environment: dict[str, str], words: str, tree: Path
) -> None:
    (tree / "csrc/cuda").mkdir(exist_ok=True)
    (tree / "csrc/cuda/any.cu").touch()
    finished = run_setup(tree, "build_ext", CUDA_HOME=fake_nvcc(tree, release), **environment)
    assert finished.returncode != 0
    assert last_line(finished).startswith("error: ")
    assert words in last_line(finished)


@linux
def test_a_cuda_home_without_nvcc_is_named(tree: Path) -> None:
    (tree / "csrc/cuda").mkdir(exist_ok=True)
    (tree / "csrc/cuda/any.cu").touch()
    finished = run_setup(tree, "build_ext", CUDA_HOME="/nonexistent")
    assert "CUDA_HOME is /nonexistent, but there is no /nonexistent/bin/nvcc" in last_line(finished)


def test_the_source_archive_holds_the_kernels(tree: Path) -> None:
    finished = run_setup(tree, "sdist", STYLEGAN_FAST_BUILD="cpu")
    assert finished.returncode == 0, finished.stderr
    (archive,) = (tree / "dist").iterdir()
    with tarfile.open(archive) as opened:
        names = {name.split("/", 1)[-1] for name in opened.getnames()}
    sources = {str(p.relative_to(tree)) for p in (tree / "csrc").rglob("*") if p.is_file()}
    assert sources
    assert sources <= names


@pytest.mark.slow
def test_a_compile_error_fails_the_install_and_shows_the_compilers_words(tree: Path) -> None:
    pytest.importorskip("pybind11")
    pytest.importorskip("ninja")
    for source in (tree / "csrc").rglob("*.cpp"):
        source.write_text("")
    (tree / "csrc/status.cpp").write_text("int broken = there_is_no_such_thing;\n")
    finished = run_setup(tree, "build_ext", STYLEGAN_FAST_BUILD="cpu")
    assert finished.returncode != 0
    assert "there_is_no_such_thing" in finished.stdout
    assert last_line(finished).startswith(
        "error: the kernels of csrc/ did not compile; the compiler's message is above"
    )
