"""The trainer's steps with other objectives, penalties, precisions, parts and augmentations."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from stylegan_fast.models import Discriminator, Generator
from stylegan_fast.training.draws import GeneratorInputs, StyleMixing
from stylegan_fast.training.losses import HINGE, OBJECTIVES, WGAN, Objective, squared_gradient_norm
from stylegan_fast.training.trainer import Trainer

N = 8


def trainer(weights: torch.dtype = torch.float64, mbstd: int = 4, **settings: Any) -> Trainer:
    torch.manual_seed(0)
    shape = {"channel_base": 64, "channel_max": 8}
    G, G_ema = (Generator(16, z_dim=8, w_dim=8, mapping_layers=2, **shape).to(weights) for _ in range(2))
    with torch.no_grad():
        for name, parameter in G.named_parameters():
            if name.endswith("noise_strength"):
                parameter.fill_(0.5)
    return Trainer(G, Discriminator(16, **shape, mbstd_group_size=mbstd).to(weights), G_ema, **settings)


def given(dtype: torch.dtype = torch.float64) -> tuple[Tensor, GeneratorInputs]:
    source = torch.Generator().manual_seed(1)
    reals = torch.randn(N, 3, 16, 16, generator=source, dtype=dtype)
    z, z2 = torch.randn(2, N, 8, generator=source, dtype=dtype)
    return reals, GeneratorInputs(z, mixing=StyleMixing(z2, 2), noise_generator=torch.Generator().manual_seed(2))


def gradients(network: torch.nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def d_gradients(one: Trainer, lod: float = 0.5, **arguments: Any) -> dict[str, Tensor]:
    reals, inputs = given()
    one.d_step(reals, None, inputs, lod, 0.0, **arguments)
    return gradients(one.D)


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor], tolerance: float) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert (value - b[name]).abs().max() <= tolerance * max(value.abs().max(), 1e-3), name


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_every_objective_and_penalty_moves_both_networks_as_one_loss_would(name: str) -> None:
    objective: Objective = OBJECTIVES[name]
    one = trainer(objective=objective, r1_gamma=3.0, r2_gamma=2.0, gp_weight=10.0)
    mixing = torch.rand(N, 1, 1, 1, dtype=torch.float64)
    found = d_gradients(one, gp_mixing=mixing)

    # The same written as a single expression.
    reals, inputs = given()
    G, D, lod = one.G, one.D, 0.5
    with torch.no_grad():
        ws = G.mapping(inputs.z)
        ws[:, 2:] = G.mapping(inputs.mixing.z2)[:, 2:]  # type: ignore[union-attr]
        fakes = G.synthesis(ws, lod, noise_generator=inputs.noise_generator)
    fakes.requires_grad_()
    reals.requires_grad_()
    real_scores, fake_scores = D(reals, lod=lod), D(fakes, lod=lod)
    between = (reals + (fakes - reals) * mixing).detach().requires_grad_()
    (slope,) = torch.autograd.grad(D(between, lod=lod).sum(), between, create_graph=True)
    loss = (objective.d_fake(fake_scores) + objective.d_real(real_scores)).mean()
    loss = loss + 1.5 * squared_gradient_norm(reals, real_scores).mean()
    loss = loss + 1.0 * squared_gradient_norm(fakes, fake_scores).mean()
    loss = loss + 10 * (slope.square().sum(dim=(1, 2, 3)).sqrt() - 1).square().mean()
    D.zero_grad()
    loss.backward()
    assert_same(found, gradients(D), 1e-10)


@pytest.mark.parametrize("batch_gpu", [4, 3])
def test_a_step_in_parts_has_the_gradients_of_a_step_at_once(batch_gpu: int) -> None:
    settings = {"mbstd": 1, "objective": HINGE, "gp_weight": 10.0, "r2_gamma": 1.0}  # single samples: no groups to cut
    mixing = torch.rand(N, 1, 1, 1, dtype=torch.float64)
    whole, parts = trainer(**settings), trainer(**settings, batch_gpu=batch_gpu)
    assert_same(d_gradients(whole, gp_mixing=mixing), d_gradients(parts, gp_mixing=mixing), 1e-10)
    for one in (whole, parts):
        one.g_step(given()[1], 0.5, 0.0)
    assert_same(gradients(whole.G), gradients(parts.G), 1e-10)
    torch.testing.assert_close(whole.G.mapping.w_avg, parts.G.mapping.w_avg, rtol=1e-12, atol=0)


def test_parts_report_the_mean_over_all_of_them() -> None:
    told = []
    for size in (N, 3):
        reals, inputs = given()
        told.append(trainer(mbstd=1, batch_gpu=size).d_step(reals, None, inputs, 0.0, 0.0))
    assert told[0].keys() == told[1].keys() == {"D_loss", "R1", "score_real", "score_fake", "sign_real"}
    for name in told[0]:
        torch.testing.assert_close(told[0][name], told[1][name])


def test_lazy_penalties_weigh_as_much_as_they_are_rare() -> None:
    every, lazy, none = trainer(), trainer(r1_every=4), trainer(r1_gamma=0.0)
    with_r1, without = d_gradients(every), d_gradients(none)
    # After the penalised step the gradients left are those of the penalty alone, four times as large.
    alone = d_gradients(lazy)
    assert_same({name: (with_r1[name] - without[name]) * 4 for name in alone}, alone, 1e-8)
    told = lazy.d_step(*given()[:1], None, given()[1], 0.5, 0.0, penalise=False)
    assert "R1" not in told
    assert_same(d_gradients(trainer(r1_every=4), penalise=False), without, 1e-10)


def test_lazy_adam_is_rescaled_as_published() -> None:
    lazy = trainer(r1_every=16)
    assert lazy.D_adam.beta2 == pytest.approx(0.99 ** (16 / 17))
    assert lazy.G_adam.beta2 == 0.99
    reals, inputs = given()
    before = lazy.D.b4.out.bias.clone()
    lazy.d_step(reals, None, inputs, 0.0, 0.1, penalise=False)
    # Adam's first step has the size of the learning rate.
    assert (lazy.D.b4.out.bias - before).abs().item() == pytest.approx(0.1 * 16 / 17, rel=1e-3)


def test_clipping_bounds_every_weight_of_the_discriminator() -> None:
    one = trainer(objective=WGAN, r1_gamma=0.0, clip=0.5)
    assert max(p.abs().max() for p in one.D.parameters()) > 1
    reals, inputs = given()
    one.d_step(reals, None, inputs, 0.0, 0.01)
    assert max(p.abs().max() for p in one.D.parameters()) == 0.5
    assert max(p.abs().max() for p in one.G.parameters()) > 1


def test_clipping_leaves_frozen_layers_as_they_are() -> None:
    one = trainer(objective=WGAN, r1_gamma=0.0, clip=0.5)
    one.D.b16.requires_grad_(False)
    one = Trainer(one.G, one.D, one.G_ema, objective=WGAN, r1_gamma=0.0, clip=0.5)
    before = {name: tensor.clone() for name, tensor in one.D.b16.state_dict().items()}
    reals, inputs = given()
    one.d_step(reals, None, inputs, 0.0, 0.01)
    assert all(torch.equal(tensor, before[name]) for name, tensor in one.D.b16.state_dict().items())
    assert max(p.abs().max() for p in one.D.b4.parameters()) == 0.5


def test_steps_of_their_own_for_no_penalty_are_not_taken() -> None:
    plain, lazy = (trainer(r1_gamma=0.0, r1_every=k) for k in (1, 4))
    for one in (plain, lazy):
        reals, inputs = given()
        one.d_step(reals, None, inputs, 0.0, 0.01)
    for a, b in zip(plain.D.parameters(), lazy.D.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_lazy_r2_meets_the_images_of_the_game() -> None:
    """Also where they are drawn in one pass: noise is drawn once a step."""
    found = []
    for parts in (None, N):
        one = trainer(r1_gamma=0.0, r2_gamma=2.0, r1_every=2, batch_gpu=parts)
        reals, inputs = given()
        images, _ = one._generate(one._parts(inputs, N, 0.0)[0][1], 0.0)
        images = images.detach().requires_grad_()
        expected = squared_gradient_norm(images, one.D(images)).mean().detach()
        reals, inputs = given()
        told = one.d_step(reals, None, inputs, 0.0, 0.0)
        torch.testing.assert_close(told["R2"], expected)
        found.append(told["R2"])
    torch.testing.assert_close(*found)


def test_an_augmentation_is_between_the_images_and_the_discriminator_in_both_steps() -> None:
    seen = []

    def darken(images: Tensor) -> Tensor:
        seen.append(images.shape)
        return images * 0.5

    augmented = trainer(augment=darken)
    reals, inputs = given()
    told = augmented.d_step(reals, None, inputs, 0.0, 0.0)
    assert len(seen) == 2  # fakes, reals
    augmented.g_step(inputs, 0.0, 0.0)
    assert len(seen) == 3
    plain = trainer()
    expected = plain.D(reals * 0.5).mean()
    torch.testing.assert_close(told["score_real"], expected)
    images = reals.clone().requires_grad_()  # R1 is taken at the images before the augmentation
    penalty = squared_gradient_norm(images, plain.D(images * 0.5)).mean()
    torch.testing.assert_close(told["R1"], penalty.detach())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bits_point_where_fp32_points_with_every_penalty(dtype: torch.dtype) -> None:
    mixing = torch.rand(N, 1, 1, 1)
    settings: dict[str, Any] = {"r2_gamma": 5.0, "gp_weight": 10.0}
    found = []
    for low in (False, True):
        reals, inputs = given(torch.float32)
        more = {"dtype": dtype, "loss_scaling": dtype == torch.float16} if low else {}
        one = trainer(torch.float32, **settings, **more)
        if one.D_scale is not None and one.G_scale is not None:  # a scale that fits, as training finds it
            one.D_scale.scale.fill_(256.0)
            one.G_scale.scale.fill_(256.0)
        one.d_step(reals, None, inputs, 0.5, 0.0, gp_mixing=mixing)
        vectors = [torch.cat([g.flatten() for g in gradients(one.D).values()])]
        one.g_step(inputs, 0.5, 0.0)
        vectors.append(torch.cat([g.flatten() for g in gradients(one.G).values()]))
        assert one.skipped_steps == 0
        found.append(vectors)
    for full, low_bits in zip(*found, strict=True):
        assert low_bits.dtype == torch.float32
        assert torch.nn.functional.cosine_similarity(full, low_bits, dim=0) > 0.98
        assert low_bits.norm() / full.norm() == pytest.approx(1, rel=0.1)
        assert (full - low_bits).norm() > 1e-4 * full.norm()  # else they were not in use


def test_an_overflow_in_fp16_skips_the_step_and_halves_the_scale() -> None:
    one = trainer(torch.float32, dtype=torch.float16, loss_scaling=True)
    assert one.D_scale is not None
    one.D_scale.scale.fill_(2.0**24)
    before = {name: value.clone() for name, value in one.D.state_dict().items()}
    reals, inputs = given(torch.float32)
    one.d_step(reals * 50, None, inputs, 0.0, 0.01)
    assert one.skipped_steps == 1
    assert all(torch.equal(before[name], value) for name, value in one.D.state_dict().items())
    assert float(one.D_scale.scale) == 2.0**23


def test_rows_of_skipped_steps_are_counted_per_network() -> None:
    one = trainer(torch.float32)
    reals, inputs = given(torch.float32)
    for value in (1.0, math.nan, math.nan, math.nan, 1.0, math.nan):
        one.d_step(reals * value, None, inputs, 0.0, 0.001)
        one.g_step(inputs, 0.0, 0.001)  # finite: does not end the discriminator's row
    assert one.skipped_steps == 4
    assert one.longest_row_of_skipped_steps() == 3
    assert one.longest_row_of_skipped_steps() == 1  # the row that is going on
    assert one.is_finite()
    with torch.no_grad():
        one.G.mapping.w_avg[0] = math.nan
    assert not one.is_finite()
