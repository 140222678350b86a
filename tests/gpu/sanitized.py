"""Runs every kernel at tiny sizes, for compute-sanitizer: ``compute-sanitizer --tool memcheck python -m
tests.gpu.sanitized``.

With PYTORCH_NO_CUDA_MEMORY_CACHING=1 every tensor is an allocation of its own, so that one element beyond it is seen,
and what no kernel wrote is known to be uninitialised. With ``PART PARTS`` behind, every so manieth workload alone.
"""

from __future__ import annotations

import sys

import torch

from stylegan_fast.ops import use_backend
from tests.ops.cases import DTYPES

from .workloads import TINY, arguments, results


def run(device: torch.device, part: int = 0, parts: int = 1) -> int:
    """Every workload of this part in every dtype, aligned and not; returns how many ran. Raises where a result is not
    finite."""
    cases = 0
    for name, work in list(TINY.items())[part::parts]:
        # The second derivatives of adain are PyTorch's own kernels, dozens of them, and none of ours.
        second = not name.startswith("adain")
        for dtype in DTYPES:
            for offset in (0, 1):
                tensors = arguments(work, device, dtype)
                if offset:  # the first element is not at a 16-byte boundary
                    storage = torch.zeros(tensors[0].numel() + 1, dtype=dtype).to(device)[1:]
                    tensors[0] = storage.as_strided(tensors[0].shape, tensors[0].stride(), 1).copy_(tensors[0])
                for result in results(work, tensors, second):
                    if not result.cpu().isfinite().all():
                        raise ArithmeticError(f"{name}, {dtype}: a result is not finite")
                cases += 1
    return cases


def main() -> int:
    if not torch.cuda.is_available():
        print("sanitized: torch sees no CUDA device", file=sys.stderr)
        return 2
    part, parts = map(int, sys.argv[1:]) if sys.argv[1:] else (0, 1)
    with use_backend("cuda"):
        cases = run(torch.device("cuda"), part, parts)
    torch.cuda.synchronize()
    print(f"sanitized: {cases} cases ran")
    return 0


if __name__ == "__main__":
    sys.exit(main())
