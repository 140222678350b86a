"""Three iterations of the official training: Adam, R1, the running average, w_avg, through the trainer's own steps."""

import pytest
import torch
from torch import nn

from stylegan_fast.interop import official
from stylegan_fast.models import Discriminator, Generator
from stylegan_fast.training.draws import GeneratorInputs
from stylegan_fast.training.trainer import Trainer
from tests import golden_data as golden

NAME = "train_r16"
DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
# The README's bound for all variables after three iterations, relative to the largest of an array.
AFTER_TRAINING = 1e-3
# Adam with beta1 = 0 moves by about lr * sign(gradient). In these channels of this bias the gradient is zero but for
# rounding: the pre-activation has one sign over the whole 4x4 map, so the instance norm cancels the bias.
NO_GRADIENT = ("synthesis.b4.layer0.epilogue.bias", [1, 3, 4, 5, 9, 13, 14, 15])


def translate(network: nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    arrays = golden.under(NAME, prefix)
    if isinstance(network, Generator):
        return official.generator_state_dict(arrays, img_resolution=16)
    return official.discriminator_state_dict(arrays, img_resolution=16)


def expect(network: nn.Module, prefix: str, lr: float) -> None:
    expected, got = translate(network, prefix), network.state_dict()
    assert len(expected) >= len(list(network.parameters()))
    for name, value in expected.items():
        ours = got[name].clone()
        if name == NO_GRADIENT[0]:
            assert (ours - value)[NO_GRADIENT[1]].abs().max() <= 3 * lr
            ours[NO_GRADIENT[1]] = value[NO_GRADIENT[1]].to(ours.dtype)
        golden.assert_matches(ours, value, AFTER_TRAINING, f"{prefix}{name}")


@DTYPES
def test_three_iterations_equal_the_official_ones(dtype: torch.dtype, backend: str) -> None:
    arrays = golden.load(NAME)
    lod, lr, _, _, _, gamma, batch, ema_kimg = (float(value) for value in arrays["in/hyper"])
    shape = {"channel_base": 256, "channel_max": 16}
    G, G_ema = (Generator(16, z_dim=16, w_dim=16, mapping_layers=3, **shape).to(dtype) for _ in range(2))
    D = Discriminator(16, **shape).to(dtype)
    G.load_state_dict(translate(G, "init/G/"))
    D.load_state_dict(translate(D, "init/D/"))
    trainer = Trainer(G, D, G_ema, r1_gamma=gamma, ema_half_life_kimg=ema_kimg)
    golden.assert_matches(torch.tensor(trainer.average.beta(int(batch))), arrays["in/Gs_beta"], 1e-6, "beta")

    def inputs(key: str, iteration: int) -> GeneratorInputs:
        return GeneratorInputs(golden.tensor(NAME, key, dtype)[iteration])

    def expect_loss(ours: torch.Tensor, key: str, iteration: int) -> None:
        golden.assert_matches(ours, arrays[key][iteration].mean(), golden.GRADIENT[dtype], f"{key} {iteration}")

    for iteration in range(3):
        reals = golden.tensor(NAME, "in/reals", dtype)[iteration]
        told = trainer.d_step(reals, None, inputs("in/zD", iteration), lod, lr)
        expect_loss(told["D_loss"] + gamma / 2 * told["R1"], "out/D_loss", iteration)
        w_avg = arrays["out/dlatent_avg_trace"][2 * iteration]
        golden.assert_matches(G.mapping.w_avg, w_avg, AFTER_TRAINING, f"w_avg after D step {iteration}")
        if iteration == 0:
            expect(D, "after1/D/", lr)
        trainer.update_average(int(batch))
        told = trainer.g_step(inputs("in/zG", iteration), lod, lr)
        expect_loss(told["G_loss"], "out/G_loss", iteration)
        w_avg = arrays["out/dlatent_avg_trace"][2 * iteration + 1]
        golden.assert_matches(G.mapping.w_avg, w_avg, AFTER_TRAINING, f"w_avg after G step {iteration}")
        if iteration == 0:
            expect(G, "after1/G/", lr)
    assert trainer.skipped_steps == 0
    expect(D, "final/D/", lr)
    expect(G, "final/G/", lr)
    expect(G_ema, "final/Gs/", lr)
