"""`upfirdn2d` and its relatives with the surface of ``torch_utils.ops.upfirdn2d``; see `stylegan_fast.ops.upfirdn2d`.

The names with an underscore are those that modules of the projects import from there.
"""

from stylegan_fast.ops.upfirdn2d import _filter_size as _get_filter_size
from stylegan_fast.ops.upfirdn2d import _padding_sides as _parse_padding
from stylegan_fast.ops.upfirdn2d import _pair, downsample2d, filter2d, setup_filter, upfirdn2d, upsample2d

__all__ = ["_get_filter_size", "_parse_padding", "downsample2d", "filter2d", "setup_filter", "upfirdn2d", "upsample2d"]


def _parse_scaling(scaling: int | list[int] | tuple[int, int]) -> tuple[int, int]:
    return _pair("scaling", scaling)


def _init() -> bool:
    """Whether the op can run: there is nothing to compile."""
    return True
