"""Loads the compiled extension and picks the backend: the one place where that is decided."""

from __future__ import annotations

import functools
import importlib
import os
import warnings
from collections.abc import Container
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import torch  # before the extension, which runs on the thread pool torch brings
from torch import Tensor
from torch.autograd import forward_ad as _forward_ad

from stylegan_fast.errors import UserError
from stylegan_fast.fingerprint import fingerprint

BACKENDS = ("auto", "cuda", "cpu", "reference")
COMPILED = ("cuda", "cpu")
PLAIN_TYPES = (Tensor, torch.nn.Parameter)

# The numbers of csrc/api.h.
DTYPE_CODES = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}
LAYOUT_CODES = {torch.contiguous_format: 0, torch.channels_last: 1}


def _load() -> tuple[ModuleType | None, str]:
    """The compiled extension, or None and why there is none."""
    try:
        native = importlib.import_module("_stylegan_fast")
    except ImportError as error:
        return None, str(error)
    csrc = Path(__file__).resolve().parents[2] / "csrc"
    if csrc.is_dir() and fingerprint(csrc) != native.sources:
        return None, f"{native.__file__} was compiled from other sources than {csrc}; run `pip install .` there again"
    return native, ""


_native, _native_error = _load()


def _checked_name(name: str, source: str) -> str:
    if name not in BACKENDS:
        raise UserError(f"{source} must be one of {', '.join(BACKENDS)}, got {name!r}")
    return name


_wanted = _checked_name(os.environ.get("STYLEGAN_FAST_BACKEND", "auto"), "STYLEGAN_FAST_BACKEND")

# Whether CPU kernels share torch's OpenMP threads; without them they run on the calling thread alone.
shares_threads = _native is not None and _native.cpu.use_pool_of("libtorch_cpu.so")

if _native is not None and os.environ.get("STYLEGAN_FAST_CPU_CAPABILITY"):
    try:
        _native.cpu.set_capability(os.environ["STYLEGAN_FAST_CPU_CAPABILITY"])
    except ValueError as error:
        raise UserError(f"STYLEGAN_FAST_CPU_CAPABILITY: {error}") from None

# Whether kernels are handed tensors and read them themselves, where this torch offers DLPack's C exchange API;
# elsewhere they are handed addresses, sizes and strides.
_exchange = getattr(Tensor, "__dlpack_c_exchange_api__", None)
reads_tensors: bool = _native is not None and _exchange is not None and _native.read_tensors(_exchange, *PLAIN_TYPES)


class use_backend:
    """Chooses the backend of all ops, in every thread: call it, or use it as a context manager to choose for a while.

    ``"auto"`` takes the compiled kernels of the tensor's device where they can run, otherwise the pure-PyTorch
    reference. ``"cuda"`` and ``"cpu"`` are the compiled kernels; an op raises where they cannot run. ``"reference"`` is
    pure PyTorch on any device. The start value is the environment variable ``STYLEGAN_FAST_BACKEND``, else ``"auto"``.
    A backward pass runs on the backend its forward pass ran on.

    Raises:
        UserError: no backend has that name.
    """

    def __init__(self, name: str) -> None:
        global _wanted
        self.name = _checked_name(name, "use_backend")
        self._previous = _wanted
        _wanted = name

    def __enter__(self) -> use_backend:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _wanted
        _wanted = self._previous


def current_backend() -> str:
    """The name last chosen with `use_backend` or the environment."""
    return _wanted


def native() -> ModuleType | None:
    """The compiled extension, or None where it was not built or cannot be loaded."""
    return _native


def obstacle_on(backend: str, device_index: int | None = None) -> str:
    """Says why the compiled kernels of ``"cpu"`` or ``"cuda"`` cannot run on this machine; empty if they can."""
    return _not_built(backend, device_index)


def choose(
    op: str,
    x: Tensor,
    *others: Tensor | None,
    unsupported: str = "",
    dtypes: Container[torch.dtype] = DTYPE_CODES,
) -> str:
    """Returns how this call runs: "cuda" or "cpu", "reference", or "dispatcher".

    "cuda" and "cpu" launch that kernel at once, for real strided tensors in eager mode. "dispatcher" is the op
    registered with torch.library, for everybody who must see an op instead of a pointer: torch.compile and
    torch.export, fake and meta tensors, tensor subclasses, dispatch modes. Who has to see inside the op (torch.func,
    torch.jit.trace, forward-mode differentiation) gets "reference".

    Args:
        op: the op's name, for messages.
        x: the tensor whose device and dtype decide.
        others: the other tensors of the call, where there are any.
        unsupported: what in the arguments no compiled kernel does; empty if nothing.
        dtypes: those of x that the op's kernels take.

    Raises:
        RuntimeError: a backend was named explicitly and cannot run this call.
    """
    if _wanted == "reference":
        return "reference"
    obstacle = unsupported or _transformed()
    if not obstacle:
        if _has_memory(x, *others):
            return backend_for(op, x, _wanted, dtypes)
        obstacle = _unfit(x, _device_type(x) if _wanted == "auto" or x.is_meta else _wanted, dtypes)
        # A graph for another machine keeps the op that was asked for; of a graph for this one, torch makes the best.
        if not obstacle and not (_wanted == "auto" and _native is None):
            return "dispatcher"
    if _wanted == "auto":
        return "reference"
    raise RuntimeError(f"{op}: the backend {_wanted!r} was asked for, but {obstacle}")


