"""Wrong arguments are refused before any kernel runs, naming op, argument, what came and what was expected."""

import re
from typing import Any

import pytest
import torch

from stylegan_fast.ops import (
    adain,
    adain_reference,
    bias_act,
    bias_act_reference,
    library,
    upfirdn2d,
    upfirdn2d_reference,
    upsample2d,
)

from .cases import Spy, needs_extension

X = torch.zeros(2, 3, 4, 5)
ELSEWHERE = torch.zeros(3, device="meta")

ADAIN: list[tuple[type[Exception], dict[str, Any], str]] = [
    (TypeError, {"x": X.long()}, "adain: x must be a floating point tensor, got a torch.int64 tensor"),
    (TypeError, {"x": [1.0]}, "adain: x must be a floating point tensor, got [1.0] (list)"),
    (ValueError, {"x": X[0]}, "adain: x must be [N, C, H, W], got shape [3, 4, 5]"),
    (ValueError, {"scale": X[:, :2, 0, 0]}, "adain: scale must be [N, C] = [2, 3] or [C] = [3], got shape [2, 2]"),
    (ValueError, {"shift": X[:1, :, 0, 0]}, "adain: shift must be [N, C] = [2, 3] or [C] = [3], got shape [1, 3]"),
    (TypeError, {"scale": 1.0}, "adain: scale must be a floating point tensor, got 1.0 (float)"),
    (ValueError, {"shift": ELSEWHERE}, "adain: shift must be on cpu, where x is, got one on meta"),
    (
        ValueError,
        {"noise": X[:, :1, :, :4], "noise_strength": X[0, :, 0, 0]},
        "adain: noise must be [N, 1, H, W] = [2, 1, 4, 5] or [1, 1, 4, 5], got shape [2, 1, 4, 4]",
    ),
    (
        ValueError,
        {"noise": X[:, :1], "noise_strength": X[0, 0, 0]},
        "adain: noise_strength must be [C] = [3], got shape [5]",
    ),
    (ValueError, {"noise": X[:, :1]}, "adain: noise_strength must be given together with noise, got None"),
    (
        ValueError,
        {"noise_strength": torch.zeros(3)},
        "adain: noise must be given together with noise_strength, got None",
    ),
    (ValueError, {"bias": X[0, 0, 0]}, "adain: bias must be [C] = [3], got shape [5]"),
    (TypeError, {"bias": torch.zeros(3, dtype=torch.complex64)}, "adain: bias must be a floating point tensor, got a"),
    (ValueError, {"eps": -1e-8}, "adain: eps must be at least 0, got -1e-08"),
]
BIAS_ACT: list[tuple[type[Exception], dict[str, Any], str]] = [
    (TypeError, {"x": X.bool()}, "bias_act: x must be a floating point tensor, got a torch.bool tensor"),
    (ValueError, {"b": torch.zeros(4)}, "bias_act: b must be [x.shape[1]] = [3], got shape [4]"),
    (ValueError, {"b": torch.zeros(1, 3)}, "bias_act: b must be [x.shape[1]] = [3], got shape [1, 3]"),
    (ValueError, {"b": torch.zeros(3), "dim": 4}, "bias_act: dim must be a dimension of x, which has 4, got 4"),
    (ValueError, {"b": ELSEWHERE}, "bias_act: b must be on cpu, where x is, got one on meta"),
    (ValueError, {"act": "gelu"}, "bias_act: act must be one of linear, relu, lrelu"),
    (ValueError, {"clamp": -1}, "bias_act: clamp must be at least 0 or None, got -1"),
]
F = torch.ones(2, 2)
UPFIRDN2D: list[tuple[type[Exception], dict[str, Any], str]] = [
    (ValueError, {"x": X[0]}, "upfirdn2d: x must be [N, C, H, W], got shape [3, 4, 5]"),
    (ValueError, {"f": torch.ones(1, 2, 2)}, "upfirdn2d: f must be a tensor [fh, fw] or [taps], or None, got shape"),
    (ValueError, {"f": [1, 2, 1]}, "upfirdn2d: f must be a tensor [fh, fw] or [taps], or None, got [1, 2, 1]"),
    (TypeError, {"f": F.long()}, "upfirdn2d: f must be a floating point tensor, got a torch.int64 tensor"),
    (ValueError, {"f": F.to("meta")}, "upfirdn2d: f must be on cpu, where x is, got one on meta"),
    (ValueError, {"f": torch.ones(0, 2)}, "upfirdn2d: f must be of at least one tap, got shape [0, 2]"),
    (ValueError, {"up": 0}, "upfirdn2d: up must be at least 1, got 0"),
    (ValueError, {"down": [2, -1]}, "upfirdn2d: down must be at least 1, got [2, -1]"),
    (ValueError, {"up": [1, 2, 3]}, "upfirdn2d: up must be an int or 2 ints, got [1, 2, 3]"),
    (TypeError, {"up": 1.5}, "upfirdn2d: up must be an int or 2 ints, got 1.5"),
    (ValueError, {"padding": [1, 2, 3]}, "upfirdn2d: padding must be an int or 2 ints or 4 ints, got [1, 2, 3]"),
    (
        ValueError,
        {"padding": -2},
        "upfirdn2d: f must be no larger than the padded image of 0 x 1 pixels, got 2 x 2 taps",
    ),
]


