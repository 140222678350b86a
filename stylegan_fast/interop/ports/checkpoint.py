"""What both ports' checkpoints are read with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from stylegan_fast.errors import UserError

# Arguments, tensors and switches of one of our networks; a switch with its reason.
Translated = tuple[dict[str, Any], dict[str, Tensor], list[str]]
Translators = dict[str, Callable[[], Translated]]

_MOST_RESOLUTIONS = 9


def tensors_under(content: Mapping[str, Any], key: str | None) -> dict[str, Tensor]:
    """The floating point tensors of a state dict, or of the one under `key`; none where there is no such thing."""
    state = content if key is None else content.get(key)
    if not isinstance(state, Mapping):
        return {}
    return {
        str(name).removeprefix("module."): value.detach().float()
        for name, value in state.items()
        if isinstance(value, Tensor) and value.is_floating_point()
    }


def length(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """Of the module list whose tensors begin with `prefix`, a number and a dot."""
    found = [name[len(prefix) :].split(".")[0] for name in tensors if name.startswith(prefix)]
    return 1 + max((int(index) for index in found if index.isdecimal() and len(index) < 4), default=-1)


def checked_stages(stages: int) -> int:
    """The number of resolutions from 4 up."""
    if not 2 <= stages <= _MOST_RESOLUTIONS:
        raise UserError(f"it has {stages} resolutions, expected 2 to {_MOST_RESOLUTIONS}")
    return stages


def sizes(widths: list[int]) -> dict[str, int]:
    """Arguments for feature maps at 4, 8, 16, ... that are ``min(2 * channel_base / r, channel_max)``."""
    finest = 2 << len(widths)
    return {"img_resolution": finest, "channel_base": widths[-1] * finest // 2, "channel_max": widths[0]}
