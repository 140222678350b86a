"""The convolution with derivatives of every order on a CUDA device, where it takes the place of torch's."""

import pytest
import torch
from torch.nn import functional

from stylegan_fast.ops.convolution import conv2d, conv_transpose2d
from tests.ops import test_convolution as matrix

from .device import back, there

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("stride", "padding", "size"), matrix.WAYS)
@pytest.mark.parametrize("transposed", [False, True])
def test_derivatives_of_three_orders_are_those_of_torch_on_the_cpu(
    transposed: bool, stride: int, padding: int, size: tuple[int, int], channels_last: bool
) -> None:
    ours, theirs = (conv_transpose2d, functional.conv_transpose2d) if transposed else (conv2d, functional.conv2d)
    x = matrix.drawn(2, 3, 6, 8, channels_last=channels_last)
    weight = matrix.drawn(*((3, 5) if transposed else (5, 3)), *size) / 4
    found = matrix.third_order(lambda x, w: ours(x, w, stride, padding), there(x), there(weight))
    expected = matrix.third_order(lambda x, w: theirs(x, w, stride=stride, padding=padding), x, weight)
    for mine, exact in zip(back(found), expected, strict=True):
        torch.testing.assert_close(mine, exact, rtol=1e-9, atol=1e-10)