def cases(table: list) -> list:
    return [pytest.param(*case, id=case[2][:60]) for case in table]


@pytest.mark.parametrize(("kind", "wrong", "words"), cases(ADAIN))
def test_adain_refuses(kind: type[Exception], wrong: dict, words: str, spy: Spy) -> None:
    for op in (adain, adain_reference):
        with pytest.raises(kind, match=re.escape(words)):
            op(**{"x": X, **wrong})
    assert spy.ran == []


@pytest.mark.parametrize(("kind", "wrong", "words"), cases(BIAS_ACT))
def test_bias_act_refuses(kind: type[Exception], wrong: dict, words: str, spy: Spy) -> None:
    for op in (bias_act, bias_act_reference):
        with pytest.raises(kind, match=re.escape(words)):
            op(**{"x": X, **wrong})
    assert spy.ran == []


@pytest.mark.parametrize(("kind", "wrong", "words"), cases(UPFIRDN2D))
def test_upfirdn2d_refuses(kind: type[Exception], wrong: dict, words: str, spy: Spy) -> None:
    for op in (upfirdn2d, upfirdn2d_reference):
        with pytest.raises(kind, match=re.escape(words)):
            op(**{"x": X, "f": F, **wrong})
    assert spy.ran == []


def test_unknown_impl_is_refused() -> None:
    with pytest.raises(ValueError, match="bias_act: impl must be None, 'cuda' or 'ref', got 'fast'"):
        bias_act(X, impl="fast")
    with pytest.raises(ValueError, match="upfirdn2d: impl must be None, 'cuda' or 'ref', got 'fast'"):
        upsample2d(X, F, impl="fast")


@needs_extension
def test_the_native_entry_points_refuse_what_no_kernel_could_accept() -> None:
    cpu = library.native().cpu
    op = [0, 0, 1, 1, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1.0, 1e-8, 1.0]
    with pytest.raises(ValueError, match=re.escape("adain_forward: x is null, for y [1, 1, 2, 2] of float32")):
        cpu.adain_forward(*op, 0, 0, 1)
    with pytest.raises(ValueError, match="adain_forward: there is no dtype 9"):
        cpu.adain_forward(9, *op[1:], 0, 0, 1)
    with pytest.raises(ValueError, match="adain_forward: a size is negative"):
        cpu.adain_forward(0, 0, -1, *op[3:], 0, 0, 1)
    with pytest.raises(ValueError, match="adain_forward: phases make an even height and width"):
        cpu.adain_forward(*op[:5], 3, 1, *op[7:], 0, 0, 1)
    with pytest.raises(ValueError, match="adain_backward: dbias and dnoise_strength need plane_sums, which is null"):
        cpu.adain_backward(0, 0, 2, *op[3:8], 1, *op[9:], 1, 1, 0, 0, 0, 1, 0, 0, 0, 1)
    with pytest.raises(ValueError, match="bias_act_forward: there is no activation 9"):
        cpu.bias_act_forward(0, 9, 4, 1, 1, 0, True, 0.2, 1.0, -1.0, 0, 0, 1)
    with pytest.raises(ValueError, match="bias_act_backward: y is null, for 4 elements of float32"):
        cpu.bias_act_backward(0, 2, 4, 1, 1, 0, True, 0.2, 1.0, -1.0, 1, 0, 0, 1, 0, 1)
    with pytest.raises(ValueError, match="upfirdn2d: the output size does not follow"):
        cpu.upfirdn2d(0, 0, 1, 1, 4, 4, 9, 9, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, False, 1.0, 1, 1, 1, 1)
    with pytest.raises(TypeError, match="too few arguments: 1"):
        cpu.upfirdn2d(0)
    with pytest.raises(TypeError, match="too many arguments: 25"):
        cpu.upfirdn2d(*[0] * 25)