def ready(takes: str, x: Tensor, *others: Any) -> str:
    """Returns "cpu" or "cuda" where `choose` would and nothing in the call has to be checked or converted before; else
    an empty string. Faster than `choose` by more than half.

    Args:
        takes: the name of the extension's function that says of these arguments whether kernels take them as they are.
    """
    if torch.compiler.is_compiling() or not reads_tensors or _native is None or _wanted == "reference":
        return ""
    if torch._C._len_torch_dispatch_stack() > 0 or _transformed() or not getattr(_native, takes)(x, *others):
        return ""
    backend, index = ("cpu", None) if x.is_cpu else ("cuda", x.get_device())
    return "" if _wanted not in ("auto", backend) or _not_built(backend, index) else backend


def backend_for(op: str, x: Tensor, wanted: str, dtypes: Container[torch.dtype] = DTYPE_CODES) -> str:
    """Which of "cuda", "cpu" and "reference" runs an op on a real tensor where ``wanted`` of `BACKENDS` is wanted.

    Raises:
        RuntimeError: wanted is a compiled backend and cannot run this call.
    """
    if wanted == "reference":
        return wanted
    backend = _device_type(x) if wanted == "auto" else wanted
    obstacle = _unfit(x, backend, dtypes)
    if not obstacle and backend in COMPILED:
        obstacle = _not_built(backend, None if backend == "cpu" else x.device.index)
        if not obstacle:
            return backend
        if wanted == "auto":
            _warn_once(f"stylegan_fast runs in pure PyTorch, which is slower: {obstacle}")
    if wanted == "auto":
        return "reference"
    raise RuntimeError(f"{op}: the backend {backend!r} was asked for, but {obstacle}")


def _device_type(x: Tensor) -> str:
    return "cpu" if x.is_cpu else "cuda" if x.is_cuda else x.device.type  # the last makes two objects


def _unfit(x: Tensor, backend: str, dtypes: Container[torch.dtype]) -> str:
    """Says why no kernel of this backend takes a tensor like this one; empty if one does."""
    if _device_type(x) != backend:
        return f"x is on {x.device}"
    if x.dtype not in dtypes:
        return f"there is no kernel for {x.dtype}"
    return ""


def _transformed() -> str:
    """Says who has to see the inside of the op; empty if nobody."""
    if torch._C._are_functorch_transforms_active():
        return "a torch.func transform is active"
    if torch.compiler.is_compiling():
        return ""
    if torch._C._is_tracing():
        return "torch.jit is tracing"
    if _forward_ad._current_level >= 0:
        return "forward-mode differentiation is active"
    return ""


def is_eager(*tensors: Tensor | None) -> bool:
    """Whether these are real strided tensors in eager mode that nobody traces or transforms."""
    return not _transformed() and _has_memory(*tensors)


def _has_memory(*tensors: Tensor | None) -> bool:
    """Whether these are real strided tensors in eager mode, which alone have memory to point at."""
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() > 0:
        return False
    for tensor in tensors:
        if tensor is not None and (
            type(tensor) not in PLAIN_TYPES or tensor.is_meta or tensor.is_neg() or tensor.layout != torch.strided
        ):
            return False
    return True


@functools.cache
def _not_built(backend: str, device_index: int | None) -> str:
    """Says why the compiled kernels of this backend cannot run on this device; empty if they can."""
    if _native is None:
        return f"the compiled extension is missing ({_native_error})"
    if backend == "cpu":
        return ""
    if not _native.with_cuda:
        return "it was built without CUDA kernels; put nvcc on PATH or set CUDA_HOME, and install again"
    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    if _native.cuda.driver_version() // 1000 < _native.cuda.runtime_version() // 1000:
        return (
            f"the driver supports CUDA {version_words(_native.cuda.driver_version())}, older than the built-in "
            f"runtime {version_words(_native.cuda.runtime_version())}; update the driver or build with an older nvcc"
        )
    major, minor = torch.cuda.get_device_capability(device_index)
    if not any(_covers(arch, major, minor) for arch in cuda_archs()):
        return (
            f"its CUDA kernels are for {' '.join(cuda_archs())}, not for this device's sm_{major}{minor}; "
            f"install again with STYLEGAN_FAST_CUDA_ARCHS={major}{minor}"
        )
    return ""


def _covers(arch: str, major: int, minor: int) -> bool:
    """Whether code for ``arch`` (sm_80: machine code, runs within one major version; compute_80: PTX) runs there."""
    kind, number = arch.split("_")
    arch_major, arch_minor = divmod(int(number), 10)
    if kind == "sm":
        return arch_major == major and arch_minor <= minor
    return (arch_major, arch_minor) <= (major, minor)


def cuda_archs() -> list[str]:
    """The CUDA architectures inside the extension, as ``sm_NN`` (machine code) and ``compute_NN`` (PTX)."""
    return _native.cuda_archs.split() if _native is not None else []


def version_words(version: int) -> str:
    """CUDA's 12040 as "12.4"."""
    return f"{version // 1000}.{version % 1000 // 10}"


@functools.cache
def _warn_once(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=4)


def address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def launch(backend: str, kernel: str, x: Tensor, *arguments: Any) -> None:
    """Runs a compiled kernel on x's device, on as many threads as torch uses or in the current stream.

    Kernels that have a ``<kernel>_workspace`` function take the address of that many bytes as an extra argument.
    """
    kernels = getattr(_native, backend)
    if backend == "cpu":
        getattr(kernels, kernel)(*arguments, torch.get_num_threads())
        return
    with torch.cuda.device(x.device):
        stream = torch.cuda.current_stream().cuda_stream
        size_of_workspace = getattr(kernels, f"{kernel}_workspace", None)
        if size_of_workspace is None:
            getattr(kernels, kernel)(*arguments, stream)
        else:
            # Freed while the kernel may still run: the allocator hands it out again only in this stream's order.
            workspace = torch.empty(size_of_workspace(*arguments), dtype=torch.uint8, device=x.device)
            getattr(kernels, kernel)(*arguments, workspace.data_ptr(), stream)
