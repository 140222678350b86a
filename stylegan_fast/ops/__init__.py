"""The fused ops, one file each: the formula, the pure-PyTorch reference, the autograd function, the public call."""

from stylegan_fast.ops import dispatcher  # noqa: F401 - registers torch.ops.stylegan_fast
from stylegan_fast.ops.adain import adain
from stylegan_fast.ops.adain_reference import adain_reference
from stylegan_fast.ops.bias_act import bias_act, bias_act_reference
from stylegan_fast.ops.library import use_backend
from stylegan_fast.ops.philox import philox_normal, philox_normal_reference
from stylegan_fast.ops.upfirdn2d import (
    downsample2d,
    filter2d,
    setup_filter,
    upfirdn2d,
    upfirdn2d_reference,
    upsample2d,
)

__all__ = [
    "adain",
    "adain_reference",
    "bias_act",
    "bias_act_reference",
    "downsample2d",
    "filter2d",
    "philox_normal",
    "philox_normal_reference",
    "setup_filter",
    "upfirdn2d",
    "upfirdn2d_reference",
    "upsample2d",
    "use_backend",
]
