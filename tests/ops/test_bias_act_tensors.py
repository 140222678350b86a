"""bias_act called with what its kernels take as it is, and with what has to be made so."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stylegan_fast.ops import bias_act, bias_act_reference, library, use_backend

from .cases import DTYPES, laid_out, needs_exchange

pytestmark = needs_exchange

X, B = torch.randn(2, 5, 4, 6), torch.randn(5)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "offset"])
def test_what_needs_no_preparation_gets_none(layout: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    x, b = laid_out(X.to(dtype), layout), B.to(torch.promote_types(dtype, torch.float32))
    with use_backend("cpu"):
        with monkeypatch.context() as patched:
            patched.setattr(library, "choose", None)  # would be called first
            y, without = bias_act(x, torch.nn.Parameter(b), act="lrelu"), bias_act(x, act="relu")
        monkeypatch.setattr(library, "reads_tensors", False)
        assert torch.equal(y, bias_act(x, b, act="lrelu"))
        assert torch.equal(without, bias_act(x, act="relu"))


class Subclass(Tensor):
    pass


@pytest.mark.parametrize(
    ("x", "b"),
    [
        pytest.param(laid_out(X, "transposed"), B, id="transposed"),
        pytest.param(laid_out(X, "channel_slice"), B, id="channel slice"),
        pytest.param(torch._neg_view(X), B, id="negated"),
        pytest.param(X, torch._neg_view(B), id="negated bias"),
        pytest.param(X.as_subclass(Subclass), B, id="subclass"),
        pytest.param(X, B.bfloat16(), id="16 bits beside 32"),
        pytest.param(X, B.double(), id="64 bits beside 32"),
        pytest.param(X, B.repeat_interleave(2)[::2], id="every other bias"),
        pytest.param(X[0].mT, torch.randn(6), id="three dimensions"),
    ],
)
def test_what_needs_preparation_gets_it(x: Tensor, b: Tensor) -> None:
    assert not library.ready("bias_act_takes", x, b)
    with use_backend("cpu"):
        y = bias_act(x, b, act="lrelu")
    expected = bias_act_reference(x, b, act="lrelu")
    torch.testing.assert_close(y.as_subclass(Tensor), expected.as_subclass(Tensor), rtol=1e-5, atol=1e-5)
