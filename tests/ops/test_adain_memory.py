"""What a layer epilogue keeps for its backward pass."""

import pytest
import torch
from torch import Tensor

from stylegan_fast.layers import LayerEpilogue
from stylegan_fast.ops import library, use_backend

needs_extension = pytest.mark.skipif(library.native() is None, reason="the extension was not built")


def saved_by(epilogue: LayerEpilogue, x: Tensor, noise: Tensor) -> dict[int, int]:
    """The size of each memory saved, by its address."""
    saved: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    w = torch.randn(x.shape[0], 8)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = epilogue(x, w, noise)
    assert y.requires_grad
    return saved


@needs_extension
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_an_epilogue_saves_one_plane_sized_tensor_and_that_is_its_input(
    dtype: torch.dtype, layout: torch.memory_format
):
    n, c, size = 2, 64, 32
    x = torch.randn(n, c, size, size, dtype=dtype).contiguous(memory_format=layout).requires_grad_()
    noise = torch.randn(n, 1, size, size)
    with use_backend("cpu"):
        saved = saved_by(LayerEpilogue(c, w_dim=8), x, noise)
    x_bytes = saved.pop(x.untyped_storage().data_ptr())
    assert x_bytes == x.numel() * x.element_size()
    # The noise map, shared by all channels, and numbers per plane and channel.
    assert sum(saved.values()) < 0.15 * x_bytes


def test_the_reference_saves_several_so_that_the_count_can_fail():
    x = torch.randn(2, 64, 32, 32, requires_grad=True)
    with use_backend("reference"):
        saved = saved_by(LayerEpilogue(64, w_dim=8), x, torch.randn(2, 1, 32, 32))
    assert sum(size >= x.numel() * 4 for size in saved.values()) >= 2
