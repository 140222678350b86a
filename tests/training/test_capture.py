"""Steps whose inputs stay in place are the steps of the trainer; tests/gpu has the captured ones."""

import dataclasses

import pytest
import torch
from torch import Tensor

from stylegan_fast.models import Discriminator, Generator
from stylegan_fast.training import capture
from stylegan_fast.training.capture import CapturedSteps
from stylegan_fast.training.draws import Draws, GeneratorInputs
from stylegan_fast.training.trainer import Trainer

# lod, batch, learning rate and whether D is penalised, step by step: a fade, growth to the next resolution, lazy R1.
SCHEDULE = [
    *[(1.5 - 0.1 * step, 4, 0.001 + 0.0001 * step, step % 2 == 0) for step in range(5)],
    *[(1.0, 4, 0.001, True)] * 2,
    *[(0.75, 8, 0.002, step % 2 == 0) for step in range(4)],
]


def trainer(device: torch.device | str = "cpu", c_dim: int = 0, **settings) -> Trainer:
    torch.manual_seed(0)
    shape = {"c_dim": c_dim, "channel_base": 64, "channel_max": 8}
    G, G_ema = (Generator(16, z_dim=8, w_dim=8, mapping_layers=2, **shape).double() for _ in range(2))
    networks = [G, Discriminator(16, **shape).double(), G_ema]
    with torch.no_grad():
        for name, parameter in G.named_parameters():
            if name.endswith("noise_strength"):
                parameter.fill_(0.3)
    return Trainer(*(network.to(device) for network in networks), **settings)


def doubled(inputs: GeneratorInputs) -> GeneratorInputs:
    mixing = inputs.mixing and dataclasses.replace(inputs.mixing, z2=inputs.mixing.z2.double())
    return dataclasses.replace(inputs, z=inputs.z.double(), mixing=mixing)


def trained(steps: Trainer | CapturedSteps, trainer: Trainer, mixing_prob: float = 0.5) -> list[dict[str, Tensor]]:
    """Goes through the schedule; what the steps told."""
    device = next(trainer.G.parameters()).device
    draws, told = Draws(0, device=device), []
    for step, (lod, batch, lr, penalise) in enumerate(SCHEDULE):
        size, c_dim = 16 >> int(lod), trainer.G.c_dim
        generator = torch.Generator().manual_seed(step)
        reals = torch.randn(batch, 3, size, size, generator=generator, dtype=torch.float64).to(device)
        c = torch.eye(c_dim, device=device)[torch.arange(batch) % c_dim].double() if c_dim else None
        inputs = [draws.generator_inputs(step, name, batch, 8, c, 4, mixing_prob) for name in ("D", "G")]
        inputs = [doubled(each) for each in inputs]
        values = steps.d_step(reals, c, inputs[0], lod, lr, penalise=penalise)
        steps.update_average(batch)
        told.append({**values, **steps.g_step(inputs[1], lod, lr)})
    return told


SETTINGS = {
    "R1": {},
    "lazy R1 in parts": {"r1_every": 2, "batch_gpu": 4},
    "classes": {"c_dim": 3},
}


def expect_equal(ours: Trainer, theirs: Trainer, told: list, expected: list, tolerance: float) -> None:
    for step, (a, b) in enumerate(zip(told, expected, strict=True)):
        assert a.keys() == b.keys()
        for name in a:
            assert float(a[name]) == pytest.approx(float(b[name]), rel=1e-5, abs=1e-5), (step, name)
    for name in ("G", "D", "G_ema"):
        found, wanted = getattr(ours, name).state_dict(), getattr(theirs, name).state_dict()
        for key in wanted:
            torch.testing.assert_close(found[key], wanted[key], rtol=tolerance, atol=tolerance, msg=f"{name}.{key}")


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_steps_with_inputs_in_place_are_the_steps_of_the_trainer(settings: dict) -> None:
    ours, theirs = trainer(**settings), trainer(**settings)
    steps = CapturedSteps(ours)
    told, expected = trained(steps, ours), trained(theirs, theirs)
    assert len(steps._steps) == 4  # of the last phase: D with and without penalties, the average, G
    expect_equal(ours, theirs, told, expected, 1e-9)


def test_mixing_at_no_layer_is_no_mixing() -> None:
    ours, theirs = trainer(), trainer()
    expect_equal(ours, theirs, trained(CapturedSteps(ours), ours, 0.0), trained(theirs, theirs, 0.0), 1e-9)


def test_under_autocast_steps_are_launched_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = trainer()
    monkeypatch.setattr(capture, "CapturedFunction", None)
    inputs = doubled(Draws(0).generator_inputs(0, "G", 4, 8, None, 4, 1.0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        CapturedSteps(ours).g_step(inputs, 0.0, 0.001)
    assert ours.G_adam.applied == 1


def test_what_cannot_be_captured_is_named() -> None:
    assert CapturedSteps.obstacle(trainer()) == "only CUDA has graphs"
