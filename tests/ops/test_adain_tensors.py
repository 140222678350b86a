"""adain called with what its kernels take as it is, read from the tensors themselves; and everything that is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from stylegan_fast.ops import adain, adain_reference, library, use_backend

from .cases import DTYPES, Spy, laid_out, needs_exchange
from .drawn_adain import Case, differentiated, on_cpu

pytestmark = needs_exchange

N, C, H, W = 2, 5, 4, 6


def epilogue(dtype: torch.dtype = torch.float32, acc: torch.dtype = torch.float32) -> dict[str, Any]:
    """A call that needs no preparation."""
    torch.manual_seed(0)
    return {
        "x": torch.randn(N, C, H, W).to(dtype),
        "scale": torch.randn(N, C).to(acc),
        "shift": torch.randn(N, C).to(acc),
        "noise": torch.randn(N, 1, H, W).to(acc),
        "noise_strength": torch.randn(C).to(acc),
        "bias": torch.randn(C).to(acc),
        "negative_slope": 0.2,
    }


def is_taken(found: dict[str, Any]) -> bool:
    names = ("x", "scale", "shift", "noise", "noise_strength", "bias")
    return library.ready("adain_takes", *(found.get(name) for name in names), found.get("phases", False)) == "cpu"


TAKEN: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "everything": lambda found: found,
    "x alone": lambda found: {"x": found["x"]},
    "parameters": lambda found: {k: torch.nn.Parameter(v) if isinstance(v, Tensor) else v for k, v in found.items()},
    "channels_last": lambda found: found | {"x": laid_out(found["x"], "channels_last")},
    "offset": lambda found: found | {"x": laid_out(found["x"], "offset")},
    "halves": lambda found: found | dict(zip(("scale", "shift"), torch.randn(N, 2 * C).split(C, 1), strict=True)),
    "one map": lambda found: found | {"noise": found["noise"][:1].expand(N, -1, -1, -1)},
    "one sample": lambda found: {k: v[:1] if isinstance(v, Tensor) and v.ndim > 1 else v for k, v in found.items()},
    "none": lambda found: {k: v[:0] if isinstance(v, Tensor) and v.ndim > 1 else v for k, v in found.items()},
    "phases": lambda found: found | {"x": torch.randn(N, 4 * C, H // 2 + 1, W // 2 + 1), "phases": True},
    "blurred phases": lambda found: (
        found | {"x": torch.randn(N, 4 * C, H // 2 + 1, W // 2 + 1), "phases": True, "blur": True}
    ),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", list(TAKEN))
def test_what_needs_no_preparation_gets_none(
    kind: str, dtype: torch.dtype, spy: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = TAKEN[kind](epilogue())
    acc = torch.float64 if dtype == torch.float64 else torch.float32
    found = {k: v.to(dtype if k == "x" else acc) if isinstance(v, Tensor) else v for k, v in found.items()}
    assert is_taken(found)
    taken = {k: v.detach() if isinstance(v, Tensor) else v for k, v in found.items()}
    with use_backend("cpu"), torch.no_grad():
        monkeypatch.setattr(library, "choose", None)  # would be called first
        y = adain(**found)
    assert "adain_forward" in spy.ran
    monkeypatch.undo()
    monkeypatch.setattr(library, "reads_tensors", False)
    with use_backend("cpu"):
        assert torch.equal(adain(**taken), y)


NOT_TAKEN: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "transposed x": lambda found: found | {"x": laid_out(found["x"], "transposed")},
    "sliced x": lambda found: found | {"x": laid_out(found["x"], "sliced")},
    "negated x": lambda found: found | {"x": torch._neg_view(found["x"])},
    "negated bias": lambda found: found | {"bias": torch._neg_view(found["bias"])},
    "negated noise": lambda found: found | {"noise": torch._neg_view(found["noise"])},
    "subclass": lambda found: found | {"scale": found["scale"].as_subclass(Subclass)},
    "16 bits beside 32": lambda found: found | {"shift": found["shift"].bfloat16()},
    "64 bits beside 32": lambda found: found | {"bias": found["bias"].double()},
    "one row of scales": lambda found: found | {"scale": found["scale"][0]},
    "one map": lambda found: found | {"noise": found["noise"][:1]},
    "every other bias": lambda found: found | {"bias": found["bias"].repeat_interleave(2)[::2]},
    "transposed noise": lambda found: found | {"noise": laid_out(found["noise"], "transposed")},
    "maps apart": lambda found: found | {"noise": found["noise"].repeat_interleave(2, 0)[::2]},
    "seeds": lambda found: found | {"noise": None, "noise_seed": torch.arange(N)},
}


class Subclass(Tensor):
    pass


@pytest.mark.parametrize("kind", list(NOT_TAKEN))
def test_what_needs_preparation_gets_it(kind: str) -> None:
    found = NOT_TAKEN[kind](epilogue())
    assert kind == "seeds" or not is_taken(found)
    with use_backend("cpu"):
        y = adain(**found)
    torch.testing.assert_close(
        y.as_subclass(Tensor), adain_reference(**found).as_subclass(Tensor), rtol=1e-5, atol=1e-5
    )


WRONG = {
    "x is no tensor": {"x": [1.0]},
    "x is None": {"x": None},
    "x of whole numbers": {"x": torch.zeros(N, C, H, W, dtype=torch.int32)},
    "x of three dimensions": {"x": torch.zeros(C, H, W)},
    "scale for other channels": {"scale": torch.zeros(N, C + 1)},
    "shift for other samples": {"shift": torch.zeros(N + 1, C)},
    "noise of another size": {"noise": torch.zeros(N, 1, W, H)},
    "noise without a strength": {"noise_strength": None},
    "bias is no tensor": {"bias": 1.0},
    "bias elsewhere": {"bias": torch.zeros(C, device="meta")},
    "channels that are no phases": {"phases": True},
    "eps": {"eps": float("nan")},
}


@pytest.mark.parametrize("kind", list(WRONG))
def test_what_is_wrong_is_told_as_ever(kind: str, spy: Spy, monkeypatch: pytest.MonkeyPatch) -> None:
    found = epilogue() | WRONG[kind]
    with pytest.raises((TypeError, ValueError)) as told:
        adain(**found)
    assert "adain_forward" not in spy.ran
    monkeypatch.setattr(library, "reads_tensors", False)
    with pytest.raises(type(told.value)) as before:
        adain(**found)
    assert str(told.value) == str(before.value)


def test_who_must_see_the_op_or_its_inside_still_does(spy: Spy) -> None:
    seen: list[str] = []

    class Note(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(str(function))
            return function(*args, **(kwargs or {}))

    class Plain(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return function(*args, **(kwargs or {}))

    found = epilogue()
    expected = adain(**found)
    with Note():
        assert torch.equal(adain(**found), expected)
    assert any(name.startswith("stylegan_fast.adain") for name in seen)
    with Plain():
        assert torch.equal(adain(**found), expected)
    spy.ran.clear()
    x = found.pop("x")
    torch.testing.assert_close(
        torch.func.vmap(lambda x: adain(x[None], found["scale"][:1])[0])(x), adain(x, found["scale"][:1].expand(N, -1))
    )
    with use_backend("reference"):
        spy.ran.clear()
        adain(x, **found)
    assert spy.ran == []
    with use_backend("cuda"), pytest.raises(RuntimeError, match="'cuda' was asked for"):
        adain(x, **found)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_kernels_that_get_addresses_get_the_same_numbers(
    dtype: torch.dtype, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What torch before 2.10 runs on."""
    case = Case(
        (2, 19, 4, 4),
        dtype,
        layout=(layout, ()),
        style="halves",
        noise="N",
        bias=True,
        wide_parameters=True,
        slopes=(0.2, 0.1),
    )
    dy = case.output_gradient()
    of_tensors = on_cpu(case.arguments(), dy)
    monkeypatch.setattr(library, "reads_tensors", False)
    of_addresses = differentiated(adain, case.arguments(), dy)
    assert all(torch.equal(of_tensors[name], of_addresses[name]) for name in of_tensors)


def test_the_native_entry_points_refuse_tensors_that_no_kernel_takes() -> None:
    native, found = library.native(), epilogue()
    tensors = [found[name] for name in ("x", "scale", "shift", "noise", "noise_strength", "bias")]
    y, statistics = torch.empty_like(tensors[0]), torch.empty(2, N, C)
    formula = (0.2, 1e-8, 1.0, False, False)
    native.cpu.adain_forward(*tensors, *formula, y, statistics, 1)
    torch.testing.assert_close(y, adain_reference(**found))
    with pytest.raises(ValueError, match="do not take these tensors as they are"):
        native.cpu.adain_forward(tensors[0].mT, *tensors[1:], *formula, y, statistics, 1)
    with pytest.raises(TypeError, match="neither an address nor a tensor"):
        native.cpu.adain_forward(*tensors, *formula, "y", statistics, 1)
    with pytest.raises(ValueError, match="adain_forward: y is null"):
        native.cpu.adain_forward(*tensors, *formula, None, statistics, 1)
    with pytest.raises(TypeError, match="too few arguments: 3"):
        native.adain_takes(*tensors[:3])
