"""The device these tests run on, and the way there and back. Importing this touches no device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

DEVICE = torch.device("cuda")


def there(value: Any) -> Any:
    """The same tensor, or list or dict of tensors, on the device."""
    return _moved(value, DEVICE)


def back(value: Any) -> Any:
    """The same on the CPU, where the truth is computed."""
    return _moved(value, torch.device("cpu"))


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, dict):
        return {name: _moved(item, device) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_moved(item, device) for item in value]
    return value.to(device) if isinstance(value, Tensor) else value
