"""rosinality's op surface, as its copies in other projects are called."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from stylegan_fast.interop.rosinality import FusedLeakyReLU, fused_leaky_relu, upfirdn2d, upfirdn2d_native

from . import published
from .test_nvlabs import assert_same_to_the_second_derivative, draw
from .test_nvlabs import backend as backend

BLUR = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64
SKEW = torch.tensor([[1.0, 2, 0], [0, -1, 3]])

CALLS = {
    "Blur": (BLUR, {"pad": (2, 1)}),
    "Blur after upsampling": (BLUR * 4, {"pad": (1, 1)}),
    "Upsample": (BLUR * 4, {"up": 2, "down": 1, "pad": (2, 1)}),
    "Downsample": (BLUR, {"up": 1, "down": 2, "pad": (1, 1)}),
    "wavelet": (SKEW, {"down": 2}),
    "inverse wavelet": (SKEW, {"up": 2, "pad": (1, 0, 1, 0)}),
    "augmentation x": (BLUR[:1], {"up": (2, 1), "pad": (3, 2, 0, 0)}),
    "augmentation y": (BLUR[:, :1], {"down": (1, 2), "pad": (0, 0, -1, -2)}),
    "int pad": (SKEW, {"pad": 2}),
    "numbers of NumPy and torch": (SKEW, {"pad": (np.int64(1), torch.tensor(2))}),
}


@pytest.mark.parametrize("call", CALLS)
def test_upfirdn2d_as_the_projects_call_it(call: str, backend: str) -> None:
    kernel, options = CALLS[call]

    def pair(value: int | tuple[int, int]) -> tuple[int, int]:
        return (value, value) if isinstance(value, int) else value

    up, down, pad = pair(options.get("up", 1)), pair(options.get("down", 1)), options.get("pad", (0, 0))
    pad = tuple(int(p) for p in (pad if isinstance(pad, tuple) else (pad,) * 4))
    sides = pad if len(pad) == 4 else pad * 2
    assert_same_to_the_second_derivative(
        lambda x: upfirdn2d(x, kernel, **options),
        lambda x: published.up_fir_down(x, kernel, up, down, sides),
        draw(2, 3, 9, 11),
    )
    x = draw(1, 2, 8, 8)
    assert torch.equal(upfirdn2d_native(x, kernel, *up, *down, *sides), upfirdn2d(x, kernel, up, down, sides))


@pytest.mark.parametrize("shape", [(3, 4), (2, 4, 5, 6), (2, 4, 7)], ids=str)
@pytest.mark.parametrize(("slope", "scale"), [(0.2, math.sqrt(2)), (0.1, 1.0)])
def test_fused_leaky_relu(shape: tuple[int, ...], slope: float, scale: float, backend: str) -> None:
    def theirs(x: Tensor, b: Tensor) -> Tensor:
        return F.leaky_relu(x + b.view(1, -1, *[1] * (x.ndim - 2)), slope) * scale

    x, b = draw(*shape), draw(4, seed=1)
    assert_same_to_the_second_derivative(lambda x, b: fused_leaky_relu(x, b, slope, scale), theirs, x, b)
    torch.testing.assert_close(fused_leaky_relu(x), F.leaky_relu(x, 0.2) * math.sqrt(2))


def test_the_module_takes_the_arguments_of_old_and_new_copies() -> None:
    x = draw(2, 4, 3, 3).float()
    plain = F.leaky_relu(x, 0.2) * math.sqrt(2)
    torch.testing.assert_close(FusedLeakyReLU(4)(x), plain)
    assert list(FusedLeakyReLU(4).state_dict()) == ["bias"]
    without = FusedLeakyReLU(4, bias=False)
    assert without.bias is None
    torch.testing.assert_close(without(x), plain)
    torch.testing.assert_close(FusedLeakyReLU(4, 0.5)(x), F.leaky_relu(x, 0.5) * math.sqrt(2))
    torch.testing.assert_close(FusedLeakyReLU(4, 0.5, 3.0)(x), F.leaky_relu(x, 0.5) * 3)
    torch.testing.assert_close(FusedLeakyReLU(4, True, 0.5, 3.0)(x), F.leaky_relu(x, 0.5) * 3)
    torch.testing.assert_close(FusedLeakyReLU(4, negative_slope=0.5, scale=3.0)(x), F.leaky_relu(x, 0.5) * 3)
