"""`fma` with the surface of ``torch_utils.ops.fma``."""

import torch
from torch import Tensor


def fma(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """``a * b + c``, shapes broadcast."""
    return torch.addcmul(c, a, b)
