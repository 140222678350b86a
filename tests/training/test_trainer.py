"""The rules by which the networks move."""

import copy
import math

import pytest
import torch
from torch import nn

from stylegan_fast.models import Discriminator, Generator
from stylegan_fast.training.adam import Adam, all_finite
from stylegan_fast.training.draws import GeneratorInputs, StyleMixing
from stylegan_fast.training.ema import MovingAverage
from stylegan_fast.training.trainer import Trainer


def small_trainer() -> Trainer:
    torch.manual_seed(0)
    shape = {"channel_base": 64, "channel_max": 8}
    G, G_ema = (Generator(16, z_dim=8, w_dim=8, mapping_layers=2, **shape) for _ in range(2))
    return Trainer(G, Discriminator(16, **shape), G_ema)


def one_iteration(trainer: Trainer, reals: torch.Tensor, lod: float = 0.0) -> None:
    z = torch.randn(len(reals), 8, generator=torch.Generator().manual_seed(1))
    mixing = StyleMixing(z.flip(0), 2)
    trainer.d_step(reals, None, GeneratorInputs(z, mixing=mixing), lod, 0.001)
    trainer.update_average(len(reals))
    trainer.g_step(GeneratorInputs(z, mixing=mixing), lod, 0.001)


def snapshot(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_step_with_a_gradient_that_is_not_finite_is_skipped_and_counted(value: float) -> None:
    trainer = small_trainer()
    one_iteration(trainer, torch.rand(4, 3, 16, 16))
    before, moments = snapshot(trainer.D), copy.deepcopy(trainer.D_adam.state_dict())
    trainer.d_step(torch.full((4, 3, 16, 16), value), None, GeneratorInputs(torch.randn(4, 8)), 0.0, 0.001)
    assert same(before, trainer.D.state_dict())
    after = trainer.D_adam.state_dict()
    assert after["applied"] == moments["applied"] == 1
    pairs = zip(after["squares"], moments["squares"], strict=True)
    assert all(torch.equal(a, b) for a, b in pairs if a is not None)
    assert trainer.skipped_steps == 1
    trainer.d_step(torch.rand(4, 3, 16, 16), None, GeneratorInputs(torch.randn(4, 8)), 0.0, 0.001)
    assert not same(before, trainer.D.state_dict())
    assert trainer.skipped_steps == 1


@pytest.mark.parametrize(
    ("numbers", "finite"), [([1e30, -3e38], True), ([1.0, math.inf], False), ([math.nan, 0.0], False), ([], True)]
)
def test_large_numbers_whose_squares_overflow_are_finite(numbers: list[float], finite: bool) -> None:
    assert bool(all_finite([torch.ones(3), torch.tensor(numbers)])) is finite


def test_a_generator_step_leaves_the_discriminator_alone_and_the_other_way_round() -> None:
    trainer = small_trainer()
    D_before = snapshot(trainer.D)
    trainer.g_step(GeneratorInputs(torch.randn(4, 8)), 0.0, 0.001)
    assert same(D_before, trainer.D.state_dict())
    assert all(p.requires_grad and p.grad is None for p in trainer.D.parameters())
    G_before = {name: p.clone() for name, p in trainer.G.named_parameters()}
    trainer.d_step(torch.rand(4, 3, 16, 16), None, GeneratorInputs(torch.randn(4, 8)), 0.0, 0.001)
    assert same(G_before, dict(trainer.G.named_parameters()))


def test_layers_not_in_use_do_not_move() -> None:
    trainer = small_trainer()
    before = snapshot(trainer.G)
    one_iteration(trainer, torch.rand(4, 3, 8, 8), lod=1.0)
    after = trainer.G.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(name.startswith("synthesis.b8.") for name in moved)
    assert not any(name.startswith("synthesis.b16.") for name in moved)


def test_a_trainer_restored_goes_on_to_the_bit() -> None:
    reals = torch.rand(3, 4, 3, 16, 16)
    trainer, restored = small_trainer(), small_trainer()
    one_iteration(trainer, reals[0])
    one_iteration(restored, reals[2])
    restored.load_state_dict(copy.deepcopy(trainer.state_dict()))  # as through a file
    for each in (trainer, restored):
        one_iteration(each, reals[1])
    for name in ("G", "D", "G_ema"):
        assert same(getattr(trainer, name).state_dict(), getattr(restored, name).state_dict())


def test_no_gamma_means_no_penalty() -> None:
    trainer = small_trainer()
    trainer.r1_gamma = 0.0
    told = trainer.d_step(torch.rand(4, 3, 16, 16), None, GeneratorInputs(torch.randn(4, 8)), 0.0, 0.001)
    assert told["R1"] == 0


def test_adam_adds_epsilon_to_the_uncorrected_root() -> None:
    # With gradients near epsilon the two readings differ by sqrt(1 - beta2^t), a factor of 10 at the first step.
    parameter = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    adam, lr, beta2, epsilon = Adam([parameter]), 0.1, 0.99, 1e-8
    v, expected = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for t in range(1, 6):
        gradient = torch.tensor([1e-8, -3e-7, 2.0], dtype=torch.float64) * t
        parameter.grad = gradient.clone()
        assert adam.step(lr)
        v = beta2 * v + (1 - beta2) * gradient**2
        expected -= lr * math.sqrt(1 - beta2**t) * gradient / (v.sqrt() + epsilon)
    torch.testing.assert_close(parameter.detach(), expected, rtol=1e-9, atol=0)


def test_adam_starts_anew_after_a_reset() -> None:
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))]
    used, fresh = Adam(parameters[:1]), Adam(parameters[1:])
    parameters[0].grad = torch.tensor([5.0, 1.0])
    used.step(0.1)
    used.reset()
    with torch.no_grad():
        parameters[0].zero_()
    for adam, parameter in zip((used, fresh), parameters, strict=True):
        parameter.grad = torch.tensor([0.3, -2.0])
        adam.step(0.1)
    assert torch.equal(*parameters)


