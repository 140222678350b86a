"""Gradients of the official generator by each of its parameters and by z.

In float32 a leaky ReLU input within rounding distance of 0 may fall on the other side than in the official run, which
moves whole gradient arrays by a few thousandths: not an error, and different on every backend, machine and thread
count. So the float32 gradients are compared with those of float64 in which such inputs, found one by one and pushed by
no more than rounding could, are on the float32 side; without any there they are the official ones.
"""

import pytest
import torch
from torch import Tensor

from stylegan_fast.interop import official
from stylegan_fast.layers import LayerEpilogue
from stylegan_fast.models import Generator
from stylegan_fast.ops.subpixel import read_through
from tests import golden_data as golden

NAME = "gradients_r64"
Pushes = dict[str, Tensor]


def run(dtype: torch.dtype, lod: float, pushes: Pushes) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """The loss, all gradients, and the inputs of the leaky ReLUs of the synthesis network, by epilogue."""
    network = golden.generator("generator_r64", dtype)
    inputs: dict[str, Tensor] = {}

    def push_and_record(name: str, epilogue: LayerEpilogue, arguments: tuple[Tensor, Tensor, Tensor]) -> tuple:
        x, w, noise = arguments
        strength, bias = epilogue.noise_strength[:, None, None], epilogue.bias[:, None, None]
        v = read_through(x, phases=False, blurred=epilogue.blur)
        if name not in pushes:
            inputs[name] = (v + strength * noise + bias).detach().double()
            return x, w, noise
        epilogue.blur = False  # what is pushed lies behind the blur
        v = v + pushes[name].to(dtype)
        inputs[name] = (v + strength * noise + bias).detach().double()
        return v, w, noise

    for name, module in network.named_modules():
        if isinstance(module, LayerEpilogue):
            module.register_forward_pre_hook(lambda module, args, name=name: push_and_record(name, module, args))
    z = golden.tensor(NAME, "in/z", dtype).requires_grad_()
    image = network(z, lod=lod, noise_mode="const", full_size=True)
    loss = (image * golden.tensor(NAME, "in/cotangent", dtype)).sum()
    return loss, gradients_of(loss, z, network), inputs


def gradients_of(loss: Tensor, z: Tensor, network: Generator) -> dict[str, Tensor]:
    by = {"z": z, **dict(network.named_parameters())}
    found = torch.autograd.grad(loss, list(by.values()), allow_unused=True)
    # A layer this lod does not use has zeros in the official arrays.
    return {name: torch.zeros_like(by[name]) if g is None else g for name, g in zip(by, found, strict=True)}


def pushes_to_the_side_of(single: dict[str, Tensor], double: dict[str, Tensor]) -> Pushes:
    """What to add to the float64 inputs to have every one of them on its float32 side of 0."""
    return {
        name: torch.where((t < 0) == (single[name] < 0), 0.0, -2 * t)
        for name, t in double.items()
        if ((t < 0) != (single[name] < 0)).any()
    }


def official_gradients(suffix: str) -> dict[str, Tensor]:
    arrays = golden.under(NAME, f"grad_{suffix}/")
    return {"z": torch.from_numpy(arrays.pop("latents_in")), **official.generator_state_dict(arrays)}


def assert_gradients_match(ours: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    assert ours.keys() == expected.keys()
    for name, gradient in expected.items():
        golden.assert_matches(ours[name], gradient, tolerance, name)


@pytest.mark.parametrize("lod", [0.0, 0.5])
def test_generator_gradients_equal_official(lod: float, backend: str) -> None:
    suffix = f"lod{lod:g}".replace(".", "p")
    loss, gradients, _ = run(torch.float64, lod, {})
    golden.assert_matches(loss, golden.load(NAME)[f"out/loss_{suffix}"], golden.FORWARD[torch.float64], "loss")
    assert_gradients_match(gradients, official_gradients(suffix), golden.GRADIENT[torch.float64])


@pytest.mark.parametrize("lod", [0.0, 0.5])
def test_generator_gradients_equal_official_in_float32(lod: float, backend: str) -> None:
    loss, gradients, single = run(torch.float32, lod, {})
    _, expected, double = run(torch.float64, lod, {})
    suffix = f"lod{lod:g}".replace(".", "p")
    golden.assert_matches(loss, golden.load(NAME)[f"out/loss_{suffix}"], golden.FORWARD[torch.float32], "loss")
    pushes = pushes_to_the_side_of(single, double)
    for name, push in pushes.items():
        assert push.abs().max() <= 1e-5 * double[name].abs().max(), f"{name}: no rounding error goes that far"
    if pushes:
        _, expected, _ = run(torch.float64, lod, pushes)
    else:
        expected = official_gradients(suffix)
    assert_gradients_match(gradients, expected, golden.GRADIENT[torch.float64])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_gradient_through_truncation_equals_official(dtype: torch.dtype, backend: str) -> None:
    network = golden.generator("generator_r64", dtype)
    z = golden.tensor(NAME, "in/z", dtype).requires_grad_()
    image = network(z, truncation_psi=0.7, truncation_cutoff=8, noise_mode="const")
    (gradient,) = torch.autograd.grad((image * golden.tensor(NAME, "in/cotangent", dtype)).sum(), z)
    golden.assert_matches(gradient, golden.load(NAME)["grad_trunc0.7_lod0/latents_in"], golden.GRADIENT[dtype], "z")


def test_every_gradient_array_is_compared() -> None:
    compared = {"out", "in", "grad_lod0", "grad_lod0p5", "grad_trunc0.7_lod0"}
    assert {key.partition("/")[0] for key in golden.load(NAME)} == compared
