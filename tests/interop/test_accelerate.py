"""accelerate: other people's models, the same results, nothing about them changed but who computes."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import stylegan_fast
from stylegan_fast.ops import library

from .public_modules import DepthwiseBlur, FusedAct, Model, ScaledLeakyReLU, StyleNorm

pytestmark = pytest.mark.skipif(library.native() is None, reason="the extension was not built")


@pytest.fixture
def sample() -> tuple[Tensor, Tensor]:
    return torch.randn(2, 3, 12, 12), torch.randn(2, 4)


@pytest.fixture
def model() -> Model:
    torch.manual_seed(1)
    return Model()


def gradients(model: nn.Module, sample: tuple[Tensor, Tensor]) -> list[Tensor]:
    result = model(*sample)
    loss = sum(t.square().mean() for t in [result["features"], *result["filtered"]])
    return list(torch.autograd.grad(loss, list(model.parameters()), allow_unused=True, materialize_grads=True))


@pytest.mark.parametrize("training", [True, False])
def test_outputs_gradients_and_state_stay_the_same(model: Model, sample: tuple, training: bool) -> None:
    model.train(training)
    original = copy.deepcopy(model)
    keys, modules, parameters = list(model.state_dict()), list(model.modules()), list(model.parameters())
    report = stylegan_fast.accelerate(model, sample)
    assert 0 < report.largest_difference < 1e-5
    assert list(model.state_dict()) == keys
    assert all(a is b for a, b in zip(model.modules(), modules, strict=True))
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    for a, b in zip(model.modules(), original.modules(), strict=True):
        assert isinstance(a, type(b))
        assert type(a).__name__ == type(b).__name__  # by which MUNIT finds its AdaIN modules
    for a, b in zip(gradients(model, sample), gradients(original, sample), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-5)


def test_report_names_everything_that_was_replaced(model: Model, sample: tuple) -> None:
    report = stylegan_fast.accelerate(model, sample)
    replaced = {entry.name: entry.text for entry in report.replaced}
    assert replaced == {
        "head": "instance norm and activation in one pass",
        "head.2": "instance norm",
        "block": "instance norm and activation in one pass",
        "block.1": "instance norm",
        "block.4": "instance norm",
        "styled.0": "AdaIN with scale 1 + style",
        "styled.0.norm": "instance norm",
        "styled.1": "AdaIN",
        "styled.1.norm": "instance norm",
        "assigned": "AdaIN with assigned scale and shift",
        "filters.0": "fixed filter",
        "filters.1": "fixed filter",
        "filters.2": "fixed filter",
        "filters.3": "fixed filter",
        "act": "bias, leaky ReLU and scale in one pass",
        "scaled": "leaky ReLU and scale in one pass",
    }
    assert "replaced 16 modules" in str(report)
    assert "instance norm" in str(report)
    assert stylegan_fast.accelerate(model, sample).replaced == []  # nothing is left to do


def test_kernels_run_where_modules_were_replaced(model: Model, sample: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    real = library.launch
    monkeypatch.setattr(library, "launch", lambda backend, kernel, *a: (ran.append(kernel), real(backend, kernel, *a)))
    stylegan_fast.accelerate(model)
    ran.clear()
    with torch.no_grad():
        model(*sample)
    assert ran.count("adain_forward") == 6  # three norms, two of them with their activations, and three AdaIN
    assert ran.count("bias_act_forward") == 2
    assert ran.count("upfirdn2d") == 4


def test_dry_run_leaves_the_model_alone(model: Model, sample: tuple) -> None:
    classes = [type(module) for module in model.modules()]
    report = stylegan_fast.accelerate(model, sample, dry_run=True)
    assert len(report.replaced) == 16
    assert report.largest_difference < 1e-5
    assert str(report).startswith("would replace 16 modules")
    assert [type(module) for module in model.modules()] == classes


def test_revert_makes_the_model_what_it_was(model: Model, sample: tuple) -> None:
    classes = [type(module) for module in model.modules()]
    stylegan_fast.accelerate(model, sample).revert()
    assert [type(module) for module in model.modules()] == classes


def test_measuring_leaves_buffers_and_random_numbers_alone(model: Model, sample: tuple) -> None:
    model.train()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    torch.manual_seed(4)
    expected = torch.rand(1)
    torch.manual_seed(4)
    stylegan_fast.accelerate(model, sample)
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())


def test_hooks_see_what_they_saw(sample: tuple) -> None:
    torch.manual_seed(1)
    plain, hooked = Model(), Model()
    hooked.load_state_dict(plain.state_dict())
    seen: dict[str, list[Tensor]] = {"plain": [], "hooked": []}
    for key, model in (("plain", plain), ("hooked", hooked)):
        for name in ("head.2", "head.3", "styled.0.norm", "act", "filters.0"):
            model.get_submodule(name).register_forward_hook(
                lambda module, inputs, output, key=key: seen[key].append(output.clone())
            )
    report = stylegan_fast.accelerate(hooked)
    for saw in seen.values():
        saw.clear()
    plain(*sample)
    hooked(*sample)
    assert len(seen["hooked"]) == len(seen["plain"]) == 5
    for a, b in zip(seen["hooked"], seen["plain"], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    kept = {entry.name: entry.text for entry in report.kept}
    assert kept["head"] == "a hook listens between instance norm and activation"
    assert kept["styled.0"] == "a hook listens inside"


def test_a_hook_registered_afterwards_is_served_too() -> None:
    model = nn.Sequential(nn.InstanceNorm2d(3), nn.ReLU())
    x, seen = torch.randn(2, 3, 5, 5), []
    stylegan_fast.accelerate(model)
    model[0].register_forward_hook(lambda module, inputs, output: seen.append(output.clone()))
    torch.testing.assert_close(model(x), F.relu(F.instance_norm(x)))
    torch.testing.assert_close(seen[0], F.instance_norm(x))


def test_a_hook_registered_afterwards_inside_a_style_is_served_too(sample: tuple) -> None:
    plain, model = Model(), Model()
    model.load_state_dict(plain.state_dict())
    stylegan_fast.accelerate(model)
    seen: list[Tensor] = []
    model.get_submodule("styled.0.norm").register_forward_hook(lambda module, inputs, output: seen.append(output))
    torch.testing.assert_close(model(*sample), plain(*sample), rtol=1e-4, atol=1e-5)
    assert len(seen) == 1


def test_children_of_a_fused_sequential_do_alone_what_they_did() -> None:
    model = nn.Sequential(nn.InstanceNorm2d(3), nn.LeakyReLU(0.1), nn.Conv2d(3, 3, 1))
    x = torch.randn(2, 3, 5, 5)
    stylegan_fast.accelerate(model)
    torch.testing.assert_close(model[0](x), F.instance_norm(x))
    torch.testing.assert_close(model[1](x), F.leaky_relu(x, 0.1))
    torch.testing.assert_close(model(x), model[2](F.leaky_relu(F.instance_norm(x), 0.1)))


def test_norms_with_running_statistics_stay() -> None:
    model = nn.Sequential(nn.InstanceNorm2d(3, affine=True, track_running_stats=True), nn.ReLU())
    report = stylegan_fast.accelerate(model)
    assert report.replaced == []
    assert "running statistics" in report.kept[0].text


class Unusual(nn.InstanceNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


class LooksLikeAdaIN(StyleNorm):
    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        return super().forward(x, style).tanh()


class LooksLikeABlur(DepthwiseBlur):
    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, [1] * 4, mode="reflect"), self.weight, groups=6)


class OtherScale(ScaledLeakyReLU):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 1.01


class WrongGradient(FusedAct):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.detach() * 0.5 + x * 0.5)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Unusual(6), "a subclass"),
        (lambda: LooksLikeAdaIN(1), "does not return"),
        (LooksLikeABlur, "does not return"),
        (OtherScale, "does not return"),
        (WrongGradient, "does not return"),
    ],
)
def test_what_only_looks_like_it_stays(make: Callable[[], nn.Module], reason: str) -> None:
    model = nn.ModuleDict({"odd": make()})
    kind = type(model["odd"])
    report = stylegan_fast.accelerate(model)
    assert type(model["odd"]) is kind
    assert any(entry.name == "odd" and reason in entry.text for entry in report.kept)


def test_a_changed_output_undoes_everything() -> None:
    """A model that magnifies rounding: whatever is replaced, its output is another one."""

    class Chaotic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.InstanceNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            return (self.norm(x) * 1e9).sin()

    model = Chaotic()
    report = stylegan_fast.accelerate(model, torch.randn(2, 3, 9, 9))
    assert type(model.norm) is nn.InstanceNorm2d
    assert report.replaced == []
    assert "undone" in report.kept[0].text


def test_without_kernels_nothing_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "obstacle_on", lambda *_: "the compiled extension is missing")
    model = nn.Sequential(nn.InstanceNorm2d(3), nn.ReLU())
    report = stylegan_fast.accelerate(model)
    assert report.replaced == []
    assert "extension is missing" in str(report)
    assert type(model[0]) is nn.InstanceNorm2d


def test_other_dtypes_are_accelerated_too() -> None:
    for dtype in (torch.float64, torch.bfloat16):
        model = nn.Sequential(nn.Conv2d(3, 6, 1), FusedAct(), nn.InstanceNorm2d(6), nn.ReLU()).to(dtype)
        report = stylegan_fast.accelerate(model, torch.randn(2, 3, 8, 8, dtype=dtype), tolerance=0.05)
        assert len(report.replaced) == 3