def test_the_average_halves_its_distance_in_its_half_life_and_copies_buffers() -> None:
    network, average = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    with torch.no_grad():
        network.weight.fill_(4.0)
        network.running_mean.fill_(9.0)
        average.weight.fill_(0.0)
    moving = MovingAverage(average, network, half_life_kimg=1.0)
    for _ in range(10):
        moving.update(100)
    torch.testing.assert_close(average.weight, torch.full((3,), 2.0))
    assert torch.equal(average.running_mean, network.running_mean)


def test_the_average_refuses_networks_that_differ() -> None:
    with pytest.raises(ValueError, match=r"networks differ in \['bias', 'weight'\]"):
        MovingAverage(nn.ReLU(), nn.Linear(2, 2))


def gradients_of_one_step(dtype: torch.dtype | None) -> dict[str, torch.Tensor]:
    """Of both networks, at the same weights."""
    trainer = small_trainer()
    trainer.G.synthesis.dtype = trainer.D.dtype = dtype
    reals = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    inputs = GeneratorInputs(torch.randn(8, 8, generator=torch.Generator().manual_seed(1)))
    trainer.d_step(reals, None, inputs, 0.5, 0.0)
    found = {name: p.grad.clone() for name, p in trainer.D.named_parameters() if p.grad is not None}
    trainer.g_step(inputs, 0.5, 0.0)
    return found | {name: p.grad.clone() for name, p in trainer.G.named_parameters() if p.grad is not None}


def test_gradients_in_low_precision_point_where_those_in_fp32_point() -> None:
    low, full = gradients_of_one_step(torch.bfloat16), gradients_of_one_step(None)
    assert low.keys() == full.keys()
    a, b = (torch.cat([v.flatten() for v in found.values()]) for found in (low, full))
    assert a.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(a, b, dim=0) > 0.99  # 8 channels average little
    assert (a - b).norm() > 1e-4 * b.norm()  # else low precision was not in use
