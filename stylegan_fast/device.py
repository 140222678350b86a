"""Which device a command line runs on."""

from __future__ import annotations

import torch

from stylegan_fast.errors import UserError

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(name: str = "auto") -> torch.device:
    """The device of that name; "auto" is the first of cuda, mps and cpu that this machine has.

    Raises ``UserError`` where a device asked for by name is not there.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind in available if available[kind]))
    if name not in available:
        raise UserError(f"--device {name!r} is not known; choose one of {', '.join(DEVICES)}")
    if not available[name]:
        reason = f"torch {torch.__version__} finds no {name.upper()} device on this machine"
        raise UserError(f"--device {name}: {reason}; use --device cpu or --device auto")
    return torch.device(name)
