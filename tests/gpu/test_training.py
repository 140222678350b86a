"""The training step on a GPU: in every precision, and without waiting for the device."""

import pytest
import torch

from stylegan_fast.models import Discriminator, Generator
from stylegan_fast.training.draws import Draws
from stylegan_fast.training.precision import choose_precision
from stylegan_fast.training.trainer import Trainer

from .device import DEVICE


def trainer(precision: str) -> Trainer:
    chosen = choose_precision(precision, DEVICE)
    chosen.apply()
    torch.manual_seed(0)
    shape = {"channel_base": 256, "channel_max": 32}
    G, G_ema = (Generator(32, z_dim=32, w_dim=32, mapping_layers=2, **shape).to(DEVICE) for _ in range(2))
    D = Discriminator(32, **shape).to(DEVICE)
    return Trainer(G, D, G_ema, dtype=chosen.dtype, loss_scaling=chosen.loss_scaling, r2_gamma=1.0, gp_weight=10.0)


def one_iteration(one: Trainer, reals: torch.Tensor, step: int) -> None:
    draws = Draws(0, device=DEVICE)
    inputs = draws.generator_inputs(step, "D", len(reals), 32, None, 8, 0.9)
    one.d_step(reals, None, inputs, 0.5, 0.001, gp_mixing=draws.gp_mixing(step, 0, len(reals)))
    one.update_average(len(reals))
    one.g_step(draws.generator_inputs(step, "G", len(reals), 32, None, 8, 0.9), 0.5, 0.001)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
def test_every_precision_trains_with_finite_weights(precision: str) -> None:
    one = trainer(precision)
    reals = torch.rand(8, 3, 32, 32, device=DEVICE) * 2 - 1
    for step in range(30):
        one_iteration(one, reals, step)
    assert one.is_finite()
    assert one.skipped_steps <= (40 if precision == "fp16" else 0)  # the scale looks for its size at first
    assert one.longest_row_of_skipped_steps() < 30


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_step_does_not_wait_for_the_device(precision: str) -> None:
    one = trainer(precision)
    reals = torch.rand(8, 3, 32, 32, device=DEVICE) * 2 - 1
    one_iteration(one, reals, 0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        one_iteration(one, reals, 1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
