"""All tests here need a CUDA device, and run on the compiled CUDA kernels: the backend is named, nothing falls back."""

from collections.abc import Iterator

import pytest
import torch

from stylegan_fast.ops import library, use_backend


@pytest.fixture(autouse=True)
def cuda_kernels() -> Iterator[None]:
    """Skips where there is no device; fails where there is one that the kernels cannot use."""
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    if obstacle := library.obstacle_on("cuda", torch.cuda.current_device()):
        pytest.fail(f"there is a device, but {obstacle}")
    # Convolutions and matrix products around the ops are to be fp32 where they say so.
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with use_backend("cuda"):
            yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
